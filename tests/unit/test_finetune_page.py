"""The page of a run: whole HTML, harmless text, and cheap enough to be drawn while training."""

import re
import time
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import pytest

from openbook.finetune import live, page
from openbook.finetune.chart import Series, chart, label, nice
from openbook.finetune.live import EventLog
from openbook.finetune.page import LivePage
from tests.finetune_events import training

VOID = {"meta", "br", "link", "img"}


class Elements(HTMLParser):
    """Checks that tags nest, and keeps elements with their attributes and all text."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
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
        self.text.append(data)

    def all(self, tag: str, **having: str) -> list[dict[str, str | None]]:
        return [
            attrs for name, attrs in self.elements if name == tag and all(attrs.get(k) == v for k, v in having.items())
        ]


def test_the_page_reloads_itself_only_while_the_training_runs(tmp_path: Path) -> None:
    events = training(tmp_path)
    assert Elements(page.html(events, running=True)).all("meta", **{"http-equiv": "refresh"})
    assert not Elements(page.html(events, running=False)).all("meta", **{"http-equiv": "refresh"})


def test_text_of_models_and_data_is_shown_and_never_becomes_markup(tmp_path: Path) -> None:
    shown = Elements(page.html(training(tmp_path), running=False))
    text = "".join(shown.text)
    assert "<script>alert(1)</script>" in text
    assert "Can I change my PIN <b>abroad</b>?" in text
    assert "A <fast> one" in text
    assert not shown.all("script")
    assert not shown.all("b", **{"class": "abroad"})


def test_the_page_loads_nothing_and_runs_only_its_own_script(tmp_path: Path) -> None:
    import base64
    import hashlib

    source = page.html(training(tmp_path), running=True)
    policy = Elements(source).all("meta", **{"http-equiv": "Content-Security-Policy"})[0]["content"]
    (script,) = re.findall(r"<script>(.*?)</script>", source, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert policy == f"default-src 'none'; script-src 'sha256-{digest}'; style-src 'unsafe-inline'; img-src data:"
    assert not re.search(r"https?://|src=|@import|url\(", source)


def test_each_curve_says_in_words_what_it_shows(tmp_path: Path) -> None:
    shown = Elements(page.html(training(tmp_path), running=True))
    labels = [attrs["aria-label"] for attrs in shown.all("svg", role="img")]
    assert labels == [
        "Loss. Training 2.81 at step 1, 1.10 at step 30; held out 3.00 at step 0, 0.10 at step 30.",
        "Token F1 on 40 held-out prompts, 95 % interval. token F1 0.05 at step 0, 0.60 at step 30.",
        "Tokens per second. Real 550 at step 1, 550 at step 30.",
        "Learning rate. 0.000195 at step 1, 5e-05 at step 30.",
    ]
    (bar,) = shown.all("div", role="progressbar")
    assert (bar["aria-valuenow"], bar["aria-valuemax"]) == ("30", "40")


def test_the_three_token_speeds_are_told_apart(tmp_path: Path) -> None:
    text = " ".join(Elements(page.html(training(tmp_path), running=True)).text)
    assert "550 real tokens/s 700 computed 200 learned" in text


def test_the_untouched_models_answer_stands_beside_the_newest(tmp_path: Path) -> None:
    text = Elements(page.html(training(tmp_path), running=True)).text
    place = text.index("Untouched model")
    assert text[place - 2 : place + 4] == [
        "Reference",
        "Hello! Yes.",
        "Untouched model",
        "PIN PIN PIN",
        "Reply after step 30",
        "<script>alert(1)</script>",
    ]


@pytest.mark.parametrize(
    ("ending", "state", "sentence"),
    [
        ({"stop": "no better metric in 2 checks"}, "stopped", "Stopped after step 30: no better metric in 2 checks"),
        ({"end": True}, "finished", "The weights after step 30 are kept; training took 2 min 20 s."),
        ({}, "interrupted", "Interrupted after step 30; continue it with: openbook finetune --resume"),
    ],
)
def test_how_it_ended_is_said_plainly(tmp_path: Path, ending: dict[str, object], state: str, sentence: str) -> None:
    text = Elements(page.html(training(tmp_path, **ending), running=False)).text
    assert state in text
    assert sentence in text


def test_a_running_page_knows_when_its_training_has_gone_silent_for_long(tmp_path: Path) -> None:
    events = training(tmp_path)
    (alarm,) = Elements(page.html(events, running=True)).all("p", id="silence")
    assert (alarm["data-t"], alarm["data-after"]) == (str(events[-1]["t"]), "300")
    assert not Elements(page.html(events, running=False)).all("p", id="silence")


def test_a_page_without_events_says_so() -> None:
    assert "Nothing has begun yet." in Elements(page.html([], running=True)).text


def test_lost_numbers_are_gaps_and_never_stop_the_page(tmp_path: Path) -> None:
    events = training(tmp_path)
    for event in events:
        for field in ("loss", "grad_norm", "metric", "low", "high", "memory_mb", "seconds"):
            if field in event:
                event[field] = None
    assert "?" in "".join(Elements(page.html(events, running=True)).text)


def test_the_live_page_is_rewritten_at_most_every_two_seconds_and_always_at_the_end(tmp_path: Path) -> None:
    now = [0.0]
    live_page = LivePage(tmp_path, clock=lambda: now[0])
    written: list[str] = []

    def watch(event: live.Event) -> None:
        live_page(event)
        shown = live_page.path.read_text(encoding="utf-8")
        if not written or written[-1] != shown:
            written.append(shown)

    for event in training(tmp_path / "made", end=True):
        if event["kind"] == "step":
            now[0] += 0.5
        watch(event)
    steps = [re.search(r"Step (\d+) of", one).group(1) for one in written]  # type: ignore[union-attr]
    assert steps == ["0", "4", "8", "12", "16", "20", "24", "28", "30"]
    assert 'http-equiv="refresh"' in written[-2]
    assert 'http-equiv="refresh"' not in written[-1]


def test_a_resumed_run_keeps_what_its_page_showed(tmp_path: Path) -> None:
    training(tmp_path)
    live_page = LivePage(tmp_path)
    with EventLog(tmp_path, watchers=[live_page]) as log:
        log.resume(step=20)
        log.stop(step=20, reason="Ctrl-C")
    assert "Step 20 of 40" in live_page.path.read_text(encoding="utf-8")


def test_a_page_that_cannot_be_written_does_not_disturb_the_training(tmp_path: Path) -> None:
    (tmp_path / "page.html").mkdir()
    live_page = LivePage(tmp_path)
    for event in training(tmp_path / "made", end=True):
        live_page(event)
    live_page.close()
    assert list((tmp_path / "page.html").iterdir()) == []


def test_drawing_takes_less_than_a_hundredth_of_a_training_of_one_second_steps(tmp_path: Path) -> None:
    """A long run of 5,000 steps; the time a page takes is spread over the seconds until the next."""
    events = training(tmp_path, steps=5000, made=5000)
    began = time.perf_counter()
    page.html(events, running=True)
    cost = time.perf_counter() - began
    assert cost < 1.0
    now = [0.0]

    def clock() -> float:
        """Reads at once, but a drawing takes half a second."""
        now[0] += 0.25
        return now[0]

    live_page = LivePage(tmp_path / "slow", clock=clock)
    start = now[0]
    for event in events[:1500]:
        live_page(event)
        now[0] += 1.0
    assert live_page.seconds <= 0.015 * (now[0] - start)


def test_a_chart_is_well_formed_and_stays_within_its_frame() -> None:
    figure = chart("A & B", [Series("x<y", range(1000), [float(i % 7) for i in range(1000)])], described='"quoted"')
    svg = ElementTree.fromstring(figure)
    (path,) = [node.get("d", "") for node in svg.iter("path") if len(node.get("d", "")) > 100]
    numbers = [tuple(map(float, pair.split())) for pair in re.split("[ML]", path)[1:]]
    assert len(numbers) <= 200
    assert all(0 <= x <= 520 and 0 <= y <= 240 for x, y in numbers)


def test_ticks_enclose_the_values_and_read_differently() -> None:
    for low, high in ((0.0, 0.0), (0.061, 0.0613), (-3.0, 1200.0), (1e-6, 2e-4), (5.0, 5.0)):
        ticks = nice(low, high)
        assert ticks[0] <= low
        assert ticks[-1] >= high
        assert len({label(value, ticks) for value in ticks}) == len(ticks) >= 2
