"""Rows of a comparison on disk: whole lines, one writer, faults of disks and texts."""

from __future__ import annotations

import json
import math
import os
import resource
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from openbook.compare.schema import Row
from openbook.compare.store import Store
from openbook.errors import CompareError
from openbook.records import Answer, Timings
from tests.compare_answers import answer as made


def answer(text: str = "15 days.") -> Answer:
    return made(text, arm="base")


def row(case: str = "c1", arm: str = "base", *, identity: str = "i", text: str = "15 days.", error: str = "") -> Row:
    return Row(case, arm, None if error else answer(text), error=error, identity=identity)


def test_rows_come_back_as_they_were_written(tmp_path: Path) -> None:
    rows = [row("c1"), row("c2", text="Ünïcode\n and a line\u2028end"), row("c3", error="no server answers")]
    with Store(tmp_path / "report") as store:
        for one in rows:
            store.append(one)
        assert store.rows() == rows
    assert Store(tmp_path / "report").rows() == rows


def test_a_later_row_of_the_same_case_arm_and_identity_takes_the_place_of_the_earlier(tmp_path: Path) -> None:
    with Store(tmp_path) as store:
        for one in (row("c1", error="away"), row("c2"), row("c1"), row("c1", identity="other", error="away")):
            store.append(one)
        assert store.rows() == [row("c1"), row("c2"), row("c1", identity="other", error="away")]
        assert store.rows({"base": "i"}) == [row("c1"), row("c2")]
        assert store.rows({"rag": "i"}) == []


def test_only_answers_under_the_same_identity_count_as_done(tmp_path: Path) -> None:
    with Store(tmp_path) as store:
        for one in (
            row("c1"),
            row("c2", error="away"),
            row("c3", identity="other"),
            row("c4", "rag"),
            row("c5", text=" "),
        ):
            store.append(one)
        assert store.done("base", "i") == {"c1", "c5"}
        assert store.answered("base", "i") == {"c1": True, "c5": False}
    assert Store(tmp_path).done("base", "i") == {"c1", "c5"}


def test_a_folder_without_rows_is_empty_and_reading_it_writes_nothing(tmp_path: Path) -> None:
    assert Store(tmp_path / "none").rows() == []
    assert Store(tmp_path / "none").done("base", "i") == set()
    assert not (tmp_path / "none").exists()


def test_a_second_writer_is_refused_and_a_reader_is_not(tmp_path: Path) -> None:
    with Store(tmp_path) as store:
        store.append(row())
        with pytest.raises(CompareError, match="another process writes to"):
            Store(tmp_path).append(row("c2"))
        assert Store(tmp_path).rows() == [row()]
    with Store(tmp_path) as store:
        store.append(row("c2"))


