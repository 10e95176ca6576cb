"""A run as one self-contained HTML page that renews itself while the training runs; opened as a file, no server.

Events in, HTML out. Knows no torch and no trainer.
"""

from __future__ import annotations

import contextlib
import html as escaping
import itertools
import json
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from openbook.errors import MissingExtra
from openbook.files import write_atomic
from openbook.finetune import curves
from openbook.finetune.chart import Series, chart
from openbook.finetune.live import Event, Rates, best, check_seconds, history, rate, read
from openbook.finetune.look import shell

FILE_NAME = "page.html"


def html(events: Sequence[Event], *, running: bool) -> str:
    """The page for what the events hold; while `running` it reloads itself every few seconds.

    All text from models and data is escaped, and the page may load nothing from anywhere.
    """
    known = history(events)
    start = next((event for event in known if event["kind"] == "start"), None)
    if start is None:
        return shell("Training", '<header><h1>Training</h1><p class="sub">Nothing has begun yet.</p></header>', running)
    speed = rate(known)
    body = "".join(
        (
            _header(start, known, speed, running),
            "<main>",
            _alarm(events) if running else "",
            _notice(known, running),
            _tiles(known, speed),
            f'<section class="charts" aria-label="Curves">{_charts(known, start["steps"])}</section>',
            _samples(known),
            _settings(start),
            "</main>",
            _footer(events),
        )
    )
    share = f"{100 * _done(known) // max(start['steps'], 1)} % · " if running else ""
    return shell(f"{share}{start['name']}", body, running)


class LivePage:
    """Keeps page.html in a run folder up to date: give it each event (a watcher of EventLog), close it at the end.

    Rewrites at most every `every` seconds and never spends more than a hundredth of the time on it; a page that cannot
    be written (disk full) is skipped, never an error.
    """

    def __init__(self, folder: Path, *, every: float = 2.0, clock: Callable[[], float] = time.monotonic) -> None:
        self.path = folder / FILE_NAME
        self.seconds = 0.0
        """Spent on drawing so far."""
        self._events = read(folder)
        self._every = every
        self._clock = clock
        self._due = clock()

    def __call__(self, event: Event) -> None:
        """Take an event in; redraw when it is time, and always when the training starts, stops or ends."""
        self._events.append(event)
        over = event["kind"] in {"stop", "end"}
        if over or event["kind"] == "start" or self._clock() >= self._due:
            self._draw(running=not over)

    def close(self) -> None:
        """Write the page a last time, without reloading, and the curves as curves.png beside it."""
        self._draw(running=False)
        with contextlib.suppress(OSError, MissingExtra):
            curves.png(self._events, self.path.with_name("curves.png"))

    def _draw(self, *, running: bool) -> None:
        began = self._clock()
        with contextlib.suppress(OSError):
            write_atomic(self.path, html(self._events, running=running))
        now = self._clock()
        self.seconds += now - began
        self._due = now + max(self._every, 100 * (now - began))


def duration(seconds: float) -> str:
    """Wall time as a person says it.

    >>> duration(48.2), duration(200), duration(3900), duration(0.4)
    ('48 s', '3 min 20 s', '1 h 05 min', '0 s')
    """
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02} min"


