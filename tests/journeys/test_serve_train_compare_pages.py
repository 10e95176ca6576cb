"""What the Train and Compare pages order, and adapters promoted and rolled back there: a real browser, no model."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

pytest.importorskip("fastapi", reason="the extra serve is not installed")

import httpx2

from openbook.serve.comparisons import CompareOrder
from openbook.serve.training import TrainOrder
from openbook.workspace import Workspace
from tests.browsing import Visit, chromium
from tests.serving import desk, running

if TYPE_CHECKING:
    from playwright.sync_api import Browser, FilePayload, Page, Route

LINE = b'{"prompt": "Hi", "completion": "Hello!"}\n'
WORSE = {"forgetting": {"regressions": ["refusal"]}}


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as found:
        yield found


@pytest.fixture
def workspace(tmp_path: Path) -> Iterator[Workspace]:
    made = desk(tmp_path / "w", toml="\n[answer]\nabstain_below = 0.05\n")
    yield made
    made.close()


@pytest.fixture
def url(workspace: Workspace) -> Iterator[str]:
    with running(workspace) as address:
        yield address


def opened(browser: Browser, address: str, **context: Any) -> Visit:
    visit = Visit(browser, address, **context)
    visit.page.wait_for_selector("body.ready")
    return visit


def publish(workspace: Workspace, name: str, **manifest: Any) -> None:
    with workspace.house.adapters.reserve(name) as draft:
        (draft.folder / "adapter_model.safetensors").write_bytes(b"weights")
        draft.publish({"created": "2026-01-01T00:00:00+00:00", "base": {"name": "tiny", "sha256": "ab"}, **manifest})


def take(page: Page, *names: str) -> None:
    files: list[FilePayload] = [{"name": one, "mimeType": "text/plain", "buffer": LINE} for one in names]
    page.set_input_files("#files", files)
    page.locator(".files li").nth(len(names) - 1).wait_for()


def ordered(page: Page, path: str, button: str) -> dict[str, Any]:
    """What the page asks the server for, which is kept from beginning it."""
    taken: list[dict[str, Any]] = []

    def stop(route: Route) -> None:
        taken.append(dict(route.request.post_data_json or {}))
        route.fulfill(status=400, content_type="application/json", body='{"error": {"message": "Not now."}}')

    page.route(f"**{path}", stop)
    page.get_by_role("button", name=button, exact=True).click()
    page.locator("#wrong", has_text="Not now.").wait_for()
    return taken[0]


def accept(url: str, kind: str) -> None:
    with httpx2.Client(base_url=url, timeout=30) as http:
        answer = http.post("/api/ask", json={"question": "How many paid vacation days does every colleague get?"})
        said = http.post("/api/feedback", json={"answer": answer.json()["id"], "rating": "up"}).json()
        http.post(f"/api/review/{said['id']}", json={"decision": "accept", "as": kind}).raise_for_status()


def test_a_training_takes_files_to_learn_check_and_test_with_and_what_was_reviewed(browser: Browser, url: str) -> None:
    accept(url, "example")
    with opened(browser, f"{url}/train") as visit:
        page = visit.page
        take(page, "a.jsonl", "b.jsonl", "c.jsonl")
        page.get_by_label("What b.jsonl is for").select_option("to check with during training")
        page.get_by_label("What c.jsonl is for").select_option("to test with at the end")
        assert "1 accepted" in page.locator("#reviewed-note").inner_text()
        page.check("#reviewed")
        body = ordered(page, "/api/training/preflight", "Check the examples")
        names = {one["id"]: one["filename"] for one in httpx2.get(f"{url}/v1/files").json()["data"]}
        order = TrainOrder(**body)
        assert [names[one] for one in order.files + order.validation + order.test] == ["a.jsonl", "b.jsonl", "c.jsonl"]
        assert (order.reviewed, order.from_library, order.settings) == (True, False, {})


def test_a_comparison_takes_questions_conversations_examples_and_what_was_reviewed(browser: Browser, url: str) -> None:
    accept(url, "case")
    with opened(browser, f"{url}/compare") as visit:
        page = visit.page
        take(page, "a.jsonl", "b.jsonl", "c.jsonl")
        page.get_by_label("What b.jsonl is for").select_option("conversations to answer")
        page.get_by_label("What c.jsonl is for").select_option("examples to show beforehand")
        page.check("#reviewed")
        page.uncheck("#made-on")
        order = CompareOrder(**ordered(page, "/api/compare", "Compare"))
        names = {one["id"]: one["filename"] for one in httpx2.get(f"{url}/v1/files").json()["data"]}
        kept = [names[one] for one in order.cases + order.conversations + order.examples]
        assert kept == ["a.jsonl", "b.jsonl", "c.jsonl"]
        assert (order.reviewed, order.made, order.arms) == (True, 0, ["base", "rag"])


def test_files_of_examples_are_offered_to_a_comparison_but_not_ticked(browser: Browser, url: str) -> None:
    httpx2.post(f"{url}/v1/files", data={"purpose": "fine-tune"}, files={"file": ("train.jsonl", LINE)})
    with opened(browser, f"{url}/compare") as visit:
        box = visit.page.locator(".files li", has_text="train.jsonl").get_by_role("checkbox")
        assert not box.is_checked()
        box.check()
        assert visit.page.get_by_label("What train.jsonl is for").input_value() == "examples"


def test_without_anything_accepted_the_box_is_off_and_leads_to_the_review(browser: Browser, url: str) -> None:
    for name in ("train", "compare"):
        with opened(browser, f"{url}/{name}") as visit:
            assert visit.page.locator("#reviewed").is_disabled()
            visit.page.get_by_role("link", name="review answers").click()
            visit.page.get_by_role("heading", name="Review", exact=True).wait_for()


def test_adapters_are_promoted_refused_with_the_reason_and_rolled_back(
    browser: Browser, workspace: Workspace, url: str
) -> None:
    for manifest in ({}, {}, WORSE):
        publish(workspace, "tone", **manifest)
    with opened(browser, f"{url}/train") as visit:
        page = visit.page
        dialog = page.locator("dialog.dialog:not(.reader)")
        row = {number: page.locator("#adapters tbody tr", has_text=f"tone@{number}") for number in (1, 2, 3)}
        for number in (1, 2):
            page.get_by_role("button", name=f"Promote tone@{number}").click()
            row[number].locator(".badge.ok").wait_for()
        page.get_by_role("button", name="Promote tone@3").click()
        assert "worse past the margin at refusal" in dialog.inner_text()
        assert "openbook adapters" not in dialog.inner_text()
        dialog.get_by_role("button", name="Cancel").click()
        assert row[2].locator(".badge.ok").is_visible()
        page.get_by_role("button", name="Roll back tone").click()
        dialog.get_by_role("button", name="Roll back").click()
        row[1].locator(".badge.ok").wait_for()
        assert workspace.house.adapters.get("tone").version == 1
        page.get_by_role("button", name="Roll back tone").click()
        dialog.get_by_role("button", name="Roll back").click()
        page.locator(".toast.bad").wait_for()
        assert workspace.house.adapters.get("tone").version == 1


def test_links_of_an_adapter_lead_to_asking_and_to_comparing_it(
    browser: Browser, workspace: Workspace, url: str
) -> None:
    for _ in range(2):
        publish(workspace, "tone")
    with opened(browser, f"{url}/train") as visit:
        ask = visit.page.get_by_role("link", name="Ask tone@1")
        assert ask.get_attribute("href") == "/?model=tone%401"
        visit.page.get_by_role("link", name="Compare tone@1").click()
        visit.page.wait_for_selector("#adapter")
        assert visit.page.input_value("#adapter") == "tone@1"
        visit.page.wait_for_selector("body.ready")
        order = CompareOrder(**ordered(visit.page, "/api/compare", "Compare"))
        assert (order.tuned, order.both) == (["tone@1"], ["tone@1"])
    with opened(browser, f"{url}/?model=extractive") as visit:
        assert visit.page.input_value("#model") == "extractive"
    # Chosen as the page comes: whoever asks at once, or without scripts, asks the one that was meant.
    assert '<option value="extractive" selected>' in httpx2.get(f"{url}/?model=extractive").text
