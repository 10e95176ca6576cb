"""The three comparisons of docs/results, from data that stands in this repository: workspace, trainings, comparison.

python -m bench.compare_runs handbook FOLDER    the sample handbook: 90 own questions, 60 + 24 replies in a house voice
python -m bench.compare_runs xquad FOLDER       XQuAD's six held-out articles, read with and without the bundled reader
python -m bench.compare_runs medical FOLDER     medical notes out of conversations: a task, hardly any knowledge

Every step is a command line that is printed before it runs; what is there already is not done again. --to prepare stops
before the trainings, --to train before the comparison. --keep copies the newest report, its rows packed, into a folder.
"""

from __future__ import annotations

import argparse
import gzip
import json
import shlex
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench import xquad
from bench.reader_data import question_row
from openbook import Workspace, settings_file
from openbook.sample import copy_handbook

_ROOT = Path(__file__).parent.parent
_SEEDS = (0, 1, 2)


def handbook(folder: Path) -> None:
    """Half of the documents: the adapters never see the others, which `complete` adds."""
    source = copy_handbook(folder / "source")
    files = sorted(source.rglob("*.md"))
    for file in files[::2]:
        _copy(file, folder / "handbook" / file.relative_to(source))
    for name in ("voice.jsonl", "voice_test.jsonl"):
        _copy(_ROOT / "examples" / "compare" / "handbook" / name, folder / name)
    _copy(_ROOT / "bench" / "data" / "handbook" / "cases.jsonl", folder / "questions.jsonl")
    _workspace(folder, "handbook")


def complete(folder: Path) -> None:
    """Add the handbook's other half, once the adapters are trained."""
    source = folder / "source"
    for file in sorted(source.rglob("*.md"))[1::2]:
        _copy(file, folder / "handbook" / file.relative_to(source))
    _run(folder, ["sync", "handbook"])


def xquad_articles(folder: Path) -> None:
    """All 24 articles; questions about the six that the bundled reader never saw."""
    xquad.write(folder / "xquad")
    _workspace(folder, "xquad")
    settings_file.change(folder / "openbook.toml", {"models.reader": "none"}, why="rag is the untouched model here")
    with Workspace.open(folder) as workspace:
        texts = {info.name: workspace.document(info.name).text for info in workspace.documents()}
    asked = [question_row(one, texts[f"xquad/{one.paragraph}"]) for one in xquad.held_out()]
    _write(folder / "questions.jsonl", asked)
    learned = [question_row(one, texts[f"xquad/{one.paragraph}"]) for one in xquad.trained_on()]
    _write(folder / "trained.jsonl", [_lesson(row) for row in learned])


def _lesson(row: dict[str, Any]) -> dict[str, Any]:
    """A question as the conversation that the reader learned."""
    turns = [("user", row["question"]), ("assistant", row["quote"])]
    return {
        "messages": [{"role": role, "content": content} for role, content in turns],
        "document": row["document"],
    }


def medical(folder: Path) -> None:
    """The recipe's data; the notes that are learned from are the library too: what retrieval has to work with."""
    recipe = _ROOT / "examples" / "recipes" / "medical-report"
    for name in ("train.jsonl", "valid.jsonl", "test.jsonl", "scorer.py", "recipe.toml"):
        _copy(recipe / name, folder / name)
    for number, line in enumerate((folder / "train.jsonl").read_text(encoding="utf-8").splitlines(), 1):
        asked, note = (turn["content"] for turn in json.loads(line)["messages"] if turn["role"] != "system")
        file = folder / "notes" / f"note-{number:03}.md"
        file.parent.mkdir(exist_ok=True)
        file.write_text(f"# Conversation {number}\n\n{asked}\n\n## Note\n\n{note}\n", encoding="utf-8")
    (folder / "form.txt").write_text(r"\s*SECTION: *[A-Z][A-Z/_]* *\n[\s\S]*\S[\s\S]*", encoding="utf-8")
    _workspace(folder, "notes")


