"""The hand-written handbook questions through retrieval and the product, for an arm of bench.reader."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, cast

from bench import handbook_cases
from bench.handbook_cases import Case
from bench.quality_handbook import Row, judge, summary
from bench.quality_workspaces import GoldSpans, handbook_workspace
from bench.reader_cases import Item
from bench.reader_models import Reader
from bench.reader_run import product, say_progress
from openbook import Workspace
from openbook.records import Arm

__all__ = ["Row", "ask", "shelf", "summaries"]


@dataclass(frozen=True, slots=True)
class Shelf:
    """The questions with what the workspace's search shows for each."""

    workspace: Workspace
    asked: tuple[tuple[Case, Item], ...]


@contextmanager
def shelf() -> Iterator[Shelf]:
    """The handbook synced and searched."""
    with handbook_workspace() as workspace:
        shown = workspace.settings.answer.passages
        asked = tuple(
            (
                case,
                Item(case.id, "answerable", case.question, workspace.search(case.question, k=shown), case.gold, (), ""),
            )
            for case in handbook_cases.cases()
        )
        yield Shelf(workspace, asked)


def ask(arm: str, reader: Reader, book: Shelf) -> list[Row]:
    """The product's answers to all 90 questions; seconds are not measured here and stand as 0."""
    prompts = [reader.prompt(item.question, item.hits) for _, item in book.asked]
    spans = GoldSpans(book.workspace)
    return [
        judge(cast("Arm", arm), case, product(item, reply.text, book.workspace.house.embedder), spans)
        for (case, item), reply in zip(
            book.asked, reader.replies(prompts, progress=say_progress(f"{arm}, handbook")), strict=True
        )
    ]


def summaries(rows: Sequence[Row]) -> dict[str, dict[str, Any]]:
    """Shares by split; without the times."""
    return {
        split: {
            name: value
            for name, value in summary([row for row in rows if row.split == split]).items()
            if not name.startswith("seconds")
        }
        for split in ("dev", "test")
    }
