"""Does the instrument itself tell the truth? Comparisons whose answer is known, put through openbook.compare.stats.

    python -m bench.compare_validity [--splits 300] [--report .openbook/reports/ID]

* Identical arms: whose answers are called whose is drawn by lot, document by document, over resampled documents. In
  95 % of such splits no pair of the arms may differ, also where whole documents suit one arm by chance; first_100 is
  the count of the first hundred, the check is of the rate over all.
* A gap of 15 points planted among 200 cases is found.
* The power table agrees with published figures, with exact power, and with simulation.
* 95 % intervals hold the truth 95 times of 100.
* Time for 8 arms and every metric.

With --report the splits are also made of a real comparison's rows. Exits 1 when a check fails.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterator
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.stats import binom

from bench.common import table, write_json
from openbook.compare import stats
from openbook.compare.cases import read_frozen
from openbook.compare.report import cluster
from openbook.compare.schema import FOUR, METRICS, Pair, read_row

Floats = npt.NDArray[np.float64]
Random = np.random.Generator
Draw = Callable[[Random, int], tuple[Floats, list[str]]]
"""(random, arms) -> scores [arms, cases] of arms that do not differ, and each case's document."""

PUBLISHED = {
    50: (17, 21, 25),
    100: (12, 15, 18),
    200: (9, 11, 13),
    400: (6, 8, 9),
}
"""Smallest gap in points by cases, at 20, 30 and 40 % disagreement: the planning table of the project's evidence."""
PUBLISHED_FOR_SIX = {50: (20, 26, 30), 100: (15, 19, 22), 200: (11, 13, 15), 400: (8, 10, 11)}
PUBLISHED_NEEDED = {0.10: (155, 233, 312), 0.05: (626, 940, 1253)}
DISAGREEMENTS = (0.2, 0.3, 0.4)


def made(documents: int, each: int, apart: float, *, share: bool) -> Draw:
    """Arms equally good on the whole; `apart` is how far luck moves an arm's score on one document."""

    def draw(random: Random, arms: int) -> tuple[Floats, list[str]]:
        hard = random.normal(0.2, 0.25, (1, documents, 1)) + random.normal(0, 0.15, (1, documents, each))
        chance = np.clip(hard + apart * random.normal(0, 1, (arms, documents, 1)) + 0.3, 0, 1)
        scores = (
            (random.random(chance.shape) < chance).astype(float)
            if share
            else np.clip(chance + random.normal(0, 0.2, chance.shape), 0, 1)
        )
        return scores.reshape(arms, -1), [f"d{at}" for at in range(documents) for _ in range(each)]

    return draw


def of_rows(folder: Path, metric: str) -> Draw | None:
    """The four arms' real scores; None when fewer than two were scored."""
    cases = {case.id: case for case in read_frozen(folder).cases}
    rows = [read_row(line) for line in (folder / "rows.jsonl").read_text(encoding="utf-8").splitlines()]
    scores = {
        arm: {row.case: row.scores[metric] for row in rows if row.arm == arm and metric in row.scores} for arm in FOUR
    }
    scores = {arm: found for arm, found in scores.items() if found}
    if len(scores) < 2:
        return None
    both = sorted(set.intersection(*(set(found) for found in scores.values())))
    values = np.array([[found[case] for case in both] for found in scores.values()])
    labels = [cluster(cases[case]) for case in both]
    return lambda _, arms: (values[:arms], labels)


def split(draw: Draw, random: Random, arms: int) -> tuple[Floats, list[str]]:
    """Documents drawn again with replacement; in each, the arms' answers change names by lot."""
    scores, labels = draw(random, arms)
    arms = len(scores)
    where: dict[str, list[int]] = {}
    for at, label in enumerate(labels):
        where.setdefault(label, []).append(at)
    documents = list(where.values())
    columns, names = [], []
    for number, pick in enumerate(random.integers(0, len(documents), len(documents))):
        columns.append(scores[random.permutation(arms)][:, documents[pick]])
        names += [f"draw {number}"] * len(documents[pick])
    return np.concatenate(columns, axis=1), names


