"""A team's output contract and a reply in, whether the reply keeps it out. Knows no model and fetches nothing.

A contract is a JSON Schema, or a regular expression that the whole reply matches; both are the team's own, like
openbook.toml.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from openbook.errors import CompareError
from openbook.extras import need


@dataclass(frozen=True, slots=True)
class Contract:
    """What every reply of a task has to look like."""

    name: str
    """The file it came from."""
    kind: str
    """"JSON schema" or "pattern"."""
    valid: Callable[[str], bool]
    """Whether a reply keeps it; white space around the reply does not count."""

    @classmethod
    def read(cls, path: Path) -> Contract:
        """The contract of a file: .json is a JSON Schema (draft 2020-12 unless it names another), else a pattern.

        Raises CompareError when the file cannot be read or is neither, also for a schema that refers to other files;
        MissingExtra without openbook[compare].
        """
        try:
            text = path.read_bytes().decode("utf-8-sig").strip()
        except OSError as error:
            raise CompareError(f"contract {str(path)!r} cannot be read: {error.strerror or error}") from None
        except UnicodeDecodeError as error:
            raise CompareError(f"contract {str(path)!r} is not UTF-8 ({error.reason}); save it as UTF-8") from None
        if not text:
            raise CompareError(f"contract {str(path)!r} is empty; write a JSON schema (.json) or a pattern into it")
        if path.suffix.lower() == ".json":
            return cls(path.name, "JSON schema", _schema(text, str(path)))
        try:
            pattern = re.compile(text)
        except re.error as error:
            raise CompareError(f"contract {str(path)!r} is no regular expression ({error}); mend it") from None
        return cls(path.name, "pattern", lambda reply: pattern.fullmatch(reply.strip()) is not None)


def _schema(text: str, origin: str) -> Callable[[str], bool]:
    jsonschema = need("jsonschema", extra="compare", purpose="checking replies against a JSON schema")
    referencing = need("referencing", extra="compare", purpose="checking replies against a JSON schema")
    try:
        schema = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise CompareError(f"contract {origin!r} is no JSON ({error}); mend it") from None
    for word, value in _keywords(schema):
        if word == "$ref" and not value.startswith("#"):
            raise CompareError(f"contract {origin!r} refers to {value!r}; put what it refers to into the file itself")
        if word == "pattern":
            try:
                re.compile(value)
            except re.error as error:
                raise CompareError(f"contract {origin!r} has the pattern {value!r} ({error}); mend it") from None
    kind = jsonschema.validators.validator_for(schema, default=jsonschema.Draft202012Validator)
    try:
        kind.check_schema(schema)
    except jsonschema.SchemaError as error:
        raise CompareError(f"contract {origin!r} is no JSON schema ({error.message}); mend it") from None
    validator = kind(schema, registry=referencing.Registry())

    def valid(reply: str) -> bool:
        try:
            return bool(validator.is_valid(json.loads(reply, parse_constant=_refuse)))
        except referencing.exceptions.Unresolvable as error:
            raise CompareError(
                f"contract {origin!r} refers to {error.ref!r}, which it does not hold; mend it"
            ) from None
        except (ValueError, RecursionError):
            return False

    valid("{}")
    return valid


def _keywords(schema: Any) -> Iterator[tuple[str, str]]:
    """Every pair of a word and a string anywhere in the schema."""
    if isinstance(schema, dict):
        for word, value in schema.items():
            if isinstance(value, str):
                yield word, value
            else:
                yield from _keywords(value)
    elif isinstance(schema, list):
        for one in schema:
            yield from _keywords(one)


def _refuse(constant: str) -> Any:
    raise ValueError(f"{constant} is not JSON")
