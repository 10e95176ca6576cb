"""A model's name in, the bundled LoRA that teaches it to read passages ("the reader") out. Loads no weights.

    readers/NAME/adapter_config.json, adapter_model.safetensors    a plain LoRA as PEFT saves it, in bfloat16
    readers/NAME/manifest.json                                     base, recipe, scores, prompt, hashes of the files
    readers/NAME/README.md                                         the same for people

NAME is that of a model in the catalogue. Knows neither models nor how a LoRA is merged.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from openbook.errors import ModelError
from openbook.files import sha256_of

HOME = Path(__file__).parent
"""Where the bundled readers lie."""
FORMAT = 1
MANIFEST = "manifest.json"
WEIGHTS = "adapter_model.safetensors"
FILES = ("adapter_config.json", WEIGHTS)
"""What is merged; the manifest holds their hashes."""


@dataclass(frozen=True, slots=True)
class Reader:
    """A bundled reader."""

    name: str
    """Of the model it belongs to."""
    folder: Path
    manifest: Mapping[str, Any]

    @property
    def base_sha256(self) -> str:
        """Hash of the weights it was trained on."""
        return str(self.manifest["base"]["sha256"])

    @property
    def ref(self) -> str:
        """What an answer names as its adapter."""
        return "reader (bundled)"

    @property
    def identity(self) -> str:
        """Changes with the base or the LoRA: 16 hex digits."""
        parts = [self.base_sha256, *(str(self.manifest["files"][name]["sha256"]) for name in FILES)]
        return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]

    @property
    def prompt(self) -> str:
        """openbook.prompt.fingerprint() when it was trained; under another prompt it reads worse."""
        return str(self.manifest["prompt"])

    def verify(self) -> None:
        """Raise ModelError when a file is not the one the manifest tells of."""
        for name in FILES:
            path = self.folder / name
            if not path.is_file() or sha256_of(path) != self.manifest["files"][name]["sha256"]:
                raise ModelError(
                    f"the bundled reader of {self.name!r} is damaged ({name}); install openbook again, "
                    'or set models.reader = "none" in openbook.toml'
                )


def find(name: str, *, home: Path = HOME) -> Reader | None:
    """The bundled reader of a model; None when there is none. Raises ModelError when its own manifest is damaged."""
    return next((_read(path.parent) for path in home.glob(f"*/{MANIFEST}") if path.parent.name == name), None)


def bundled(*, home: Path = HOME) -> list[Reader]:
    """All bundled readers, by name. Raises ModelError for a manifest that cannot be read."""
    return [_read(path.parent) for path in sorted(home.glob(f"*/{MANIFEST}"))]


def _read(folder: Path) -> Reader:
    path = folder / MANIFEST
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
        known = manifest["format"] == FORMAT and all(manifest["files"][name]["sha256"] for name in FILES)
        whole = known and manifest["base"]["sha256"] and manifest["prompt"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ModelError(f"{str(path)!r} cannot be read ({error!r}); install openbook again") from None
    if not whole:
        raise ModelError(f"{str(path)!r} is no manifest of a reader of format {FORMAT}; install openbook again")
    return Reader(folder.name, folder, manifest)
