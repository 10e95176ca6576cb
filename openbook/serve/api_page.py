"""The API's own description in, a page for people out: /api/docs, with no script, no CDN and no style of its own."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from fastapi import APIRouter, FastAPI, Request
from fastapi.responses import HTMLResponse

from openbook.serve import pages

router = APIRouter(include_in_schema=False)

_NAMES = {
    "ask": "Ask",
    "search": "Search",
    "documents": "Documents",
    "work": "Jobs and sync",
    "training": "Training",
    "comparisons": "Comparisons",
    "review": "Review",
    "keys": "Keys",
    "admin": "Settings and machine",
    "health": "Health",
}
_METHODS = ("get", "post", "put", "patch", "delete")


@dataclass(frozen=True, slots=True)
class Field:
    """A parameter, or a field of a body."""

    name: str
    where: str
    """query, path, header, or "" for a body's field."""
    kind: str
    needed: bool
    says: str


@dataclass(frozen=True, slots=True)
class Operation:
    """One thing the API does."""

    id: str
    method: str
    path: str
    title: str
    says: str
    fields: tuple[Field, ...]
    body: str
    """The content type of the body; "" takes none."""
    example: str
    """A command line that does it."""
    gives: tuple[tuple[str, str, str], ...]
    """(status, what it means, shape)."""


@dataclass(frozen=True, slots=True)
class Group:
    """Operations of one subject."""

    name: str
    operations: tuple[Operation, ...]


def secure(app: FastAPI) -> None:
    """Have the description say that every operation but those about health takes a key."""
    made = app.openapi

    def openapi() -> dict[str, Any]:
        found = made()
        found["components"]["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer"}}
        found["security"] = [{"key": []}]
        for path in ("/healthz", "/readyz"):
            found["paths"][path]["get"]["security"] = []
        return found

    app.openapi = openapi  # type: ignore[method-assign]  # as FastAPI has it done


@router.get("/api/docs")
def api_page(request: Request) -> HTMLResponse:
    """The API as a page."""
    described = request.app.openapi()
    base = str(request.base_url).rstrip("/")
    return pages.render(request, "api", groups=groups(described, base), shapes=shapes(described), described=described)


def groups(described: dict[str, Any], base: str) -> list[Group]:
    """Operations by subject, in the order of the description."""
    found: dict[str, list[Operation]] = {}
    for path, methods in described["paths"].items():
        for method in _METHODS:
            if method in methods:
                one = methods[method]
                found.setdefault(_subject(path, one), []).append(_operation(described, base, method, path, one))
    first = [name for name in _NAMES.values() if name in found]
    rest = [name for name in found if name not in first]
    return [Group(name, tuple(found[name])) for name in (*first, *rest)]


def shapes(described: dict[str, Any]) -> dict[str, tuple[str, tuple[Field, ...]]]:
    """Name of each shape -> what it is, and its fields."""
    schemas = described.get("components", {}).get("schemas", {})
    return {name: (_line(one.get("description", "")), _fields(one)) for name, one in sorted(schemas.items())}


def kind_of(schema: dict[str, Any]) -> str:
    """A schema in a few words.

    >>> kind_of({"anyOf": [{"type": "array", "items": {"$ref": "#/components/schemas/Hit"}}, {"type": "null"}]})
    'list of Hit or null'
    """
    if "$ref" in schema:
        return str(schema["$ref"]).rpartition("/")[2]
    for key in ("anyOf", "oneOf", "allOf"):
        if key in schema:
            return " or ".join(dict.fromkeys(kind_of(one) for one in schema[key]))
    if "const" in schema:
        return json.dumps(schema["const"])
    if "enum" in schema:
        return " or ".join(json.dumps(one) for one in schema["enum"])
    kind = schema.get("type", "anything")
    if kind == "array":
        return f"list of {kind_of(schema.get('items', {}))}"
    bounds = [
        f"{word} {schema[key]}"
        for key, word in (("minimum", "from"), ("maximum", "to"), ("maxLength", "of at most"))
        if key in schema and schema[key] < 2**31
    ]
    said = {"string": "text", "integer": "integer", "object": "object"}.get(kind, str(kind))
    return " ".join([said, *bounds]) + (" characters" if "maxLength" in schema else "")


