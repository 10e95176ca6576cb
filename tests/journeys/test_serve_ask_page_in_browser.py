"""The Ask page as a person meets it: a real browser, a real server, a scripted model."""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

pytest.importorskip("fastapi", reason="the extra serve is not installed")

import httpx2

from openbook.records import Message
from openbook.serve import keys
from openbook.serve.store import open_store
from tests.browsing import PHONE, Visit, chromium
from tests.serving import desk, first_sentence, running

if TYPE_CHECKING:
    from playwright.sync_api import Browser

QUESTION = "How many paid vacation days does every colleague get a year?"
PDF = Path(__file__).parents[1] / "fixtures" / "documents" / "markitdown" / "test.pdf"
SAID = "Every colleague gets 24 paid vacation days a year."
INVENTED = "The moon is made of green cheese."
TOML = "\n[answer]\nabstain_below = 0.05\nfallback = false\n"
"""The fake embedder is never as sure as a real one."""


def script(messages: Sequence[Message]) -> str:
    asked = messages[-1].content
    if "slowly" in asked:
        time.sleep(2)
    if "boldly" in asked:
        return "Say **no** twice: 2**3**4."
    if "alone" in asked:
        return "I can't find this in the documents."
    if "cheese" in asked:
        return f"{first_sentence(messages)} {INVENTED}"
    return first_sentence(messages)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as found:
        yield found


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    workspace = desk(tmp_path_factory.mktemp("desk") / "w", script=script, toml=TOML)
    with running(workspace) as address:
        yield address
    workspace.close()


@pytest.fixture
def fresh(tmp_path: Path) -> Iterator[str]:
    workspace = desk(tmp_path / "w", documents={}, script=script, toml=TOML)
    with running(workspace) as address:
        yield address
    workspace.close()


@pytest.fixture
def fresh_desk(tmp_path: Path) -> Iterator[str]:
    workspace = desk(tmp_path / "w", script=script, toml=TOML)
    with running(workspace) as address:
        yield address
    workspace.close()


def opened(browser: Browser, address: str, **context: Any) -> Visit:
    visit = Visit(browser, address, **context)
    visit.page.wait_for_selector("body.ready")
    return visit


def ask(visit: Visit, question: str = QUESTION) -> None:
    turns = visit.page.locator(".turn").count()
    visit.page.fill("#question", question)
    visit.page.keyboard.press("Enter")
    visit.page.locator(".turn").nth(turns).locator(".reply-foot, .notice.bad").first.wait_for()


def test_an_answer_cites_and_a_citation_opens_the_exact_span(browser: Browser, url: str) -> None:
    with opened(browser, url) as visit:
        ask(visit)
        page = visit.page
        assert SAID.rstrip(".") in page.locator(".answer-text").inner_text()
        cite = page.locator(".answer-text .cite")
        assert cite.inner_text() == "1"
        assert cite.get_attribute("aria-label") == "Source 1: Vacation"
        cite.click()
        mark = page.locator("#source mark")
        mark.wait_for()
        assert mark.inner_text() == SAID
        assert page.locator("#source .source-text").inner_text().startswith("Vacation")
        box, panel = mark.bounding_box(), page.locator("#source").bounding_box()
        assert box
        assert panel
        assert panel["y"] <= box["y"] <= panel["y"] + panel["height"]
        assert cite.get_attribute("aria-expanded") == "true"
        assert visit.said == []


def test_a_source_closes_with_escape_and_gives_the_focus_back(browser: Browser, url: str) -> None:
    with opened(browser, url) as visit:
        ask(visit)
        page = visit.page
        page.locator(".answer-text .cite").focus()
        page.keyboard.press("Enter")
        page.locator("#source mark").wait_for()
        assert page.evaluate("document.activeElement.id") == "source"
        page.keyboard.press("Escape")
        assert not page.locator("#source").is_visible()
        assert page.evaluate("document.activeElement.className") == "cite"


def test_a_sentence_without_a_source_says_so_in_words(browser: Browser, url: str) -> None:
    with opened(browser, url) as visit:
        ask(visit, f"{QUESTION} And cheese?")
        unsupported = visit.page.locator(".answer-text .unsupported")
        assert unsupported.inner_text() == INVENTED
        assert visit.page.locator(".unsupported + .unsupported-tag").inner_text() == "no source"
        line = unsupported.evaluate("one => getComputedStyle(one).textDecorationLine")
        assert line == "underline"


