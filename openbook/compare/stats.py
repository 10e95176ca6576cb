"""Scores in, intervals and verdicts out: Wilson, McNemar, clustered bootstrap and sign-flips, Holm, sample sizes.

Scores are in [0, 1], one a case; clusters say which cases belong together (the document or conversation they are
about). Knows no arm, no row and no file. Needs scipy and statsmodels (the extra `compare`), loaded on first use; the
draws are gemms over numpy arrays because scipy's own resampling takes 0.2 s a comparison.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from statistics import NormalDist
from typing import TYPE_CHECKING, Any, Literal

from openbook.compare.schema import FOUR, METRICS, Figure, Pair, Power
from openbook.errors import CompareError
from openbook.extras import need

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Floats = npt.NDArray[np.float64]
    Counts = npt.NDArray[np.int64]

ALPHA = 0.05
DRAWS = 10_000
FEWEST = 6
"""Clusters without which nothing is settled: the signs of five agree by chance in 1 of 16 cases."""
HOPELESS = 10_000
"""Cases beyond which a sentence does not name a number any more."""

_Z = NormalDist().inv_cdf(1 - ALPHA / 2)
_BLOCK = 1_000


def figure(scores: Sequence[float], clusters: Sequence[str], *, kind: Literal["share", "mean"]) -> Figure:
    """A share with its Wilson interval, or a mean with a bootstrap interval over resampled clusters.

    clusters: one a score; () takes each score as its own. Answers about one document are not independent, so a share's
    Wilson interval is that of the effective number of cases: n over the design effect, less for few clusters (Korn and
    Graubard 1998); n itself without clusters. Fewer than six clusters say nothing about other ones: then the interval
    is about these alone, each case for itself. Raises CompareError for no scores or one that is no finite number.

    >>> found = figure([1.0] * 9 + [0.0], (), kind="share")
    >>> found.value, round(found.low, 3), round(found.high, 3), found.n
    (0.9, 0.596, 0.982, 10)
    """
    if not scores:
        raise CompareError("there is no score to make a figure of; leave the metric out")
    values = _finite(scores, "a score")
    rows, count = _clusters(clusters, len(values))
    value = float(values.mean())
    # a mean that is 0 or 1 in every case would resample to an interval without width
    if _binary(values) and (kind == "share" or value in (0, 1)):
        effective = _effective(values, rows, count)
        confint = _statsmodels("proportion").proportion_confint
        low, high = confint(value * effective, effective, alpha=ALPHA, method="wilson")
        # at 0 and 1 the formula misses the end by rounding
        low, high = (0.0 if value == 0 else float(low)), (1.0 if value == 1 else float(high))
    else:
        low, high = _interval(values, rows, count, bounds=(0.0, 1.0))
    return Figure(value, low, high, len(values), count)


def compare(
    a: str,
    b: str,
    metric: str,
    scores_a: Mapping[str, float],
    scores_b: Mapping[str, float],
    clusters: Mapping[str, str],
) -> Pair:
    """Two arms on the cases both have a score for; p_holm is p until `holm` has seen all pairs.

    clusters: case -> document or conversation; a case without one is its own. The interval is a paired bootstrap over
    clusters (over cases where there are fewer than six). p is of exact McNemar for shares and of flipping the signs of
    whole clusters for means; for shares in clusters the larger of the two, so that many answers about one document do
    not pass for many witnesses. Fewer than six clusters never reach 0.05. Raises CompareError for an unknown metric or
    a score that is no finite number.

    >>> cases = [str(n) for n in range(20)]
    >>> compare("base", "rag", "answer_correct", dict.fromkeys(cases, 0.0), dict.fromkeys(cases, 1.0), {}).sentence
    'rag is 100 points above base [100, 100], p < .001, n = 20'
    """
    if metric not in METRICS:
        raise CompareError(f"metric {metric!r} is unknown; use one of {', '.join(METRICS)}")
    cases = sorted(scores_a.keys() & scores_b.keys())
    if not cases:
        return _told(Pair(a, b, metric, 0, 0.0, -1.0, 1.0, 1.0, 1.0, 0, 0, "no difference", 0, ""), ALPHA)
    first = _finite([scores_a[case] for case in cases], f"{metric} of {a!r}", cases)
    second = _finite([scores_b[case] for case in cases], f"{metric} of {b!r}", cases)
    rows, count = _clusters([clusters.get(case, f"case {case}") for case in cases], len(cases))
    change = second - first
    share = METRICS[metric].kind == "share" and _binary(first) and _binary(second)
    fewer, more = (int((change < 0).sum()), int((change > 0).sum())) if share else (0, 0)
    a_only, b_only = (fewer, more) if METRICS[metric].better == "higher" else (more, fewer)
    low, high = _interval(change, rows, count, bounds=(-1.0, 1.0))
    ps = []
    if share:
        ps.append(float(_statsmodels("contingency_tables").mcnemar([[0, a_only], [b_only, 0]], exact=True).pvalue))
    if not share or count < len(cases):
        ps.append(sign_flips(_sums(change, rows, count)))
    p = min(1.0, max(ps))
    pair = Pair(
        a, b, metric, len(cases), float(change.mean()), low, high, p, p, a_only, b_only, "no difference", 0, "", count
    )
    return _told(pair, ALPHA)


def holm(pairs: Sequence[Pair]) -> list[Pair]:
    """The same pairs in the same order, p_holm adjusted, with verdict, needed and sentence after it (Holm 1979).

    The pairs of the four arms by one metric are a family; those with a diagnostic arm are another one.
    """
    told = list(pairs)
    families: dict[tuple[str, bool], list[int]] = {}
    for at, pair in enumerate(pairs):
        families.setdefault((pair.metric, pair.a in FOUR and pair.b in FOUR), []).append(at)
    for members in families.values():
        # not statsmodels' multipletests: it collects garbage at every call, 80 ms of a small process
        highest = 0.0
        for rank, at in enumerate(sorted(members, key=lambda at: pairs[at].p)):
            left = len(members) - rank
            highest = max(highest, min(1.0, left * pairs[at].p))
            told[at] = _told(replace(pairs[at], p_holm=highest), ALPHA / left)
    return told


def needed(gap: float, disagreement: float, *, power: float = 0.8, alpha: float = ALPHA) -> int:
    """Cases with which a gap of this size shows with this power; 0 for no gap (Connor 1987, paired shares).

    gap: difference of two shares in [-1, 1]. disagreement: share of cases the arms differ on, at least |gap|; for
    means the mean squared difference. Each case counts as independent of the others.

    >>> needed(0.10, 0.2), needed(0.05, 0.4)
    (155, 1254)
    """
    if gap == 0:
        return 0
    spread = max(disagreement, gap * gap)
    reach = _z(1 - alpha / 2) * math.sqrt(spread) + _z(power) * math.sqrt(max(0.0, spread - gap * gap))
    return math.ceil((reach / gap) ** 2 - 1e-9)


def power_table(
    *cases: int, disagreements: Sequence[float] = (0.2, 0.3, 0.4), power: float = 0.8, alpha: float = ALPHA
) -> tuple[Power, ...]:
    """Smallest gap that so many cases show, by how often two arms disagree; left out where none shows.

    The inverse of `needed`; for 100 cases and 30 % disagreement 15 points, as published tables have it.

    >>> [round(row.gap, 2) for row in power_table(100)]
    [0.12, 0.15, 0.18]
    """
    level, beta = _z(1 - alpha / 2), _z(power)
    table = []
    for n in cases:
        for disagreement in disagreements:
            inner = n + beta**2 - level**2
            gap = (
                math.sqrt(disagreement) * (level * math.sqrt(n) + beta * math.sqrt(inner)) / (n + beta**2)
                if inner > 0
                else math.inf
            )
            if gap > disagreement:
                # the arms cannot differ by more than they disagree: all of it in one direction, by the exact test
                gap = disagreement if _one_sided_power(n, disagreement, alpha) >= power else math.inf
            if math.isfinite(gap):
                table.append(Power(n, disagreement, gap))
    return tuple(table)


def sentence(pair: Pair) -> str:
    """What the pair says, for a person; p and the verdict are those after Holm."""
    low, high, difference = pair.low, pair.high, pair.difference
    if pair.n == 0:
        return f"{pair.a} and {pair.b} cannot be compared: no case has a score for both"
    if low == high == difference == pair.a_only == 0:
        return f"{pair.a} and {pair.b} score the same on {'the one case' if pair.n == 1 else f'all {pair.n} cases'}"
    gap = f"{pair.b} - {pair.a} {_points(low, high, difference, sign=True)}"
    if pair.verdict != "no difference":
        best, other = (pair.a, pair.b) if pair.verdict == "a" else (pair.b, pair.a)
        if best == pair.a:
            low, high, difference = -high, -low, -difference
        lower = difference < 0
        if lower:
            low, high, difference = -high, -low, -difference
        side = f"{'below' if lower else 'above'} {other}"
        points = _points(low, high, difference, between=side)
        better = " (lower is better)" if lower else ""
        return f"{best} is {points}{better}, {_p(pair.p_holm)}{_adjusted(pair)}, n = {pair.n}"
    if pair.clusters < FEWEST:
        if pair.clusters == pair.n:
            return f"{pair.n} {'case settles' if pair.n == 1 else 'cases settle'} nothing ({gap}); add more"
        groups = "document or conversation" if pair.clusters == 1 else "documents or conversations"
        return (
            f"cannot be told: all {pair.n} cases are about {pair.clusters} {groups} and at least {FEWEST} are needed"
            f" ({gap})"
        )
    if pair.p < ALPHA:
        gap += f", {_p(pair.p)} alone but {_p(pair.p_holm).removeprefix('p = ')} over all pairs"
    elif low > 0 or high < 0:
        gap += f", {_p(pair.p)}"
    text = f"no detectable difference at n = {pair.n} ({gap})"
    if pair.needed > HOPELESS:
        return f"{text}; to settle a gap this small would take more than {HOPELESS:,} cases"
    if pair.needed:
        return f"{text}; about {about(pair.needed):,} cases would settle a gap of this size"
    return text


def sign_flips(sums: Floats) -> float:
    """Two-sided p of the hypothesis that each cluster's sum of differences could as well have the other sign.

    Exact up to 14 clusters that differ at all, else by DRAWS random flips, counting the observed one.
    """
    import numpy as np

    apart = sums[np.abs(sums) > 1e-12]
    if len(apart) == 0:
        return 1.0
    least = abs(float(sums.sum())) - 1e-9
    exact = len(apart) <= 14
    signs = _all_signs(len(apart)) if exact else _random_signs(len(sums))
    flipped = _times(signs, (apart if exact else sums)[:, None])[:, 0]
    extreme = int((np.abs(flipped) >= least).sum())
    return extreme / len(signs) if exact else (1 + extreme) / (1 + DRAWS)


def _told(pair: Pair, level: float) -> Pair:
    """The pair with verdict, needed and sentence of its p_holm; level is what p had to stay below."""
    verdict: Literal["a", "b", "no difference"] = "no difference"
    wanted = 0
    if pair.p_holm < ALPHA:
        better = pair.difference > 0 if METRICS[pair.metric].better == "higher" else pair.difference < 0
        verdict = "b" if better else "a"
    elif pair.clusters >= FEWEST and pair.difference != 0:
        # what one case adds to the variance, its cluster and all, as the interval has it
        spread = pair.n * ((pair.high - pair.low) / (2 * _Z)) ** 2
        gap = pair.difference
        wanted = max(pair.n + 1, needed(gap, spread + gap * gap, alpha=level))
    pair = replace(pair, verdict=verdict, needed=wanted)
    return replace(pair, sentence=sentence(pair))


def _interval(values: Floats, rows: Counts, count: int, *, bounds: tuple[float, float]) -> tuple[float, float]:
    """95 % percentile interval of the mean over resampled clusters, or over cases where clusters are too few.

    With k clusters the plain one is short by sqrt((k - 1) / k) and takes the normal for Student's t with k - 1 degrees
    (Hesterberg 2015): 30 % too short for 6, 3 % for 60; widened by that.
    """
    import numpy as np

    mean = float(values.mean())
    if len(values) == 1:
        return bounds
    if count < FEWEST:
        rows, count = np.arange(len(values)), len(values)
    if float(np.ptp(values)) == 0:
        return mean, mean
    sizes = np.bincount(rows, minlength=count).astype(np.float64)
    drawn = _times(_resamples(count), np.stack((_sums(values, rows, count), sizes), axis=1))
    low, high = np.quantile(drawn[:, 0] / drawn[:, 1], [ALPHA / 2, 1 - ALPHA / 2])
    wider = math.sqrt(count / (count - 1)) * _student(count) / _Z
    below, above = wider * max(0.0, mean - float(low)), wider * max(0.0, float(high) - mean)
    return max(bounds[0], mean - below), min(bounds[1], mean + above)


def _effective(values: Floats, rows: Counts, count: int) -> float:
    """Independent cases that would tell as much about the mean; at most n."""
    away = values - values.mean()
    n, squares = len(values), float((away**2).sum())
    if count < FEWEST or count == n:
        return n
    clustered = count / (count - 1) * float((_sums(away, rows, count) ** 2).sum()) / n**2
    effect = max(1.0, clustered * n * (n - 1) / squares) if squares else 1.0
    return n / effect * (_student(n) / _student(count)) ** 2


def _student(count: int) -> float:
    """How many standard errors the 95 % interval of a mean of so many values goes to each side."""
    return float(need("scipy.special", extra="compare", purpose="comparing arms").stdtrit(count - 1, 1 - ALPHA / 2))


def _clusters(labels: Sequence[str], n: int) -> tuple[Counts, int]:
    """Each value's cluster number and how many there are."""
    import numpy as np

    if not labels:
        return np.arange(n), n
    if len(labels) != n:
        raise ValueError(f"{n} scores have {len(labels)} clusters; give one each")
    numbers: dict[str, int] = {}
    rows = np.fromiter((numbers.setdefault(label, len(numbers)) for label in labels), np.int64, n)
    return rows, len(numbers)


