"""Kinds of jobs; see the module's register."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastapi import APIRouter

if TYPE_CHECKING:
    from openbook.serve.state import Server

router = APIRouter()


def register(server: Server) -> None:
    """Say what kinds of jobs are done here."""