def test_a_document_with_a_script_stays_text(browser: Browser, url: str) -> None:
    with opened(browser, url) as visit:
        ask(visit, "What does the badge reader say at the door?")
        page = visit.page
        assert "<script>alert('badge')</script>" in page.locator(".answer-text").inner_text()
        page.locator(".more summary").first.click()
        assert "<script>" in page.locator(".considered .quote").first.inner_text()
        page.locator(".cite").first.click()
        page.locator("#source mark").wait_for()
        assert "<script>" in page.locator("#source mark").inner_text()
        assert page.locator("main script").count() == 0
        assert visit.said == []


def test_a_link_in_a_document_is_shown_by_its_words(browser: Browser, tmp_path: Path) -> None:
    text = "# Garden\n\nThe garden party follows the [Holiday List](https://a.example/Holiday%20List.md) every June.\n"
    workspace = desk(tmp_path / "w", documents={"Garden.md": (text, ("*",))}, script=script, toml=TOML)
    with running(workspace) as address, opened(browser, address) as visit:
        ask(visit, "When is the garden party?")
        assert "follows the Holiday List every June" in visit.page.locator(".answer-text").inner_text()
        visit.page.locator(".answer-text .cite").click()
        assert "https://a.example" in visit.page.locator("#source mark").inner_text()
    workspace.close()


def test_the_passages_considered_show_their_ranks_and_open(browser: Browser, url: str) -> None:
    with opened(browser, url) as visit:
        ask(visit)
        page = visit.page
        page.get_by_text(re.compile(r"passages? considered")).click()
        first = page.locator(".considered li").first
        assert "cited" in first.inner_text()
        assert {"Score", "By meaning", "By words"} <= set(first.locator("dt").all_inner_texts())
        assert "#1" in first.locator("dl").inner_text()
        page.locator(".considered .link").nth(1).click()
        page.locator("#source mark").wait_for()


def test_a_refusal_is_kind_and_says_what_to_do(browser: Browser, url: str) -> None:
    with opened(browser, url) as visit:
        ask(visit, "Zzyzx quux?")
        refusal = visit.page.locator(".refusal")
        assert "I can't find this in the documents." in refusal.inner_text()
        assert refusal.locator("li").count() >= 2
        assert refusal.get_by_role("link", name="Library").get_attribute("href") == "/library"


def test_follow_ups_stay_in_one_conversation_that_can_be_reopened_and_deleted(
    browser: Browser, fresh_desk: str
) -> None:
    with opened(browser, fresh_desk) as visit:
        page = visit.page
        ask(visit)
        ask(visit, "Who approves travel above 900 euros?")
        assert page.locator(".turn").count() == 2
        page.locator("#conversations li").first.wait_for()
        assert page.locator("#conversations li").count() == 1
        page.reload()
        page.locator("#conversations .open").first.click()
        page.locator(".turn").nth(1).wait_for()
        assert page.locator(".asked").all_inner_texts() == [QUESTION, "Who approves travel above 900 euros?"]
        page.locator(".answer-text .cite").first.click()
        page.locator("#source mark").wait_for()
        page.keyboard.press("Escape")
        page.get_by_role("button", name=f"Delete “{QUESTION}”").click()
        page.locator("dialog").get_by_role("button", name="Delete").click()
        page.locator("#conversations li").first.wait_for(state="detached")
        assert page.locator(".turn").count() == 0
        assert visit.said == []


def test_a_conversation_deleted_elsewhere_can_be_begun_anew(browser: Browser, fresh_desk: str) -> None:
    with opened(browser, fresh_desk) as visit:
        page = visit.page
        ask(visit)
        for one in page.request.get(f"{fresh_desk}/api/conversations").json()["conversations"]:
            assert page.request.delete(f"{fresh_desk}/api/conversations/{one['id']}").ok
        ask(visit, "Who approves travel above 900 euros?")
        assert "no conversation" in page.get_by_role("alert").inner_text()
        page.get_by_role("button", name="Ask again").click()
        page.locator(".turn").nth(1).locator(".reply-foot").wait_for()
        assert "head of finance" in page.locator(".answer-text").nth(1).inner_text()


