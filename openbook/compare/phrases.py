"""Phrases that advice and its steps share: what an arm reached, what search found, what training added."""

from __future__ import annotations

from openbook.compare.quote import NAMES, goal, said, short
from openbook.compare.schema import FOUR, METRICS, Figure
from openbook.compare.weigh import BEHAVIOUR, FEW, Found


def arm(found: Found, name: str) -> str:
    """What an arm reached."""
    value = found.of(name)
    return f"{NAMES[name]} was not measured" if value is None else f"{NAMES[name]}, {reached(found, value)}"


def first(found: Found) -> str:
    """What the first of the four that was measured reached."""
    return next((arm(found, name) for name in FOUR if found.of(name)), "no arm was measured")


def reached(found: Found, value: Figure) -> str:
    """A figure of the deciding metric, with its name."""
    return f"{METRICS[found.metric].label} {said(value, found.metric)}"


def training(found: Found) -> str:
    """What training added to RAG, and what it cost."""
    gain = found.gain("tuned+rag", "rag")
    told = "tuned + RAG was not measured" if gain is None else str(gain)
    seeds = found.seeds
    if len(seeds) > 1:
        low, high = goal(min(seeds), found.metric), goal(max(seeds), found.metric)
        told += f"; {len(seeds)} trainings with different seeds reach {low} to {high}"
    return "; ".join([told, *behaviour(found, "tuned+rag", "rag"), *found.harms])


def behaviour(found: Found, name: str, over: str) -> list[str]:
    """Where one arm behaves detectably better than another."""
    return [f"{METRICS[m].label}: {one}" for m in BEHAVIOUR if (one := found.gain(name, over, m)) and one.better]


def search(found: Found) -> str:
    """How often the right passage was found, and what it would be worth."""
    parts = []
    if found.shown is not None:
        name, value = found.shown
        parts.append(f"{name} {'for' if ' ' in name else 'is'} {said(value, 'retrieved')}")
    if found.oracle is not None:
        parts.append(f"with the right passage it reaches {short(found.oracle[1], found.metric)}")
    return "; ".join(parts) or "how often the right passage is found was not measured"


def asked(n: int) -> str:
    """How many cases there are, and whether they are too few."""
    if not n:
        return "nothing was measured: 0 cases were answered"
    return f"{n} case{'' if n == 1 else 's'}" + (f", fewer than {FEW}: every interval is too wide" if n < FEW else "")