def _operation(described: dict[str, Any], base: str, method: str, path: str, one: dict[str, Any]) -> Operation:
    fields = [
        Field(
            given["name"],
            given["in"],
            kind_of(given.get("schema", {})),
            given.get("required", False),
            _line(given.get("description", "") or given.get("schema", {}).get("description", "")),
        )
        for given in one.get("parameters", ())
    ]
    content = one.get("requestBody", {}).get("content", {})
    body = next(iter(content), "")
    if body:
        schema = _resolved(described, content[body].get("schema", {}))
        fields += _fields(schema)
        sample = json.dumps(_example(described, schema), ensure_ascii=False)
    else:
        sample = ""
    return Operation(
        id=one.get("operationId", f"{method}{path}"),
        method=method.upper(),
        path=path,
        title=one.get("summary", path),
        says=_line(one.get("description", "")),
        fields=tuple(fields),
        body=body,
        example=_command(base, method, path, body, sample),
        gives=tuple(_gives(status, said) for status, said in one.get("responses", {}).items()),
    )


def _gives(status: str, said: dict[str, Any]) -> tuple[str, str, str]:
    content = said.get("content", {})
    kinds = [kind_of(one["schema"]) if one.get("schema") else name for name, one in content.items()]
    return status, _line(said.get("description", "")), ", ".join(kind for kind in kinds if kind != "anything")


def _command(base: str, method: str, path: str, body: str, sample: str) -> str:
    words = ["curl"] if path in ("/healthz", "/readyz") else ["curl", "-H 'Authorization: Bearer KEY'"]
    if method != "get":
        words.insert(1, f"-X {method.upper()}") if method != "post" or not body else None
    if body == "multipart/form-data":
        words.append("-F 'files=@FILE'" if "files" in sample else "-F 'file=@FILE'")
    elif body:
        quoted = sample.replace("'", "'\\''")
        words += [f"-H 'Content-Type: {body}'", f"-d '{quoted}'"]
    return " ".join([*words, f"'{base}{path}'"])


def _example(described: dict[str, Any], schema: dict[str, Any], depth: int = 0) -> Any:
    schema = _resolved(described, schema)
    if schema.get("examples"):
        return schema["examples"][0]
    for key in ("anyOf", "oneOf", "allOf"):
        if key in schema:
            return _example(described, schema[key][0], depth + 1)
    if "default" in schema:
        return schema["default"]
    if "enum" in schema:
        return schema["enum"][0]
    if schema.get("type") == "object" and depth < 4:
        wanted = schema.get("required", ())
        return {
            name: _example(described, one, depth + 1)
            for name, one in schema.get("properties", {}).items()
            if name in wanted
        }
    if schema.get("type") == "array":
        return [] if depth >= 4 else [_example(described, schema.get("items", {}), depth + 1)]
    return {"integer": 1, "number": 1.0, "boolean": False, "string": "..."}.get(str(schema.get("type")), {})


def _fields(schema: dict[str, Any]) -> tuple[Field, ...]:
    needed = schema.get("required", ())
    return tuple(
        Field(name, "", kind_of(one), name in needed, _line(one.get("description", "")))
        for name, one in schema.get("properties", {}).items()
    )


def _resolved(described: dict[str, Any], schema: dict[str, Any]) -> dict[str, Any]:
    while "$ref" in schema:
        schema = described["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
    return schema


def _subject(path: str, one: dict[str, Any]) -> str:
    if path.startswith("/v1/"):
        return "OpenAI's API"
    for tag in one.get("tags", ()):
        return _NAMES.get(tag, str(tag).capitalize())
    return path.strip("/").split("/")[1 if path.startswith("/api/") else 0].capitalize()


def _line(text: str) -> str:
    return " ".join(text.split())
