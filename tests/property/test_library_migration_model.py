"""After any changes, before and in a migration, every version finds what a fresh library of that embedder finds."""

from __future__ import annotations

import tempfile
from contextlib import closing
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from openbook.library.stored import StoredLibrary
from openbook.records import Change, Scope
from openbook.retrieve.embed import FakeEmbedder
from tests.migrations import NEW, OLD, ask, changeover, entry, opened

NAMES = st.sampled_from(["a.md", "b.md", "c.md", "d.md"])
TEXTS = st.lists(st.sampled_from(["alpha", "beta gamma", "alpha delta", "gamma"]), max_size=3).map(tuple)
ACL = st.sampled_from([("*",), ("hr",), ()])
PUTS = st.dictionaries(NAMES, st.tuples(TEXTS, ACL), min_size=1, max_size=3)
STEP = st.one_of(PUTS, NAMES, st.tuples(NAMES, NAMES), st.integers(1, 2))
"""Documents to put, one to remove, one to rename, versions to keep."""


def _apply(library: StoredLibrary, step: object, embedder: FakeEmbedder) -> None:
    present = {info.name for info in library.documents()}
    if isinstance(step, dict):
        put = [entry(name, *texts, acl=acl, embedder=embedder) for name, (texts, acl) in step.items()]
        library.commit(Change(put=put, embedder=embedder.fingerprint))
    elif isinstance(step, int):
        library.sweep(keep=step)
    elif isinstance(step, str):
        if step in present:
            library.commit(Change(remove=[step]))
    elif isinstance(step, tuple) and step[0] in present and step[1] not in present:
        library.commit(Change(rename=[step]))


def _seen(library: StoredLibrary) -> list[object]:
    seen: list[object] = []
    for info in library.versions():
        for groups in ((), ("hr",)):
            for question in ("alpha", "gamma beta"):
                found = ask(library, question, NEW, Scope(groups=groups, version=info.version))
                seen.append(([one.id for one in found.dense], [one.id for one in found.lexical]))
    return seen


@settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))
@given(before=st.lists(STEP, max_size=6), during=st.lists(STEP, max_size=4), after=st.lists(STEP, max_size=2))
def test_a_migrated_library_equals_a_fresh_one(before: list[object], during: list[object], after: list[object]) -> None:
    with (
        tempfile.TemporaryDirectory() as folder,
        closing(opened(Path(folder) / "migrated")) as library,
        closing(opened(Path(folder) / "fresh", embedder=NEW)) as fresh,
    ):
        for step in before:
            _apply(library, step, OLD)
        with closing(changeover(Path(folder) / "migrated")) as coming:
            coming.fill()
            for step in during:
                _apply(library, step, OLD)
            coming.switch(library)
        for step in after:
            _apply(library, step, NEW)
        for step in [*before, *during, *after]:
            _apply(fresh, step, NEW)
        assert _seen(library) == _seen(fresh)
