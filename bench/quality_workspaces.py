"""Real workspaces with the bench's documents synced through the public API. Knows no measurement."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench import xquad
from bench.handbook_cases import Case, locate
from openbook import Workspace, sample
from openbook.records import Citation, Hit


@contextmanager
def handbook_workspace(settings: str = "") -> Iterator[Workspace]:
    """A temporary workspace holding the bundled handbook; `settings` is TOML added to its openbook.toml."""
    with tempfile.TemporaryDirectory(prefix="openbook-bench-") as name:
        folder = sample.copy_handbook(Path(name) / "handbook")
        with _workspace(Path(name) / "desk", folder, settings) as workspace:
            yield workspace


@contextmanager
def xquad_workspace(settings: str = "") -> Iterator[Workspace]:
    """A temporary workspace holding XQuAD's 120 paragraphs, one a file, named xquad/a01-p01.txt and so on."""
    with tempfile.TemporaryDirectory(prefix="openbook-bench-") as name:
        folder = xquad.write(Path(name) / "xquad")
        with _workspace(Path(name) / "desk", folder, settings) as workspace:
            yield workspace


@contextmanager
def _workspace(root: Path, documents: Path, settings: str) -> Iterator[Workspace]:
    root.mkdir()
    (root / "openbook.toml").write_text(settings, encoding="utf-8")
    with Workspace.open(root) as workspace:
        report = workspace.sync([documents])
        if report.failed:
            raise SystemExit(f"the bench's documents did not sync: {report.failed}")
        yield workspace


class GoldSpans:
    """Where the quotes of cases stand in the documents as synced."""

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace
        self._texts: dict[str, str] = {}

    def of(self, case: Case) -> list[tuple[str, int, int]]:
        """(document, start, end) of each of the case's quotes. SystemExit when a reader lost one."""
        found = []
        for span in case.spans:
            if span.document not in self._texts:
                self._texts[span.document] = self._workspace.document(span.document).text
            place = locate(span.quote, self._texts[span.document])
            if place is None:
                raise SystemExit(f"{case.id}: {span.quote!r} is not in the text read from {span.document!r}")
            found.append((span.document, *place))
        return found


def overlaps(what: Hit | Citation, gold: list[tuple[str, int, int]]) -> bool:
    """Whether a hit's chunk or a citation shares at least one character with a gold span."""
    place = what.chunk if isinstance(what, Hit) else what
    return any(place.document == document and place.start < end and start < place.end for document, start, end in gold)
