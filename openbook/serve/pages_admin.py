"""The pages of those who look after a workspace: Review and Settings. Frames only: their scripts speak to /api."""

from __future__ import annotations

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse

from openbook.serve import pages
from openbook.serve.access import needs
from openbook.serve.keys import SCOPES

router = APIRouter(include_in_schema=False)


@router.get("/review", dependencies=[needs("train")])
def review_page(request: Request) -> HTMLResponse:
    """What people said of answers, to be accepted as cases and examples or rejected."""
    return pages.render(request, "review")


@router.get("/settings", dependencies=[needs("admin")])
def settings_page(request: Request) -> HTMLResponse:
    """What doctor finds, models, settings, keys."""
    return pages.render(request, "settings", scopes=SCOPES)
