"""A real browser for tests of pages: what a page complains of is kept, how well its text can be read is reckoned."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

CHROMIUM = Path(os.environ.get("OPENBOOK_TEST_CHROMIUM", "/usr/bin/chromium"))
PHONE = {"viewport": {"width": 390, "height": 844}, "has_touch": True}
CONTRAST = """() => {
  const paper = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  const numbers = (color) => {
    paper.clearRect(0, 0, 1, 1);
    paper.fillStyle = color;
    paper.fillRect(0, 0, 1, 1);
    const [r, g, b, a] = paper.getImageData(0, 0, 1, 1).data;
    return [r, g, b, a / 255];
  };
  const light = ([r, g, b]) => [r, g, b].map((c) => c / 255)
    .map((c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4))
    .reduce((sum, c, place) => sum + c * [0.2126, 0.7152, 0.0722][place], 0);
  const behind = (one) => {
    for (; one; one = one.parentElement) {
      const found = numbers(getComputedStyle(one).backgroundColor);
      if (found[3] > 0.9) return found;
    }
    return numbers(getComputedStyle(document.body).backgroundColor);
  };
  const low = [];
  const judge = (one, style, words, least) => {
    const pair = [light(numbers(style.color)), light(behind(one))];
    const ratio = (Math.max(...pair) + 0.05) / (Math.min(...pair) + 0.05);
    if (ratio < least) low.push([one.className || one.tagName, ratio.toFixed(2), words.slice(0, 40)]);
  };
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const one = walker.currentNode.parentElement;
    if (!walker.currentNode.data.trim() || !one.checkVisibility({ opacityProperty: true })) continue;
    if (one.closest(":disabled, noscript, option")) continue;
    judge(one, getComputedStyle(one), walker.currentNode.data, 4.5);
  }
  for (const one of document.querySelectorAll("input, textarea, select")) {
    if (!one.checkVisibility({ opacityProperty: true }) || one.disabled) continue;
    judge(one, getComputedStyle(one), one.value, 4.5);
    if (one.placeholder) judge(one, getComputedStyle(one, "::placeholder"), one.placeholder, 4.5);
  }
  return low;
}"""
"""Visible text with less contrast to what lies behind it than WCAG AA asks: [class, ratio, words]."""
_UNNAMED = re.compile(
    r"^\s*- (?:link|button|combobox|searchbox|textbox|checkbox|radio|progressbar|img|region|navigation|dialog)(?::|$)",
    re.MULTILINE,
)


@contextlib.contextmanager
def chromium() -> Iterator[Browser]:
    """Debian's chromium or playwright's own; skips the test when there is neither."""
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed (extra dev)")
    with playwright.sync_playwright() as play:
        try:
            found = play.chromium.launch(
                executable_path=str(CHROMIUM) if CHROMIUM.exists() else None, args=["--no-sandbox"]
            )
        except playwright.Error as error:
            pytest.skip(f"no chromium at {CHROMIUM} and none of playwright's own: {str(error).splitlines()[0]}")
        yield found
        found.close()


class Visit:
    """A page opened in a fresh context: `with Visit(browser, url + "/library") as visit: visit.page...`.

    `said` is what the console complained of, violations of the content policy included; `asked` every address loaded.
    """

    def __init__(self, browser: Browser, address: str, **context: Any) -> None:
        self.context = browser.new_context(**context)
        self.page: Page = self.context.new_page()
        self.page.set_default_timeout(10_000)
        self.said: list[str] = []
        self.asked: list[str] = []
        self.page.on("console", lambda one: self.said.append(one.text) if one.type in ("error", "warning") else None)
        self.page.on("pageerror", lambda error: self.said.append(str(error)))
        self.page.on("dialog", lambda dialog: (self.said.append(dialog.message), dialog.dismiss()))
        self.page.on("request", lambda request: self.asked.append(request.url))
        self.page.goto(address)

    def __enter__(self) -> Visit:
        return self

    def __exit__(self, *_: object) -> None:
        self.context.close()

    def low_contrast(self) -> list[list[str]]:
        """Visible texts that WCAG AA finds too faint."""
        found: list[list[str]] = self.page.evaluate(CONTRAST)
        return found

    def faults(self) -> list[str]:
        """Controls without a name, headings out of order, text wider than the window."""
        tree = self.page.locator("body").aria_snapshot()
        found = [f"without a name: {one.strip()}" for one in _UNNAMED.findall(tree)]
        shown = "[...document.querySelectorAll('h1,h2,h3,h4')].filter(h => h.checkVisibility()).map(h => +h.tagName[1])"
        levels = self.page.evaluate(shown)
        found += [f"h{after} behind h{before}" for before, after in pairwise(levels) if after - before > 1]
        width = self.page.evaluate("[document.documentElement.scrollWidth, innerWidth]")
        if width[0] > width[1]:
            found.append(f"{width[0]} pixels wide in a window of {width[1]}")
        return found

    def shot(self, name: str, folder: Path) -> Path:
        """A picture of the window, in OPENBOOK_SCREENSHOTS when that is set, else in `folder`."""
        place = Path(os.environ.get("OPENBOOK_SCREENSHOTS") or folder)
        place.mkdir(parents=True, exist_ok=True)
        self.page.screenshot(path=place / f"{name}.png")
        return place / f"{name}.png"
