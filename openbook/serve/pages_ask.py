"""The Ask page: a question and its cited answer, with the first run for an empty library."""

from __future__ import annotations

from fastapi import APIRouter

from openbook.serve import pages

router = APIRouter(include_in_schema=False)
router.include_router(pages.router)
