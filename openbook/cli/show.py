"""Records in, terminal text out. Pure: prints nothing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from openbook.records import Answer, SyncReport

if TYPE_CHECKING:
    from rich.table import Table
    from rich.text import Text


_WHOLE, _WORD = 30, 10
"""Characters: a first column so narrow is never wrapped; a word so short is never broken."""


def table(title: str, columns: Sequence[str], rows: Sequence[Sequence[object]], *, right: Sequence[int] = ()) -> Table:
    """A plain table; `right` are the indexes of right-aligned columns."""
    from rich import box
    from rich.markup import escape
    from rich.table import Table

    made = Table(title=escape(title) or None, title_justify="left", box=box.SIMPLE, pad_edge=False)
    for index, name in enumerate(columns):
        cells = [name, *("" if row[index] is None else str(row[index]) for row in rows)]
        made.add_column(
            name,
            justify="right" if index in right else "left",
            overflow="fold",
            no_wrap=index in right or (index == 0 and max(map(len, cells)) <= _WHOLE),
            # Otherwise a narrow terminal breaks short words to leave a wide column its share.
            min_width=min(_WORD, max(len(word) for cell in cells for word in cell.split() or [""])),
        )
    for row in rows:
        made.add_row(*(escape("" if cell is None else str(cell)) for cell in row))
    return made


def answer_text(answer: Answer) -> Text:
    """The checked answer; sentences no passage supports stand out and say so."""
    from rich.text import Text

    text = Text(answer.text)
    position = 0
    for sentence in answer.sentences:
        body = sentence.text.rstrip(".!?")
        at = answer.text.find(body, position)
        if at < 0:
            continue
        position = at + len(body)
        if not sentence.supported:
            text.stylize("yellow", at, position)
    unsupported = sum(not sentence.supported for sentence in answer.sentences)
    if unsupported and answer.arm not in ("base", "tuned"):
        text.append(f"\n! {unsupported} of {len(answer.sentences)} sentences not supported by the documents", "yellow")
    return text


def sources_text(answer: Answer) -> Text:
    """Numbered sources with their cited spans."""
    from rich.text import Text

    text = Text()
    numbers = {hit.chunk: number for number, hit in enumerate(answer.hits, start=1)}
    seen: set[tuple[str, int, int]] = set()
    for one in answer.citations:
        if (one.document, one.start, one.end) in seen:
            continue
        seen.add((one.document, one.start, one.end))
        number = next(
            (
                number
                for chunk, number in numbers.items()
                if chunk.document == one.document and chunk.start <= one.start and one.end <= chunk.end
            ),
            0,
        )
        place = f", page {one.page}" if one.page is not None else ""
        text.append(f"[{number}] ", "bold cyan")
        text.append(f"{one.document}{place}, characters {one.start}-{one.end}\n")
        text.append(f'    "{" ".join(one.quote.split())}"\n', "dim")
    return text


def sync_text(report: SyncReport) -> Text:
    """A sync in a line, then what a person should look at."""
    from rich.text import Text

    kinds = ("added", "changed", "renamed", "removed", "unchanged")
    counts = ", ".join(f"{getattr(report, kind)} {kind}" for kind in kinds if getattr(report, kind)) or "nothing found"
    head = "would be: " if report.dry_run else ""
    tail = (
        "" if report.dry_run else f"; {report.chunks} chunks, version {report.library_version}, {report.seconds:.1f} s"
    )
    text = Text(f"{head}{counts}{tail}\n")
    if report.dry_run:
        for kind, names in report.paths.items():
            for name in names:
                text.append(f"  {kind}: {name}\n")
    for failure in report.failed:
        text.append(f"  failed: {failure.path}: {failure.reason}\n", "yellow")
    for name, earlier in report.duplicates:
        text.append(f"  note: {name} has the same bytes as {earlier}\n", "dim")
    for note in report.notes:
        text.append(f"  note: {note}\n", "dim")
    return text
