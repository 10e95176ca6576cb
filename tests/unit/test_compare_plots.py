"""Plots of a report: well-formed, coloured by the page, tolerant of what a section lacks."""

import re
from dataclasses import replace
from xml.etree import ElementTree

import pytest

from openbook.compare import plots
from tests.compare_reports import empty, full, hostile, minimal


@pytest.fixture(scope="module")
def drawn() -> dict[str, plots.Plot]:
    return {plot.name: plot for plot in plots.plots(full()[0])}


def test_a_full_report_has_every_plot(drawn: dict[str, plots.Plot]) -> None:
    assert list(drawn) == ["quality", "cost", "latency", "freshness", "forgetting", "curve"]


def test_colours_are_variables_and_no_style_is_left(drawn: dict[str, plots.Plot]) -> None:
    for plot in drawn.values():
        assert not re.search(r"#[0-9a-f]{6}", plot.svg.replace('"#', '"'))
        assert "style" not in plot.svg
        assert "var(--" in plot.svg


def test_every_reference_has_its_target_and_ids_differ_between_plots(drawn: dict[str, plots.Plot]) -> None:
    seen: set[str] = set()
    for plot in drawn.values():
        ids = [one.get("id") for one in ElementTree.fromstring(plot.svg).iter() if one.get("id")]
        assert len(ids) == len(set(ids))
        assert seen.isdisjoint(ids)
        seen |= {one for one in ids if one}
        assert set(re.findall(r'(?:href="|url\()#([\w-]+)', plot.svg)) <= set(ids)


def test_texts_are_texts_and_the_numbers_stand_in_a_table(drawn: dict[str, plots.Plot]) -> None:
    quality = drawn["quality"]
    assert "answer correct" in "".join(ElementTree.fromstring(quality.svg).itertext())
    assert ("answer correct", "RAG", "56\N{NO-BREAK SPACE}%", "44–67", "66") in quality.table
    for plot in drawn.values():
        assert plot.table
        assert all(len(row) == len(plot.head) for row in plot.table)
        assert 'role="img"' in plot.svg
        assert "aria-label=" in plot.svg


def test_a_plot_is_the_same_each_time(drawn: dict[str, plots.Plot]) -> None:
    again = {plot.name: plot for plot in plots.plots(full()[0])}
    assert again["freshness"].svg == drawn["freshness"].svg


def test_what_was_not_measured_has_no_plot() -> None:
    assert [plot.name for plot in plots.plots(minimal()[0])] == ["quality", "latency"]
    assert plots.plots(empty()[0]) == []


@pytest.mark.parametrize(
    "broken", [None, 3, [], {"arms": None}, {"arms": {"rag": None}}, {"points": [1, {}]}, {"x": {}}]
)
def test_sections_of_another_shape_are_left_out(broken: object) -> None:
    report = replace(minimal()[0], sections=dict.fromkeys(("cost", "freshness", "forgetting", "curve"), broken))
    assert [plot.name for plot in plots.plots(report)] == ["quality", "latency"]


def test_names_from_outside_stay_text() -> None:
    report = hostile()[0]
    probes = next(iter(report.sections["forgetting"].values()))
    report = replace(report, sections={"forgetting": {"<script>x</script>$\\frac": probes}})
    svg = next(plot.svg for plot in plots.plots(report) if plot.name == "forgetting")
    assert "<script" not in svg


def test_break_evens_stand_above_the_lines_each_on_its_own_height(drawn: dict[str, plots.Plot]) -> None:
    texts = {
        "".join(one.itertext()).strip(): float(one.get("y") or re.findall(r"[-\d.]+", one.get("transform", ""))[-1])
        for one in ElementTree.fromstring(drawn["cost"].svg).iter("text")
        if " from " in "".join(one.itertext())
    }
    assert texts
    assert max(texts.values()) < 60
    assert len(set(texts.values())) == len(texts)
