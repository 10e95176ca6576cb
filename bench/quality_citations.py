"""Do citations point where they say? Every citation's quote must equal its document's text at its offsets, per format.

A folder of files is synced; sentences of each document, taken evenly, are asked back of that document alone.
"""

from __future__ import annotations

import tempfile
from collections import Counter
from pathlib import Path

from bench.common import table, write_json
from openbook import Workspace
from openbook.prose import sentences
from openbook.records import Condition

_PER_DOCUMENT = 10
FIXTURES = Path(__file__).resolve().parent.parent / "tests" / "fixtures"


def questions(text: str, *, most: int = _PER_DOCUMENT) -> list[str]:
    """Evenly spaced sentences of a text, each cut to 300 characters."""
    found = sentences(text)
    step = max(1, len(found) // most)
    return [text[span.start : min(span.end, span.start + 300)] for span in found[::step][:most]]


def run(folder: Path = FIXTURES) -> None:
    """Measure, print a table, write bench/out/quality-citations.json; exit 1 when a citation is wrong."""
    documents: Counter[str] = Counter()
    citations: Counter[str] = Counter()
    wrong: Counter[str] = Counter()
    with tempfile.TemporaryDirectory(prefix="openbook-bench-") as name:
        (Path(name) / "openbook.toml").write_text("[answer]\nabstain_below = 0.0\n", encoding="utf-8")
        with Workspace.open(name) as workspace:
            report = workspace.sync([folder])
            for info in workspace.documents():
                documents[info.format] += 1
                text = workspace.document(info.name).text
                for question in questions(text):
                    answer = workspace.ask(
                        question, arm="extractive", where=[Condition("document", "=", escape(info.name))]
                    )
                    citations[info.format] += len(answer.citations)
                    wrong[info.format] += sum(one.quote != text[one.start : one.end] for one in answer.citations)
    rows = [[kind, documents[kind], citations[kind], wrong[kind]] for kind in sorted(documents)]
    print(table(["format", "documents", "citations", "quote differs from the document"], rows))
    print(f"\n{len(report.failed)} files of the folder are no documents or broken on purpose and were not read")
    print(write_json("quality-citations", rows))
    if sum(wrong.values()):
        raise SystemExit(1)


def escape(name: str) -> str:
    """A document's name as a shell pattern that matches it alone."""
    return "".join(f"[{char}]" if char in "*?[" else char for char in name)
