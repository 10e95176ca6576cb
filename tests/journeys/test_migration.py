"""A library changes from the default embedder to its 8-bit form and back, as a person does it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from openbook import sample

pytestmark = [pytest.mark.model, pytest.mark.timeout(600)]
QUESTION = "How many vacation days do I get a year?"


def _openbook(*words: str, cwd: Path) -> Any:
    done = subprocess.run(
        [sys.executable, "-m", "openbook", *words, "--json"], cwd=cwd, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    return json.loads(done.stdout)


def test_the_default_embedder_gives_way_to_its_8_bit_form_and_comes_back(tmp_path: Path) -> None:
    sample.copy_handbook(tmp_path / "handbook")
    _openbook("init", ".", cwd=tmp_path)
    _openbook("sync", "handbook", cwd=tmp_path)
    before = [hit["document"] for hit in _openbook("search", QUESTION, cwd=tmp_path)["hits"]]
    cases = {"question": QUESTION, "answer": "15 days"}
    (tmp_path / "cases.jsonl").write_text(json.dumps(cases) + "\n", encoding="utf-8")
    found = _openbook("migrate", "--to", "all-minilm-l6-v2-int8", "--cases", "cases.jsonl", cwd=tmp_path)
    assert (found["switched"], found["embedded"]) == (True, found["chunks"])
    assert [one["measure"] for one in found["compared"]] == ["recall@5", "mrr@10"]
    assert 'embedder = "all-minilm-l6-v2-int8"' in (tmp_path / "openbook.toml").read_text(encoding="utf-8")
    assert _openbook("search", QUESTION, cwd=tmp_path)["hits"][0]["document"] == before[0]
    back = _openbook("migrate", "--roll-back", cwd=tmp_path)
    assert (back["target"], back["embedded"]) == ("all-minilm-l6-v2", 0)
    assert back["compared"][0]["after"] > 0.7
    assert [hit["document"] for hit in _openbook("search", QUESTION, cwd=tmp_path)["hits"]] == before
