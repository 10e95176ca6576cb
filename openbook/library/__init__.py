"""Stored documents, chunks and indexes; the only room that knows how things are kept."""

from __future__ import annotations

from openbook.library.opening import inspect, made_with, open_library

__all__ = ["inspect", "made_with", "open_library"]
