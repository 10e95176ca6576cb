"""openbook.settings_file: any valid file and any valid change give a file that loads as it should."""

from __future__ import annotations

import tempfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from openbook.settings import load
from openbook.settings_file import change

_VALUES: dict[str, st.SearchStrategy[object]] = {
    "retrieve.k": st.integers(1, 100),
    "retrieve.fusion": st.sampled_from(["rrf", "dbsf"]),
    "retrieve.lexical_weight": st.floats(0, 1e6),
    "answer.instructions": st.text(st.characters(exclude_categories=["Cs"])),
    "answer.fallback": st.booleans(),
    "finetune.alpha": st.none() | st.floats(0.1, 100),
    "reading.groups": st.lists(st.text(st.characters(exclude_categories=["Cs"])), max_size=3).map(tuple),
    "models.reranker": st.text(st.characters(exclude_categories=["Cs"])),
}
_CHANGES = st.lists(
    st.sampled_from(sorted(_VALUES)).flatmap(lambda key: st.tuples(st.just(key), _VALUES[key])), max_size=6
).map(dict)
_ROUNDS = st.lists(st.tuples(_CHANGES, st.text()), min_size=1, max_size=3)
_FILES = st.sampled_from(
    [
        "",
        "format = 1",
        "# a\n\n[retrieve] # b\nk = 3 # c\n\n# d\n[answer]\ninstructions = '''\nx\ny'''\n",
        "[answer]\nfallback = true\n\n\n[retrieve]\n\n",
        "retrieve.k = 2\nanswer.fallback = false\n",
        "retrieve = {k = 2}\n[reading]\ngroups = [\n  'a', # first\n  'b',\n]\n",
        "[retrieve]\r\nk = 3 # c\r\n[models]\r\nreranker = ''\r\n",
    ]
)


@settings(max_examples=60, deadline=None)
@given(_FILES, _ROUNDS)
def test_any_changes_make_the_file_say_exactly_them(text: str, rounds: list[tuple[dict[str, object], str]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "openbook.toml"
        path.write_bytes(text.encode())
        for changes, why in rounds:
            expected = load(path).model_dump()
            for key, value in changes.items():
                section, name = key.split(".")
                expected[section][name] = value
            assert change(path, changes, why=why).model_dump() == expected == load(path).model_dump()
        for comment in ("# a", "# b", "# d", "# first"):
            if comment in text and not any("reading.groups" in one for one, _ in rounds):
                assert comment in path.read_bytes().decode()
