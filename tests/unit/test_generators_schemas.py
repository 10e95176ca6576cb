"""Which JSON schemas a local model can be held to."""

from __future__ import annotations

import json

import pytest
from pydantic import BaseModel

from openbook.answer.generators.schemas import check
from openbook.errors import UsageError


class Branch(BaseModel):
    """With itself inside."""

    name: str
    leaves: list[int]
    inner: Branch | None = None


def test_what_pydantic_makes_of_a_class_can_be_followed() -> None:
    check(json.dumps(Branch.model_json_schema()))
    check('{"type": "object"}')
    check("")


@pytest.mark.parametrize(
    "schema",
    [
        "{bad",
        "[]",
        '{"type": "nonsense"}',
        '{"pattern": "("}',
        '{"minimum": 3, "maximum": 1}',
        '{"minLength": -1}',
        '{"$ref": "#/elsewhere"}',
        '{"enum": []}',
        '{"anyOf": []}',
        '{"properties": {"a": {"type": ["string", "nonsense"]}}}',
    ],
)
def test_what_a_batch_would_fail_over_is_refused(schema: str) -> None:
    with pytest.raises(UsageError, match="cannot be followed"):
        check(schema)
