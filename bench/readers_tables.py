"""Which way of writing a table's rows is found best: a pipe table, or lines that carry the column names.

    python -m bench.readers_tables [--rows 30]

Tables are rebuilt from WikiSQL questions: each condition of a question (`Player = 'Smith'`) is a true cell of its
table, other cells are drawn from values of the same column elsewhere. A question counts as found at the rank of the
first chunk of its table that holds all its values. Hybrid search with the default embedder and splitter, 10 hits.
Writes bench/out/readers_tables.json. The choice is recorded in docs/decisions/0033.
"""

from __future__ import annotations

import argparse
import collections
import json
import random
import re
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from openbook import Workspace, provenance
from openbook.ingest.readers import markdown

ROOT = Path(__file__).resolve().parent.parent
QUESTIONS = ROOT / "tests" / "fixtures" / "documents" / "wikisql" / "train.jsonl"
OUT = ROOT / "bench" / "out" / "readers_tables.json"
_LINE = re.compile(r"table: (\S+)\ncolumns: (.*)\nQ: (.*)\nA: (SELECT .*)", re.DOTALL)
_CONDITION = re.compile(r"(?:WHERE|AND) (.*?) [=<>] '([^']+)'")
_TABLES = 100
_MIN_QUESTIONS = 3

Rows = list[list[str]]
Question = tuple[str, str, list[str]]
"""Table, question, values its row holds."""


def repeated(rows: Rows, *, every: int) -> str:
    """Pipe tables of a few rows each, the header repeated."""
    parts = (markdown.table([rows[0], *rows[start : start + every]]) for start in range(1, len(rows), every))
    return "\n\n".join(parts)


WAYS: dict[str, Callable[[Rows], str]] = {
    "pipe table": markdown.table,
    "pipe table, header every 8 rows": lambda rows: repeated(rows, every=8),
    "pipe table, header every 5 rows": lambda rows: repeated(rows, every=5),
    "lines with column names": markdown.records,
}


def tables(count: int) -> tuple[dict[str, Rows], list[Question]]:
    """Tables by id with their header, and the questions about them; the same every time."""
    chosen = random.Random(0)
    asked: dict[str, list[tuple[str, dict[str, str]]]] = collections.defaultdict(list)
    headers: dict[str, list[str]] = {}
    pool: dict[str, set[str]] = collections.defaultdict(set)
    for line in QUESTIONS.read_text(encoding="utf-8").splitlines():
        match = _LINE.match(json.loads(line)["text"])
        columns = [name.strip() for name in match[2].split(", ")] if match else []
        cells = {name: value for name, value in _CONDITION.findall(match[4]) if name in columns} if match else {}
        if match is None or not cells or len(columns) < 4 or len(set(columns)) < len(columns):
            continue
        headers[match[1]] = columns
        asked[match[1]].append((match[3].strip(), cells))
        for name, value in cells.items():
            pool[name].add(value)
    every = sorted({value for values in pool.values() for value in values})
    built: dict[str, Rows] = {}
    questions: list[Question] = []
    for table in [table for table, found in asked.items() if len(found) >= _MIN_QUESTIONS][:_TABLES]:
        known = [cells for _, cells in asked[table][:count]]
        questions += [(table, question, list(cells.values())) for question, cells in asked[table][:count]]
        body = [
            [
                cells.get(name) or chosen.choice(sorted(pool[name]) if len(pool[name]) > 8 else every)
                for name in headers[table]
            ]
            for cells in [*known, *({} for _ in range(count - len(known)))]
        ]
        chosen.shuffle(body)
        built[table] = [headers[table], *body]
    return built, questions


def measure(write: Callable[[Rows], str], built: dict[str, Rows], questions: Sequence[Question]) -> dict[str, float]:
    """Hit rates and mean reciprocal rank of one way of writing."""
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "tables"
        source.mkdir()
        for name, rows in built.items():
            (source / f"{name}.md").write_text(write(rows), encoding="utf-8")
        workspace = Workspace.init(Path(folder) / "workspace")
        chunks = workspace.sync([str(source)]).chunks
        ranks = []
        for table, question, values in questions:
            hits = [hit.chunk for hit in workspace.search(question, k=10)]
            right = [
                table in chunk.document and all(value in chunk.text.replace("\\|", "|") for value in values)
                for chunk in hits
            ]
            ranks.append(right.index(True) + 1 if any(right) else 0)
        workspace.close()
    count = len(ranks)
    return {
        "chunks": chunks,
        "hit@1": sum(rank == 1 for rank in ranks) / count,
        "hit@5": sum(0 < rank <= 5 for rank in ranks) / count,
        "mrr@10": sum(1 / rank for rank in ranks if rank) / count,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=30, help="rows of each table")
    rows = parser.parse_args().rows
    built, questions = tables(rows)
    found = {name: measure(write, built, questions) for name, write in WAYS.items()}
    OUT.parent.mkdir(parents=True, exist_ok=True)
    OUT.write_text(json.dumps({"machine": provenance.machine(), "rows": rows, "ways": found}, indent=1) + "\n")
    print(f"{len(built)} tables of {rows} rows, {len(questions)} questions\n")
    print("| rows written as | chunks | hit@1 | hit@5 | MRR@10 |\n| --- | --- | --- | --- | --- |")
    for name, scores in found.items():
        print(
            f"| {name} | {scores['chunks']} | {scores['hit@1']:.3f} | {scores['hit@5']:.3f} | {scores['mrr@10']:.3f} |"
        )


if __name__ == "__main__":
    main()
