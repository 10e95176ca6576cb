"""A newcomer with a browser and real models: from an empty library to a cited answer."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

pytest.importorskip("fastapi", reason="the extra serve is not installed")

from openbook.workspace import Workspace
from tests.browsing import Visit, chromium
from tests.serving import Process

pytestmark = [pytest.mark.model, pytest.mark.timeout(300)]


def test_a_newcomer_has_a_cited_answer_in_under_two_minutes(tmp_path: Path) -> None:
    Workspace.init(tmp_path / "desk").close()
    with Process(tmp_path / "desk") as server, chromium() as browser:
        began = time.monotonic()
        with Visit(browser, server.url) as visit:
            page = visit.page
            page.set_default_timeout(120_000)
            page.get_by_role("button", name="Try it with a sample handbook").click()
            page.locator(".chip").first.click()
            page.locator(".answer-text .cite").first.click()
            page.locator("#source mark").wait_for()
            assert time.monotonic() - began < 120
            assert page.locator("#source mark").inner_text()
            assert visit.said == []
