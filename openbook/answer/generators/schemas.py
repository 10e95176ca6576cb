"""A JSON schema in, a refusal out unless a local model can be held to it.

OpenVINO 2026.4 finds out about a schema it has no grammar for only while it generates, and a batch then loses every
answer in it: what is not known to work is refused before.
"""

from __future__ import annotations

import json
from typing import Any

from openbook.errors import UsageError

_TYPES = frozenset({"object", "array", "string", "integer", "number", "boolean", "null"})
_SAID = frozenset({"title", "description", "default", "examples", "$schema", "$id"})
"""Keywords that shape nothing."""
_INSIDE = frozenset({"type", "properties", "required", "additionalProperties", "items", "enum", "const", "anyOf"})
_BOUNDS = (("minLength", "maxLength"), ("minItems", "maxItems"), ("minimum", "maximum"))
_KNOWN = _SAID | _INSIDE | {"$defs", "definitions", "$ref"} | {name for pair in _BOUNDS for name in pair}
_DEEPEST = 32


def check(schema: str) -> None:
    """Raise UsageError, naming the place, for a schema that a model cannot be held to. "" is no schema.

    >>> check('{"type": "object", "properties": {"days": {"type": "integer"}}, "required": ["days"]}')
    """
    if not schema:
        return
    try:
        whole = json.loads(schema)
    except (ValueError, RecursionError):
        raise UsageError("this JSON schema cannot be followed (it is no JSON); send an object") from None
    _check(whole, whole, "#", 0)


def _check(schema: Any, whole: Any, place: str, depth: int) -> None:
    if not isinstance(schema, dict) or depth > _DEEPEST:
        raise _cannot(place, "is no object" if depth <= _DEEPEST else "is nested too deeply")
    if unknown := sorted(set(schema) - _KNOWN):
        raise _cannot(place, f"uses {unknown[0]!r}, which is not supported")
    kinds = schema.get("type", [])
    for kind in kinds if isinstance(kinds, list) else [kinds]:
        if not isinstance(kind, str) or kind not in _TYPES:
            raise _cannot(place, f"has the unknown type {kind!r}")
    for low, high in _BOUNDS:
        given = [schema[name] for name in (low, high) if name in schema]
        fine = all(isinstance(one, int) and not isinstance(one, bool) for one in given) and given == sorted(given)
        if not fine or (low != "minimum" and min(given, default=0) < 0):
            raise _cannot(place, f"has bounds that are no whole numbers in order ({low}, {high})")
    if "enum" in schema and not (isinstance(schema["enum"], list) and schema["enum"]):
        raise _cannot(place, "has an empty enum")
    required = schema.get("required", [])
    if not isinstance(required, list) or not all(isinstance(one, str) for one in required):
        raise _cannot(place, "has a 'required' that is no list of names")
    if "$ref" in schema:
        _check_reference(schema["$ref"], whole, place)
    for name in ("properties", "$defs", "definitions"):
        inner = schema.get(name, {})
        if not isinstance(inner, dict):
            raise _cannot(place, f"has {name!r} that are no object")
        for key, one in inner.items():
            _check(one, whole, f"{place}/{name}/{key}", depth + 1)
    choices = schema.get("anyOf", [])
    if not isinstance(choices, list) or (not choices and "anyOf" in schema):
        raise _cannot(place, "has an empty anyOf")
    for number, one in enumerate(choices):
        _check(one, whole, f"{place}/anyOf/{number}", depth + 1)
    for name in ("items", "additionalProperties"):
        if not isinstance(schema.get(name, True), bool):
            _check(schema[name], whole, f"{place}/{name}", depth + 1)


def _check_reference(reference: Any, whole: Any, place: str) -> None:
    parts = reference.split("/") if isinstance(reference, str) else []
    if parts == ["#"]:
        return
    there = len(parts) == 3 and parts[0] == "#" and parts[1] in ("$defs", "definitions")
    if not there or not isinstance(whole.get(parts[1]), dict) or parts[2] not in whole[parts[1]]:
        raise _cannot(place, f"refers to {reference!r}, which is not there")


def _cannot(place: str, why: str) -> UsageError:
    return UsageError(f"this JSON schema cannot be followed ({place} {why}); use a simpler one")
