"""Rows that were acknowledged survive a kill of the process at any moment."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

from openbook.compare.store import Store

_WRITER = """
import pathlib, sys
from openbook.compare.store import Store
from tests.unit.test_compare_store import row
with Store(pathlib.Path(sys.argv[1])) as store:
    number = max([int(one.case[1:]) for one in store.rows()], default=-1)
    while True:
        number += 1
        store.append(row(f"c{number}", text="x" * 300_000))
        print(number, flush=True)
"""


def test_every_acknowledged_row_is_read_after_kills_and_the_next_writer_goes_on(tmp_path: Path) -> None:
    root = Path(__file__).parents[2]
    for kill in range(4):
        writer = subprocess.Popen(
            [sys.executable, "-c", _WRITER, str(tmp_path)], cwd=root, stdout=subprocess.PIPE, text=True
        )
        with writer:
            assert writer.stdout is not None
            acknowledged = [writer.stdout.readline()]
            time.sleep(0.05 + 0.03 * kill)
            writer.kill()
            acknowledged += writer.stdout.readlines()
        last = int([line for line in acknowledged if line.endswith("\n")][-1])
        rows = Store(tmp_path).rows()
        assert [one.case for one in rows] == [f"c{number}" for number in range(len(rows))]
        assert last < len(rows)
