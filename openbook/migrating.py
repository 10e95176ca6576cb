"""A workspace's library changed over to another embedder: embedded aside, measured, switched, rolled back.

Joins openbook.library.migration, the embedders and the measuring. The long part runs in a child process of low
priority: it needs to own nothing but the new index, and searches in this or any other process go on beside it.
`python -m openbook.migrating` is that child: an order as JSON on stdin, progress as lines of JSON on stdout.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from openbook import errors
from openbook.errors import LibraryBusy, LibraryError, OpenbookError
from openbook.records import Case, Compared, Migration, Scope
from openbook.settings import LibrarySettings

if TYPE_CHECKING:
    from openbook.assemble import House
    from openbook.library.migration import Changeover
    from openbook.library.opening import Standing
    from openbook.library.stored import StoredLibrary
    from openbook.seams import Embedder, Progress

_FEW = 500
"""Chunks embedded in this process: to start another for fewer takes longer."""
_SAMPLED = 200
"""Texts of the library itself that stand in for questions."""
_POLITE = 10
"""Niceness of the child, as that of the builder of search graphs."""


@dataclass(slots=True)
class _Done:
    embedded: int = 0
    seconds: float = 0.0


def migrate(
    house: House,
    *,
    embedder: str | None = None,
    cases: Sequence[Case] = (),
    dry_run: bool = False,
    anyway: bool = False,
    progress: Progress | None = None,
) -> Migration:
    """Change the library over to an embedder; None is the one of the settings. See Workspace.migrate."""
    standing = _standing(house)
    name = embedder or house.settings.models.embedder
    target = house.load_embedder(name)
    source, fingerprint = _called(standing), target.fingerprint
    if fingerprint == standing.current.embedder:
        note = f"nothing to do: the library uses {name!r} already"
        return Migration(source, name, standing.chunks, 0, 0.0, 0.0, library_version=standing.version, notes=(note,))
    if dry_run:
        return _foreseen(house, standing, target, name)
    done = _Done()
    kept = standing.previous is not None and standing.previous.embedder == fingerprint
    if not kept and standing.chunks > _FEW:
        _embed_aside(house, name, done, progress)
    elif not kept:
        _embed_here(house, target, name, done, progress)
    while True:
        with _owned(house, standing) as library, _changeover(house, target, name, library) as coming:
            if coming.missing > _FEW and not kept:
                behind = True  # so much was committed meanwhile that the library is not to be held for it
            else:
                behind = False
                _fill(coming, done, progress)
                coming.optimize()
                compared, notes = _compare(house, library, coming, target, cases, progress)
                if not anyway:
                    _refuse_worse(compared, source, name)
                chunks = coming.chunks
                coming.switch(library)
                house.change_embedder(target)
                version = library.version()
        if not behind:
            break
        _embed_aside(house, name, done, progress)
    return Migration(
        source,
        name,
        chunks,
        done.embedded,
        done.seconds,
        done.embedded / done.seconds if done.embedded else 0.0,
        compared,
        version,
        switched=True,
        notes=(*notes, *_too_long(house, target, name)),
    )


def roll_back(house: House, *, progress: Progress | None = None) -> Migration:
    """Use the embedder of before again. See Workspace.migration_roll_back."""
    standing = _standing(house)
    if standing.previous is None:
        raise LibraryError("no earlier embedder's vectors are kept; change over anew with: openbook migrate --to NAME")
    name = standing.previous.name or house.settings.models.embedder
    target = house.load_embedder(name)
    if target.fingerprint != standing.previous.embedder:
        raise LibraryError(
            f"the vectors kept for roll-back are of {standing.previous.embedder!r}, and {name!r} is now "
            f"{target.fingerprint!r}; put the earlier model back, or run: openbook migrate --to {name}"
        )
    return migrate(house, embedder=name, anyway=True, progress=progress)


def drop_previous(house: House) -> int:
    """Delete the vectors kept for roll-back; returns the bytes freed on this disk."""
    from openbook.library import migration

    standing = _standing(house)
    with _owned(house, standing) as library:
        return migration.drop_previous(_folder(house), library, settings=house.settings.library)


def _standing(house: House) -> Standing:
    from openbook.library import standing

    found = standing(_folder(house), settings=house.settings.library)
    if found is None:
        raise LibraryError("there is no library here yet; make one with: openbook sync FOLDER")
    return found


def _folder(house: House) -> Path:
    return house.library_folder


def _called(standing: Standing) -> str:
    return standing.current.name or standing.current.embedder


@contextlib.contextmanager
def _owned(house: House, standing: Standing) -> Iterator[StoredLibrary]:
    """The open library of this process, or for a moment that of no other."""
    from openbook.library import open_library

    if house.open_library is not None:
        yield house.open_library
        return
    told = False
    while True:
        try:
            library = open_library(
                _folder(house),
                settings=house.settings.library,
                embedder_fingerprint=standing.current.embedder,
                dimensions=standing.current.dimensions,
                create=False,
                brief=True,
            )
            break
        except LibraryBusy as busy:
            if not told:
                who = str(busy).partition(";")[0]
                house.notice(f"waiting to switch until the library is free: {who}; Ctrl-C keeps what was embedded")
                told = True
            time.sleep(0.2)
    with contextlib.closing(library):
        yield library


@contextlib.contextmanager
def _changeover(house: House, target: Embedder, name: str, library: StoredLibrary) -> Iterator[Changeover]:
    from openbook.library.migration import Changeover

    with contextlib.closing(
        Changeover(_folder(house), settings=house.settings.library, embedder=target, name=name, library=library)
    ) as coming:
        yield coming


def _foreseen(house: House, standing: Standing, target: Embedder, name: str) -> Migration:
    from openbook.library.migration import sample
    from openbook.library.opening import index_size

    texts = sample(_folder(house), settings=house.settings.library, count=64)
    target.embed(texts[:4], kind="document")
    began = time.perf_counter()
    target.embed(texts, kind="document")
    speed = len(texts) / (time.perf_counter() - began) if texts else 0.0
    size = index_size(standing.chunks, target.dimensions)
    return Migration(
        _called(standing),
        name,
        standing.chunks,
        0,
        standing.chunks / speed if speed else 0.0,
        speed,
        library_version=standing.version,
        notes=(f"needs about {size / 1e6:,.0f} MB of disk while both are kept",),
        dry_run=True,
    )


def _compare(
    house: House,
    library: StoredLibrary,
    coming: Changeover,
    target: Embedder,
    cases: Sequence[Case],
    progress: Progress | None,
) -> tuple[tuple[Compared, ...], tuple[str, ...]]:
    """Old and new index on the same version: by the cases, or by texts of the library itself."""
    from openbook.answer.followup import standalone
    from openbook.questions import locate
    from openbook.retrieve import compare
    from openbook.retrieve.search import HybridSearcher

    version = coming.attach(library)
    try:
        # house.embedder would ask for the very migration that is running.
        old = (
            house.embedder
            if house.open_library
            else house.load_embedder(library.made.name or house.settings.models.embedder)
        )
    except OpenbookError as error:
        return (), (f"the difference was not measured: {error}",)
    if old.fingerprint != library.made.embedder:
        return (), (f"the difference was not measured: {library.made.embedder!r} is not here any more",)
    groups = tuple(sorted({label for info in library.documents(version=version) for label in info.acl}))
    scope = Scope(groups=groups, version=version)
    before, after = (HybridSearcher(library, one, house.settings.retrieve) for one in (old, target))
    if progress is not None:
        progress("compare", 0, 1)
    notes: tuple[str, ...] = ()
    if cases:
        located, notes = locate(cases, library, groups=groups, version=version)
        asked = [replace(case, question=standalone(case.question, case.history)) for case in located]
        compared = compare.by_cases(before, after, asked, scope=scope)
        if not compared:
            notes = (*notes, "none of the cases has its answer in the library, so nothing was compared by them")
    else:
        compared = compare.by_overlap(before, after, _own_questions(library, version), scope=scope)
    if progress is not None:
        progress("compare", 1, 1)
    return compared, notes


def _own_questions(library: StoredLibrary, version: int) -> list[str]:
    """First sentences of chunks drawn from all documents, the same at every run."""
    from openbook.prose import sentences

    draw, found = random.Random(0), []
    documents = [info.name for info in library.documents(version=version) if info.chunks]
    per_document = -(-_SAMPLED // max(1, len(documents)))
    for name in draw.sample(documents, min(_SAMPLED, len(documents))):
        chunks = [chunk for _, chunk in library.chunks_of(name, version=version)]
        for chunk in draw.sample(chunks, min(per_document, len(chunks))):
            spans = sentences(chunk.text)
            found.append(chunk.text[spans[0].start : spans[0].end] if spans else chunk.title)
    return found[:_SAMPLED]


def _refuse_worse(compared: Sequence[Compared], source: str, target: str) -> None:
    for one in compared:
        if not one.measure.startswith("overlap") and one.high < 0:
            raise LibraryError(
                f"{target!r} finds less than {source!r}: {one.measure} falls from {one.before:.3f} to {one.after:.3f} "
                f"on {one.n} questions (difference {one.low:+.3f} to {one.high:+.3f}), so the library stays as it was; "
                f"its vectors are kept, switch nevertheless with: openbook migrate --to {target} --anyway"
            )


def _too_long(house: House, target: Embedder, name: str) -> tuple[str, ...]:
    """A note when chunks made for an embedder of long inputs do not fit one of short inputs."""
    from openbook.library.migration import sample

    texts = sample(_folder(house), settings=house.settings.library, count=1000)
    long = sum(count + 2 > target.max_tokens for count in target.count(texts))
    if not long:
        return ()
    return (
        f"{long} of {len(texts)} chunks looked at are longer than the {target.max_tokens} tokens {name!r} reads, and "
        "their ends count for words only; set ingest.chunk_tokens lower and sync the documents anew",
    )


def _embed_here(house: House, target: Embedder, name: str, done: _Done, progress: Progress | None) -> None:
    """Embed few chunks while the library is free for others; adds to `done` what was embedded."""
    from openbook.library.migration import Changeover

    settings = house.settings.library
    with contextlib.closing(Changeover(_folder(house), settings=settings, embedder=target, name=name)) as coming:
        _fill(coming, done, progress)


def _fill(coming: Changeover, done: _Done, progress: Progress | None) -> None:
    began = time.perf_counter()
    done.embedded += coming.fill(progress)
    done.seconds += time.perf_counter() - began


def _embed_aside(house: House, name: str, done: _Done, progress: Progress | None) -> None:
    """Run the child; adds to `done` what it embedded."""
    from openbook.assemble import offline, placed

    order = {
        "folder": str(_folder(house)),
        "settings": house.settings.library.model_dump(),
        "name": name,
        "place": placed(name, house.root),
        "offline": offline(house.settings),
    }
    child = subprocess.Popen(
        [sys.executable, "-m", "openbook.migrating"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,  # Ctrl-C is for the parent, which ends it
    )
    assert child.stdin is not None
    assert child.stdout is not None
    try:
        child.stdin.write(json.dumps(order))
        child.stdin.close()
        for line in child.stdout:
            said: dict[str, Any] = json.loads(line)
            if "error" in said:
                raise getattr(errors, said["kind"], OpenbookError)(said["error"])
            if "embedded" in said:
                done.embedded += said["embedded"]
                done.seconds += said["seconds"]
            elif progress is not None:
                progress(said["step"], said["done"], said["total"])
        if child.wait():
            raise LibraryError(
                f"the process that embeds ended with {child.returncode}; what it did is kept, go on with: "
                f"openbook migrate --to {name}"
            )
    finally:
        child.kill()
        child.wait()
        child.stdout.close()


def _child(say: Callable[[dict[str, Any]], None], order: dict[str, Any]) -> None:
    from openbook.library.migration import Changeover
    from openbook.models import fetch
    from openbook.retrieve.embed import OpenVINOEmbedder

    files = fetch.ensure(order["place"], offline=order["offline"])
    embedder = OpenVINOEmbedder(files if order["place"] == order["name"] else replace(files, name=order["name"]))
    settings = LibrarySettings.model_validate(order["settings"])
    folder = Path(order["folder"])
    with contextlib.closing(Changeover(folder, settings=settings, embedder=embedder, name=order["name"])) as coming:
        began = time.perf_counter()
        embedded = coming.fill(lambda step, done, total: say({"step": step, "done": done, "total": total}))
        say({"embedded": embedded, "seconds": time.perf_counter() - began})
        coming.settle()
        coming.optimize()


def main() -> None:
    """The child."""

    def say(what: dict[str, Any]) -> None:
        sys.stdout.write(json.dumps(what) + "\n")
        sys.stdout.flush()

    with contextlib.suppress(AttributeError, OSError):
        os.nice(_POLITE)
    try:
        _child(say, json.load(sys.stdin))
    except OpenbookError as error:
        say({"error": str(error), "kind": type(error).__name__})
    except BrokenPipeError:  # the parent is gone; what was embedded is kept
        sys.stderr.close()
        sys.exit(1)


if __name__ == "__main__":
    main()