def test_two_ways_of_answering_stand_side_by_side(browser: Browser, url: str) -> None:
    with opened(browser, url) as visit:
        page = visit.page
        page.get_by_role("button", name="Side by side").click()
        page.select_option("#model", "rag")
        page.select_option("#model2", "extractive")
        ask(visit)
        page.locator(".reply-foot").nth(1).wait_for()
        boxes = [one.bounding_box() for one in page.locator(".reply").all()]
        assert boxes[0]
        assert boxes[1]
        assert boxes[0]["x"] + boxes[0]["width"] <= boxes[1]["x"]
        assert [SAID.rstrip(".") in one for one in page.locator(".answer-text").all_inner_texts()] == [True, True]
        assert len(set(page.locator(".reply-head").all_inner_texts())) == 2


def test_stop_ends_the_answer_and_says_so(browser: Browser, url: str) -> None:
    with opened(browser, url) as visit:
        page = visit.page
        page.fill("#question", "How many vacation days does a colleague get, told slowly?")
        page.keyboard.press("Enter")
        page.locator("#stop").click()
        page.get_by_text(re.compile("^Stopped")).wait_for()
        assert page.locator("#send").is_visible()
        assert not page.locator("#stop").is_visible()
        assert visit.said == []


def test_feedback_is_sent_with_its_reason(browser: Browser, url: str) -> None:
    with opened(browser, url) as visit:
        page = visit.page
        ask(visit)
        page.get_by_role("button", name="Not helpful").click()
        page.get_by_label("Wrong source").check()
        page.get_by_label("In your words").fill("another page says it better")
        with page.expect_request("**/api/feedback") as sent:
            page.get_by_role("button", name="Send").click()
        body = sent.value.post_data_json
        assert body["rating"] == "down"
        assert body["reason"] == "Wrong source: another page says it better"
        page.get_by_text("It waits in the review queue").wait_for()


def test_an_edited_answer_is_sent_as_a_correction(browser: Browser, url: str) -> None:
    with opened(browser, url) as visit:
        page = visit.page
        ask(visit)
        page.get_by_role("button", name="Edit answer").click()
        page.get_by_label("The answer as it should be").fill("24 days.")
        with page.expect_request("**/api/feedback") as sent:
            page.get_by_role("button", name="Send").click()
        assert (sent.value.post_data_json["rating"], sent.value.post_data_json["correction"]) == ("edit", "24 days.")
        page.get_by_text("It waits in the review queue").wait_for()


def test_copy_takes_the_answer_and_its_sources(browser: Browser, url: str) -> None:
    with opened(browser, url, permissions=["clipboard-read", "clipboard-write"]) as visit:
        ask(visit)
        visit.page.get_by_role("button", name="Copy").click()
        visit.page.get_by_text("Copied").wait_for()
        copied = visit.page.evaluate("navigator.clipboard.readText()")
        assert SAID.rstrip(".") in copied
        assert copied.endswith("[1] Vacation.md")


def test_without_scripts_the_answer_comes_all_the_same(browser: Browser, url: str) -> None:
    with Visit(browser, url, java_script_enabled=False) as visit:
        page = visit.page
        page.fill("#question", QUESTION)
        page.get_by_role("button", name="Ask").click()
        assert SAID.rstrip(".") in page.locator(".answer-text").inner_text()
        page.locator(".answer-text .cite").click()
        assert page.locator("mark").inner_text() == SAID
        page.goto(url)
        page.fill("#question", "How many paid vacation days are there, and what is cheese?")
        page.get_by_role("button", name="Ask").click()
        assert "bears out" in page.locator(".reply .note").first.inner_text()


def test_a_newcomer_comes_from_nothing_to_a_cited_answer(browser: Browser, fresh: str, tmp_path: Path) -> None:
    note = tmp_path / "Bicycles.md"
    note.write_text("# Bicycles\n\nThe company pays 300 euros for a bicycle every second year.\n", encoding="utf-8")
    broken = tmp_path / "Broken.pdf"
    broken.write_bytes(b"%PDF-1.4 and nothing else")
    with opened(browser, fresh) as visit:
        page = visit.page
        assert page.get_by_role("heading", name="Ask your own documents").is_visible()
        assert not page.locator("#composer").is_visible()
        page.set_input_files("#files", [note, broken])
        page.get_by_text("1 document ready").wait_for()
        assert not page.locator("#start").is_visible()
        page.locator(".chip").first.click()
        page.locator(".answer-text .cite").first.click()
        page.locator("#source mark").wait_for()
        assert "bicycle" in page.locator("#source mark").inner_text()
        assert visit.said == []


