"""Library, Train, Compare, Review and Settings as a person meets them: a real browser, a real server, fake models."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

pytest.importorskip("fastapi", reason="the extra serve is not installed")

import httpx2

from tests.browsing import PHONE, Visit, chromium
from tests.serving import desk, running

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

QUESTION = "How many paid vacation days does every colleague get a year?"
TOML = "\n[answer]\nabstain_below = 0.05\n"
PAGES = ("library", "train", "compare", "review", "settings#doctor", "settings#models", "settings#settings")
EXAMPLE = {"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello, colleague!"}]}


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as found:
        yield found


@pytest.fixture(scope="module")
def still(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server that the tests only look at."""
    workspace = desk(tmp_path_factory.mktemp("desk") / "w", toml=TOML)
    with running(workspace) as address:
        yield address
    workspace.close()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "w"


@pytest.fixture
def url(folder: Path) -> Iterator[str]:
    workspace = desk(folder, toml=TOML)
    with running(workspace) as address:
        yield address
    workspace.close()


def opened(browser: Browser, address: str, **context: Any) -> Visit:
    visit = Visit(browser, address, **context)
    visit.page.wait_for_selector("body.ready")
    return visit


def ended(page: Page) -> str:
    """Wait for the newest job on the page; how it ended."""
    card = page.locator(".job").first
    page.locator(".job[data-told]").first.wait_for()
    return str(card.get_attribute("data-state"))


def said_of(url: str, rating: str = "down", **more: str) -> str:
    with httpx2.Client(base_url=url, timeout=30) as http:
        answer = http.post("/api/ask", json={"question": QUESTION}).json()
        return str(http.post("/api/feedback", json={"answer": answer["id"], "rating": rating, **more}).json()["id"])


def exported(url: str, kind: str) -> list[dict[str, Any]]:
    lines = httpx2.get(f"{url}/api/review/export", params={"as": kind}).text.splitlines()
    return [json.loads(line) for line in lines]


@pytest.mark.parametrize("look", ["light", "dark", "phone"])
def test_every_page_reads_well_and_keeps_to_its_policy(browser: Browser, still: str, look: str, tmp_path: Path) -> None:
    context: dict[str, Any] = {"light": {}, "dark": {"color_scheme": "dark"}, "phone": PHONE}[look]
    for name in PAGES:
        with opened(browser, f"{still}/{name}", **context) as visit:
            visit.page.wait_for_load_state("networkidle")
            visit.shot(f"{name.replace('#', '-')}-{look}", tmp_path)
            assert (name, visit.low_contrast(), visit.faults(), visit.said) == (name, [], [], [])
            assert all(one.startswith(still) for one in visit.asked)


def test_an_upload_shows_progress_then_its_document_and_the_reason_of_what_failed(browser: Browser, url: str) -> None:
    with opened(browser, f"{url}/library") as visit:
        page = visit.page
        page.fill("#upload-labels", "garage")
        page.set_input_files(
            "#files",
            [
                {"name": "Parking.md", "mimeType": "text/markdown", "buffer": b"# Parking\n\nPark in the yard.\n"},
                {"name": "Broken.pdf", "mimeType": "application/pdf", "buffer": b"%PDF-1.4 nothing more"},
            ],
        )
        assert ended(page) == "succeeded"
        page.get_by_role("button", name="Parking", exact=True).wait_for()
        row = page.locator("#documents tr", has_text="Parking.md")
        assert "garage" in row.inner_text()
        assert re.search(r"Broken\.pdf: \w+", page.locator(".job .notice.warn").first.inner_text())


def test_a_document_of_markup_is_read_as_text_and_closes_with_escape(browser: Browser, still: str) -> None:
    with opened(browser, f"{still}/library") as visit:
        page = visit.page
        page.get_by_role("button", name="Odd", exact=True).click()
        page.locator("#reader .text", has_text="<script>alert('badge')</script>").wait_for()
        page.keyboard.press("Escape")
        assert not page.locator("#reader").is_visible()
        assert visit.said == []


def test_search_narrows_the_table_and_says_when_nothing_matches(browser: Browser, still: str) -> None:
    with opened(browser, f"{still}/library") as visit:
        visit.page.fill("#find", "HR")
        visit.page.locator("#documents", has_text="1 document found").wait_for()
        assert visit.page.locator("#documents tbody tr").count() == 1
        visit.page.fill("#find", "no such thing")
        visit.page.locator("#documents", has_text="Nothing matches").wait_for()
        visit.page.fill("#find", "")
        visit.page.locator("#documents", has_text="4 documents").wait_for()


