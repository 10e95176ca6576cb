"""What `openbook tune` chooses on the handbook's and XQuAD's questions, and what that is worth on held-out ones.

    python -m bench.tune [handbook] [xquad] [--seeds 3]

Nothing is changed: each run is as `openbook tune --dry-run`.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from typing import Any

from bench import handbook_cases, xquad
from bench.common import command, table, write_json
from bench.quality_workspaces import GoldSpans, handbook_workspace, xquad_workspace
from openbook import Workspace
from openbook.records import Case, Span
from openbook.tune import Options
from openbook.tune.report import VERDICT_COLUMNS, headline, verdict_rows

_SPACES = {"handbook": handbook_workspace, "xquad": xquad_workspace}


def cases(name: str, workspace: Workspace) -> list[Case]:
    """The questions of one collection with their gold spans."""
    return list(_handbook(workspace) if name == "handbook" else _xquad())


def _handbook(workspace: Workspace) -> Iterator[Case]:
    gold = GoldSpans(workspace)
    for one in handbook_cases.cases():
        spans = tuple(Span(*place) for place in gold.of(one)) if one.kind == "answerable" else ()
        yield Case(one.question, one.gold, spans, one.kind, history=one.history, id=one.id)


def _xquad() -> Iterator[Case]:
    for one in xquad.questions():
        yield Case(one.text, (one.answer,), (Span(f"xquad/{one.paragraph}", one.start, one.end),), id=one.id)


def run(names: list[str], seeds: int) -> None:
    """Tune on each collection, print what came of it, write bench/out/tune.json."""
    results: dict[str, Any] = {"command": command()}
    for name in names:
        with _SPACES[name]() as workspace:
            asked = cases(name, workspace)
            for seed in range(seeds):
                report = workspace.tune(asked, options=Options(seed=seed), dry_run=True)
                results[f"{name}, seed {seed}"] = json.loads(report.json())
                print(f"\n{name}, seed {seed}: {headline(report)} ({report.seconds:.0f} s)")
                print(", ".join(f"{what} {count}" for what, count in report.questions.items()) + "\n")
                print(table(VERDICT_COLUMNS, verdict_rows(report)))
                for verdict in report.verdicts:
                    print(f"{verdict.group}: {verdict.words}")
                for note in report.notes:
                    print(f"note: {note}")
    print(f"\n{write_json('tune', results)}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", help="of " + ", ".join(_SPACES))
    parser.add_argument("--seeds", type=int, default=1)
    given = parser.parse_args()
    run(given.names or list(_SPACES), given.seeds)