def verdicts(scores: Floats, labels: list[str], metric: str) -> list[Pair]:
    """All pairs of the arms, after Holm."""
    names = [str(at) for at in range(len(labels))]
    clusters = dict(zip(names, labels, strict=True))
    by_arm = {arm: dict(zip(names, row.tolist(), strict=True)) for arm, row in zip(FOUR, scores, strict=False)}
    pairs = [stats.compare(a, b, metric, by_arm[a], by_arm[b], clusters) for a, b in combinations(by_arm, 2)]
    return stats.holm(pairs)


def identical(name: str, draw: Draw, metric: str, splits: int, seed: int) -> dict[str, Any]:
    """How often arms that do not differ are said not to."""
    random = np.random.default_rng(seed)
    quiet: list[bool] = []
    first: list[bool] = []
    naive: list[bool] = []
    cases = 0
    for _ in range(splits):
        scores, labels = split(draw, random, 4)
        cases = len(labels)
        pairs = verdicts(scores, labels, metric)
        quiet.append(all(pair.verdict == "no difference" for pair in pairs))
        first.append(pairs[0].p >= stats.ALPHA)
        one, other = _named(scores[:2])
        alone = stats.compare(FOUR[0], FOUR[1], metric, one, other, {})
        naive.append(alone.p >= stats.ALPHA)
    return {
        "arms": name,
        "metric": metric,
        "cases": cases,
        "splits": splits,
        "first_100": sum(quiet[:100]),
        "four_arms": sum(quiet) / splits,
        "one_pair": sum(first) / splits,
        "one_pair_documents_ignored": sum(naive) / splits,
        "holds": _at_least(sum(quiet), splits, 0.95),
    }


def _at_least(found: int, splits: int, share: float) -> bool:
    """Whether so many are not too few for a rate of `share`: fewer come about by luck in at most 1 of 20 runs.

    A rate of .96 gives fewer than 95 in every fifth hundred, so that a hundred alone says little about the rate.
    """
    return bool(binom.cdf(found, splits, share) > 0.05)


def planted(documents: int, each: int, disagreement: float, apart: float, splits: int, seed: int) -> dict[str, Any]:
    """How often 15 points at n = documents * each are found: alone, and as one of six pairs."""
    random = np.random.default_rng(seed)
    alone, of_six, gaps = 0, 0, []
    for _ in range(splits):
        luck = apart * random.normal(0, 1, (documents, 1))
        # of the cases the arms differ on, b alone is right in (disagreement + gap) / 2
        ahead = np.clip((disagreement + 0.15) / 2 + luck, 0, 1)
        behind = np.clip((disagreement - 0.15) / 2 - luck, 0, 1)
        fate = random.random((documents, each))
        change = np.where(fate < ahead, 1.0, np.where(fate > 1 - behind, -1.0, 0.0)).ravel()
        base = np.where(change == 1, 0.0, np.where(change == -1, 1.0, random.integers(0, 2, change.size)))
        labels = [f"d{at}" for at in range(documents) for _ in range(each)]
        pair = verdicts(np.stack([base, base + change]), labels, "answer_correct")[0]
        gaps.append(pair.difference)
        alone += pair.verdict == "b"
        of_six += pair.p < stats.ALPHA / 6
    return {
        "cases": documents * each,
        "documents": documents,
        "disagreement": disagreement,
        "documents_apart": apart,
        "mean_gap": float(np.mean(gaps)),
        "found": alone / splits,
        "found_as_one_of_six_at_worst": of_six / splits,
        "holds": alone / splits >= 0.8,
    }


