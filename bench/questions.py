"""How fast questions are made from the bundled handbook and from XQuAD, and what they look like.

    python -m bench.questions [--samples 20] [--seed 0]

Needs no model: the library gets vectors of zeros and chunks by words.
"""

from __future__ import annotations

import argparse
import random
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from bench import common, xquad
from openbook import questions, sample
from openbook.ingest.readers import read
from openbook.ingest.split import split
from openbook.library import open_library
from openbook.records import Case, Change, Document, Entry
from openbook.seams import Library
from openbook.settings import Ingest, LibrarySettings, Reading

_DIMENSIONS = 4


@contextmanager
def library_of(folder: Path) -> Iterator[Library]:
    """A temporary library of a folder's files, chunked by words (about three quarters of the default's tokens)."""

    def count(texts: list[str]) -> list[int]:
        return [len(text.split()) * 4 // 3 for text in texts]

    entries = []
    for path in sorted(path for path in folder.rglob("*") if path.suffix in {".md", ".txt"}):
        for document in _documents(path, path.relative_to(folder).as_posix()):
            chunks = split(document, count=count, max_tokens=512)  # type: ignore[arg-type]
            vectors = np.zeros((len(chunks), _DIMENSIONS), np.float32)
            vectors[:, 0] = 1
            entries.append(Entry(document, chunks, vectors))
    with tempfile.TemporaryDirectory(prefix="openbook-bench-") as place:
        library = open_library(
            Path(place), settings=LibrarySettings(), embedder_fingerprint="bench", dimensions=_DIMENSIONS
        )
        try:
            library.commit(Change(put=entries))
            yield library
        finally:
            library.close()


def _documents(path: Path, name: str) -> list[Document]:
    return [*read(path, name=name, limits=Ingest()).documents]


def main() -> None:
    """Measure both sources, print the figures and samples, write bench/out/questions.json."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    rows: dict[str, object] = {}
    with tempfile.TemporaryDirectory(prefix="openbook-bench-") as place, sample.handbook() as handbook:
        for label, folder in (("handbook", handbook), ("xquad", xquad.write(Path(place) / "xquad"))):
            with library_of(folder) as library:
                questions.build(library, settings=Reading(questions=1), seed=arguments.seed)  # loads what it needs
                before = time.process_time()
                built = questions.build(library, settings=Reading(), seed=arguments.seed)
                spent = time.process_time() - before
            rows[label] = _row(built, spent)
            print(f"\n## {label}: {rows[label]}\n")
            picked = random.Random(arguments.seed).sample(built.cases, min(arguments.samples, len(built.cases)))
            for case in picked:
                print(_line(case))
    common.write_json("questions", rows)


def _row(built: questions.Built, spent: float) -> dict[str, object]:
    return {
        "questions": len(built.cases),
        "seconds": round(built.seconds, 3),
        "per_second": round(len(built.cases) / built.seconds, 1),
        "cpu_seconds": round(spent, 3),
        "per_cpu_second": round(len(built.cases) / spent, 1),
        "documents": built.documents,
        "read": built.read,
        "followups": sum(bool(case.history) for case in built.cases),
        "blanks": sum("____" in case.question for case in built.cases),
        "origins": dict(Counter(case.origin for case in built.cases)),
        "rejected": dict(built.rejected),
        "notes": list(built.notes),
    }


def _line(case: Case) -> str:
    before = "".join(f"({turn.role}: {turn.content}) " for turn in case.history)
    return f"- {before}{case.question}\n    = {case.gold[0]!r}  {case.spans[0].document}"


if __name__ == "__main__":
    main()