def test_a_long_table_goes_on_and_a_document_far_down_is_found(browser: Browser, tmp_path: Path) -> None:
    many = {f"{place:04}.txt": (f"Number {place} of the shelf.", ("*",)) for place in range(130)}
    workspace = desk(tmp_path / "w", documents={})
    shelf = tmp_path / "shelf"
    shelf.mkdir()
    for name, (text, _) in many.items():
        (shelf / name).write_text(text)
    workspace.sync([shelf])
    with running(workspace) as url, opened(browser, f"{url}/library") as visit:
        page = visit.page
        assert page.locator("#documents tbody tr").count() == 100
        assert "100 of 130 documents" in page.locator("#documents").inner_text()
        page.get_by_role("button", name="Show more").click()
        page.locator("#documents tbody tr").nth(129).wait_for()
        assert page.get_by_role("button", name="Show more").count() == 0
        page.fill("#find", "0128")
        page.locator("#documents", has_text="1 document found").wait_for()
        assert "130 documents" in page.locator("#total").inner_text()
    workspace.close()


def test_a_folder_is_uploaded_with_its_folders_and_without_what_systems_leave(
    browser: Browser, url: str, tmp_path: Path
) -> None:
    (tmp_path / "house" / "garden").mkdir(parents=True)
    (tmp_path / "house" / "garden" / "Roses.md").write_text("# Roses\n\nRoses are cut in March.\n")
    (tmp_path / "house" / "Door.md").write_text("# Door\n\nThe door is green.\n")
    (tmp_path / "house" / ".DS_Store").write_text("left behind")
    (tmp_path / "house" / "Nothing.md").touch()
    with opened(browser, f"{url}/library") as visit:
        page = visit.page
        page.set_input_files("#folder", tmp_path / "house")
        assert ended(page) == "succeeded"
        page.locator("#documents", has_text="house/garden/Roses.md").wait_for()
        assert "house/Door.md" in page.locator("#documents").inner_text()
        assert ".DS_Store" not in page.locator("body").inner_text()
        assert "Nothing.md: it is empty" in page.locator("#jobs").inner_text()


DROP = """() => {
  const file = (name) => ({ isFile: true, isDirectory: false, name,
    file: (done) => done(new File([`It lies in the attic: ${name}.`], name)) });
  const folder = (name, inside) => ({ isFile: false, isDirectory: true, name, createReader: () => {
    const rest = [...inside];
    return { readEntries: (done) => done(rest.splice(0, 1)) };
  } });
  const tree = folder("attic", [file("Box.md"), folder("deep", [file("Trunk.md")])]);
  const event = new Event("drop", { bubbles: true, cancelable: true });
  event.dataTransfer = { files: [new File([], "attic")], items: [{ webkitGetAsEntry: () => tree }] };
  document.querySelector("#drop").dispatchEvent(event);
}"""


def test_a_dropped_folder_is_walked(browser: Browser, url: str) -> None:
    with opened(browser, f"{url}/library") as visit:
        visit.page.evaluate(DROP)
        assert ended(visit.page) == "succeeded"
        visit.page.locator("#documents", has_text="attic/deep/Trunk.md").wait_for()
        assert "attic/Box.md" in visit.page.locator("#documents").inner_text()
        assert visit.said == []


def test_a_file_beyond_the_limit_is_told_before_it_is_sent_and_leaves_the_others(
    browser: Browser, tmp_path: Path
) -> None:
    workspace = desk(tmp_path / "w", toml="\n[serve]\nmax_upload_mb = 0.01\n")
    files = [
        {"name": name, "mimeType": "text/markdown", "buffer": f"# {name}\n\n{'Word. ' * times}".encode()}
        for name, times in (("Small.md", 600), ("Large.md", 4000), ("Second.md", 600), ("Third.md", 600))
    ]
    with running(workspace) as url, opened(browser, f"{url}/library") as visit:
        page = visit.page
        page.set_input_files("#files", files)
        page.locator("#jobs", has_text="Large.md: it is larger than an upload may be").wait_for()
        for name in ("Small.md", "Second.md", "Third.md"):  # two requests, since one may hold two of them
            page.locator("#documents", has_text=name).wait_for()
        assert sum(one == f"{url}/api/documents" for one in visit.asked) == 2
    workspace.close()