def exactly_planted() -> dict[str, Any]:
    """200 cases, 45 right with b alone and 15 with a alone: the gap is 15 points whatever luck does."""
    a = [0.0] * 45 + [1.0] * 15 + [1.0] * 70 + [0.0] * 70
    b = [1.0] * 45 + [0.0] * 15 + [1.0] * 70 + [0.0] * 70
    pair = verdicts(np.array([a, b]), [str(at) for at in range(200)], "answer_correct")[0]
    return {"sentence": pair.sentence, "p": pair.p, "holds": pair.verdict == "b" and pair.p < stats.ALPHA / 6}


def power(splits: int, seed: int) -> list[dict[str, Any]]:
    """Table, published figure, and what the exact test really finds at that gap."""
    random = np.random.default_rng(seed)
    found = []
    for correction, published in ((1, PUBLISHED), (6, PUBLISHED_FOR_SIX)):
        alpha = stats.ALPHA / correction
        for row in stats.power_table(*published, disagreements=DISAGREEMENTS, alpha=alpha):
            ahead = (row.disagreement + row.gap) / 2
            draws = random.multinomial(row.n, [ahead, row.disagreement - ahead, 1 - row.disagreement], size=4 * splits)
            b, c = draws[:, 0], draws[:, 1]
            p = np.minimum(1.0, 2 * binom.cdf(np.minimum(b, c), b + c, 0.5))
            simulated = float(((p < alpha) & (b > c)).mean())
            known = published[row.n][DISAGREEMENTS.index(row.disagreement)]
            found.append(
                {
                    "cases": row.n,
                    "pairs": correction,
                    "disagreement": row.disagreement,
                    "gap": row.gap,
                    "published": known / 100,
                    "needed": stats.needed(row.gap, row.disagreement, alpha=alpha),
                    "exact": exact_power(row.n, row.disagreement, row.gap, alpha),
                    "simulated": simulated,
                    # the exact test spends less than alpha, so that it finds a little less than planned
                    "holds": abs(100 * row.gap - known) < 0.6 and abs(simulated - 0.8) < 0.1,
                }
            )
    return found


def exact_power(n: int, disagreement: float, gap: float, alpha: float) -> float:
    """How often exact McNemar finds b better, summed over every number of disagreements."""
    total = 0.0
    for count in range(1, n + 1):
        fewest = int(binom.ppf(alpha / 2, count, 0.5))
        while fewest >= 0 and 2 * binom.cdf(fewest, count, 0.5) >= alpha:
            fewest -= 1
        if fewest >= 0:
            behind = (disagreement - gap) / (2 * disagreement)
            total += binom.pmf(count, n, disagreement) * binom.cdf(fewest, count, behind)
    return float(total)


def sizes() -> list[dict[str, Any]]:
    """Cases needed, beside the published ones."""
    return [
        {
            "gap": gap,
            "disagreement": disagreement,
            "needed": (count := stats.needed(gap, disagreement)),
            "published": known,
            "holds": abs(count - known) <= 1,
        }
        for gap, published in PUBLISHED_NEEDED.items()
        for disagreement, known in zip(DISAGREEMENTS, published, strict=True)
    ]


def coverage(documents: int, each: int, alike: float, share: float, splits: int, seed: int) -> dict[str, Any]:
    """How often a share's interval holds the share the documents were drawn from."""
    random = np.random.default_rng(seed)
    labels = [f"d{at}" for at in range(documents) for _ in range(each)]
    inside, plain = 0, 0
    for _ in range(splits):
        if alike:
            spread = (1 - alike) / alike
            chance = random.beta(share * spread, (1 - share) * spread, (documents, 1))
        else:
            chance = np.full((documents, 1), share)
        scores = (random.random((documents, each)) < chance).astype(float).ravel().tolist()
        figure = stats.figure(scores, labels, kind="share")
        ignored = stats.figure(scores, (), kind="share")
        inside += figure.low <= share <= figure.high
        plain += ignored.low <= share <= ignored.high
    return {
        "documents": documents,
        "each": each,
        "alike": alike,
        "share": share,
        "inside": inside / splits,
        "inside_documents_ignored": plain / splits,
        "holds": inside / splits >= 0.925,
    }


