"""The description of the API says of every operation what it is, takes and gives."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("fastapi", reason="the extra serve is not installed")

from openbook.serve.app import create_app
from openbook.serve.state import Server
from tests.serving import desk


def lacking(described: dict[str, Any], operation: dict[str, Any]) -> list[str]:
    shapes = described["components"]["schemas"]
    found = [part for part in ("summary", "tags", "description") if not operation.get(part)]
    given = [said.get("content", {}) for status, said in operation["responses"].items() if status.startswith("2")]
    for kind, content in (pair for one in given for pair in one.items()):
        schema = content.get("schema", {})
        if kind == "application/json" and schema.get("type") == "object" and "properties" not in schema:
            found.append("what it gives")
    if not any(given):
        found.append("what it gives")
    body = operation.get("requestBody", {}).get("content", {}).get("application/json")
    if body is not None and "example" not in body and "examples" not in body:
        schema = shapes[body["schema"]["$ref"].rpartition("/")[2]] if "$ref" in body["schema"] else body["schema"]
        fields = schema.get("properties", {}).values()
        if "examples" not in schema and not any("examples" in one for one in fields):
            found.append("an example")
    return found


def test_every_operation_is_described(tmp_path: Path) -> None:
    workspace = desk(tmp_path / "w", documents={})
    described = create_app(Server(workspace)).openapi()
    workspace.close()
    wrong = {
        f"{method} {path}": missing
        for path, methods in described["paths"].items()
        for method, operation in methods.items()
        if (missing := lacking(described, operation))
    }
    assert not wrong
