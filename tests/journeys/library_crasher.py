"""A process that changes a library without pause until it is killed, writing down beforehand what it is about to do."""

from __future__ import annotations

import json
import random
from pathlib import Path

from openbook.errors import LibraryError
from openbook.records import Change, Entry
from openbook.seams import Library
from tests.contracts.library_data import entry, opened

State = dict[str, list[str]]
"""Document name -> its chunks' texts."""


def run(folder: Path, seed: int) -> None:
    rng = random.Random(seed)
    library = opened(folder / "library")
    library._index._worth = 40  # type: ignore[attr-defined]  # so that small libraries get graphs built, too
    while True:
        step(library, folder, rng)


def step(library: Library, folder: Path, rng: random.Random) -> None:
    version = library.version()
    state, change = planned(read(folder, version), version + 1, rng)
    (folder / f"state-{version + 1}.json").write_text(json.dumps(state), encoding="utf-8")
    library.commit(change)
    if rng.random() < 0.3:
        library.sweep(keep=rng.choice([1, 2, 4]))
    if rng.random() < 0.1:
        library.optimize()
    if rng.random() < 0.1:
        back = rng.choice(library.versions()).version
        (folder / f"state-{version + 2}.json").write_text(json.dumps(read(folder, back)), encoding="utf-8")
        library.roll_back(back)


def planned(state: State, version: int, rng: random.Random) -> tuple[State, Change]:
    """A random change and the state it leads to."""
    after, names = dict(state), sorted(state)
    rng.shuffle(names)
    remove = [names.pop() for _ in range(rng.randrange(2)) if len(names) > 5]
    rename = [(names.pop(), f"renamed {version}-{number}") for number in range(rng.randrange(2)) if names]
    put: list[Entry] = []
    for name in remove:
        del after[name]
    for old, new in rename:
        after[new] = after.pop(old)
    for number in range(rng.randrange(1, 6)):
        name = names.pop() if names and rng.random() < 0.6 else f"new {version}-{number}"
        pieces = [f"{name} of version {version} piece {piece}" for piece in range(rng.randrange(1, 9))]
        put.append(entry(name, *pieces))
        after[name] = pieces
    return after, Change(put=put, rename=rename, remove=remove)


def read(folder: Path, version: int) -> State:
    """The state a version must have."""
    if version == 0:
        return {}
    return dict(json.loads((folder / f"state-{version}.json").read_text(encoding="utf-8")))


def check(library: Library, folder: Path) -> None:
    """Every version that can be read is whole: the texts, and what each retriever finds."""
    from openbook.records import Scope
    from tests.contracts.library_data import vector

    for info in library.versions():
        state = read(folder, info.version)
        documents = library.documents(version=info.version)
        assert {one.name for one in documents} == set(state)
        assert (info.documents, info.chunks) == (len(state), sum(len(pieces) for pieces in state.values()))
        ids: list[int] = []
        for one in documents:
            chunks = library.chunks_of(one.name, version=info.version)
            assert [chunk.text for _, chunk in chunks] == state[one.name], (info.version, one.name)
            ids += [id_ for id_, _ in chunks]
        scope = Scope(version=info.version)
        found = library.candidates(vector("piece"), "piece of version", scope=scope, limit=len(ids) + 100)
        assert sorted(one.id for one in found.dense) == sorted(ids), info.version
        assert sorted(one.id for one in found.lexical) == sorted(ids), info.version


def repair(library: Library, folder: Path, rng: random.Random) -> None:
    """The next commit works."""
    before = library.version()
    state, change = planned(read(folder, before), before + 1, rng)
    (folder / f"state-{before + 1}.json").write_text(json.dumps(state), encoding="utf-8")
    if library.commit(change) != before + 1:
        raise LibraryError("no new version")
