"""How good the answers about the handbook are, per arm and split: right, rightly cited, rightly declined, how long.

answer right      a gold string stands in the answer (normalised); declining counts as wrong
citation recall   at least one citation overlaps a gold span; citation precision: share of all citations given that do
both              right answer and at least one right citation
abstention recall share of unanswerable questions declined; false refusal: share of answerable ones declined
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, cast, get_args

import numpy as np

from bench import handbook_cases
from bench.common import table, write_json
from bench.handbook_cases import Case
from bench.quality_workspaces import GoldSpans, handbook_workspace, overlaps
from bench.scoring import bootstrap, contains_gold, wilson
from openbook import Workspace
from openbook.answer.ask import FALLBACK_NOTE
from openbook.records import Answer, Arm

ARMS: tuple[Arm, ...] = ("rag", "extractive", "base")


@dataclass(frozen=True, slots=True)
class Row:
    """One arm on one case."""

    arm: Arm
    case: str
    split: str
    kind: str
    type: str
    question: str
    answer: str
    abstained: bool
    fell_back: bool
    """The model's own words had no support and were replaced by the passages' sentences."""
    right: bool
    citations: int
    right_citations: int
    retrieved: bool
    """A shown passage overlaps a gold span."""
    unsupported: int
    """Sentences of the answer without support."""
    seconds: float


def ask(workspace: Workspace, case: Case, arm: Arm, spans: GoldSpans) -> Row:
    """Ask one question and judge the answer."""
    return judge(arm, case, workspace.ask(case.question, arm=arm, history=case.history), spans)


def judge(arm: Arm, case: Case, answer: Answer, spans: GoldSpans) -> Row:
    """Verdicts on an answer."""
    gold = spans.of(case)
    return Row(
        arm=arm,
        case=case.id,
        split=case.split,
        kind=case.kind,
        type=case.type,
        question=case.question,
        answer=answer.text,
        abstained=answer.abstained,
        fell_back=FALLBACK_NOTE in answer.notes,
        right=not answer.abstained and contains_gold(answer.text, case.gold),
        citations=len(answer.citations),
        right_citations=sum(overlaps(citation, gold) for citation in answer.citations),
        retrieved=any(overlaps(hit, gold) for hit in answer.hits),
        unsupported=sum(not sentence.supported for sentence in answer.sentences),
        seconds=answer.seconds.total,
    )


def summary(rows: Sequence[Row]) -> dict[str, Any]:
    """Shares with intervals for the rows of one arm and split; Wilson, or bootstrap by question for citations."""
    answerable = [row for row in rows if row.kind == "answerable"]
    unanswerable = [row for row in rows if row.kind == "unanswerable"]

    def share(of: Sequence[Row], holds: Callable[[Row], bool]) -> tuple[float, ...]:
        return tuple(wilson(sum(holds(row) for row in of), len(of)))

    cited = [row for row in answerable if row.citations]
    weights = np.array([row.citations for row in cited], float)
    precision = bootstrap(np.array([row.right_citations / row.citations for row in cited], float), weights=weights)
    return {
        "answer right": share(answerable, lambda row: row.right),
        "answer right, by itself": share(answerable, lambda row: row.right and not row.fell_back),
        "citation recall": share(answerable, lambda row: row.right_citations > 0),
        "citation precision": (*precision[:3], int(weights.sum())),
        "both": share(answerable, lambda row: row.right and row.right_citations > 0),
        "passage shown": share(answerable, lambda row: row.retrieved),
        "fell back": share(answerable, lambda row: row.fell_back),
        "false refusal": share(answerable, lambda row: row.abstained),
        "abstention recall": share(unanswerable, lambda row: row.abstained),
        **{
            f"abstention recall, {kind}": share(
                [row for row in unanswerable if row.type == kind], lambda r: r.abstained
            )
            for kind in sorted({row.type for row in unanswerable})
        },
        "seconds, median": statistics.median(row.seconds for row in rows),
        "seconds, 95th percentile": float(np.quantile([row.seconds for row in rows], 0.95)),
    }


def measure(
    workspace: Workspace, arms: Sequence[Arm], cases: Sequence[Case], *, progress: Callable[[Row], None] | None = None
) -> list[Row]:
    """All arms on all cases; the first question of each arm is asked once before, unmeasured, to load the models."""
    spans = GoldSpans(workspace)
    rows = []
    for arm in arms:
        ask(workspace, cases[0], arm, spans)
        for case in cases:
            rows.append(ask(workspace, case, arm, spans))
            if progress:
                progress(rows[-1])
    return rows


def run(
    arms: Sequence[str] = ARMS, *, settings: str = "", name: str = "quality-handbook", verbose: bool = False
) -> None:
    """Measure, print a table per split and the conversations, write bench/out/NAME.json."""
    unknown = set(arms) - set(get_args(Arm))
    if unknown:
        raise SystemExit(f"unknown arms {sorted(unknown)}; choose from {get_args(Arm)}")
    chosen = cast("Sequence[Arm]", arms)

    def show(row: Row) -> None:
        mark = "abstained" if row.abstained else f"{row.right_citations}/{row.citations}"
        print(
            f"{row.arm:10} {row.case:8} {'right' if row.right else '-':5} {mark:9} {row.question} => {row.answer[:160]}"
        )

    with handbook_workspace(settings) as workspace:
        rows = measure(workspace, chosen, handbook_cases.cases(), progress=show if verbose else None)
        with_library: list[Arm] = [arm for arm in chosen if arm != "base"]
        talks = measure(workspace, with_library, handbook_cases.conversations(), progress=show if verbose else None)
    results: dict[str, Any] = {"rows": [asdict(row) for row in (*rows, *talks)], "summary": {}}
    for split in ("dev", "test"):
        table_rows = {arm: summary([row for row in rows if row.arm == arm and row.split == split]) for arm in chosen}
        results["summary"][split] = table_rows
        print(f"\nhandbook, {split}: 30 answerable, 15 unanswerable (95 % intervals)\n")
        names = next(iter(table_rows.values()))
        print(table(["", *chosen], [[name, *(_cell(table_rows[arm][name]) for arm in chosen)] for name in names]))
    print("\nfollow-up questions of 5 conversations (right answer, right passage shown)\n")
    for arm in with_library:
        of = [row for row in talks if row.arm == arm]
        print(f"{arm}: {sum(row.right for row in of)} of {len(of)}, {sum(row.retrieved for row in of)} of {len(of)}")
    print(f"\n{write_json(name, results)}")


def _cell(value: object) -> object:
    if isinstance(value, tuple):
        return f"{value[0]:.2f} [{value[1]:.2f}, {value[2]:.2f}] n={value[3]}"
    return value