def test_another_process_that_writes_is_noticed_and_its_kill_leaves_no_lock(tmp_path: Path) -> None:
    script = (
        "import sys, pathlib\nfrom openbook.compare.store import Store\n"
        "store = Store(pathlib.Path(sys.argv[1]))\nstore.claim()\nprint('claimed', flush=True)\nsys.stdin.read()"
    )
    other = subprocess.Popen(
        [sys.executable, "-c", script, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with other:
        assert other.stdout is not None
        assert other.stdout.readline() == "claimed\n"
        with pytest.raises(CompareError, match="wait for that comparison to end"):
            Store(tmp_path).claim()
        other.kill()
    with Store(tmp_path) as store:
        store.append(row())


def test_threads_append_whole_lines(tmp_path: Path) -> None:
    with Store(tmp_path) as store:

        def write(arm: str) -> None:
            for number in range(50):
                store.append(row(f"c{number}", arm, text="x" * 5000))

        threads = [threading.Thread(target=write, args=(f"arm{number}",)) for number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(store.rows()) == 200
        assert all(len(store.done(f"arm{number}", "i")) == 50 for number in range(4))


def test_a_damaged_line_in_the_middle_is_named(tmp_path: Path) -> None:
    with Store(tmp_path) as store:
        store.append(row("c1"))
        store.append(row("c2"))
    lines = store.path.read_text().splitlines(keepends=True)
    store.path.write_text(lines[0][:40] + "\n" + lines[1])
    for use in (Store(tmp_path).rows, Store(tmp_path).claim):
        with pytest.raises(CompareError, match=r"line 1 of .* is no row; remove the line"):
            use()
    store.path.write_text(lines[1])
    with Store(tmp_path) as store:  # the refused claim kept no lock
        assert store.rows() == [row("c2")]


@pytest.mark.parametrize("line", ["[]", "17", "{}", '{"case": "c", "arm": "a", "answer": 3, "identity": "i"}'])
def test_json_that_is_no_row_is_named(tmp_path: Path, line: str) -> None:
    (tmp_path / "rows.jsonl").write_text(line + "\n")
    with pytest.raises(CompareError, match="line 1 of"):
        Store(tmp_path).claim()


def test_an_answer_that_json_cannot_hold_becomes_the_error_of_its_row(tmp_path: Path) -> None:
    with Store(tmp_path) as store:
        late = replace(answer(), seconds=Timings(0.0, 0.0, 0.0, math.nan))
        for number, bad in enumerate((answer("\ud800"), late)):
            written = store.append(replace(row(f"c{number}"), answer=bad))
            assert written.answer is None
            assert "cannot be written down" in written.error
        assert [one.case for one in store.rows()] == ["c0", "c1"]
        assert store.done("base", "i") == set()


def test_a_score_that_is_no_number_is_refused_and_rows_are_kept(tmp_path: Path) -> None:
    with Store(tmp_path) as store:
        store.append(row())
        before = store.path.read_bytes()
        bad = replace(row(), scores={"token_f1": math.nan})
        for use in (store.append, lambda one: store.score([one])):
            with pytest.raises(CompareError, match="token_f1 of 'base' on case 'c1' is nan"):
                use(bad)
        assert store.path.read_bytes() == before


def test_scores_are_added_to_their_rows_and_other_rows_stay(tmp_path: Path) -> None:
    scored = replace(row("c1"), scores={"token_f1": 0.5})
    with Store(tmp_path) as store:
        for one in (row("c1"), row("c2"), row("c1", identity="other")):
            store.append(one)
        store.score([scored])
        assert store.rows() == [scored, row("c2"), row("c1", identity="other")]
        store.append(row("c3"))
        assert len(store.path.read_text().splitlines()) == 4
        assert store.done("base", "i") == {"c1", "c2", "c3"}
    assert len(Store(tmp_path).rows()) == 4


@pytest.mark.skipif(sys.platform == "win32", reason="needs a limit on file sizes")
def test_a_full_disk_is_one_sentence_and_leaves_whole_lines(tmp_path: Path) -> None:
    script = (
        "import pathlib, resource, signal, sys\n"
        "from openbook.compare.schema import read_row\nfrom openbook.compare.store import Store\n"
        "from openbook.errors import CompareError\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "row = read_row(sys.stdin.read())\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (2500, 2500))\n"
        "store = Store(pathlib.Path(sys.argv[1]))\n"
        "try:\n    while True:\n        store.append(row)\n"
        "except CompareError as error:\n    print(error)\n"
    )
    from openbook.compare.schema import row_line

    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path)], input=row_line(row()), capture_output=True, text=True
    )
    assert "cannot be written" in done.stdout, done.stderr
    assert "rows already there are kept" in done.stdout
    data = (tmp_path / "rows.jsonl").read_bytes()
    assert data.endswith(b"\n")
    assert all(json.loads(line)["case"] == "c1" for line in data.splitlines())


def test_a_folder_that_cannot_be_made_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(CompareError, match="cannot be written"):
        Store(tmp_path / "file/report").append(row())


def test_memory_stays_flat_over_many_rows(tmp_path: Path) -> None:
    big = row(text="x" * 100_000)
    with Store(tmp_path) as store:
        for number in range(20):
            store.append(replace(big, case=f"warm{number}"))
        before = _resident()
        for number in range(500):
            store.append(replace(big, case=f"c{number}"))
        assert _resident() - before < 10 * 2**20
    assert store.path.stat().st_size > 50 * 2**20


def _resident() -> int:
    if sys.platform != "linux":
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