def test_a_folder_that_lost_nearly_all_is_cleared_only_after_a_second_word(
    browser: Browser, url: str, tmp_path: Path
) -> None:
    folder = tmp_path / "kiosk"
    folder.mkdir()
    for place in range(8):
        (folder / f"Paper{place}.md").write_text(f"# Paper {place}\n\nIt costs {place} euros.\n")
    with opened(browser, f"{url}/library") as visit:
        page = visit.page
        page.fill("#target", str(folder))
        page.locator("#target").press("Enter")
        assert ended(page) == "succeeded"
        for place in range(1, 8):
            (folder / f"Paper{place}.md").unlink()
        page.reload()
        page.wait_for_selector("body.ready")
        page.get_by_role("button", name=f"Sync again: {folder}").click()
        page.get_by_role("button", name="Remove them all the same").click()
        page.locator("dialog.dialog:not(.reader)").get_by_role("button", name="Remove", exact=True).click()
        page.locator(".job", has_text="7 removed").wait_for()


def test_a_deleted_document_comes_back_with_the_version_before(browser: Browser, url: str) -> None:
    with opened(browser, f"{url}/library") as visit:
        page = visit.page
        page.get_by_role("button", name="Travel", exact=True).click()
        page.locator("#reader").get_by_role("button", name="Delete").click()
        page.locator("dialog.dialog:not(.reader)").get_by_role("button", name="Delete").click()
        page.get_by_role("button", name="Travel", exact=True).wait_for(state="detached")
        page.locator("#versions tbody tr").first.get_by_text("1 removed").wait_for()
        page.locator("#versions tbody tr").nth(1).get_by_role("button").click()
        page.locator("dialog.dialog:not(.reader)").get_by_role("button", name="Go back").click()
        page.get_by_role("button", name="Travel", exact=True).wait_for()


def test_a_folder_is_looked_at_before_it_is_synced(browser: Browser, url: str, tmp_path: Path) -> None:
    (tmp_path / "more").mkdir()
    (tmp_path / "more" / "Garden.md").write_text("# Garden\n\nThe garden opens at noon.\n")
    with opened(browser, f"{url}/library") as visit:
        page = visit.page
        page.click("#dry")
        assert "Name a folder" in page.locator("#sync-wrong").inner_text()
        page.fill("#target", str(tmp_path / "more"))
        page.click("#dry")
        assert ended(page) == "succeeded"
        assert "This would change: 1 added" in page.locator(".job").first.inner_text()
        assert page.get_by_role("button", name="Garden", exact=True).count() == 0
        page.keyboard.press("Escape")
        page.locator("#target").press("Enter")
        page.get_by_role("button", name="Garden", exact=True).wait_for()
        page.get_by_role("button", name=f"Sync again: {tmp_path / 'more'}").wait_for(state="attached")


def test_a_folder_that_is_not_there_fails_with_its_reason(browser: Browser, url: str, tmp_path: Path) -> None:
    with opened(browser, f"{url}/library") as visit:
        visit.page.fill("#target", str(tmp_path / "nowhere"))
        visit.page.locator("#target").press("Enter")
        assert ended(visit.page) == "failed"
        assert "nowhere" in visit.page.locator(".job .notice.bad").inner_text()


def test_an_edited_answer_is_accepted_as_a_case_and_exported(browser: Browser, url: str) -> None:
    said_of(url, reason="Say it shorter")
    with opened(browser, f"{url}/review") as visit:
        page = visit.page
        entry = page.locator(".entry")
        assert "Say it shorter" in entry.inner_text()
        entry.get_by_label("Right answer").fill("24 days\n24 paid vacation days")
        entry.get_by_role("button", name="Accept").click()
        page.get_by_text("Nothing waits").wait_for()
        assert [one["answer"] for one in exported(url, "cases")] == [["24 days", "24 paid vacation days"]]
        with page.expect_download() as download:
            page.get_by_role("link", name="Export cases").click()
        assert download.value.suggested_filename == "reviewed-cases.jsonl"


def test_a_review_is_done_by_keyboard_and_can_be_put_back(browser: Browser, url: str) -> None:
    said_of(url, "edit", correction="24 days, dear colleague.")
    with opened(browser, f"{url}/review") as visit:
        page = visit.page
        page.get_by_role("radio", name="Case").focus()
        page.keyboard.press("ArrowRight")
        reply = page.get_by_label("Reply to learn")
        assert reply.input_value() == "24 days, dear colleague."
        page.get_by_role("button", name="Accept").focus()
        page.keyboard.press("Enter")
        page.get_by_text("Nothing waits").wait_for()
        assert exported(url, "examples")[0]["messages"][1]["content"] == "24 days, dear colleague."
        page.locator("#tab-pending").focus()
        page.keyboard.press("ArrowRight")
        page.get_by_role("button", name="Put back").click()
        page.get_by_text("Nothing accepted yet").wait_for()
        assert exported(url, "examples") == []