def _adapters(name: str, *arguments: str) -> list[tuple[str, list[str]]]:
    """One training per seed; what a training broke is measured at the first."""
    return [
        (
            f"{name}/{number}",
            ["finetune", *arguments, "--name", name, "--set", f"seed={seed}", *(["--set", "probes=0"] if seed else [])],
        )
        for number, seed in enumerate(_SEEDS, 1)
    ]


def _refs(name: str) -> str:
    return ",".join(f"{name}@{number}" for number in range(1, len(_SEEDS) + 1))


TRAININGS = {
    "handbook": [
        *_adapters("tone", "voice.jsonl", "--set", "epochs=8", "--set", "batch=4"),
        *_adapters("support", "--from-library", "--examples", "voice.jsonl", "--no-review"),
    ],
    "xquad": [("reader/1", ["adapters", "add"])],
    "medical": _adapters("notes", "--recipe", "recipe.toml"),
}
COMPARISONS = {
    "handbook": [
        *("--cases", "questions.jsonl", "--made", "40", "--no-review", "--examples", "voice.jsonl"),
        *("--conversations", "voice_test.jsonl", "--tuned", _refs("tone"), "--both", _refs("support"), "--retrain"),
    ],
    "xquad": [
        *("--cases", "questions.jsonl", "--made", "60", "--kind", "answerable", "--kind", "unanswerable"),
        *("--kind", "conflict", "--no-review", "--trained-on", "trained.jsonl"),
        *("--tuned", "reader", "--both", "reader"),
    ],
    "medical": [
        *("--conversations", "test.jsonl", "--examples", "train.jsonl", "--task", "scorer:score", "--bar", "0.4"),
        *("--contract", "form.txt", "--tuned", _refs("notes"), "--both", "notes@1", "--skip", "freshness"),
    ],
}
PREPARE = {"handbook": handbook, "xquad": xquad_articles, "medical": medical}


def keep(folder: Path, target: Path) -> None:
    """Copy the newest finished report of a workspace, drawn again by the code as it stands."""
    newest = max(path.parent for path in (folder / ".openbook" / "reports").glob("*/report.json"))
    _run(folder, ["compare", "--again", newest.name])
    target.mkdir(parents=True, exist_ok=True)
    for name in ("report.html", "report.json", "manifest.json", "cases.jsonl", "cases.json"):
        shutil.copy(newest / name, target / name)
    for rows in (newest / "rows.jsonl", newest / "fresh" / "rows.jsonl"):
        if rows.is_file():
            name = "rows.jsonl.gz" if rows.parent == newest else "fresh-rows.jsonl.gz"
            (target / name).write_bytes(gzip.compress(rows.read_bytes(), mtime=0))


def _workspace(folder: Path, documents: str) -> None:
    _run(folder, ["init", "."])
    _run(folder, ["sync", documents])


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(source, target)


def _write(path: Path, rows: Sequence[object]) -> None:
    path.write_text("".join(f"{json.dumps(row, ensure_ascii=False)}\n" for row in rows), encoding="utf-8")


def _run(folder: Path, arguments: Sequence[str]) -> None:
    print(f"$ {shlex.join(['openbook', *arguments])}", flush=True)
    subprocess.run(["openbook", *arguments], cwd=folder, check=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", choices=PREPARE)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--to", choices=("prepare", "train", "compare"), default="compare")
    parser.add_argument("--keep", type=Path, metavar="DIR", help="for example docs/results")
    chosen = parser.parse_args()
    folder = chosen.folder.resolve()
    if chosen.keep and list((folder / ".openbook" / "reports").glob("*/report.json")):
        keep(folder, chosen.keep / chosen.name)
        return
    ready = folder / "openbook.toml"
    if not ready.is_file():
        PREPARE[chosen.name](folder)
    if chosen.to == "prepare":
        return
    for adapter, arguments in TRAININGS[chosen.name]:
        if not (folder / ".openbook" / "adapters" / adapter / "manifest.json").is_file():
            _run(folder, arguments)
    if chosen.name == "handbook":
        complete(folder)
    if chosen.to == "compare":
        _run(folder, ["compare", *COMPARISONS[chosen.name]])
        if chosen.keep:
            keep(folder, chosen.keep / chosen.name)


if __name__ == "__main__":
    main()