def test_a_citation_of_a_pdf_opens_its_page_as_a_picture(browser: Browser, fresh: str, tmp_path: Path) -> None:
    with opened(browser, fresh) as visit:
        page = visit.page
        page.set_input_files("#files", [PDF])
        page.get_by_text("1 document ready").wait_for()
        ask(visit, "What is an intuitive approach to scale up the power of agents?")
        page.locator(".answer-text .cite").first.click()
        picture = page.locator("#source img")
        picture.wait_for()
        assert picture.evaluate("one => one.decode().then(() => one.naturalWidth)") > 300
        assert "Page 1 of" in (picture.get_attribute("alt") or "")
        visit.shot("source-pdf", tmp_path)
        page.get_by_role("tab", name="Page").press("ArrowRight")
        page.locator("#source mark").wait_for()
        assert page.get_by_role("tab", name="Text").get_attribute("aria-selected") == "true"
        assert visit.said == []


def test_the_sample_handbook_is_a_click_away(browser: Browser, fresh: str) -> None:
    with opened(browser, fresh) as visit:
        page = visit.page
        page.get_by_role("button", name="Try it with a sample handbook").click()
        page.get_by_text("39 documents ready").wait_for(timeout=30_000)
        page.locator(".chip").nth(3).wait_for()
        page.locator(".chip").first.click()
        page.locator(".answer-text .cite").first.wait_for()
        assert visit.said == []


def test_files_that_cannot_be_read_are_told_with_their_reason(browser: Browser, fresh: str, tmp_path: Path) -> None:
    broken = tmp_path / "Broken.pdf"
    broken.write_bytes(b"%PDF-1.4 and nothing else")
    with opened(browser, fresh) as visit:
        visit.page.set_input_files("#files", [broken])
        visit.page.locator("#start-failed li").wait_for()
        assert "Broken.pdf" in visit.page.locator("#start-failed").inner_text()
        assert visit.page.locator("#drop").is_visible()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_all_text_has_the_contrast_of_wcag_aa(
    browser: Browser, url: str, fresh: str, tmp_path: Path, scheme: str
) -> None:
    with opened(browser, fresh, color_scheme=scheme) as visit:
        assert visit.low_contrast() == []
        visit.shot(f"start-{scheme}", tmp_path)
    with opened(browser, url, color_scheme=scheme) as visit:
        ask(visit, f"{QUESTION} And cheese?")
        visit.page.locator(".more summary").first.click()
        visit.page.get_by_role("button", name="Not helpful").click()
        visit.page.locator(".cite").first.click()
        visit.page.locator("#source mark").wait_for()
        assert visit.low_contrast() == []
        visit.shot(f"ask-{scheme}", tmp_path)
        ask(visit, "Zzyzx quux?")
        assert visit.low_contrast() == []
    with Visit(browser, f"{url}/nothing-here", color_scheme=scheme) as visit:
        assert visit.low_contrast() == []


def test_a_phone_shows_all_of_it_and_the_source_as_a_sheet(
    browser: Browser, url: str, fresh: str, tmp_path: Path
) -> None:
    with opened(browser, fresh, **PHONE) as visit:
        assert visit.faults() == []
        visit.shot("start-phone", tmp_path)
    with opened(browser, url, **PHONE) as visit:
        ask(visit, f"{QUESTION} And cheese?")
        assert visit.faults() == []
        visit.shot("ask-phone", tmp_path)
        visit.page.locator(".cite").first.click()
        visit.page.locator("#source mark").wait_for()
        box = visit.page.locator("#source").bounding_box()
        assert box
        assert box["width"] == 390
        assert visit.faults() == []
        visit.shot("source-phone", tmp_path)
        visit.page.get_by_role("button", name="Close the source").click()
        assert not visit.page.locator("#source").is_visible()
        visit.page.get_by_role("button", name="Earlier").click()
        assert visit.page.evaluate("document.activeElement.id") == "fresh"
        assert visit.faults() == []
        visit.page.keyboard.press("Escape")
        assert not visit.page.locator("#history").is_visible()
        assert visit.page.evaluate("document.activeElement.id") == "history-toggle"


