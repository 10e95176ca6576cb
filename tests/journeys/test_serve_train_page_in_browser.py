"""The Train page with a real, tiny model: a check that marks what is learned, live curves, pause, adapters."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

pytest.importorskip("fastapi", reason="the extra serve is not installed")

from openbook.retrieve.embed import FakeEmbedder
from openbook.workspace import Workspace
from tests.browsing import Visit, chromium
from tests.journeys.test_finetune import people
from tests.serving import running
from tests.tiny_hf import write_hf

if TYPE_CHECKING:
    from playwright.sync_api import Browser

pytestmark = [pytest.mark.model, pytest.mark.slow, pytest.mark.timeout(300)]
TOML = '\n[finetune]\nmetric = "loss"\nprobes = 0\nthreads = 1\nlearning_rate = 1e-3\n'


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as found:
        yield found


@pytest.fixture
def url(tmp_path: Path) -> Iterator[str]:
    Workspace.init(tmp_path / "desk", model=str(write_hf(tmp_path / "tiny"))).close()
    with (tmp_path / "desk" / "openbook.toml").open("a") as settings:
        settings.write(TOML)
    made = Workspace.open(tmp_path / "desk")
    vars(made.house)["embedder"] = FakeEmbedder()
    with running(made) as address:
        yield address
    made.close()


def test_examples_are_checked_trained_paused_and_promoted_on_the_page(
    browser: Browser, url: str, tmp_path: Path
) -> None:
    lines = [json.dumps(dict(zip(("prompt", "completion"), row, strict=True))) for row in people(40, seed=1)]
    with Visit(browser, f"{url}/train") as visit:
        page = visit.page
        page.set_default_timeout(120_000)
        page.wait_for_selector("body.ready")
        page.set_input_files(
            "#files", {"name": "people.jsonl", "mimeType": "text/plain", "buffer": "\n".join(lines).encode()}
        )
        page.locator(".files", has_text="people.jsonl").wait_for()
        page.fill("#name", "tone")
        page.fill("[name=epochs]", "30")
        page.get_by_role("button", name="Check the examples").click()
        page.locator(".job[data-state=succeeded] .mask").first.wait_for()
        learned = page.locator(".mask").first.locator("mark").first.inner_text()
        assert any(reply in learned for _, reply in people(40, seed=1)), learned
        visit.shot("train-check", tmp_path)
        page.get_by_role("button", name="Start training").click()
        job = page.locator(".job", has_text="Training tone")
        job.locator("svg.chart path.line").first.wait_for()
        assert "Loss: training, smoothed from" in str(job.locator("svg.chart").first.get_attribute("aria-label"))
        job.get_by_role("button", name="Pause").click()
        page.locator(".job[data-state=paused]").wait_for()
        page.reload()
        page.locator(".job[data-state=paused]").get_by_role("button", name="Resume").click()
        page.locator(".job[data-state=succeeded]", has_text="tone@1 is trained").wait_for()
        visit.shot("train-curves", tmp_path)
        page.get_by_role("button", name="tone@1", exact=True).click()
        page.locator("#card .text", has_text="tone").wait_for()
        page.keyboard.press("Escape")
        page.get_by_role("button", name="Promote tone@1").click()
        page.locator("dialog.dialog:not(.reader), #adapters .badge.ok").first.wait_for()
        anyway = page.locator("dialog.dialog:not(.reader)").get_by_role("button", name="Promote")
        if anyway.count():
            anyway.click()
        page.locator("#adapters .badge.ok", has_text="promoted").wait_for()
        assert visit.low_contrast() == []
        # A refused promotion is an error status, of which the browser tells on its own.
        assert [one for one in visit.said if "409" not in one] == []
