"""Trains the readers that bench.reader compares: the one that ships, its seeds, and one choice changed at a time.

python -m bench.reader_train FOLDER                      the reader, seed 0
python -m bench.reader_train FOLDER --seed 1 --bare reader closed
python -m bench.reader_train FOLDER --quick answer random    ablations: each question once instead of twice

FOLDER is made when it is new (bench.reader_data). Prints the folder of each adapter, for bench.reader --adapter.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bench import reader_data
from openbook import Workspace
from openbook.settings_file import change

RECIPE = Path(__file__).resolve().parents[1] / "examples" / "readers" / "smollm2-135m-instruct" / "recipe.toml"
RUNS: dict[str, Mapping[str, object]] = {
    "reader": {},
    "answer": {"reading.target": "answer"},
    "both": {"reading.target": "quote+answer"},
    "random": {"reading.distractors": "random"},
    "never": {"reading.refusal": 0.0},
    "often": {"reading.refusal": 0.4},
    "alone": {"answer.hints": 0},
    "three": {"answer.hints": 3},
    "closed": {},
}
"""Name -> what differs from the recipe. `alone` and `three`: none and three sentences repeated before the question;
`closed`: the questions as conversations without documents."""


_BARE = {"checks": 1, "scored": 8, "probes": 0}
"""What a training needs that is only compared by bench.reader."""


def train(folder: Path, name: str, *, seed: int, quick: bool, bare: bool) -> dict[str, Any]:
    """Train one of RUNS in the workspace; what came of it."""
    differs = dict(RUNS[name])
    hints = differs.pop("answer.hints", 1)
    change(folder / "openbook.toml", {"answer.hints": hints}, why="bench.reader_train")
    label = f"{name}{'-quick' if quick else ''}-{seed}"
    with Workspace.open(folder) as workspace:
        if name == "closed":
            result = workspace.finetune(
                [folder / "closed.jsonl"], name=label, settings={"seed": seed, "metric": "loss", "probes": 0}
            )
        else:
            fast = {"reading.variants": 1, **_BARE} if quick else _BARE if bare else {}
            result = workspace.finetune(
                name=label,
                recipe=RECIPE,
                questions=[folder / "questions.jsonl"],
                settings={**differs, **fast, "seed": seed},
            )
    assert result.adapter is not None
    manifest = result.adapter.manifest
    return {
        "folder": str(result.adapter.folder),
        "minutes": round(manifest["training_seconds"] / 60, 1),
        "all minutes": round(manifest["seconds"] / 60, 1),
        "tokens": manifest["data"]["tokens"],
        "metric": manifest["metric"],
        "forgetting": (manifest["forgetting"] or {}).get("regressions"),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(RUNS)}; default: reader")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--quick", action="store_true", help="each question once; for ablations")
    parser.add_argument("--bare", action="store_true", help="no probes of forgetting and few checks; for more seeds")
    given = parser.parse_intermixed_args()
    if unknown := set(given.names) - set(RUNS):
        parser.error(f"unknown {', '.join(sorted(unknown))}; choose from {', '.join(RUNS)}")
    if not (given.folder / "openbook.toml").exists():
        reader_data.write(given.folder)
    for name in given.names or ["reader"]:
        print(
            name, json.dumps(train(given.folder, name, seed=given.seed, quick=given.quick, bare=given.bare)), flush=True
        )


if __name__ == "__main__":
    main()