def test_everything_can_be_reached_by_keyboard_with_a_visible_focus(browser: Browser, url: str) -> None:
    with opened(browser, url) as visit:
        page = visit.page
        ask(visit)
        page.locator("body").click(position={"x": 2, "y": 400})
        page.keyboard.press("/")
        assert page.evaluate("document.activeElement.id") == "question"
        page.evaluate("document.activeElement.blur(); scrollTo(0, 0)")
        page.locator(".skip").focus()
        seen = []
        for _ in range(200):
            page.keyboard.press("Tab")
            name, outline = page.evaluate(
                "(() => { const one = document.activeElement, box = one.closest('.composer') ?? one;"
                " return [one.textContent.trim() || one.id, getComputedStyle(one).outlineStyle !== 'none'"
                " || getComputedStyle(box).boxShadow !== 'none'] })()"
            )
            if page.evaluate("document.activeElement === document.body"):
                break
            seen.append(name)
            assert outline, f"no visible focus on {name!r}"
        assert {"1", "Copy", "Helpful", "Not helpful", "Edit answer", "question"} <= set(seen)


def test_motion_is_left_out_for_those_who_asked_for_that(browser: Browser, url: str) -> None:
    with opened(browser, url, reduced_motion="reduce") as visit:
        styles = "[...document.querySelectorAll('*')].map((one) => getComputedStyle(one))"
        longest = visit.page.evaluate(f"Math.max(...{styles}.map((one) => parseFloat(one.transitionDuration)))")
        assert longest == 0


def test_with_keys_one_logs_in_asks_and_logs_out_again(browser: Browser, tmp_path: Path) -> None:
    workspace = desk(tmp_path / "w", script=script, toml=TOML)
    _, secret = keys.create(open_store(workspace.state / "server.db"), "Ada", ("ask", "search"), ())
    with contextlib.closing(workspace), running(workspace) as address, Visit(browser, f"{address}/?x=1") as visit:
        page = visit.page
        assert page.url.startswith(f"{address}/login?next=")
        assert visit.low_contrast() == []
        assert visit.faults() == []
        page.get_by_label("Key").fill("sk-wrong")
        page.get_by_role("button", name="Log in").click()
        assert "not known" in page.get_by_role("alert").inner_text()
        visit.said.clear()  # chromium writes of the 401 itself
        page.get_by_label("Key").fill(secret)
        page.get_by_role("button", name="Log in").click()
        page.wait_for_selector("body.ready")
        assert page.url == f"{address}/?x=1"
        assert page.locator(".nav a").all_inner_texts() == ["Ask", "Library"]
        ask(visit)
        assert SAID.rstrip(".") in page.locator(".answer-text").inner_text()
        page.locator("#conversations .drop-it").click()
        page.locator("dialog").get_by_role("button", name="Delete").click()
        page.locator("#conversations li").first.wait_for(state="detached")
        page.get_by_role("button", name="Log out").click()
        page.get_by_label("Key").wait_for()
        page.goto(address)
        assert "/login" in page.url
        assert visit.said == []


def test_a_question_asked_after_the_session_ended_waits_behind_the_login_and_goes_with_the_logout(
    browser: Browser, tmp_path: Path
) -> None:
    workspace = desk(tmp_path / "w", script=script, toml=TOML)
    _, secret = keys.create(open_store(workspace.state / "server.db"), "Ada", ("ask", "search"), ())
    with contextlib.closing(workspace), running(workspace) as address, Visit(browser, address) as visit:
        page = visit.page

        def log_in() -> None:
            page.get_by_label("Key").fill(secret)
            page.get_by_role("button", name="Log in").click()
            page.wait_for_selector("body.ready")

        log_in()
        ask(visit)
        visit.context.clear_cookies()
        page.fill("#question", "Who approves travel?")
        page.keyboard.press("Enter")
        log_in()
        page.locator(".turn .cite").wait_for()
        assert page.input_value("#question") == "Who approves travel?"
        page.get_by_role("button", name="Log out").click()
        log_in()
        assert page.input_value("#question") == ""


def test_nothing_is_loaded_from_elsewhere_and_files_are_kept(browser: Browser, url: str) -> None:
    with opened(browser, url) as visit:
        ask(visit)
        assert all(one.startswith(url) for one in visit.asked)
        assert visit.page.locator("[style]").count() == 0
        assert visit.page.locator("script:not([src])").count() == 0
        address = visit.page.locator("link[rel=stylesheet]").first.get_attribute("href")
        assert address
        answer = visit.page.request.get(url + address)
        assert "immutable" in answer.headers["cache-control"]
        again = visit.page.request.get(f"{url}/static/app.css", headers={"If-None-Match": answer.headers["etag"]})
        assert again.status == 304
        assert visit.page.request.get(f"{url}/static/..%2fpages.py").status == 404


