"""Stored documents, chunks and indexes; the only room that knows how things are kept."""

from __future__ import annotations

from openbook.library.opening import inspect, open_library, standing

__all__ = ["inspect", "open_library", "standing"]
