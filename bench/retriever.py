"""Whether tuning the embedder helps, on three libraries: encyclopaedia, terms of service, handbook.

    python -m bench.retriever [xquad] [terms] [handbook]

XQuAD: a quarter of the questions held out by article, one paragraph a document, intervals over articles. Terms:
contract clauses of 38 services, each asked for in the plain English a person wrote about it
(examples/recipes/legal-plain-english), split and drawn by service. Handbook: questions written by hand about the
bundled handbook, split by document. Writes bench/out/retriever.json.
"""

from __future__ import annotations

import json
import random
import re
import sys
import tempfile
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

from bench import handbook_cases, xquad
from bench.common import write_json
from bench.quality_workspaces import GoldSpans, _workspace, handbook_workspace, xquad_workspace
from openbook import Workspace, retriever
from openbook.finetune.retriever import measure
from openbook.finetune.retriever.recipe import recipe
from openbook.finetune.retriever.tune import Serving, tune
from openbook.records import Case, Span

_TERMS = Path(__file__).parents[1] / "examples" / "recipes" / "legal-plain-english"
SEED = 0


def xquad_cases() -> list[Case]:
    """All questions."""
    return [
        Case(one.text, (one.answer,), (Span(f"xquad/{one.paragraph}", one.start, one.end),))
        for one in xquad.questions()
    ]


def handbook_questions(workspace: Workspace) -> list[Case]:
    """The answerable questions of both halves."""
    spans = GoldSpans(workspace)
    return [
        Case(one.question, one.gold, tuple(Span(*span) for span in spans.of(one)))
        for one in handbook_cases.cases()
        if one.kind == "answerable"
    ]


def write_terms(folder: Path) -> list[Case]:
    """One file per clause, in a folder per service, and a question on each: what a person says it means."""
    cases, services = [], {}
    for part in ("train", "valid", "test"):
        for line in (_TERMS / f"{part}.jsonl").read_text(encoding="utf-8").splitlines():
            row = json.loads(line)
            clause, meaning = row["messages"][1]["content"], row["messages"][2]["content"]
            service = services.setdefault(row["document"], f"s{len(services):02}")
            name = f"{service}/{len(cases):03}.txt"
            (folder / service).mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(clause, encoding="utf-8")
            cases.append(Case(meaning, (), (Span(f"{folder.name}/{name}", 0, len(clause)),)))
    return cases


def _article(document: str) -> str:
    return document.split("/")[-1].split("-")[0]


def _service(document: str) -> str:
    return document.split("/")[-2]


def _by(cluster: Callable[[str], str]) -> Callable[[Sequence[Case], float, int], tuple[list[Case], list[Case]]]:
    """Split by whole clusters, drawn until they have the wanted share of the questions."""

    def split(cases: Sequence[Case], share: float, seed: int) -> tuple[list[Case], list[Case]]:
        labels = [cluster(case.spans[0].document) for case in cases]
        names = sorted(set(labels))
        random.Random(seed).shuffle(names)
        held: set[str] = set()
        while sum(label in held for label in labels) < share * len(cases):
            held.add(names.pop())
        sides = [label in held for label in labels]
        return (
            [case for case, out in zip(cases, sides, strict=True) if not out],
            [case for case, out in zip(cases, sides, strict=True) if out],
        )

    return split


def measured(
    workspace: Workspace, cases: Sequence[Case], *, cluster: Callable[[str], str] | None, **settings: object
) -> dict[str, Any]:
    """Train, print the table, return the manifest."""
    house = workspace.house
    tools = retriever.tools(house, _progress)
    if cluster is not None:
        tools = replace(tools, split=_by(cluster), cluster=cluster)
    files = house.model_files(workspace.settings.models.embedder, "embedder")
    serving = Serving(house.library, house.embedder, house.reranker, files)
    found = tune(
        "embedder",
        cases,
        serving,
        recipe({"seed": SEED, **settings}),
        name="bench",
        root=workspace.state / "embedders",
        tools=tools,
    )
    data = found.manifest["data"]
    print(f"\n{data['train']} questions learned from, {data['held_out']} held out, {data['chunks']} chunks")
    print(f"{measure.table(found.changes)}\n\n{found.verdict}; {found.manifest['training']}", flush=True)
    return {key: value for key, value in found.manifest.items() if key != "files"}


def main(wanted: Sequence[str]) -> None:
    """Measure the libraries named, or all."""
    settings = {key: json.loads(value) for key, _, value in (one.partition("=") for one in wanted if "=" in one)}
    names = [one for one in wanted if "=" not in one] or ["xquad", "terms", "handbook"]
    results: dict[str, Any] = {}
    for name in names:
        with ExitStack() as stack:
            if name == "xquad":
                workspace = stack.enter_context(xquad_workspace())
                results[name] = measured(workspace, xquad_cases(), cluster=_article, **{"held_out": 0.25, **settings})
            elif name == "terms":
                room = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="openbook-bench-")))
                cases = write_terms(room / "terms")
                workspace = stack.enter_context(_workspace(room / "desk", room / "terms", ""))
                results[name] = measured(workspace, cases, cluster=_service, **{"held_out": 0.34, **settings})
            else:
                workspace = stack.enter_context(handbook_workspace())
                asked = handbook_questions(workspace)
                results[name] = measured(workspace, asked, cluster=None, **{"held_out": 0.4, **settings})
    print(f"\n{write_json('retriever', results)}")


def _progress(step: str, done: int, total: int) -> None:
    if done in (total, total // 2):
        print(re.sub(r"\s+", " ", f"{step} {done}/{total}"), file=sys.stderr, flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
