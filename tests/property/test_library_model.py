"""Any sequence of changes, roll-backs and sweeps leaves what a dictionary per version would hold."""

from __future__ import annotations

import tempfile
from pathlib import Path

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from openbook.records import Change, Scope
from tests.contracts.library_data import entry, opened, vector

NAMES = st.sampled_from([f"{letter}.md" for letter in "abcdefg"])
TEXTS = st.lists(st.sampled_from(["alpha", "beta gamma", "alpha delta", "😀 alpha"]), max_size=3).map(tuple)
ACL = st.sampled_from([("*",), ("hr",), ()])

State = dict[str, tuple[tuple[str, ...], tuple[str, ...]]]
"""Name -> (chunk texts, access labels)."""


class Model(RuleBasedStateMachine):
    @initialize()
    def begin(self) -> None:
        self.folder = tempfile.TemporaryDirectory()
        self.library = opened(Path(self.folder.name))
        self.states: dict[int, State] = {0: {}}

    @property
    def now(self) -> State:
        return self.states[max(self.states)]

    @rule(put=st.dictionaries(NAMES, st.tuples(TEXTS, ACL), max_size=4), data=st.data())
    def change(self, put: State, data: st.DataObject) -> None:
        after = dict(self.now)
        leaving = data.draw(st.lists(st.sampled_from(sorted(after)), unique=True, max_size=3)) if after else []
        moves = data.draw(st.integers(0, len(leaving)))
        targets = [f"{name}+" if len(name) < 8 else f"{name[0]}.txt" for name in leaving[:moves]]
        taken = set(after) - set(leaving)
        if len(set(targets)) < moves or set(targets) & (taken | set(put)):
            return
        moved = {target: after[name] for name, target in zip(leaving, targets, strict=False)}
        for name in leaving:
            del after[name]
        after |= moved | put
        change = Change(
            put=[entry(name, *texts, acl=acl) for name, (texts, acl) in put.items()],
            rename=list(zip(leaving, targets, strict=False)),
            remove=leaving[moves:],
        )
        version = self.library.commit(change)
        if leaving or put:
            assert version == max(self.states) + 1
            self.states[version] = after

    @rule(data=st.data())
    def roll_back(self, data: st.DataObject) -> None:
        version = data.draw(st.sampled_from(sorted(self.states)))
        differs = self.states[version] != self.now
        made = self.library.roll_back(version)
        assert made == max(self.states) + 1 or not differs
        self.states[made] = self.states[version]

    @rule(keep=st.integers(1, 3))
    def sweep(self, keep: int) -> None:
        self.library.sweep(keep=keep)
        self.states = {version: self.states[version] for version in sorted(self.states)[-keep:]}

    @rule()
    def open_again(self) -> None:
        self.library.close()
        self.library = opened(Path(self.folder.name))

    @invariant()
    def every_version_holds_what_it_should(self) -> None:
        assert [one.version for one in self.library.versions()] == sorted(self.states)
        for version, state in self.states.items():
            documents = self.library.documents(version=version)
            assert {one.name: one.acl for one in documents} == {name: acl for name, (_, acl) in state.items()}
            ids: dict[int, str] = {}
            for name, (texts, acl) in state.items():
                chunks = self.library.chunks_of(name, version=version)
                assert tuple(chunk.text for _, chunk in chunks) == texts
                if "*" in acl:
                    ids |= {id_: chunk.text for id_, chunk in chunks}
            found = self.library.candidates(vector("alpha"), "alpha", scope=Scope(version=version), limit=200)
            assert {one.id for one in found.dense} == set(ids)
            assert {one.id for one in found.lexical} == {id_ for id_, text in ids.items() if "alpha" in text}

    def teardown(self) -> None:
        self.library.close()
        self.folder.cleanup()


def test_a_library_is_a_dictionary_per_version() -> None:
    run_state_machine_as_test(
        Model,
        settings=settings(
            max_examples=12, stateful_step_count=12, deadline=None, suppress_health_check=list(HealthCheck)
        ),
    )
