"""What a comparison is asked to do."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from openbook.compare.schema import DIAGNOSTICS, FOUR
from openbook.records import CaseKind

BAR = 0.7


@dataclass(frozen=True, slots=True)
class Options:
    """What is compared, and how; see docs/compare.md."""

    cases: Sequence[Path] = ()
    conversations: Sequence[Path] = ()
    examples: Sequence[Path] = ()
    trained_on: Sequence[Path] = ()
    """Further data that adapters learned from, to find leaks by."""
    made: int | None = None
    """Cases made from the library; None is MADE without files and none with."""
    kinds: Sequence[CaseKind] = ()
    arms: Sequence[str] = ()
    """() is all that can be run here."""
    tuned: Sequence[str] = ()
    """NAME[@VERSION] of the arm tuned, then of further training seeds; () chooses by the adapters there are."""
    both: Sequence[str] = ()
    primary: str = ""
    bar: float | None = None
    """What the primary metric must reach to be good enough; None is BAR."""
    contract: Path | None = None
    task: str = ""
    prices: Path | None = None
    edits: int = 10
    retrain: bool = False
    judge: bool = False
    labels: Path | None = None
    skip: Sequence[str] = ()
    """Of "diagnostics", "freshness", "latency", "style", "shots"."""
    seed: int = 0
    title: str = ""
    groups: Sequence[str] = ()
    """Whose documents are searched and asked about, beside those open to all."""

    def asked(self) -> dict[str, Any]:
        """What decides the rows, as plain data: a run with the same goes on with the same folder."""
        files = {
            name: [[str(path), _hash(path)] for path in getattr(self, name)]
            for name in ("cases", "conversations", "examples", "trained_on")
        }
        plain = ("made", "kinds", "arms", "tuned", "both", "primary", "task", "seed", "skip", "edits", "retrain")
        told = {name: getattr(self, name) for name in plain} | ({"groups": self.groups} if self.groups else {})
        return json.loads(json.dumps({**files, **told}))  # type: ignore[no-any-return]

    def wanted(self) -> tuple[str, ...]:
        """Names of the arms to ask."""
        if self.arms:
            return tuple(self.arms)
        return FOUR if "diagnostics" in self.skip else (*FOUR, *DIAGNOSTICS)


def _hash(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
