"""How much of each document's text the readers keep, and how long they take, per format.

    python -m bench.readers [--show]

Compares the words (as a multiset) with what docling and markitdown are expected to make of the same files in their own
regression tests: not human truth, but made elsewhere. Markdown syntax, link targets and image placeholders are taken
out on both sides. Recall: share of their words we have; precision: share of our words they have. Writes
bench/out/readers.json and prints the table that stands in docs/readers.md.
"""

from __future__ import annotations

import argparse
import collections
import html
import json
import re
import statistics
import time
from pathlib import Path

from openbook import provenance
from openbook.errors import ReadError
from openbook.ingest import readers
from openbook.settings import Ingest

ROOT = Path(__file__).resolve().parent.parent
DOCUMENTS = ROOT / "tests" / "fixtures" / "documents"
OUT = ROOT / "bench" / "out" / "readers.json"
REPEATS = 3


def expected(path: Path) -> Path | None:
    """The reference text of a file, if there is one."""
    for folder, name in (
        ("docling/groundtruth", f"{path.name}.md"),
        ("docling/groundtruth", f"{path.stem}.md"),
        ("markitdown/expected_outputs", f"{path.stem}.md"),
    ):
        found = DOCUMENTS / folder / name
        if found.exists() and (name.startswith(path.name) or path.suffix == ".pdf"):
            return found
    return None


def words(text: str) -> list[str]:
    """Lower-case words without Markdown syntax, link targets and image placeholders."""
    text = re.sub(r"<!--.*?-->", " ", text, flags=re.DOTALL)
    target = r"\((?:[^()\s]|\([^()]*\))*(?:\s+\"[^\"]*\")?\)"
    text = re.sub(r"!?\[((?:[^\[\]]|\[[^\[\]]*\])*)\]" + target, r" \1 ", text)
    return re.findall(r"\w+", html.unescape(text).replace("\\", "").replace("_", " ").lower())


def score(reference: str, text: str) -> tuple[float, float]:
    """(recall, precision) of the words of `text` against those of `reference`."""
    theirs, ours = collections.Counter(words(reference)), collections.Counter(words(text))
    both = (theirs & ours).total()
    return (both / theirs.total() if theirs else 1.0), (both / ours.total() if ours else 1.0)


def measure(path: Path) -> dict[str, object]:
    """One file: scores where there is a reference, seconds (the best of a few), or the failure."""
    seconds: list[float] = []
    for _ in range(REPEATS):
        started = time.perf_counter()
        try:
            outcome = readers.read(path, name=path.name, limits=Ingest())
        except ReadError as error:
            return {"file": path.name, "format": path.suffix[1:], "failure": str(error)}
        seconds.append(time.perf_counter() - started)
    document = outcome.documents[0]
    row: dict[str, object] = {
        "file": path.name,
        "format": document.format,
        "seconds": min(seconds),
        "characters": len(document.text),
        "inner": len(outcome.documents) - 1,
        "failures": [failure.reason for failure in outcome.failures],
    }
    if (reference := expected(path)) is not None and words(reference.read_text(encoding="utf-8")):
        row["recall"], row["precision"] = score(reference.read_text(encoding="utf-8"), document.text)
    return row


def table(rows: list[dict[str, object]]) -> str:
    """Per format: files, recall and precision with their worst, seconds."""
    lines = [
        "| format | files read | compared | recall, mean (worst) | precision, mean (worst) | ms a file, median (max) |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for kind in sorted({str(row["format"]) for row in rows if "failure" not in row}):
        mine = [row for row in rows if row["format"] == kind and "failure" not in row]
        scored = [row for row in mine if "recall" in row]
        cells = [kind, str(len(mine)), str(len(scored))]
        for key in ("recall", "precision"):
            values = [float(str(row[key])) for row in scored]
            cells.append(f"{statistics.mean(values):.3f} ({min(values):.3f})" if values else "-")
        milliseconds = [1000 * float(str(row["seconds"])) for row in mine]
        cells.append(f"{statistics.median(milliseconds):.1f} ({max(milliseconds):.1f})")
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--show", action="store_true", help="print every file's row too")
    show = parser.parse_args().show
    skipped = {"groundtruth", "expected_outputs", "made"}
    paths = [
        path
        for path in sorted(DOCUMENTS.rglob("*"))
        if path.is_file() and not skipped & set(path.parts) and not path.name.startswith(("LICENSE", "README"))
    ]
    rows = [measure(path) for path in paths]
    OUT.parent.mkdir(parents=True, exist_ok=True)
    OUT.write_text(json.dumps({"machine": provenance.machine(), "rows": rows}, indent=1, ensure_ascii=False) + "\n")
    for row in rows if show else ():
        print(json.dumps(row, ensure_ascii=False))
    print(table(rows))
    for row in rows:
        if "failure" in row:
            print(f"refused: {row['file']}: {row['failure']}")


if __name__ == "__main__":
    main()
