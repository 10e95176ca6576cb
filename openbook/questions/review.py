"""Questions shown to a person one by one, accept or reject out; and the same as a page and a file of decisions.

Knows no library: `ask` shows an item and answers with a key, so a terminal, a page or a test can stand behind it.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Literal

from openbook.errors import ExamplesError
from openbook.files import write_atomic
from openbook.metrics import Interval, wilson
from openbook.records import Case

PAGE, DECISIONS = "review.html", "review.jsonl"

Key = Literal["accept", "reject", "skip", "quit"]
Ask = Callable[[Case, int, int], Key]
"""Called as ask(case, number, of); shows the case and waits for the person."""


@dataclass(frozen=True, slots=True)
class Review:
    """What a person said about a random part of the questions."""

    shown: tuple[Case, ...]
    """The cases drawn, in the order shown."""
    accepted: tuple[str, ...]
    """Ids."""
    rejected: tuple[str, ...]
    reviewed: bool
    """False: nobody was asked, or nobody answered."""

    @property
    def rate(self) -> Interval:
        """Share accepted of those decided, with its 95 % Wilson interval."""
        return wilson(len(self.accepted), len(self.accepted) + len(self.rejected))

    def kept(self, cases: Iterable[Case]) -> list[Case]:
        """The cases without the rejected ones."""
        away = set(self.rejected)
        return [case for case in cases if case.id not in away or not case.id]

    def facts(self) -> dict[str, object]:
        """For a manifest: reviewed, shown, accepted, rejected, rate with interval."""
        decided = len(self.accepted) + len(self.rejected)
        rate = {"rate": round(self.rate.mean, 4), "interval": [round(self.rate.low, 4), round(self.rate.high, 4)]}
        counts = {"shown": len(self.shown), "accepted": len(self.accepted), "rejected": list(self.rejected)}
        return {"reviewed": self.reviewed, **counts, **(rate if decided else {})}


def draw(cases: Sequence[Case], n: int, seed: int = 0) -> list[Case]:
    """n random cases with an id; the same input gives the same cases whatever its order."""
    pool = sorted((case for case in cases if case.id), key=lambda case: case.id)
    return random.Random(seed).sample(pool, min(n, len(pool)))


def review(cases: Sequence[Case], n: int, seed: int = 0, ask: Ask | None = None) -> Review:
    """Show n random cases and collect what the person says; without `ask` nobody is asked.

    "quit" and Ctrl-C end the review; what was decided before counts.
    """
    shown = draw(cases, n, seed)
    said: dict[str, Key] = {}
    if ask is not None:
        try:
            for number, case in enumerate(shown, 1):
                answer = ask(case, number, len(shown))
                if answer == "quit":
                    break
                said[case.id] = answer
        except KeyboardInterrupt:
            pass
    return _made(shown, said)


def _made(shown: Sequence[Case], said: dict[str, Key]) -> Review:
    accepted = tuple(case.id for case in shown if said.get(case.id) == "accept")
    rejected = tuple(case.id for case in shown if said.get(case.id) == "reject")
    return Review(tuple(shown), accepted, rejected, bool(accepted or rejected))


def terminal() -> Ask | None:
    """Asks on the terminal with the keys a, r and q, on stderr; None when there is no terminal to ask on."""
    import sys

    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        return None

    def ask(case: Case, number: int, of: int) -> Key:
        import click

        click.echo(f"\n[{number}/{of}] {text_of(case)}", err=True)
        keys: dict[str, Key] = {"a": "accept", "r": "reject", "q": "quit", "\r": "accept", "\n": "accept"}
        while True:
            click.echo("a accept, r reject, q stop: ", nl=False, err=True)
            try:
                key = click.getchar().lower()
            except (EOFError, KeyboardInterrupt):
                click.echo(err=True)
                return "quit"
            click.echo(key if key.isprintable() else "", err=True)
            if key in keys:
                return keys[key]

    return ask


def text_of(case: Case) -> str:
    """A case as lines of text, control characters left out.

    >>> print(text_of(Case("When?", ("1990",))))
    When?
        answer: 1990
    """
    before = [f"({turn.role}) {turn.content}" for turn in case.history]
    places = ", ".join(dict.fromkeys(span.document for span in case.spans))
    lines = [
        *before,
        case.question,
        f"    answer: {' | '.join(case.gold) or 'none'}",
        *([f"    {case.kind}{f', {case.why}' if case.why else ''}"] if case.kind != "answerable" else []),
        *([f"    not: {' | '.join(case.stale)}"] if case.stale else []),
        *(f"    shown: {' '.join(context.split())}" for context in case.contexts),
        *([f"    out of sight: {', '.join(case.without)}"] if case.without else []),
        *([f"    in: {places}"] if places else []),
    ]
    return "\n".join("".join(char if char.isprintable() else " " for char in line) for line in lines)


def write(review: Review, folder: Path) -> tuple[Path, Path]:
    """Write the page and the decisions into a folder; returns their paths."""
    decisions = {**dict.fromkeys(review.accepted, "accept"), **dict.fromkeys(review.rejected, "reject")}
    lines = [
        json.dumps(
            {
                "id": case.id,
                "decision": decisions.get(case.id, ""),
                "question": case.question,
                "answer": list(case.gold),
            },
            ensure_ascii=False,
        )
        for case in review.shown
    ]
    page, file = folder / PAGE, folder / DECISIONS
    write_atomic(page, _page(review, decisions))
    write_atomic(file, "".join(f"{line}\n" for line in lines).encode("utf-8", "replace"))
    return page, file


def recorded(path: Path) -> Ask:
    """Answers with the decisions of a file that `write` wrote and a person edited; what has none there is skipped.

    Raises ExamplesError naming the line.
    """
    said: dict[str, Key] = {}
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ExamplesError(f"decisions {str(path)!r} cannot be read: {error}; review again") from None
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
            identity, decision = str(row["id"]), row["decision"]
        except (ValueError, TypeError, KeyError, RecursionError):
            raise ExamplesError(
                f"{path.name}:{number}: {line[:60]!r} is no decision; "
                'write {"id": ..., "decision": "accept" or "reject"}'
            ) from None
        if decision not in ("accept", "reject", ""):
            raise ExamplesError(f'{path.name}:{number}: decision {decision!r} is unknown; use "accept" or "reject"')
        said[identity] = decision or "skip"
    return lambda case, *_: said.get(case.id, "skip")


def _page(review: Review, decisions: dict[str, str]) -> bytes:
    """A page that needs nothing else; questions and documents are data in it, never markup."""
    rate = review.rate
    head = (
        f"{rate.mean:.0%} of {len(decisions)} accepted (95 % interval {rate.low:.0%} to {rate.high:.0%})"
        if review.reviewed
        else f"not reviewed: write accept or reject in {DECISIONS} beside this page and train with --reviewed FILE"
    )
    items = "\n".join(
        f'<li class="{decisions.get(case.id, "open")}"><pre>{escape(text_of(case))}</pre>'
        f"<p>{escape(case.id)} {decisions.get(case.id, 'open')}</p></li>"
        for case in review.shown
    )
    page = f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Questions to review</title>
<style>
body {{ font: 16px/1.5 system-ui, sans-serif; max-width: 46rem; margin: 2rem auto; padding: 0 1rem; }}
li {{ margin: 1rem 0; padding: .5rem 1rem; border-left: 4px solid #888; }}
li.accept {{ border-color: #2a7d2a; }} li.reject {{ border-color: #b3261e; }}
pre {{ white-space: pre-wrap; overflow-wrap: anywhere; font: inherit; margin: 0; }} p {{ color: #666; margin: 0; }}
</style></head><body>
<h1>Questions to review</h1>
<p>{escape(head)}</p>
<ol>
{items}
</ol>
</body></html>
"""
    return page.encode("utf-8", "replace")
