"""/v1/embeddings in the official API's shape: texts in, the unit vectors out that the library's chunks have."""

from __future__ import annotations

import base64
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends
from pydantic import BaseModel, ConfigDict, Field

from openbook.serve import openai_models
from openbook.serve import openai_shapes as shapes
from openbook.serve.access import needs
from openbook.serve.errors import Refused
from openbook.serve.shapes import Text
from openbook.serve.state import Server, server_of

router = APIRouter(prefix="/v1", tags=["openai"])
Here = Annotated[Server, Depends(server_of)]
_MOST = 2048
_SPECIAL = 2
"""Tokens that the model's own begin and end take."""


class EmbeddingOrder(BaseModel):
    """What POST /v1/embeddings takes."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"examples": [{"model": "all-minilm-l6-v2", "input": ["vacation days"]}]},
    )

    model: Annotated[Text, Field(max_length=300)]
    input: Text | list[Text] | list[int] | list[list[int]]
    encoding_format: Literal["float", "base64"] | None = None
    dimensions: Annotated[int, Field(ge=1)] | None = None
    user: Text | None = None
    input_type: Annotated[
        Literal["document", "query"], Field(description="What the texts are, where the model tells them apart.")
    ] = "document"


@router.post(
    "/embeddings",
    summary="Embed texts",
    dependencies=[needs("search")],
    response_model=None,
    responses={200: {"model": shapes.Embeddings, "description": "The vectors."}},
)
def embed(order: EmbeddingOrder, server: Here) -> dict[str, Any]:
    """A vector for each text, in their order."""
    embedder_name = server.house.settings.models.embedder
    if order.model != embedder_name:
        raise openai_models.absent(order.model)
    texts = _texts(order)
    embedder = server.house.embedder
    if order.dimensions not in (None, embedder.dimensions):
        raise Refused(
            400,
            f"model {order.model!r} has {embedder.dimensions} dimensions and cannot give {order.dimensions}",
            code="invalid_value",
            param="dimensions",
        )
    counts = embedder.count(texts)
    most = embedder.max_tokens - _SPECIAL
    for number, count in enumerate(counts):
        if count > most:
            raise Refused(
                400,
                f"input[{number}] has {count} tokens, and model {order.model!r} reads {most}; send it in parts",
                code="context_length_exceeded",
                param="input",
            )
    vectors = embedder.embed(texts, kind=order.input_type)
    data = [
        {
            "object": "embedding",
            "index": number,
            "embedding": base64.b64encode(row.astype("<f4").tobytes()).decode()
            if order.encoding_format == "base64"
            else row.tolist(),
        }
        for number, row in enumerate(vectors)
    ]
    tokens = sum(counts)
    usage = {"prompt_tokens": tokens, "total_tokens": tokens}
    return {"object": "list", "data": data, "model": order.model, "usage": usage}


def _texts(order: EmbeddingOrder) -> list[str]:
    given = [order.input] if isinstance(order.input, str) else order.input
    if not 0 < len(given) <= _MOST:
        raise Refused(400, f"input must hold 1 to {_MOST} texts, not {len(given)}", code="invalid_value", param="input")
    texts = [one for one in given if isinstance(one, str)]
    if len(texts) < len(given):
        # Clients number tokens by another model's vocabulary; read by this one's, other words would come out.
        raise Refused(
            400,
            "tokens are numbered by the vocabulary of another model; send text "
            "(in LangChain: OpenAIEmbeddings(check_embedding_ctx_length=False))",
            code="unsupported_value",
            param="input",
        )
    if not all(text.strip() for text in texts):
        raise Refused(400, "input holds an empty text; leave it out", code="invalid_value", param="input")
    return texts
