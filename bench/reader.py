"""How well a model reads retrieved passages, on six XQuAD articles it never saw and on the handbook.

python -m bench.reader quick --adapter reader=FOLDER --limit 60    a few minutes: is this adapter any good?
python -m bench.reader run --adapter reader=FOLDER --adapter closed=FOLDER    all arms, bench/out/reader.json
python -m bench.reader compare FILE FILE ...    runs of several seeds in one Markdown table
python -m bench.reader data                     what the cases are made of, no model asked

An adapter is a version's folder in a registry (.openbook/adapters/NAME/1), its `served` folder alone, or a path to any
model. Arms:

base              the untouched model, no passages
rag               the untouched model with passages
tuned             the adapter `closed`, trained on questions without documents, no passages
tuned_rag_naive   the adapter `closed` with passages: the known mistake
reader            the adapter `reader`, trained to read passages, with passages
NAME              any other adapter given as NAME=FOLDER, with passages: ablations
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections.abc import Collection, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Any

from bench import reader_compare, reader_handbook, xquad
from bench.common import table, write_json
from bench.reader_cases import KINDS, Cases, Kind
from bench.reader_models import Reader, load
from bench.reader_run import ask, chosen, held_out, timed
from bench.reader_score import Row, pair, pair_table, shares_table, summary

ARMS: dict[str, tuple[str, bool]] = {
    "base": ("", False),
    "rag": ("", True),
    "tuned": ("closed", False),
    "tuned_rag_naive": ("closed", True),
    "reader": ("reader", True),
}
"""Which adapter answers ("" is the untouched model), and whether passages are shown."""


def arms_of(adapters: Collection[str]) -> dict[str, tuple[str, bool]]:
    """The arms that these adapters allow."""
    allowed = {arm: of for arm, of in ARMS.items() if of[0] in {"", *adapters}}
    return {**allowed, **{name: (name, True) for name in adapters if name not in ("closed", "reader")}}


def run(
    arms: Sequence[str],
    adapters: dict[str, Path],
    *,
    limit: int = 160,
    articles: Sequence[str] = xquad.HELD_OUT,
    seed: int = 0,
    clocked: int = 24,
    handbook: bool = True,
    helped: int | None = None,
    name: str = "reader",
) -> dict[str, Any]:
    """All arms on all kinds of items; prints the tables, writes bench/out/NAME.json, returns its results."""
    known = arms_of(adapters)
    half = limit // 2
    with_passages: dict[Kind, int] = {
        "answerable": limit,
        "oracle": limit,
        "shuffled": limit,
        "taken": half,
        "near": half,
        "far": half,
        "conflict": half,
    }
    results: dict[str, Any] = {"arms": {}, "seed": seed, "articles": list(articles), "limit": limit}
    rows: dict[str, list[Row]] = {}
    books: dict[str, list[reader_handbook.Row]] = {}
    with ExitStack() as stack:
        workspace, cases = stack.enter_context(held_out(articles))
        embedder = workspace.house.embedder
        reads_any = handbook and any(known[arm][1] for arm in arms)
        book = stack.enter_context(reader_handbook.shelf()) if reads_any else None
        results["cases"] = cases.facts
        for adapter, of in _by_adapter({arm: known[arm][0] for arm in arms}).items():
            loaded = load(adapters[adapter] if adapter else None)
            with Reader(loaded, embedder, helped=helped) as reader:
                for arm in of:
                    reads = known[arm][1]
                    items = chosen(cases, with_passages if reads else {"answerable": limit})
                    rows[arm] = ask(arm, reader, items, embedder=embedder if reads else None)
                    results["arms"][arm] = {
                        "model": loaded.folder or loaded.files.name,
                        "sha256": loaded.files.sha256,
                        "seconds": timed(reader, cases.of("answerable", clocked, seed=1), reads=reads),
                        "summary": summary(rows[arm]),
                    }
                    if book and reads:
                        books[arm] = reader_handbook.ask(arm, reader, book)
                        results["arms"][arm]["handbook"] = reader_handbook.summaries(books[arm])
    for arm, entry in results["arms"].items():
        entry["rows"] = [asdict(row) for row in rows[arm]]
        entry["handbook rows"] = [asdict(row) for row in books.get(arm, ())]
    results["pairs"] = {
        f"{arm} against rag": pair(rows["rag"], rows[arm])
        for arm in rows
        if "rag" in rows and arm != "rag" and known[arm][1]
    }
    show(results)
    print(f"\n{write_json(name, results)}")
    return results


def quick(
    adapters: dict[str, Path],
    *,
    rag: bool,
    limit: int,
    articles: Sequence[str],
    seed: int,
    verbose: bool,
    helped: int | None = None,
) -> dict[str, dict[str, Any]]:
    """The figures that decide between recipes, for each adapter with passages; the last column of tables in docs."""
    half = limit // 2
    limits: dict[Kind, int] = {"answerable": limit, "shuffled": half, "taken": half, "near": half // 2}
    found: dict[str, dict[str, Any]] = {}
    with held_out(articles) as (workspace, cases):
        for name in (*(["rag"] if rag or not adapters else []), *adapters):
            with Reader(load(adapters.get(name)), workspace.house.embedder, helped=helped) as reader:
                rows = ask(name, reader, chosen(cases, limits, seed=seed), embedder=workspace.house.embedder)
                clock = timed(reader, cases.of("answerable", 8, seed=1), reads=True)
            found[name] = {
                **summary(rows),
                "seconds, median of 8": clock["median"],
                "of all cores": clock["cpu, median"],
            }
            for row in rows if verbose else ():
                marks = "".join(letter if on else "-" for letter, on in zip("gcr", _marks(row), strict=True))
                print(f"{row.kind:10} {marks} {row.right} {row.question} ({row.gold[0]})\n    => {row.text}")
    print(shares_table(found))
    return found


def show(results: dict[str, Any]) -> None:
    """The tables of a run."""
    summaries = {arm: entry["summary"] for arm, entry in results["arms"].items()}
    print(f"\narticles {results['articles']}, {results['cases']['questions']} questions (95 % Wilson intervals)\n")
    print(shares_table(summaries))
    print("\nseconds per answer, one question after the other; a busy machine lengthens the wall seconds only\n")
    print(
        table(
            ["", "median", "max", "of all cores, median", "answer tokens, median", "n"],
            [[arm, *entry["seconds"].values()] for arm, entry in results["arms"].items()],
        )
    )
    for split in ("dev", "test"):
        of = {arm: entry["handbook"][split] for arm, entry in results["arms"].items() if "handbook" in entry}
        if of:
            print(f"\nhandbook, {split}\n\n{shares_table(of)}")
    for name, pairs in results["pairs"].items():
        print(f"\n{name}, same questions (interval: paragraphs resampled)\n\n{pair_table(pairs)}")


def data(articles: Sequence[str]) -> None:
    """Print what the cases are made of."""
    with held_out(articles) as (workspace, cases), Reader(load(None), workspace.house.embedder) as reader:
        print(table(["cases", "n"], [[name, n] for name, n in _counts(cases).items()]))
        for kind in ("answerable", "oracle", "far"):
            lengths = [reader.length(reader.prompt(item.question, item.hits)) for item in cases.of(kind)]
            print(f"prompt tokens, {kind}: mean {statistics.mean(lengths):.0f}, max {max(lengths)}")


def _counts(cases: Cases) -> dict[str, int]:
    return {**cases.facts, **{f"items: {kind}": sum(item.kind == kind for item in cases.items) for kind in KINDS}}


def _marks(row: Row) -> tuple[bool, bool, bool]:
    return row.says, row.cites_right, row.refuses


def _by_adapter(arms: Mapping[str, str]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for arm, adapter in arms.items():
        found.setdefault(adapter, []).append(arm)
    return found


def _named(text: str) -> tuple[str, Path]:
    name, _, folder = text.partition("=")
    if not folder or not Path(folder).exists():
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=FOLDER with a folder that exists")
    return name, Path(folder).resolve()


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.reader", description="Measure how a model reads passages.")
    ways = parser.add_subparsers(dest="way", required=True)
    whole, fast, look = ways.add_parser("run"), ways.add_parser("quick"), ways.add_parser("data")
    for way in (whole, fast, look):
        way.add_argument("--articles", nargs="+", default=xquad.HELD_OUT, metavar="ARTICLE")
    for way, limit in ((whole, 160), (fast, 60)):
        way.add_argument("--adapter", action="append", type=_named, default=[], metavar="NAME=FOLDER")
        way.add_argument("--limit", type=int, default=limit, help="answerable questions; of other kinds a part of it")
        way.add_argument("--seed", type=int, default=0, help="chooses the questions")
        way.add_argument("--hints", type=int, help="sentences repeated before the question; default: the settings'")
    whole.add_argument("--arms", nargs="+", metavar="ARM", help="default: all the adapters given allow")
    whole.add_argument("--clocked", type=int, default=24, help="questions asked one by one for the seconds")
    whole.add_argument("--no-handbook", action="store_true")
    whole.add_argument("--name", default="reader", help="of the result file in bench/out")
    fast.add_argument("--rag", action="store_true", help="the untouched model too")
    fast.add_argument("--verbose", action="store_true", help="show every answer")
    join = ways.add_parser("compare")
    join.add_argument("files", nargs="+", type=Path)
    given = parser.parse_args()
    if given.way == "compare":
        print(reader_compare.tables([json.loads(file.read_text(encoding="utf-8")) for file in given.files]))
    elif given.way == "data":
        data(given.articles)
    elif given.way == "quick":
        quick(
            dict(given.adapter),
            rag=given.rag,
            limit=given.limit,
            articles=given.articles,
            seed=given.seed,
            verbose=given.verbose,
            helped=given.hints,
        )
    else:
        adapters = dict(given.adapter)
        arms = given.arms or list(arms_of(adapters))
        if missing := [arm for arm in arms if arm not in arms_of(adapters)]:
            needed = ARMS[missing[0]][0] if missing[0] in ARMS else missing[0]
            raise SystemExit(f"arm {missing[0]!r} needs --adapter {needed}=FOLDER; arms: {', '.join(ARMS)}")
        run(
            arms,
            adapters,
            limit=given.limit,
            articles=given.articles,
            seed=given.seed,
            clocked=given.clocked,
            handbook=not given.no_handbook,
            helped=given.hints,
            name=given.name,
        )


if __name__ == "__main__":
    main()
