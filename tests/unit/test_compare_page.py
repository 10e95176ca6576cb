"""The page of a comparison: whole HTML, escaped, small, and honest about what is missing."""

import hashlib
import re
import time
from base64 import b64encode
from collections import Counter
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest

from openbook.compare import page
from openbook.compare.cost import cost
from openbook.compare.prices import Prices
from openbook.compare.schema import METRICS, Report
from openbook.compare.spent import Measured, Spent
from tests.compare_reports import empty, full, hostile, minimal

VOID = {"meta", "link", "br", "input"}


class Elements(HTMLParser):
    """Checks that tags nest, and keeps elements with their attributes and all text outside of scripts and styles."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(source)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if not {"script", "style"} & set(self.open):
            self.text += data


@pytest.fixture(scope="module")
def whole() -> tuple[Report, str, Elements]:
    report, cases, rows = full()
    source = page.html(report, cases, rows)
    return report, source, Elements(source)


def test_every_part_of_a_full_report_is_shown(whole: tuple[Report, str, Elements]) -> None:
    report, _, shown = whole
    text = " ".join(shown.text.replace("\N{NO-BREAK SPACE}", " ").split())
    assert report.verdict in text
    assert all(claim.says in text and claim.evidence in text for claim in report.claims)
    assert all(pair.sentence in text for pair in report.pairs)
    assert report.advice is not None
    assert all(step.evidence in text for step in report.advice.steps)
    assert all(note in text for note in report.notes)
    assert all(why in text for why in report.missing.values())
    assert all(command in text for command in report.manifest["commands"])
    assert all(warning in text for warning in report.cases["warnings"])
    measured = {name for arm in report.arms for name in arm.metrics}
    assert all(METRICS[name].label in text for name in measured)
    assert "built-in" not in text


def test_ids_are_unique_and_links_lead_somewhere(whole: tuple[Report, str, Elements]) -> None:
    _, _, shown = whole
    ids = Counter(attrs["id"] for _, attrs in shown.elements if "id" in attrs)
    assert set(ids.values()) == {1}
    assert {str(attrs["href"])[1:] for tag, attrs in shown.elements if tag == "a"} <= set(ids)


def test_nothing_is_fetched_and_the_policy_lets_only_the_pages_own_style_and_script_in(
    whole: tuple[Report, str, Elements],
) -> None:
    _, source, shown = whole
    assert not re.search(r'(?:src|href)="(?!#|data:)', source)
    assert "url(" not in source.replace("url(#", "")
    assert not any("style" in attrs or any(name.startswith("on") for name in attrs) for _, attrs in shown.elements)
    policy = next(str(attrs["content"]) for tag, attrs in shown.elements if attrs.get("http-equiv"))
    assert "unsafe" not in policy
    assert "default-src 'none'" in policy
    for tag in ("style", "script"):
        [text] = re.findall(rf"<{tag}>(.*?)</{tag}>", source, re.DOTALL)
        assert b64encode(hashlib.sha256(text.encode()).digest()).decode() in policy


def test_what_models_documents_and_users_wrote_never_becomes_markup() -> None:
    text = "<script>document.title='taken'</script><img src=x onerror=alert(1)>\"' --><svg onload=x>"
    shown = Elements(page.html(*hostile(text)))
    tags = Counter(tag for tag, _ in shown.elements)
    assert tags["script"] == tags["style"] == 1
    assert tags["img"] == 0
    assert text in shown.text


def test_a_minimal_report_says_what_was_not_measured_and_what_to_run() -> None:
    report, cases, rows = minimal()
    shown = Elements(page.html(report, cases, rows))
    assert all(why in shown.text for why in report.missing.values())
    assert "What to do" not in shown.text
    assert "What people say" not in shown.text


def test_a_report_without_anything_is_still_a_page() -> None:
    shown = Elements(page.html(*empty()))
    assert "nothing was answered" in shown.text


@pytest.mark.parametrize("broken", [None, 3, "text", [], [1], {}, {"arms": {"rag": 3}}, {"edits": [3]}, {"tries": [3]}])
def test_sections_of_another_shape_do_not_break_the_page(broken: object) -> None:
    report, cases, rows = minimal()
    names = ("cost", "latency", "freshness", "forgetting", "curve", "style", "judge", "tuning")
    report = replace(report, sections=dict.fromkeys(names, broken))
    assert "RAG" in Elements(page.html(report, cases[:3], rows[:6])).text


def test_bold_is_only_what_was_found_better_and_never_worse(whole: tuple[Report, str, Elements]) -> None:
    report, _, _ = whole
    view = page.view(report, [], [])
    [line] = [line for line in view["main"] if line.name == "answer_correct"]
    assert [cell.best for cell in line.cells] == [False, False, False, True]
    [line] = [line for line in view["main"] if line.name == "refusal"]
    assert [cell.best for cell in line.cells] == [False, True, False, True]


def test_a_hundred_cases_of_eight_arms_make_a_page_below_three_megabytes_in_seconds() -> None:
    report, cases, rows = full()
    long = " ".join(f"word{place}" for place in range(400))
    rows = [
        replace(
            row,
            answer=row.answer
            and replace(
                row.answer,
                text=long,
                prompt=long * 20,
                hits=tuple(
                    replace(hit, chunk=replace(hit.chunk, text=f"{n} {long}")) for n, hit in enumerate(row.answer.hits)
                ),
            ),
        )
        for row in rows
    ]
    page.html(*empty())
    start = time.process_time()
    source = page.html(report, cases, rows)
    assert time.process_time() - start < 5
    assert len(source.encode()) < 3_000_000


def _luminance(colour: str) -> float:
    channels = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("mode", ["light", "dark"])
def test_colours_of_text_and_plots_have_the_contrast_of_wcag_aa(mode: str) -> None:
    blocks = re.findall(r":root\{([^}]*)\}", Path(page.__file__).with_name("report.css").read_text())
    of = dict(re.findall(r"--([\w]+):(#[0-9a-f]{6})", blocks[0] if mode == "light" else blocks[1]))
    text = [(a, b) for a in ("ink", "muted", "accent", "good", "bad") for b in ("bg", "panel")]
    text += [("ink", "gold"), ("ink", "cited"), ("ink", "stale"), ("ink", "quiet"), ("muted", "quiet")]
    marks = [(a, "panel") for a in ("base", "rag", "tuned", "both", "other", "part1", "part2", "part3")]
    for pairs, least in ((text, 4.5), (marks, 3.0)):
        for a, b in pairs:
            high, low = sorted((_luminance(of[a]), _luminance(of[b])), reverse=True)
            assert (high + 0.05) / (low + 0.05) >= least, (a, b)


def test_costs_stand_on_the_page_as_they_are_reckoned() -> None:
    report, cases, rows = full()
    spent = (
        Spent("base", 0.7, quality=0.05),
        Spent("rag", 1.5, searches=True, quality=0.56),
        Spent("tuned+rag", 1.3, searches=True, trained=True, train_seconds=720.0, labelled=60, quality=0.8),
    )
    section = cost(Measured(spent, bar=0.6), Prices())
    report = replace(report, sections={**report.sections, "cost": section})
    text = " ".join(Elements(page.html(report, cases, rows)).text.split())
    for arm in section["arms"]:
        sentence = section["break_even"].get(arm, {}).get("sentence", "")
        assert sentence[1:] in text
    assert all(note in text for note in section["notes"])
    assert Prices().rows()[0]["source"] in text
