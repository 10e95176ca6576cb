"""Bundles a trained adapter as the reader that ships with its model (openbook/readers/NAME/).

    python scripts/bundle_reader.py DESK/.openbook/adapters/reader/1 --data-licence "..." --scores scores.json

Takes the folder of a registered LoRA; writes its weights in bfloat16, its settings without the places of this machine,
a manifest with all the training recorded (gate, forgetting, settings, seed, minutes), and a card. `--scores` is JSON:
{"measure": {"untouched": 0.0, "reader": 0.5, "interval": [0.4, 0.6], "n": 120}}.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from openbook import readers
from openbook.errors import AdapterError, OpenbookError
from openbook.files import sha256_of, write_atomic
from openbook.finetune import tensorfile
from openbook.finetune.merge import read_config, read_lora
from openbook.models.catalogue import get
from openbook.prompt import fingerprint

LARGEST = 12_000_000
"""Bytes of the weights: what a wheel may grow by."""
OF_A_FOLDER = ("format", "name", "version", "files", "run", "parent")
"""Of an adapter's manifest: what tells of its folder, not of its training."""


def bundle(adapter: Path, *, data_licence: str, scores: Mapping[str, Any], home: Path = readers.HOME) -> readers.Reader:
    """Write the bundle of an adapter's folder.

    Raises AdapterError for anything but a LoRA on a pinned model of the catalogue that passed the gate, for one too
    large, for one trained under another prompt, and for a manifest that names places of this machine.
    """
    trained = json.loads((adapter / "manifest.json").read_text(encoding="utf-8"))
    base = trained["base"]
    if get(base["name"]).sha256 != base["sha256"]:
        raise AdapterError(f"the adapter was trained on {base['name']!r} {base['sha256']}, not on the catalogue's")
    if trained["gate"]["passed"] is not True:
        raise AdapterError("the adapter did not pass the gate: what is served is not what was trained")
    prompt = ((trained.get("library") or {}).get("serving") or {}).get("prompt", fingerprint())
    if prompt != fingerprint():
        raise AdapterError("the adapter was trained under another prompt than openbook/prompt.py renders now")
    told = {key: value for key, value in trained.items() if key not in OF_A_FOLDER}
    if places := [text for text in _texts(told) if text.startswith(("/", "\\")) or text[1:3] == ":\\"]:
        raise AdapterError(f"the adapter's manifest names a place of this machine: {places[0]!r}")
    folder = home / base["name"]
    draft = home / f".{base['name']}.part"
    shutil.rmtree(draft, ignore_errors=True)
    try:
        draft.mkdir(parents=True)
        config = read_config(adapter)
        config |= {"base_model_name_or_path": base["name"], "target_modules": sorted(config["target_modules"])}
        write_atomic(draft / readers.FILES[0], _json(config))
        source = adapter / readers.WEIGHTS
        tensors = {name: tensorfile.read(source, one) for name, one in tensorfile.tensors_of(source).items()}
        tensorfile.write(draft / readers.WEIGHTS, dict(sorted(tensors.items())))
        size = (draft / readers.WEIGHTS).stat().st_size
        if size > LARGEST:
            raise AdapterError(f"the weights have {size:,} bytes, more than {LARGEST:,}: train a smaller rank")
        manifest = {
            "format": readers.FORMAT,
            "name": base["name"],
            **told,
            "licence": "Apache-2.0",
            "data_licence": data_licence,
            "prompt": prompt,
            "rounding": rounding(adapter, draft),
            "scores": dict(scores),
            "files": {
                name: {"bytes": (draft / name).stat().st_size, "sha256": sha256_of(draft / name)}
                for name in readers.FILES
            },
        }
        write_atomic(draft / "README.md", card(manifest))
        write_atomic(draft / readers.MANIFEST, _json(manifest))
        shutil.rmtree(folder, ignore_errors=True)
        draft.rename(folder)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    found = readers.find(base["name"], home=home)
    assert found is not None
    found.verify()
    return found


def rounding(left: Path, right: Path) -> float:
    """The largest relative difference (Frobenius) between what two LoRAs add to a weight."""
    ours, theirs = read_lora(left), read_lora(right)

    def added(lora: tuple[Any, Any, float]) -> Any:
        return lora[2] * (lora[0] @ lora[1])

    def apart(module: str) -> float:
        whole = added(ours[module])
        return float(np.linalg.norm(added(theirs[module]) - whole) / max(float(np.linalg.norm(whole)), 1e-30))

    return max(apart(module) for module in ours)


def card(manifest: Mapping[str, Any]) -> str:
    """The model card."""
    base, settings, data = manifest["base"], manifest["settings"], manifest["data"]
    lines = [
        f"# Reader for {base['name']}",
        "",
        "A LoRA that teaches the model to answer from numbered passages: to cite the right one, and to decline when",
        "none holds the answer. Openbook merges it into the model and uses it whenever this model answers from",
        'passages; `models.reader = "none"` in openbook.toml switches it off.',
        "",
        f"- Base: {base['name']}, sha256 {base['sha256']}, {base.get('license') or manifest['licence']}",
        f"- Licence of these weights: {manifest['licence']}",
        f"- Trained on: {data.get('examples')} examples. {manifest['data_licence']}",
        f"- Recipe: LoRA rank {settings['rank']}, {settings['epochs']} epochs, learning rate "
        f"{settings['learning_rate']}, batch {settings['batch']}, seed {manifest['seed']}; "
        f"{manifest['training_seconds'] / 60:.0f} minutes on {manifest['machine']['cores']} cores of a CPU",
        f"- Weights: bfloat16, {manifest['files'][readers.WEIGHTS]['bytes'] / 1e6:.1f} MB; rounding moved what a layer "
        f"adds by at most {manifest['rounding']:.2%}",
        "- Served as trained: the gate passed "
        f"({manifest['gate']['difference']:+.4f} nats a token between trained and served, bound "
        f"{manifest['gate']['bound']})",
        "",
    ]
    if manifest["scores"]:
        lines += ["| measure | untouched | with the reader | 95 % interval | n |", "|---|---|---|---|---|"]
        for name, one in manifest["scores"].items():
            low, high = one.get("interval") or (None, None)
            interval = "" if low is None else f"{low:.2f} to {high:.2f}"
            lines.append(f"| {name} | {one.get('untouched', '')} | {one['reader']} | {interval} | {one.get('n', '')} |")
        lines.append("")
    lines += [
        "It is for English questions about passages. It knows no more facts than its base, and a model of this size",
        "still misreads passages: read the cited sentence. manifest.json holds every setting and score.",
    ]
    return "\n".join(lines) + "\n"


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for key, below in value.items():
            yield from (*_texts(key), *_texts(below))
    elif isinstance(value, list):
        for below in value:
            yield from _texts(below)


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, indent=1) + "\n"


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("adapter", type=Path, help="folder of a registered adapter: .openbook/adapters/NAME/VERSION")
    parser.add_argument("--data-licence", required=True, help="what the data is and under which licence")
    parser.add_argument("--scores", type=Path, help="JSON file of scores for manifest and card")
    parser.add_argument("--home", type=Path, default=readers.HOME, help="where to write; default: the package")
    given = parser.parse_args()
    try:
        scores = json.loads(given.scores.read_text(encoding="utf-8")) if given.scores else {}
        found = bundle(given.adapter, data_licence=given.data_licence, scores=scores, home=given.home)
    except (OpenbookError, OSError, KeyError, ValueError) as error:
        sys.exit(f"{error}")
    print(f"{found.folder}: {found.identity}")


if __name__ == "__main__":
    main()
