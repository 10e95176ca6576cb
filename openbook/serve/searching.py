"""Passages for a question, and why a document was or was not used for it, over HTTP."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, Depends
from pydantic import Field

from openbook.records import DocumentInfo
from openbook.retrieve.explain import explain
from openbook.retrieve.where import parse
from openbook.serve import visible
from openbook.serve.access import Caller, needs
from openbook.serve.shapes import Asked, Explained, Found, Order, Text, Where
from openbook.serve.state import Server, server_of
from openbook.wire import search_json

router = APIRouter(prefix="/api", tags=["search"])
Here = Annotated[Server, Depends(server_of)]


class SearchOrder(Order):
    """What to search for."""

    question: Asked
    k: Annotated[int, Field(ge=1, le=100, description="Passages at most; null is the workspace's own.")] | None = None
    where: Where = ""


class ExplainOrder(Order):
    """What to explain."""

    question: Asked
    document: Annotated[Text, Field(min_length=1, max_length=2000, examples=["handbook/Vacation.md"])]
    where: Where = ""


@router.post("/search", response_model=Found, summary="Find passages")
def search(order: SearchOrder, server: Here, who: Caller = needs("search")) -> Any:
    """The best passages of the documents the caller may see; no model writes anything."""
    scope = who.scope(server.labels, parse(order.where))
    with server.traces.span(
        "retrieval library", gen_ai__operation__name="retrieval", gen_ai__data_source__id="library"
    ):
        return search_json(server.house.searcher.search(order.question, k=order.k, scope=scope))


@router.post("/explain", response_model=Explained, summary="Why a document was or was not used")
def explain_one(order: ExplainOrder, server: Here, who: Caller = needs("search")) -> Any:
    """For each chunk of a document: its ranks and scores for a question, and why the model was shown it or not."""
    info: DocumentInfo = visible.find(server, who, order.document)
    settings = server.house.settings
    found = explain(
        order.question,
        info.name,
        library=server.house.library,
        searcher=server.house.searcher,
        settings=settings.retrieve,
        passages=settings.answer.passages,
        scope=who.scope(server.labels, parse(order.where)),
    )
    return asdict(found)