def _sums(values: Floats, rows: Counts, count: int) -> Floats:
    import numpy as np

    return np.bincount(rows, values, count).astype(np.float64, copy=False)


def _finite(scores: Sequence[float], what: str, cases: Sequence[str] = ()) -> Floats:
    import numpy as np

    values = np.asarray(scores, np.float64)
    bad = np.flatnonzero(~np.isfinite(values))
    if len(bad):
        where = f" on case {cases[bad[0]]!r}" if cases else ""
        raise CompareError(f"{what}{where} is {values[bad[0]]}; mend the metric")
    return values


def _binary(values: Floats) -> bool:
    return bool(((values == 0) | (values == 1)).all())


def _times(weights: Any, columns: Floats) -> Floats:
    """weights @ columns; weights are bytes, made floats a block at a time so that memory stays small."""
    import numpy as np

    blocks = range(0, len(weights), _BLOCK)
    return np.concatenate([weights[at : at + _BLOCK].astype(np.float64) @ columns for at in blocks])


@lru_cache(maxsize=8)
def _resamples(count: int) -> Any:
    """How often each of so many clusters is in each draw: uint8 [DRAWS, count], the same for every arm and metric."""
    import numpy as np

    random = np.random.default_rng(count)
    drawn = np.empty((DRAWS, count), np.uint8)
    for at in range(0, DRAWS, _BLOCK):
        picks = random.integers(0, count, size=(_BLOCK, count)) + count * np.arange(_BLOCK)[:, None]
        counts = np.bincount(picks.ravel(), minlength=_BLOCK * count)
        drawn[at : at + _BLOCK] = np.minimum(counts, 255).reshape(_BLOCK, count)
    return drawn


