"""A model's id in, the arm that answers and its adapter out; and what /v1/models lists.

Ids are those of arms.listed (`rag`, `base`, `extractive`, `NAME`, `NAME+rag`, `NAME@VERSION`), the name of the model
that is set, which is `base`, and `ft:BASE:NAME:VERSION`, which a finished training says it made.
"""

from __future__ import annotations

from typing import Any

from openbook.records import Arm
from openbook.serve import arms
from openbook.serve.access import Caller
from openbook.serve.errors import Refused
from openbook.serve.state import Server
from openbook.serve.training import adapter_of


def arm_of(server: Server, who: Caller, model: str) -> tuple[Arm, str | None]:
    """The arm and adapter of an id. Raises Refused 404 for one the caller may not know, and one that cannot answer."""
    wanted = "base" if model == server.house.settings.models.generator else adapter_of(model) or model
    for way in arms.listed(server, who):
        if way.id == wanted:
            if way.why:
                raise Refused(404, f"model {model!r} cannot answer: {way.why}", code="model_not_found", param="model")
            return way.arm, way.adapter
    raise absent(model)


def listed(server: Server, who: Caller) -> list[dict[str, Any]]:
    """Every model that can be asked, and the one that embeds, in the official shape."""
    created = int((server.workspace.root / "openbook.toml").stat().st_mtime)
    names = [way.id for way in arms.listed(server, who) if not way.why]
    return [
        {"id": name, "object": "model", "created": created, "owned_by": "openbook"}
        for name in (*names, server.house.settings.models.embedder)
    ]


def one(server: Server, who: Caller, model: str) -> dict[str, Any]:
    """A model by its id, also by one that the list does not repeat. Raises Refused 404."""
    found = listed(server, who)
    for known in found:
        if known["id"] == model:
            return known
    arm_of(server, who, model)
    return {**found[0], "id": model}


def absent(model: str) -> Refused:
    """What is said of a model that is not there."""
    return Refused(
        404,
        f"the model {model!r} does not exist; GET /v1/models lists those that do",
        code="model_not_found",
        param="model",
    )
