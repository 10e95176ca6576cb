"""The page of a comparison as a person meets it: a real browser, without a network."""

import re
from collections.abc import Iterator
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest

from openbook.compare import page
from tests.browsing import Visit, chromium
from tests.compare_reports import empty, full, hostile, minimal

if TYPE_CHECKING:
    from playwright.sync_api import Browser

CONTRAST = """() => {
  const numbers = (text) => text.match(/[\\d.]+/g).map(Number);
  const light = ([r, g, b]) => [r, g, b].map((c) => c / 255)
    .map((c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4))
    .reduce((sum, c, place) => sum + c * [0.2126, 0.7152, 0.0722][place], 0);
  const behind = (one) => {
    for (; one; one = one.parentElement) {
      const found = numbers(getComputedStyle(one).backgroundColor);
      if (found.length < 4 || found[3] > 0) return found;
    }
    return [255, 255, 255];
  };
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT), low = new Map();
  while (walker.nextNode()) {
    const one = walker.currentNode.parentElement;
    if (!walker.currentNode.data.trim() || !one.checkVisibility()) continue;
    const style = getComputedStyle(one);
    const inside = one.ownerSVGElement ? numbers(style.fill) : numbers(style.color);
    const pair = [light(inside), light(behind(one.ownerSVGElement ? one.ownerSVGElement.parentElement : one))];
    const ratio = (Math.max(...pair) + 0.05) / (Math.min(...pair) + 0.05);
    if (ratio < 4.5) low.set(one.className || one.tagName, [ratio, walker.currentNode.data.slice(0, 40)]);
  }
  return [...low];
}"""


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("pages")
    made = {"full": full, "minimal": minimal, "empty": empty, "hostile": hostile}
    for name, maker in made.items():
        (folder / f"{name}.html").write_text(page.html(*maker()), encoding="utf-8")
    return {name: (folder / f"{name}.html").as_uri() for name in made}


@pytest.fixture(scope="module")
def browser() -> Iterator["Browser"]:
    with chromium() as found:
        yield found


@pytest.mark.parametrize("name", ["full", "minimal", "empty", "hostile"])
def test_a_page_asks_for_nothing_and_complains_of_nothing(browser: "Browser", pages: dict[str, str], name: str) -> None:
    with Visit(browser, pages[name]) as visit:
        visit.page.wait_for_timeout(50)
        assert visit.said == []
        assert [url for url in visit.asked if not url.startswith("data:")] == [pages[name]]


def test_what_was_written_is_shown_and_not_run(browser: "Browser", pages: dict[str, str]) -> None:
    with Visit(browser, pages["hostile"]) as visit:
        assert "taken" not in visit.page.title().split("<script>")[0]
        assert visit.page.title() != "taken"
        assert visit.page.locator(".verdict").inner_text().startswith("<script>")
        assert visit.page.locator("img").count() == 0


@pytest.mark.parametrize("name", ["full", "hostile"])
def test_no_width_needs_scrolling_sideways(browser: "Browser", pages: dict[str, str], name: str) -> None:
    with Visit(browser, pages[name]) as visit:
        visit.page.evaluate("document.querySelectorAll('details').forEach((one, place) => { one.open = place < 30 })")
        for width in (320, 375, 768, 1280):
            visit.page.set_viewport_size({"width": width, "height": 800})
            assert visit.page.evaluate("document.documentElement.scrollWidth") <= width


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_all_text_has_the_contrast_of_wcag_aa(browser: "Browser", pages: dict[str, str], scheme: str) -> None:
    with Visit(browser, pages["full"], color_scheme=scheme) as visit:
        visit.page.evaluate("document.querySelectorAll('details').forEach((one, place) => { one.open = place < 40 })")
        background = visit.page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert (background == "rgb(22, 24, 28)") == (scheme == "dark")
        assert visit.page.evaluate(CONTRAST) == []


def test_failures_can_be_chosen_and_read_with_the_keyboard_alone(browser: "Browser", pages: dict[str, str]) -> None:
    with Visit(browser, pages["full"]) as visit:
        count = visit.page.locator("#count")
        assert count.inner_text() == "110 of 110 cases"
        visit.page.locator("select[name=kind]").focus()
        visit.page.keyboard.type("conflict")
        assert count.inner_text() == "10 of 110 cases"
        visit.page.keyboard.press("Tab")
        visit.page.keyboard.press("Tab")
        visit.page.keyboard.press("Tab")
        assert visit.page.evaluate("document.activeElement.name") == "words"
        visit.page.keyboard.type("meals")
        assert count.inner_text() == "1 of 110 cases"
        visit.page.keyboard.press("Control+a")
        visit.page.keyboard.press("Delete")
        visit.page.keyboard.press("Tab")
        first = visit.page.evaluate("document.activeElement.parentElement.id")
        visit.page.keyboard.press("ArrowDown")
        second = visit.page.evaluate("document.activeElement.parentElement.id")
        assert first != second
        visit.page.keyboard.press("Enter")
        assert visit.page.locator(f"#{second}").evaluate("one => one.open")
        assert visit.page.locator(f"#{second} .said").first.is_visible()
        visit.page.keyboard.press("End")
        assert visit.page.evaluate("document.activeElement.parentElement.id") not in (first, second)
        visit.page.keyboard.press("Home")
        assert visit.page.evaluate("document.activeElement.parentElement.id") == first


def test_a_count_of_failures_leads_to_its_cases(browser: "Browser", pages: dict[str, str]) -> None:
    with Visit(browser, pages["full"]) as visit:
        link = visit.page.locator("a[data-arm=rag][data-group=retrieved-wrong]")
        number = int(link.inner_text())
        link.press("Enter")
        visit.page.locator("select[name=kind]").select_option("answerable")
        assert visit.page.locator("#count").inner_text() == f"{number} of 110 cases"
        assert visit.page.locator(".case:visible").count() == number


def test_every_control_has_a_name(browser: "Browser", pages: dict[str, str]) -> None:
    with Visit(browser, pages["full"]) as visit:
        tree = visit.page.locator("body").aria_snapshot()
        assert not re.search(r"^\s*- (?:link|combobox|searchbox|img|region|table cell)(?::|$)", tree, re.MULTILINE)
        levels = [
            int(one)
            for one in visit.page.evaluate("[...document.querySelectorAll('h1,h2,h3,h4')].map(h => h.tagName[1])")
        ]
        assert levels[0] == 1
        assert all(after - before <= 2 for before, after in pairwise(levels))


def test_without_script_every_case_can_still_be_opened(browser: "Browser", pages: dict[str, str]) -> None:
    with Visit(browser, pages["full"], java_script_enabled=False) as visit:
        assert not visit.page.locator("#filters").is_visible()
        assert visit.page.locator(".case:visible").count() == 110
        visit.page.locator(".case summary").first.click()
        assert visit.page.locator(".case .said").first.is_visible()


def test_print_is_light_and_leaves_out_what_paper_cannot_do(browser: "Browser", pages: dict[str, str]) -> None:
    with Visit(browser, pages["full"], color_scheme="dark") as visit:
        visit.page.emulate_media(media="print")
        assert visit.page.evaluate("getComputedStyle(document.documentElement).getPropertyValue('--ink')") == "#1f2328"
        assert not visit.page.locator("nav").is_visible()
        assert not visit.page.locator(".cases").is_visible()
        assert visit.page.locator(".onlyprint").is_visible()
        assert visit.page.locator("#plot-quality svg").is_visible()
        assert len(visit.page.pdf(format="A4")) > 10_000