@lru_cache(maxsize=8)
def _random_signs(count: int) -> Any:
    """int8 [DRAWS, count] of -1 and 1."""
    import numpy as np

    return np.random.default_rng(count).integers(0, 2, size=(DRAWS, count), dtype=np.int8) * 2 - 1


@lru_cache(maxsize=8)
def _all_signs(count: int) -> Any:
    """int8 [2 ** (count - 1), count]: every choice of signs, up to turning all of them round."""
    import numpy as np

    bits = np.arange(2 ** (count - 1))[:, None] >> np.arange(count) & 1
    return (bits * 2 - 1).astype(np.int8)


def _one_sided_power(n: int, disagreement: float, alpha: float) -> float:
    """How often exact McNemar rejects when every disagreement is for the same arm."""
    fewest = math.floor(1 + math.log2(1 / alpha)) + 1
    binom = need("scipy.stats", extra="compare", purpose="comparing arms").binom
    return float(binom.sf(fewest - 1, n, disagreement))


def _z(share: float) -> float:
    return NormalDist().inv_cdf(share)


def _statsmodels(module: str) -> Any:
    return need(f"statsmodels.stats.{module}", extra="compare", purpose="comparing arms")


def _points(low: float, high: float, difference: float, *, sign: bool = False, between: str = "") -> str:
    """ "+3 points [-6, 12]"; with a decimal where whole points would hide which side of zero an end is on."""
    ends = [100 * value for value in (low, high, difference)]
    digits = 1 if any(0 < abs(end) < 0.5 for end in ends) or ends[1] - ends[0] < 2 else 0
    lowest, highest, middle = (f"{round(end, digits) + 0.0:.{digits}f}" for end in ends)
    if digits and all(text.endswith(".0") for text in (lowest, highest, middle)):
        lowest, highest, middle = (text[:-2] for text in (lowest, highest, middle))
    plus = "+" if sign and float(middle) > 0 else ""
    word = "point" if middle in ("1", "-1") else "points"
    return f"{plus}{middle} {word}{' ' if between else ''}{between} [{lowest}, {highest}]"


def _p(p: float) -> str:
    """ "p = .004", "p < .001"; as many digits as keep it on its side of .05."""
    if p < 0.001:
        return "p < .001"
    digits = 3 if p < 0.01 or 0.045 <= p < 0.055 else 2
    return f"p = {p:.{digits}f}".replace("0.", ".")


def _adjusted(pair: Pair) -> str:
    return " after Holm" if pair.p_holm > pair.p else ""


def about(cases: int) -> int:
    """Two leading digits, rounded up: a size to plan with."""
    unit: int = 10 ** max(0, len(str(cases)) - 2)
    return math.ceil(cases / unit) * unit
