"""Commands that ask: search, ask, chat, explain."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import click

from openbook.cli.common import (
    err,
    example,
    group_option,
    json_option,
    out,
    print_json,
    progress_bar,
    reached,
    where_option,
    workspace_option,
)
from openbook.errors import UsageError
from openbook.prompt import ABSTENTION
from openbook.records import Message, Scope

if TYPE_CHECKING:
    from openbook.records import Answer, Arm

ARMS = ("base", "rag", "tuned", "tuned+rag", "extractive")


@click.command()
@click.argument("question", required=False)
@click.option("-k", type=click.IntRange(1, 100), help="How many hits; default: retrieve.k of the settings.")
@click.option(
    "--batch", type=click.Path(dir_okay=False, allow_dash=True), metavar="CASES.jsonl", help="Many questions."
)
@group_option
@where_option
@workspace_option
@json_option
@example('openbook search "parental leave" -k 3', "openbook search --batch questions.jsonl --json")
def search(
    question: str | None,
    k: int | None,
    batch: str | None,
    groups: tuple[str, ...],
    where: str,
    workspace: Path | None,
    as_json: bool,
) -> None:
    """Find the passages that fit QUESTION best."""
    from openbook.cli.show import table
    from openbook.retrieve.where import parse
    from openbook.wire import search_json

    conditions = parse(where)
    _one_of(question, batch)
    with reached(workspace, prefer="throughput", brief=batch is None) as ws:
        if batch is not None:
            for case in _cases(batch):
                scope = Scope(tuple(case.get("groups", groups)), conditions)
                print_json({"id": case["id"], **search_json(ws.search_result(case["question"], k=k, scope=scope))})
            return
        assert question is not None
        result = ws.search_result(question, k=k, scope=Scope(groups, conditions))
    if as_json:
        print_json(search_json(result))
        return
    rows = [
        (
            number,
            hit.chunk.document + (f", page {hit.chunk.page}" if hit.chunk.page is not None else ""),
            " > ".join(hit.chunk.heading),
            " ".join(hit.chunk.text.split())[:160],
            hit.dense_rank,
            hit.lexical_rank,
        )
        for number, hit in enumerate(result.hits, start=1)
    ]
    columns = ("#", "document", "section", "text", "dense", "lexical")
    total = sum(result.seconds.values())
    out().print(table(f"{len(rows)} hits in {total * 1000:.0f} ms", columns, rows, right=(0, 4, 5)))


@click.command()
@click.argument("question", required=False)
@click.option("--arm", type=click.Choice(ARMS), default="rag", show_default=True, help="How to answer.")
@click.option(
    "--batch", type=click.Path(dir_okay=False, allow_dash=True), metavar="CASES.jsonl", help="Many questions."
)
@click.option("--show-prompt", is_flag=True, help="Print the exact prompt on stderr.")
@click.option(
    "--adapter", metavar="NAME[@VERSION]", help="For the arms tuned and tuned+rag; default: the promoted one."
)
@group_option
@where_option
@workspace_option
@json_option
@example('openbook ask "How many vacation days do we get?"', "openbook ask --batch cases.jsonl --json")
def ask(
    question: str | None,
    arm: str,
    batch: str | None,
    show_prompt: bool,
    adapter: str | None,
    groups: tuple[str, ...],
    where: str,
    workspace: Path | None,
    as_json: bool,
) -> None:
    """Answer QUESTION from the documents, with checked citations."""
    from openbook.retrieve.where import parse
    from openbook.wire import answer_json

    _one_of(question, batch)
    conditions = parse(where)
    chosen = cast("Arm", arm)
    with (
        progress_bar() as progress,
        reached(
            workspace,
            progress=progress,
            prefer="throughput" if batch is not None else "start",
            brief=batch is None,
        ) as ws,
    ):
        if batch is not None:
            for case in _cases(batch):
                answer = ws.ask(
                    case["question"],
                    arm=chosen,
                    adapter=adapter,
                    history=[Message(turn["role"], turn["content"]) for turn in case.get("history", ())],
                    groups=case.get("groups", groups),
                    where=conditions,
                    contexts=case.get("contexts"),
                )
                print_json({"id": case["id"], **answer_json(answer)})
            return
        assert question is not None
        stream = ws.stream(question, arm=chosen, groups=groups, where=conditions, adapter=adapter)
        if as_json:
            print_json(answer_json(stream.answer))
            return
        answer = _streamed(stream)
    if show_prompt:
        err().print(answer.prompt, markup=False)


@click.command()
@click.option("--arm", type=click.Choice(ARMS), default="rag", show_default=True, help="How to answer.")
@group_option
@where_option
@workspace_option
@example("openbook chat", "openbook chat --group staff")
def chat(arm: str, groups: tuple[str, ...], where: str, workspace: Path | None) -> None:
    """Ask in turn, with follow-up questions; an empty line or Ctrl-D ends."""
    with reached(workspace, prefer="throughput") as ws:
        history: list[Message] = []
        while True:
            try:
                question = click.prompt("you", default="", show_default=False, prompt_suffix="> ", err=True).strip()
            except click.exceptions.Abort:
                break
            if not question:
                break
            answer = _streamed(ws.stream(question, arm=cast("Arm", arm), groups=groups, where=where, history=history))
            history += [Message("user", question), Message("assistant", answer.text)]


@click.command()
@click.argument("question")
@click.argument("document")
@group_option
@where_option
@workspace_option
@json_option
@example('openbook explain "How many vacation days?" "handbook/Holiday List.md"')
def explain(
    question: str, document: str, groups: tuple[str, ...], where: str, workspace: Path | None, as_json: bool
) -> None:
    """Say, chunk by chunk, why DOCUMENT was or was not used for QUESTION."""
    from dataclasses import asdict

    from openbook.cli.show import table

    with reached(workspace, brief=True) as ws:
        found = ws.explain(question, document, groups=groups, where=where)
    if as_json:
        print_json(asdict(found))
        return
    rows = [
        (
            f"{one.start}-{one.end}",
            " ".join(one.text.split())[:80],
            _ranked(one.dense_rank, one.dense_score),
            _ranked(one.lexical_rank, one.lexical_score),
            one.fused_rank,
            one.reason,
        )
        for one in found.chunks
    ]
    out().print(f"{document}: {found.reason}", markup=False)
    if rows:
        columns = ("characters", "text", "dense (rank: score)", "lexical", "fused", "why")
        out().print(table("", columns, rows, right=(4,)))


def _ranked(rank: int | None, score: float | None) -> str:
    if score is None:
        return "-"
    return f"{rank if rank is not None else 'beyond 1000'}: {score:.3f}"


def _streamed(stream: Any) -> Answer:
    """Show pieces as they come, then the checked answer with its sources."""
    from openbook.cli.show import answer_text, sources_text

    live = sys.stdout.isatty()
    for piece in stream:
        if live and piece != ABSTENTION:
            click.secho(piece, dim=True, nl=False)
    answer: Answer = stream.answer
    if live:
        click.echo("\n")
    out().print(answer_text(answer))
    if answer.citations:
        out().print()
        out().print(sources_text(answer), end="")
    sys.stdout.flush()
    for note in answer.notes:
        err().print(f"note: {note}", style="dim", markup=False)
    return answer


def _one_of(question: str | None, batch: str | None) -> None:
    if (question is None) == (batch is None):
        raise UsageError('give either a QUESTION or --batch CASES.jsonl, for example: openbook ask "Who pays?"')


def _cases(path: str) -> Iterator[dict[str, Any]]:
    """Batch lines, checked one by one so that a bad line 900 does not lose the 899 before it."""
    with click.open_file(path, encoding="utf-8") as lines:
        for number, line in enumerate(lines, start=1):
            if not line.strip():
                continue
            try:
                case = json.loads(line)
            except json.JSONDecodeError as error:
                raise UsageError(f"{path} line {number} is not JSON: {error.msg}") from None
            if not isinstance(case, dict) or not isinstance(case.get("question"), str):
                raise UsageError(f'{path} line {number} needs a "question" that is a string')
            case.setdefault("id", str(number))
            yield case