def seconds(cases: int, documents: int, seed: int) -> dict[str, Any]:
    """Wall seconds for 8 arms by every metric, and all pairs of four."""
    random = np.random.default_rng(seed)
    names = [str(at) for at in range(cases)]
    clusters = {name: f"d{at % documents}" for at, name in enumerate(names)}
    scores = {
        (arm, metric): dict(
            zip(names, _values(random.random(cases), measure.kind == "share").tolist(), strict=True),
        )
        for arm in (*FOUR, "naive", "oracle", "bare", "extractive")
        for metric, measure in METRICS.items()
    }
    start, cpu = time.perf_counter(), time.process_time()
    for (_, metric), found in scores.items():
        stats.figure(list(found.values()), [clusters[case] for case in found], kind=METRICS[metric].kind)
    for metric in METRICS:
        stats.holm(
            [stats.compare(a, b, metric, scores[a, metric], scores[b, metric], clusters) for a, b in _pairs()],
        )
    took = time.perf_counter() - start
    used = time.process_time() - cpu
    return {"cases": cases, "documents": documents, "seconds": took, "cpu_seconds": used, "holds": used < 3}


def _pairs() -> Iterator[tuple[str, str]]:
    return combinations(FOUR, 2)


def _values(random: Floats, share: bool) -> Floats:
    return (random > 0.5).astype(float) if share else random


def _named(scores: Floats) -> list[dict[str, float]]:
    return [{str(at): float(score) for at, score in enumerate(row)} for row in scores]


def checks(splits: int, seed: int, report: Path | None) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """Each check by name, with a row a setting."""
    stats.figure([1.0, 0.0], (), kind="share")
    yield "seconds", [seconds(100, 30, seed), seconds(500, 500, seed)]
    yield "needed", sizes()
    yield "power", power(splits, seed)
    yield "planted exactly", [exactly_planted()]
    planting = [planted(200, 1, part, 0.0, splits, seed) for part in DISAGREEMENTS]
    yield "planted", [*planting, planted(50, 4, 0.3, 0.05, splits, seed)]
    settings = ((120, 1, 0.0, 0.9), (30, 4, 0.2, 0.8), (10, 10, 0.2, 0.7), (6, 10, 0.2, 0.5))
    yield "coverage", [coverage(*setting, splits, seed) for setting in settings]
    found = []
    for metric, share in (("answer_correct", True), ("token_f1", False)):
        for documents, each, apart in ((120, 1, 0.0), (30, 4, 0.3), (10, 12, 0.3)):
            name = f"{documents} documents of {each}" if each > 1 else f"{documents} cases"
            found.append(identical(name, made(documents, each, apart, share=share), metric, splits, seed))
    for metric in ("answer_correct", "token_f1", "refusal") if report else ():
        draw = of_rows(report, metric) if report else None
        if report and draw is not None:
            found.append(identical(report.name, draw, metric, splits, seed))
    yield "identical", found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--splits", type=int, default=300)
    parser.add_argument("--report", type=Path, help="a folder of a comparison, with rows.jsonl and cases.jsonl")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    results: dict[str, list[dict[str, Any]]] = {}
    for name, rows in checks(options.splits, options.seed, options.report):
        results[name] = rows
        print(f"\n## {name}\n")
        cells = [["yes" if v is True else "NO" if v is False else v for v in row.values()] for row in rows]
        print(table(list(rows[0]), cells), flush=True)
    print(f"\n{write_json('compare_validity', results)}")
    failed = [name for name, rows in results.items() if not all(row["holds"] for row in rows)]
    if failed:
        print(f"failed: {', '.join(failed)}")
        sys.exit(1)


if __name__ == "__main__":
    main()