def test_two_people_at_once_do_not_see_each_others_words(browser: Browser, url: str) -> None:
    with opened(browser, url) as one, opened(browser, url) as other:
        one.page.fill("#question", QUESTION)
        other.page.fill("#question", "Who approves travel above 900 euros?")
        one.page.keyboard.press("Enter")
        other.page.keyboard.press("Enter")
        one.page.locator(".reply-foot").wait_for()
        other.page.locator(".reply-foot").wait_for()
        assert "vacation" in one.page.locator(".answer-text").inner_text()
        assert "finance" in other.page.locator(".answer-text").inner_text()


def _changed(url: str, text: str) -> None:
    """Make Vacation.md another one, as the same person's upload of the next edition does."""
    with httpx2.Client(base_url=url, timeout=30) as http:
        job = http.post("/api/documents", files={"files": ("Rules.md", text.encode())}).json()["job"]["id"]
        while http.get(f"/api/jobs/{job}").json()["state"] not in ("succeeded", "failed"):
            time.sleep(0.02)


def test_a_citation_of_a_document_changed_since_marks_the_passage_where_it_stands_now_or_says_it_is_gone(
    browser: Browser, fresh: str
) -> None:
    said = "The 🗝 key of the shed hangs behind the green door."
    _changed(fresh, f"# Shed\n\n{said}\n")
    with opened(browser, fresh) as visit:
        page = visit.page
        ask(visit, "Where does the key of the shed hang?")
        _changed(fresh, f"# Shed\n\nWritten anew 🙂 in spring, with a longer beginning than before.\n\n{said}\n")
        page.locator(".cite").click()
        page.locator("#source mark").wait_for()
        assert page.locator("#source mark").inner_text() == said
        assert "changed after this answer" in page.locator(".source-note").inner_text()
        _changed(fresh, "# Shed\n\nThe shed has no lock any more.\n")
        page.locator(".cite").click()
        page.locator(".source-note", has_text="not in it any more").wait_for()
        assert said in page.locator(".source-note").inner_text()
        assert page.locator("#source mark").inner_text() == ""
        assert visit.said == []


BREAKS = """
const usual = window.fetch;
window.fetch = (path, given) => {
  if (path !== "/api/ask" || !window.breaks) return usual(path, given);
  window.breaks = false;
  const told = new TextEncoder().encode('event: piece\\ndata: {"text": "Every colleague"}\\n\\n');
  const body = new ReadableStream({
    start(stream) { stream.enqueue(told); setTimeout(() => stream.error(new TypeError("network error")), 50); },
  });
  return Promise.resolve(new Response(body));
};
"""


def test_a_connection_lost_in_mid_answer_is_told_in_words_and_can_be_asked_again(browser: Browser, url: str) -> None:
    with opened(browser, url) as visit:
        page = visit.page
        page.evaluate(BREAKS + "window.breaks = true")
        ask(visit)
        assert "The connection to the server broke off." in page.locator(".reply").inner_text()
        assert "not whole" in page.locator(".reply .note").inner_text()
        page.get_by_role("button", name="Ask again").click()
        page.locator(".reply .cite").wait_for()
        assert page.locator(".turn").count() == 1


def test_one_of_two_that_fails_leaves_the_other_and_is_asked_again_alone(browser: Browser, url: str) -> None:
    busy = {"error": {"message": "Too many questions at once.", "code": "busy"}}
    with opened(browser, url) as visit:
        page = visit.page
        page.route(
            "**/api/ask",
            lambda route: (
                route.fulfill(status=429, json=busy, headers={"Retry-After": "7"})
                if route.request.post_data_json["model"] == "base"
                else route.continue_()
            ),
        )
        page.click("#beside")
        page.select_option("#model2", "base")
        ask(visit)
        page.locator(".reply .cite").wait_for()
        second = page.locator(".reply").nth(1)
        assert "Try again in 7 seconds" in second.inner_text()
        assert page.evaluate("sessionStorage.getItem('openbook.draft')") == QUESTION
        page.unroute("**/api/ask")
        with page.expect_request("**/api/ask") as sent:
            second.get_by_role("button", name="Ask again").click()
        second.locator(".reply-foot").wait_for()
        assert sent.value.post_data_json["model"] == "base"
        assert page.locator(".turn").count() == 1
        assert sum(one.endswith("/api/ask") for one in visit.asked) == 3