def test_a_rejected_answer_is_exported_nowhere(browser: Browser, url: str) -> None:
    said_of(url)
    with opened(browser, f"{url}/review") as visit:
        visit.page.get_by_role("button", name="Reject", exact=True).click()
        visit.page.get_by_text("Nothing waits").wait_for()
        visit.page.locator("#tab-rejected").click()
        visit.page.locator(".entry", has_text=QUESTION).wait_for()
    assert exported(url, "cases") == exported(url, "examples") == []


def test_training_says_in_place_what_is_missing(browser: Browser, url: str) -> None:
    with opened(browser, f"{url}/train") as visit:
        page = visit.page
        page.get_by_role("button", name="Check the examples").click()
        assert "at least one file" in page.locator("#wrong").inner_text()
        line = json.dumps(EXAMPLE).encode() + b"\n"
        page.set_input_files("#files", {"name": "replies.jsonl", "mimeType": "text/plain", "buffer": line})
        page.locator(".files", has_text="replies.jsonl").wait_for()
        assert page.locator(".files input").is_checked()
        page.get_by_role("button", name="Start training").click()
        assert "name" in page.locator("#wrong").inner_text()
        page.fill("#name", "tone")
        page.fill("[name=epochs]", "-1")
        page.get_by_role("button", name="Start training").click()
        page.locator("#wrong", has_text="epochs").wait_for()
        assert page.locator(".job").count() == 0


def test_a_comparison_without_cases_or_arms_is_refused_in_place(browser: Browser, still: str) -> None:
    with opened(browser, f"{still}/compare") as visit:
        page = visit.page
        page.fill("#made", "many")
        page.get_by_role("button", name="Compare", exact=True).click()
        assert "whole number" in page.locator("#wrong").inner_text()
        page.uncheck("#made-on")
        page.get_by_role("button", name="Compare", exact=True).click()
        assert "file of cases" in page.locator("#wrong").inner_text()


def test_a_setting_is_saved_and_a_wrong_one_says_why_beside_it(browser: Browser, url: str, folder: Path) -> None:
    with opened(browser, f"{url}/settings#settings") as visit:
        page = visit.page
        field = page.locator("[data-key='answer.passages']")
        field.fill("900")
        assert "1 change not saved" in page.locator("#changed").inner_text()
        page.get_by_role("button", name="Save").click()
        page.locator("#settings-wrong", has_text="passages").wait_for()
        assert field.get_attribute("aria-invalid") == "true"
        assert page.locator(".setting", has=field).locator(".notice.bad").is_visible()
        page.fill("#find", "rerank")
        assert field.input_value() == "900", "what is not saved yet is not lost by searching"
        page.fill("#find", "")
        field.fill("4")
        page.get_by_role("button", name="Save").click()
        page.locator(".toast", has_text="Saved").wait_for()
    assert "passages = 4" in (folder / "openbook.toml").read_text(encoding="utf-8")


def test_a_new_key_is_shown_once_and_opens_what_it_may(browser: Browser, url: str) -> None:
    with opened(browser, f"{url}/settings#keys") as visit:
        page = visit.page
        page.fill("#key-name", "support desk")
        page.get_by_role("button", name="Create the key").click()
        secret = page.locator("#secret")
        secret.wait_for()
        key = {"Authorization": f"Bearer {secret.inner_text()}"}
        made = httpx2.get(f"{url}/api/keys", headers=key).json()["keys"]
        assert [one["name"] for one in made] == ["support desk"]
        assert secret.inner_text() not in json.dumps(made)
        page.get_by_role("button", name="Done").click()
        assert page.locator("#secret").count() == 0


def test_a_report_is_read_on_the_page_under_its_own_policy(browser: Browser, url: str, folder: Path) -> None:
    home = folder / ".openbook" / "reports" / "r-1"
    home.mkdir(parents=True)
    told = {"id": "r-1", "title": "Vacation", "verdict": "Documents win.", "arms": [{"name": "base"}, {"name": "rag"}]}
    (home / "report.json").write_text(json.dumps(told))
    (home / "report.html").write_text("<!doctype html><html lang=en><title>Report</title><h1>Documents win by far</h1>")
    with opened(browser, f"{url}/compare") as visit:
        page = visit.page
        assert "base, rag" in page.locator("#reports").inner_text()
        page.get_by_role("button", name="Vacation", exact=True).click()
        page.frame_locator("#report iframe").get_by_role("heading", name="Documents win by far").wait_for()
