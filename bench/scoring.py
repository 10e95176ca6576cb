"""Answers and gold in, verdicts and intervals out; knows neither models nor files.

Normalisation makes "Fifteen days", "15 day" and "15 days." equal, and "$5k", "5,000 dollars" and "$5,000".
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

_UNITS = "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen".split()
_WORDS = {
    **{word: str(value) for value, word in enumerate(_UNITS)},
    **dict(zip(("seventeen", "eighteen", "nineteen", "twenty"), ("17", "18", "19", "20"), strict=True)),
    **{"thirty": "30", "forty": "40", "fifty": "50", "sixty": "60", "seventy": "70", "eighty": "80", "ninety": "90"},
    **{"sixth": "6th", "second": "2nd", "third": "3rd", "fourth": "4th", "fifth": "5th"},
    "hr": "hour",
    "hrs": "hour",
    "min": "minute",
    "mins": "minute",
    "yr": "year",
    "yrs": "year",
}
_KEEP_S = frozenset({"this", "is", "was", "has", "does", "less", "always", "b"})
_ARTICLES = frozenset({"a", "an", "the"})


def normalise(text: str) -> str:
    """A text as compared: case, punctuation, articles, plurals, number words, money, percent and ranges evened out.

    >>> normalise("The Fifteen days!"), normalise("$5k"), normalise("45–50 hours"), normalise("85%")
    ('15 day', '5000 dollar', '45 to 50 hour', '85 percent')
    """
    text = text.lower().replace("’", "'")
    text = re.sub(r"(?<=\d),(?=\d{3}(?!\d))", "", text)
    text = re.sub(r"\$\s?(\d+(?:\.\d+)?)\s?k\b", lambda match: f"${_thousand(match.group(1))}", text)
    text = re.sub(r"\$\s?(\d+(?:\.\d+)?)(\s*dollars?\b)?", r" \1 dollar ", text)
    text = re.sub(r"(\d)\s?%", r"\1 percent ", text)
    text = re.sub(r"(\d)\s?[-–—]\s?(?=\d)", r"\1 to ", text)
    text = re.sub(r"(\d)([ap]m?)\b", r"\1 \2", text)
    tokens = re.findall(r"\d+(?:\.\d+)?(?:st|nd|rd|th)?|[^\W\d_]+", text.replace("'s ", " ").replace("'", ""))
    return " ".join(_token(token) for token in tokens if token not in _ARTICLES)


def _thousand(amount: str) -> str:
    return f"{float(amount) * 1000:g}" if float(amount) < 1000 else f"{float(amount) * 1000:.0f}"


def _token(token: str) -> str:
    token = _WORDS.get(token, token)
    plural = token.endswith("s") and not token.endswith("ss") and len(token) > 3 and token not in _KEEP_S
    return token[:-1] if plural else token


def contains_gold(answer: str, gold: Sequence[str]) -> bool:
    """Whether any gold string stands in the answer as whole words, both normalised.

    >>> contains_gold("You get 3 weeks, i.e. fifteen days.", ["15 days"]), contains_gold("115 days", ["15 days"])
    (True, False)
    """
    padded = f" {normalise(answer)} "
    return any(f" {normalise(one)} " in padded for one in gold)


class Interval(NamedTuple):
    """A share or mean with its 95 % interval."""

    value: float
    low: float
    high: float
    n: int

    def __str__(self) -> str:
        return f"{self.value:.3f} [{self.low:.3f}, {self.high:.3f}]"


def wilson(successes: int, n: int) -> Interval:
    """A share with its Wilson score interval (Wilson, JASA 1927).

    >>> wilson(9, 10)
    Interval(value=0.9, low=0.596, high=0.982, n=10)
    """
    if n == 0:
        return Interval(math.nan, 0.0, 1.0, 0)
    z = 1.959963984540054
    p = successes / n
    middle = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    return Interval(round(p, 4), round(max(0.0, middle - half), 3), round(min(1.0, middle + half), 3), n)


def bootstrap(
    values: npt.NDArray[np.float64],
    clusters: Sequence[object] | None = None,
    *,
    weights: npt.NDArray[np.float64] | None = None,
    draws: int = 10_000,
    seed: int = 0,
) -> Interval:
    """The (weighted) mean with a percentile interval, whole clusters resampled together.

    For a paired comparison give the differences.
    """
    if len(values) == 0:
        return Interval(math.nan, math.nan, math.nan, 0)
    weights = np.ones(len(values)) if weights is None else weights
    labels: list[object] = list(range(len(values))) if clusters is None else list(clusters)
    _, group = np.unique([str(label) for label in labels], return_inverse=True)
    count = int(group.max()) + 1
    total = np.bincount(group, weights=values * weights, minlength=count)
    size = np.bincount(group, weights=weights, minlength=count)
    picks = np.random.default_rng(seed).integers(0, count, size=(draws, count))
    denominator = size[picks].sum(axis=1)
    means = total[picks].sum(axis=1)[denominator > 0] / denominator[denominator > 0]
    low, high = np.quantile(means, [0.025, 0.975])
    mean = float(total.sum() / size.sum()) if size.sum() else math.nan
    return Interval(round(mean, 4), round(float(low), 4), round(float(high), 4), len(values))


def auc(positive: Sequence[float], negative: Sequence[float]) -> float:
    """The chance that a positive scores above a negative, ties counting half.

    >>> auc([2.0, 3.0], [1.0, 2.0])
    0.875
    """
    above = np.subtract.outer(np.asarray(positive), np.asarray(negative))
    return float(((above > 0) + 0.5 * (above == 0)).mean())
