"""Whatever a kill leaves of rows.jsonl, what was whole is read and the next run writes what is missing."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from openbook.compare.schema import Row
from openbook.compare.store import NAME, Store
from tests.compare_answers import answer as made

_TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)


@st.composite
def _rows(draw: st.DrawFn) -> list[Row]:
    found = []
    for number in range(draw(st.integers(1, 6))):
        text = draw(_TEXTS)
        failed = draw(st.booleans())
        answer = replace(made(text, arm="base"), prompt=draw(_TEXTS))
        arm, identity = draw(st.sampled_from(["base", "rag"])), draw(st.sampled_from(["i", "j"]))
        found.append(
            Row(f"c{number}", arm, None if failed else answer, error="away" if failed else "", identity=identity)
        )
    return found


@settings(max_examples=60, deadline=None)
@given(rows=_rows(), data=st.data())
def test_any_cut_leaves_the_rows_before_it_and_a_run_completes_the_rest(rows: list[Row], data: st.DataObject) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with Store(folder) as store:
            ends = []
            for row in rows:
                store.append(row)
                ends.append(store.path.stat().st_size)
        whole = (folder / NAME).read_bytes()
        cut = data.draw(st.integers(0, len(whole)))
        (folder / NAME).write_bytes(whole[:cut])
        kept = sum(end <= cut for end in ends)
        assert Store(folder).rows() == rows[:kept]
        with Store(folder) as store:
            for row in rows:
                if row.case not in store.done(row.arm, row.identity):
                    store.append(row)
        assert sorted(store.rows(), key=lambda row: row.case) == rows
