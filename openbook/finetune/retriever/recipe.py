"""How a retriever is trained: names and values in, checked settings out. Defaults as measured in docs/retriever.md."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from openbook.errors import SettingsError

Kind = Literal["embedder", "reranker"]


class Recipe(BaseModel):
    """Settings of one training; all have a default."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    learning_rate: Annotated[float, Field(gt=0, lt=1)] = 3e-5
    epochs: Annotated[int, Field(ge=1, le=100)] = 4
    batch: Annotated[int, Field(ge=2, le=4096)] = 32
    """Questions per step; an embedder sees the passages of all of them as wrong answers to each."""
    negatives: Annotated[int, Field(ge=0, le=16)] = 2
    """Mined wrong passages per question and epoch."""
    margin: Annotated[float, Field(gt=0, le=1)] = 0.95
    """A wrong passage nearer than this share of the right one's similarity is left out: it may be right too."""
    scale: Annotated[float, Field(gt=0)] = 20.0
    """Cosine similarities are multiplied by it: the inverse of the temperature."""
    warmup: Annotated[float, Field(ge=0, le=1)] = 0.1
    weight_decay: Annotated[float, Field(ge=0)] = 0.01
    clip: Annotated[float, Field(gt=0)] = 1.0
    max_tokens: Annotated[int, Field(ge=16, le=512)] = 256
    """Longer passages are cut in training, never beyond what the model serves with."""
    held_out: Annotated[float, Field(gt=0, lt=1)] = 0.3
    """Share of the documents whose questions only measure."""
    dtype: Literal["auto", "float32", "bfloat16"] = "auto"
    threads: Annotated[int, Field(ge=0)] = 0
    """0 uses every core."""
    seed: Annotated[int, Field(ge=0)] = 0


def recipe(values: Mapping[str, object]) -> Recipe:
    """Check settings given by name; raises SettingsError naming the first that is wrong.

    >>> recipe({"epochs": 2}).epochs
    2
    """
    try:
        return Recipe.model_validate(dict(values))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        name = ".".join(map(str, first["loc"]))
        if first["type"] == "extra_forbidden":
            known = ", ".join(Recipe.model_fields)
            raise SettingsError(f"a retriever's training has no setting {name!r}; there are: {known}") from None
        raise SettingsError(
            f"setting {name} = {first['input']!r} of the retriever's training: {first['msg']}"
        ) from None
