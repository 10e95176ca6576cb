"""After any history of file operations and syncs, the library is what a new one synced once would be."""

from __future__ import annotations

import io
import shutil
import tempfile
import zipfile
from pathlib import Path

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from openbook.seams import Library
from tests.fixtures.sync_desk import Desk, emptied, opened

NAMES = ["a.md", "b.md", "c.txt", "in/a.md", "in/deep/d.md", "pack.zip", "in/pack.zip", "e.rtf"]
TEXTS = ["", "# Leave\n\nTwenty days.", "Twenty days.", "No title here.", "# Pay\n\nMonthly.\n\n## Bonus\n\nNone."]
name, text = st.sampled_from(NAMES), st.sampled_from(TEXTS)

_libraries: list[Library] = []


def libraries() -> list[Library]:
    """Two libraries for all runs: opening one takes seconds."""
    while len(_libraries) < 2:
        _libraries.append(opened(Path(tempfile.mkdtemp(prefix="openbook-test-"))))
    return _libraries


class Histories(RuleBasedStateMachine):
    @initialize()
    def start(self) -> None:
        self.root = Path(tempfile.mkdtemp(prefix="openbook-test-"))
        mine, other = libraries()
        self.desk = Desk(self.root, emptied(mine))
        self.fresh = other
        self.synced = True

    def files(self) -> list[Path]:
        return sorted(path for path in self.desk.files.rglob("*") if path.is_file())

    @rule(name=name, text=text, inner=st.lists(st.tuples(st.sampled_from(["x.md", "y.txt"]), text), max_size=2))
    def write(self, name: str, text: str, inner: list[tuple[str, str]]) -> None:
        if name.endswith(".zip"):
            stream = io.BytesIO()
            with zipfile.ZipFile(stream, "w") as archive:
                for member, content in dict(inner).items():
                    archive.writestr(zipfile.ZipInfo(member), content)
            self.desk.write(name, stream.getvalue())
        else:
            self.desk.write(name, text)
        self.synced = False

    @precondition(lambda self: self.files())
    @rule(data=st.data())
    def remove(self, data: st.DataObject) -> None:
        data.draw(st.sampled_from(self.files())).unlink()
        self.synced = False

    @precondition(lambda self: self.files())
    @rule(data=st.data(), to=name)
    def move(self, data: st.DataObject, to: str) -> None:
        target = self.desk.files / to
        target.parent.mkdir(parents=True, exist_ok=True)
        data.draw(st.sampled_from(self.files())).replace(target)
        self.synced = False

    @rule(part=st.sampled_from(["", "in", "*.md", "**/*.zip", "a.md"]))
    def sync_a_part(self, part: str) -> None:
        target = self.desk.files / part
        if self.desk.names() and (target.exists() or "*" in part):
            self.desk.sync(target, allow_mass_delete=True)

    @rule()
    def sync_all_and_compare(self) -> None:
        self.desk.sync(allow_mass_delete=True)
        # What failed to read keeps its last good version here and has none in a new library.
        failed = {failure.path for failure in self.desk.sync(allow_mass_delete=True).failed}
        fresh = Desk(self.root, emptied(self.fresh))
        fresh.sync(allow_mass_delete=True)
        kept = {f"handbook{path.removeprefix(str(self.desk.files))}" for path in failed}
        ours, theirs = self.desk.state(), fresh.state()
        assert {key: value for key, value in ours.items() if key.split("!/")[0] not in kept and key not in kept} == {
            key: value for key, value in theirs.items() if key.split("!/")[0] not in kept and key not in kept
        }
        version = self.desk.library.version()
        self.desk.sync(allow_mass_delete=True)
        assert self.desk.library.version() == version

    @invariant()
    def every_chunk_is_its_documents_text(self) -> None:
        if not hasattr(self, "desk"):
            return
        for info in self.desk.library.documents():
            document = self.desk.library.document(info.name)
            chunks = self.desk.library.chunks_of(info.name)
            assert document is not None
            assert len(chunks) == info.chunks
            assert all(document.text[chunk.start : chunk.end] == chunk.text for _, chunk in chunks)

    def teardown(self) -> None:
        if hasattr(self, "root"):
            shutil.rmtree(self.root)


Histories.TestCase.settings = settings(
    max_examples=8, stateful_step_count=12, deadline=None, suppress_health_check=list(HealthCheck)
)
test_any_history_leads_to_what_a_new_library_would_hold = Histories.TestCase
