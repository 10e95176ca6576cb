"""A team's format: JSON schemas and patterns, and what is wrong with them told in one sentence."""

from __future__ import annotations

from pathlib import Path

import pytest

from openbook.compare.formats import Contract
from openbook.errors import CompareError

SCHEMA = """{"type": "object", "required": ["a"],
"properties": {"a": {"$ref": "#/$defs/n"}}, "$defs": {"n": {"type": "integer"}}}"""


def contract(folder: Path, text: str, name: str = "c.json") -> Contract:
    (folder / name).write_text(text, encoding="utf-8")
    return Contract.read(folder / name)


@pytest.mark.parametrize(
    ("reply", "valid"),
    [
        (' {"a": 1}\n', True),
        ('{"a": "1"}', False),
        ('Sure: {"a": 1}', False),
        ('{"a": NaN}', False),
        ("", False),
        ("[" * 100000, False),
        ("\x00�", False),
        ('{"a": 1} {"a": 1}', False),
    ],
)
def test_a_reply_keeps_a_schema_when_all_of_it_does(tmp_path: Path, reply: str, valid: bool) -> None:
    assert contract(tmp_path, SCHEMA).valid(reply) is valid


def test_a_pattern_is_matched_by_the_whole_reply(tmp_path: Path) -> None:
    found = contract(tmp_path, r"(?s)Hello.*Clef" + "\n", "c.txt")
    assert [found.valid(text) for text in (" Hello\nthere, Clef ", "Oh, Hello Clef", "")] == [True, False, False]


@pytest.mark.parametrize(
    ("text", "name", "told"),
    [
        ("", "c.json", "is empty"),
        ("{", "c.json", "no JSON"),
        ('{"type": 7}', "c.json", "no JSON schema"),
        ('{"$ref": "http://x/y"}', "c.json", "refers to"),
        ('{"$ref": "#/$defs/x"}', "c.json", "does not hold"),
        ('{"pattern": "("}', "c.json", "pattern"),
        ("(", "c.txt", "no regular expression"),
    ],
)
def test_what_is_wrong_with_a_contract_is_one_sentence(tmp_path: Path, text: str, name: str, told: str) -> None:
    with pytest.raises(CompareError, match=told):
        contract(tmp_path, text, name)


def test_a_missing_contract_is_named() -> None:
    with pytest.raises(CompareError, match="cannot be read"):
        Contract.read(Path("nowhere.json"))