def _header(start: Event, known: Sequence[Event], speed: Rates | None, running: bool) -> str:
    done, steps = _done(known), start["steps"]
    share = min(100 * done // max(steps, 1), 100)
    epoch = next((event["epoch"] for event in reversed(known) if event["kind"] == "step"), 0.0)
    left = f" · about {duration(speed.eta)} left" if running and speed and speed.eta else ""
    state, color = _state(known, running)
    return (
        f'<header><div class="top"><h1>{_text(start["name"])}</h1>'
        f'<span class="state {color}" role="status">{state}</span></div>'
        f'<p class="sub">{_text(start["model"])} · {start["examples"]:,} examples, {start["validation"]:,} held out · '
        f"run {_text(start['run'])}</p>"
        f'<div class="track" role="progressbar" aria-label="Training" aria-valuemin="0" aria-valuemax="{steps}" '
        f'aria-valuenow="{done}"><div style="width:{share}%"></div></div>'
        f"<p>Step {done:,} of {steps:,} · epoch {epoch:.2f} of {start['epochs']:g} · {share} %{left}</p></header>"
    )


def _state(known: Sequence[Event], running: bool) -> tuple[str, str]:
    kinds = {event["kind"] for event in known}
    if running:
        return "running", "blue"
    if "stop" in kinds:
        return "stopped", "orange"
    return ("finished", "green") if "end" in kinds else ("interrupted", "orange")


def _notice(known: Sequence[Event], running: bool) -> str:
    stop = next((event for event in known if event["kind"] == "stop"), None)
    end = next((event for event in known if event["kind"] == "end"), None)
    said = []
    if stop is not None:
        said.append(f"Stopped after step {stop['step']:,}: {_text(stop['reason'])}")
    elif end is None and not running:
        said.append(f"Interrupted after step {_done(known):,}; continue it with: openbook finetune --resume")
    if end is not None:
        said.append(f"The weights after step {end['best_step']:,} are kept; training took {duration(end['seconds'])}.")
    look = "panel" if stop is None and end is not None else "notice"
    return "".join(f'<p class="{look}">{line}</p>' for line in said)


def _tiles(known: Sequence[Event], speed: Rates | None) -> str:
    last = next((event for event in reversed(known) if event["kind"] == "step"), None)
    peak = max((event["memory_mb"] or 0 for event in known if event["kind"] == "step"), default=0)
    checks = [event for event in known if event["kind"] == "eval"]
    tiles: list[tuple[str, str, list[str]]] = []
    if top := best(known):
        notes = [f"at step {top['step']}"]
        if top["low"] is not None and top["high"] is not None:
            notes.append(f"interval {_number(top['low'])} to {_number(top['high'])}")
        if checks[0] is not top:
            notes.append(f"{_number(checks[0]['metric'])} at step {checks[0]['step']}")
        tiles.append((_number(top["metric"]), f"best {curves.plain(top['name'])}", notes))
    if last is not None:
        held = [f"held out {_number(checks[-1]['loss'])}"] if checks else []
        tiles.append((_number(last["loss"]), "training loss", [f"at step {last['step']}", *held]))
    if speed is not None:
        notes = [f"{speed.padded:,.0f} computed", f"{speed.supervised:,.0f} learned"]
        tiles.append((f"{speed.real:,.0f}", "real tokens/s", notes))
    if last is not None:
        now = f"{last['memory_mb'] / 1000:.1f} GB" if last["memory_mb"] else "?"
        tiles.append((now, "memory", [f"{peak / 1000:.1f} GB at most"]))
        spent = sum(event["seconds"] or 0 for event in known if event["kind"] == "step")
        notes = [f"{speed.step_seconds:.2g} s a step"] if speed is not None else []
        tiles.append((duration(spent + sum(check_seconds(known))), "spent training", notes))
    shown = "".join(
        f'<div class="tile"><b>{value}</b>{_text(what)}{"".join(f"<span>{_text(note)}</span>" for note in notes)}</div>'
        for value, what, notes in tiles
    )
    return f'<section class="tiles" aria-label="Figures">{shown}</section>'


def _charts(known: Sequence[Event], steps: int) -> str:
    made = [event for event in known if event["kind"] == "step"]
    timed = [event for event in made if event["seconds"]]
    checks = [event for event in known if event["kind"] == "eval"]
    at, checked = [event["step"] for event in made], [event["step"] for event in checks]
    loss, held = [event["loss"] for event in made], [event["loss"] for event in checks]
    scores = [event["metric"] for event in checks]
    name = curves.plain(checks[-1]["name"]) if checks else "task metric"
    bars = [(e["step"], e["low"], e["high"]) for e in checks if e["low"] is not None and e["high"] is not None]
    speeds = {
        kind: curves.smooth([event[kind] / event["seconds"] for event in timed])
        for kind in ("padded", "real", "supervised")
    }
    when = [event["step"] for event in timed]
    title = f"{name[:1].upper()}{name[1:]}" + (
        f" on {checks[-1]['n']} held-out prompts, 95 % interval" if checks else ""
    )
    return "".join(
        (
            chart(
                "Loss",
                [
                    Series("", at, loss, "blue", "faint"),
                    Series("training, smoothed", at, curves.smooth(loss), "blue"),
                    Series("held out", checked, held, "orange", "dash", marked=True),
                ],
                described=f"Training {_course(at, loss)}; held out {_course(checked, held)}.",
                x_max=steps,
            ),
            chart(
                title,
                [Series(name, checked, scores, "green", marked=True, ranges=bars)],
                described=f"{name} {_course(checked, scores)}.",
                x_max=steps,
                from_zero=True,
            ),
            chart(
                "Tokens per second",
                [
                    Series("computed", when, speeds["padded"], "grey", "dots"),
                    Series("real", when, speeds["real"], "blue"),
                    Series("learned", when, speeds["supervised"], "orange", "dash"),
                ],
                described=f"Real {_course(when, speeds['real'])}.",
                x_max=steps,
                from_zero=True,
            ),
            chart(
                "Learning rate",
                [Series("", at, [event["lr"] for event in made], "blue")],
                described=f"{_course(at, [event['lr'] for event in made])}.",
                x_max=steps,
                from_zero=True,
            ),
        )
    )


def _samples(known: Sequence[Event]) -> str:
    checks = [event for event in known if event["kind"] == "eval" and event["samples"]]
    if not checks:
        return ""
    first, last = checks[0], checks[-1]
    before = {sample["prompt"]: sample for sample in first["samples"]} if first is not last else {}
    shown = []
    for sample in last["samples"]:
        sides = [("Reference", sample["reference"]), (f"Reply after step {last['step']}", sample["reply"])]
        scores = _number(sample["score"])
        if earlier := before.get(sample["prompt"]):
            sides.insert(
                1, (f"Reply after step {first['step']}" if first["step"] else "Untouched model", earlier["reply"])
            )
            scores = f"{_number(earlier['score'])} → {scores}"
        columns = "".join(f'<div><h3>{head}</h3><p class="text">{_text(text)}</p></div>' for head, text in sides)
        shown.append(
            f'<article class="panel sample"><span class="score">{_text(curves.plain(last["name"]))} {scores}</span>'
            f'<p class="text ask">{_text(sample["prompt"])}</p><div class="sides">{columns}</div></article>'
        )
    return f"<section><h2>Answers to held-out prompts</h2>{''.join(shown)}</section>"


def _settings(start: Event) -> str:
    return (
        '<section><h2>Settings and machine</h2><div class="halves">'
        f"{_pairs('Settings', start['settings'])}{_pairs('Machine', start['machine'])}</div></section>"
    )


def _pairs(caption: str, values: Mapping[str, Any]) -> str:
    plain = {key: _plain(value) for key, value in values.items()}
    rows = "".join(f'<tr><th scope="row">{_text(key)}</th><td>{_text(value)}</td></tr>' for key, value in plain.items())
    return f'<table aria-label="{caption}">{rows}</table>'


def _alarm(events: Sequence[Event]) -> str:
    """Shown by the script once no event has come for much longer than any wait before."""
    waits = [after["t"] - before["t"] for before, after in itertools.pairwise(events)]
    silent = max(300.0, 3 * max(waits[-50:], default=0.0))
    newest = events[-1]["t"]
    return f'<p class="notice" id="silence" hidden role="alert" data-t="{newest}" data-after="{silent:.0f}"></p>'


def _footer(events: Sequence[Event]) -> str:
    when = datetime.fromtimestamp(events[-1]["t"], UTC)
    return (
        f'<footer>Last event <time datetime="{when:%Y-%m-%dT%H:%M:%SZ}">{when:%Y-%m-%d %H:%M:%S} UTC</time>. '
        "Every number comes from events.jsonl in this folder.</footer>"
    )


def _done(known: Sequence[Event]) -> int:
    return max((int(event["step"]) for event in known if event["kind"] == "step"), default=0)


def _course(x: Sequence[float], y: Sequence[float | None]) -> str:
    pairs = [(step, value) for step, value in zip(x, y, strict=True) if value is not None]
    if not pairs:
        return "not measured yet"
    return f"{_number(pairs[0][1])} at step {pairs[0][0]:g}, {_number(pairs[-1][1])} at step {pairs[-1][0]:g}"


def _number(value: float | None) -> str:
    if value is None:
        return "?"
    return f"{value:.3g}" if 0 < abs(value) < 0.01 or abs(value) >= 100 else f"{value:.2f}"


def _plain(value: object) -> str:
    if isinstance(value, str):
        return value
    return "not set" if value is None else json.dumps(value, default=str, ensure_ascii=False)


def _text(value: object) -> str:
    return escaping.escape(str(value))
