"""A model's id in, the arm that answers and its adapter out; and what /v1/models lists.

Ids are those of arms.listed (`rag`, `base`, `extractive`, `NAME`, `NAME+rag`, `NAME@VERSION`), the name of the model
that is set, which is `base`, and `ft:BASE:NAME:VERSION`, which a finished training says it made.
"""

from __future__ import annotations

from datetime import datetime
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
    ways = [_shown(server, way.id, way.adapter) for way in arms.listed(server, who) if not way.why]
    return [*ways, _shown(server, server.house.settings.models.embedder, None)]


def one(server: Server, who: Caller, model: str) -> dict[str, Any]:
    """A model by its id, also by one that the list does not repeat. Raises Refused 404."""
    if model == server.house.settings.models.embedder:
        return _shown(server, model, None)
    return _shown(server, model, arm_of(server, who, model)[1])


def _shown(server: Server, name: str, adapter: str | None) -> dict[str, Any]:
    made = server.house.adapters.get(adapter).created if adapter else ""
    created = (
        datetime.fromisoformat(made).timestamp() if made else (server.workspace.root / "openbook.toml").stat().st_mtime
    )
    return {"id": name, "object": "model", "created": int(created), "owned_by": "openbook"}


def absent(model: str) -> Refused:
    """What is said of a model that is not there."""
    return Refused(
        404,
        f"the model {model!r} does not exist; GET /v1/models lists those that do",
        code="model_not_found",
        param="model",
    )
