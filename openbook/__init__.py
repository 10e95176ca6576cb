"""Openbook: turn your own documents and example conversations into an assistant, and measure which way serves you.

    from openbook import Workspace

    ws = Workspace.init("handbook-assistant")
    ws.sync(["handbook/"])
    print(ws.ask("How many vacation days do we get?").text)

Importing this package loads no model and none of the rooms; names are resolved on first use.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from openbook.errors import OpenbookError
    from openbook.records import Answer, Chunk, Citation, Document, Hit, SearchResult, SyncReport
    from openbook.workspace import Workspace

__all__ = [
    "Answer",
    "Chunk",
    "Citation",
    "Document",
    "Hit",
    "OpenbookError",
    "SearchResult",
    "SyncReport",
    "Workspace",
]

# OpenVINO tells Google Analytics when it is imported, from a process it forks; without this package it does not.
cast("dict[str, Any]", sys.modules).setdefault("openvino_telemetry", None)

_HOMES = {"Workspace": "openbook.workspace", "OpenbookError": "openbook.errors"}


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module 'openbook' has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(_HOMES.get(name, "openbook.records")), name)
