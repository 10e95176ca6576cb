"""The embedder in a child process: the same vectors, and what happens when either process ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from openbook.errors import ModelError
from openbook.models.fetch import ensure
from openbook.records import ModelFiles
from openbook.retrieve.embed import OpenVINOEmbedder
from openbook.serve.embedding import ChildEmbedder
from tests.tiny_models import write_bert

TEXTS = [f"{'leave policy ' * (n % 30)}{n}" for n in range(60)]


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> ModelFiles:
    folder = tmp_path_factory.mktemp("tiny")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OPENBOOK_CACHE", str(folder / "cache"))
        write_bert(folder / "model")
        return ensure(str(folder / "model"))


@pytest.fixture(scope="module")
def child(files: ModelFiles) -> Iterator[ChildEmbedder]:
    with ChildEmbedder(files) as it:
        yield it


def gone(pid: int, seconds: float = 60) -> bool:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        try:
            os.kill(pid, 0)
            if Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].startswith("Z"):
                return True
        except (ProcessLookupError, FileNotFoundError):
            return True
        time.sleep(0.02)
    return False


def test_vectors_counts_and_identity_are_those_of_this_process(child: ChildEmbedder, files: ModelFiles) -> None:
    here = OpenVINOEmbedder(files)
    assert (child.fingerprint, child.dimensions, child.max_tokens) == (
        here.fingerprint,
        here.dimensions,
        here.max_tokens,
    )
    assert child.embed(TEXTS, kind="document").tobytes() == here.embed(TEXTS, kind="document").tobytes()
    assert child.count(TEXTS) == here.count(TEXTS)


def test_the_child_is_polite(child: ChildEmbedder) -> None:
    child.count(["one"])
    assert child.pid is not None
    assert os.getpriority(os.PRIO_PROCESS, child.pid) == os.getpriority(os.PRIO_PROCESS, 0) + 10


def test_a_child_that_was_killed_is_started_anew(child: ChildEmbedder) -> None:
    before = child.embed(TEXTS, kind="document")
    first = child.pid
    assert first is not None
    os.kill(first, signal.SIGKILL)
    assert child.embed(TEXTS, kind="document").tobytes() == before.tobytes()
    assert child.pid not in (None, first)


def test_a_child_killed_in_the_middle_of_its_work_does_it_again(child: ChildEmbedder) -> None:
    many = TEXTS * 40
    expected = child.embed(many, kind="document")
    killed: list[int] = []

    def kill_once(step: str, done: int, total: int) -> None:
        if not killed and child.pid is not None:
            killed.append(child.pid)
            os.kill(child.pid, signal.SIGKILL)

    assert child.embed(many, kind="document", progress=kill_once).tobytes() == expected.tobytes()
    assert killed


def test_a_child_that_dies_of_its_texts_is_an_error(child: ChildEmbedder) -> None:
    def kill(step: str, done: int, total: int) -> None:
        if child.pid is not None:
            os.kill(child.pid, signal.SIGKILL)
            gone(child.pid)

    with pytest.raises(ModelError, match="ended 2 times over the same texts"):
        child.embed(TEXTS * 200, kind="document", progress=kill)
    assert len(child.embed(TEXTS, kind="document")) == len(TEXTS)


def test_work_that_its_progress_breaks_off_leaves_no_vectors_for_the_next(child: ChildEmbedder) -> None:
    def stop(step: str, done: int, total: int) -> None:
        raise KeyboardInterrupt

    expected = child.embed(TEXTS[:3], kind="query")
    with pytest.raises(KeyboardInterrupt):
        child.embed(TEXTS * 10, kind="document", progress=stop)
    assert child.embed(TEXTS[:3], kind="query").tobytes() == expected.tobytes()


def test_threads_take_turns(child: ChildEmbedder) -> None:
    expected = child.embed(TEXTS, kind="document").tobytes()
    found: list[bytes] = []
    threads = [
        threading.Thread(target=lambda: found.append(child.embed(TEXTS, kind="document").tobytes())) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [expected] * 4


def test_files_that_are_no_model_are_refused_with_their_name(files: ModelFiles, tmp_path: Path) -> None:
    with ChildEmbedder(replace(files, folder=tmp_path)) as child, pytest.raises(ModelError, match="tokenizer"):
        child.embed(["one"], kind="query")


def test_closing_ends_the_child_and_work_in_the_middle(files: ModelFiles) -> None:
    child = ChildEmbedder(files)
    child.count(["one"])
    pid = child.pid
    assert pid is not None
    said: list[str] = []

    def work() -> None:
        try:
            child.embed(TEXTS * 2000, kind="document")
        except ModelError as error:
            said.append(str(error))

    thread = threading.Thread(target=work)
    thread.start()
    time.sleep(0.1)
    child.close()
    thread.join(60)
    assert "closed" in said[0]
    assert gone(pid)
    with pytest.raises(ModelError, match="closed"):
        child.count(["one"])


def test_the_child_dies_with_a_parent_that_was_killed(files: ModelFiles, tmp_path: Path) -> None:
    script = tmp_path / "parent.py"
    script.write_text(
        "import pickle, sys\n"
        "from openbook.serve.embedding import ChildEmbedder\n"
        "child = ChildEmbedder(pickle.load(open(sys.argv[1], 'rb')))\n"
        "child.count(['one'])\n"
        "print(child.pid, flush=True)\n"
        "child.embed(['leave policy ' * 200] * 100_000, kind='document')\n"
    )
    import pickle

    stored = tmp_path / "files"
    stored.write_bytes(pickle.dumps(files))
    parent = subprocess.Popen([sys.executable, str(script), str(stored)], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    pid = int(parent.stdout.readline())
    time.sleep(0.2)
    parent.kill()
    parent.wait()
    parent.stdout.close()
    assert gone(pid)
