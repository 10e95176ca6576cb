"""Timing in a process of its own: whatever that process does, what it measured is kept and it is gone afterwards."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from openbook.compare.latency import Order, measure, peak_mb, ratio, spread

ORDER = Order("nowhere", "rag", questions=(("a?", ()), ("b?", ()), ("c?", ())))
ANSWER = {
    "seconds": {"retrieve": 0.1, "prefill": 0.2, "decode": 0.3, "total": 0.7, "cpu": 0.6},
    "prompt_tokens": 10,
    "answer_tokens": 4,
    "peak_mb": 100.0,
}
SAYS = """
import json, os, sys, time
order = json.loads(sys.stdin.readline())
say = lambda one: print(json.dumps(one), flush=True)
"""


def child(script: str) -> list[str]:
    return [sys.executable, "-c", f"{SAYS}answer = {ANSWER!r}\n{script}"]


def timed(script: str, order: Order = ORDER, **options: Any) -> dict[str, Any]:
    return measure([order], command=child(script), **options)


def gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return Path(f"/proc/{pid}/stat").read_text().split()[2] == "Z"


def test_the_answers_of_the_process_are_summed() -> None:
    section = timed(
        "say({'load_seconds': 2.5}); say(answer); answer['peak_mb'] = 120.0; say(answer); say({'done': True})"
    )
    arm = section["arms"]["rag"]
    assert (arm["n"], arm["load_seconds"], arm["peak_mb"], arm["note"]) == (2, 2.5, 120.0, "")
    assert arm["total"] == pytest.approx({"p50": 0.7, "p95": 0.7, "mean": 0.7})
    assert (section["failed"], section["questions"]) == ({}, 3)
    assert json.loads(json.dumps(section, allow_nan=False)) == section


def test_a_process_that_hangs_is_ended_with_what_it_started_and_its_answers_count(tmp_path: Path) -> None:
    note = tmp_path / "pids"
    script = (
        "import subprocess\n"
        "other = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])\n"
        f"open({str(note)!r}, 'w').write(f'{{os.getpid()}} {{other.pid}}')\n"
        "say(answer)\ntime.sleep(60)"
    )
    began = time.monotonic()
    section = timed(script, limit=1.5)
    assert time.monotonic() - began < 10
    assert section["arms"]["rag"]["n"] == 1
    assert "took longer than 1.5 seconds" in section["arms"]["rag"]["note"]
    pids = [int(pid) for pid in note.read_text().split()]
    deadline = time.monotonic() + 5
    while not all(gone(pid) for pid in pids) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert all(gone(pid) for pid in pids)


def test_a_process_that_floods_its_output_is_ended_in_time_too() -> None:
    began = time.monotonic()
    section = timed("while True: say({'load_seconds': 1.0})", limit=1.0)
    assert time.monotonic() - began < 10
    assert "took longer than 1 seconds" in section["failed"]["rag"]


def test_stopping_ends_the_process() -> None:
    began = time.monotonic()
    section = measure([ORDER, ORDER], command=child("time.sleep(60)"), stopping=lambda: time.monotonic() - began > 0.5)
    assert time.monotonic() - began < 10
    assert "was stopped" in section["failed"]["rag"]


@pytest.mark.parametrize(
    ("script", "words"),
    [
        ("say({'error': 'the library is busy; close it'})", ["the library is busy; close it"]),
        ("raise RuntimeError('no memory left')", ["ended early", "RuntimeError: no memory left"]),
        ("os._exit(9)", ["ended early", "out of memory"]),
        ("print('hello'); say({'done': True})", ["no measurement"]),
        ("print('[1, 2]', flush=True); print('3', flush=True)", ["no measurement"]),
        ("say({'done': True})", ["no question"]),
        ("sys.stdout.buffer.write(b'\\xff\\xfe\\n'); sys.stdout.flush()", ["no measurement"]),
    ],
)
def test_whatever_the_process_does_is_one_sentence(script: str, words: list[str]) -> None:
    section = timed(script)
    assert section["arms"] == {}
    said = section["failed"]["rag"]
    assert all(word in said for word in words), said
    assert "\n" not in said


def test_a_command_that_is_not_there_is_one_sentence() -> None:
    section = measure([ORDER], command=["/nowhere/python"])
    assert "could not start (No such file or directory)" in section["failed"]["rag"]


def test_an_adapter_that_was_not_timed_says_why() -> None:
    order = Order("nowhere", "tuned", adapter="voice@1", unmerged=True)
    section = timed("say({'error': 'torch is not here'})", order)
    assert (section["adapters"], section["adapters_missing"]) == ({}, {"voice@1": "torch is not here"})
    assert section["questions"] == 0


def test_the_ratio_is_of_medians_over_a_whole_answer() -> None:
    found = ratio([(1.0, 0.1), (9.0, 0.1), (1.0, 0.3)], [(2.0, 0.2), (2.0, 0.2), (1.0, 0.2)], answer_tokens=20)
    assert found["ratio"] == pytest.approx({"prefill": 2.0, "decode": 2.0, "answer": 2.0})


def test_percentiles_are_numpys() -> None:
    values = [float(n * n) for n in range(21)]
    assert spread(values) == pytest.approx({"p50": 100.0, "p95": float(np.percentile(values, 95)), "mean": 410 / 3})


def test_peak_memory_is_that_of_the_program_and_not_of_its_parent() -> None:
    ballast = bytearray(300_000_000)
    command = [sys.executable, "-c", "from openbook.compare.latency import peak_mb; print(peak_mb())"]
    said = float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    assert 5 < said < 150
    assert peak_mb() > len(ballast) / 1e6


def test_the_real_process_names_a_workspace_that_is_not_there(tmp_path: Path) -> None:
    section = measure([Order(str(tmp_path / "none"), "base", questions=(("a?", ()), ("b?", ())))], limit=60)
    assert "openbook init" in section["failed"]["base"]


def test_the_real_process_refuses_a_single_question(tmp_path: Path) -> None:
    section = measure([Order(str(tmp_path), "base", questions=(("a?", ()),))], limit=60)
    assert "give at least two" in section["failed"]["base"]


def test_the_process_ends_when_its_parent_is_gone() -> None:
    script = (
        "import threading, time\nfrom openbook.timing import _end_with_parent\n"
        "threading.Thread(target=_end_with_parent, daemon=True).start()\nprint('up', flush=True)\ntime.sleep(60)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stdout.readline() == "up\n"
        process.stdin.close()
        assert process.wait(timeout=10) == 1