def test_a_question_that_is_not_sent_or_not_answered_yet_outlives_a_reload(browser: Browser, url: str) -> None:
    with opened(browser, url) as visit:
        page = visit.page
        page.fill("#question", "Who approves")
        page.reload()
        page.wait_for_selector("body.ready")
        assert page.input_value("#question") == "Who approves"
        page.fill("#question", "Tell me slowly who approves travel.")
        page.keyboard.press("Enter")
        page.locator("#stop").wait_for()
        page.reload()
        page.wait_for_selector("body.ready")
        assert page.input_value("#question") == "Tell me slowly who approves travel."
        ask(visit)
        page.reload()
        page.wait_for_selector("body.ready")
        assert page.input_value("#question") == ""


def test_reloading_and_going_back_find_the_conversation_again(browser: Browser, fresh_desk: str) -> None:
    with opened(browser, fresh_desk) as visit:
        page = visit.page
        ask(visit)
        page.reload()
        page.locator(".turn .cite").wait_for()
        page.get_by_role("link", name="Library").click()
        page.wait_for_selector("body.ready")
        page.go_back()
        page.locator(".turn .cite").wait_for()
        page.get_by_role("button", name="New conversation").click()
        assert page.locator(".turn").count() == 0
        assert page.url == f"{fresh_desk}/"
        page.go_back()
        page.locator(".turn .cite").wait_for()
        page.goto(f"{fresh_desk}/?conversation=conv-nothing")
        page.wait_for_selector("body.ready")
        assert page.url == f"{fresh_desk}/"
        assert page.locator("#hello").is_visible()


def test_what_no_source_means_is_said_under_the_answer(browser: Browser, url: str) -> None:
    with opened(browser, url) as visit:
        ask(visit, "How many paid vacation days are there, and what is cheese?")
        assert "“No source” marks" in visit.page.locator(".reply .note").first.inner_text().replace("“no", "“No")


def test_files_that_could_not_be_taken_are_told_when_others_could(browser: Browser, fresh: str, tmp_path: Path) -> None:
    (tmp_path / "Good.md").write_text("# Garden\n\nThe garden opens at noon.\n")
    (tmp_path / "Broken.pdf").write_bytes(b"%PDF-1.4 nothing more")
    (tmp_path / "Empty.md").touch()
    with opened(browser, fresh) as visit:
        visit.page.set_input_files("#files", sorted(one for one in tmp_path.iterdir() if one.is_file()))
        visit.page.locator("#composer").wait_for()
        said = visit.page.locator("#hello").inner_text()
        assert "1 document ready" in said
        assert re.search(r"Broken\.pdf: \w+", said)
        assert "Empty.md: it is empty" in said


def test_the_model_alone_is_shown_with_its_bold_words_and_refuses_without_talk_of_passages(
    browser: Browser, url: str
) -> None:
    with opened(browser, url) as visit:
        page = visit.page
        page.select_option("#model", "base")
        ask(visit, "Speak boldly.")
        assert page.locator(".answer-text strong").all_inner_texts() == ["no"]
        assert "2**3**4" in page.locator(".answer-text").inner_text()
        ask(visit, "Are you alone?")
        said = page.locator(".refusal").inner_text()
        assert "read none of your documents" in said
        assert "passage" not in said


def test_on_a_phone_the_first_question_stays_in_sight_above_its_answer(browser: Browser, fresh_desk: str) -> None:
    with opened(browser, fresh_desk, **PHONE) as visit:
        page = visit.page
        ask(visit)
        page.locator("#history-toggle").wait_for()
        page.wait_for_timeout(500)
        bar = page.locator(".bar").bounding_box()
        asked = page.locator(".asked").bounding_box()
        assert bar is not None
        assert asked is not None
        assert asked["y"] >= bar["y"] + bar["height"] - 1


def test_on_a_phone_a_long_title_of_a_source_does_not_widen_the_answer(browser: Browser, fresh: str) -> None:
    _changed(fresh, f"# {'A title that goes on and on ' * 8}\n\nThe shed is behind the green door of the house.\n")
    with opened(browser, fresh, **PHONE) as visit:
        ask(visit, "Where is the shed of the house?")
        visit.page.locator(".sources button").wait_for()
        for part in (".answer-text", ".sources button"):
            box = visit.page.locator(part).bounding_box()
            assert box is not None
            assert box["x"] + box["width"] <= 390
