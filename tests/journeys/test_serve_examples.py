"""The scripts of examples/serve do what they say, against a real socket."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from openbook.serve import keys
from openbook.serve.store import open_store
from tests.serving import desk, running

EXAMPLES = Path(__file__).parents[2] / "examples" / "serve"
QUESTION = "How many paid vacation days does every colleague get?"
ANSWER = "Every colleague gets 24 paid vacation days a year"


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    workspace = desk(tmp_path_factory.mktemp("examples") / "desk")
    store = open_store(workspace.state / "server.db")
    _, secret = keys.create(store, "examples", ("ask", "search", "write"))
    store.dispose()
    with running(workspace) as url:
        yield {**os.environ, "OPENBOOK_URL": url, "OPENBOOK_KEY": secret}
    workspace.close()


def said(environment: dict[str, str], *command: str) -> str:
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize(("script", "times"), [("chat.py", 4), ("langchain_chain.py", 1), ("mcp_client.py", 3)])
def test_a_client_gets_the_answer(environment: dict[str, str], script: str, times: int) -> None:
    assert said(environment, sys.executable, str(EXAMPLES / script), QUESTION).count(ANSWER) >= times


@pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl")
def test_curl_uploads_searches_and_asks(environment: dict[str, str], tmp_path: Path) -> None:
    note = tmp_path / "Parking.md"
    note.write_text("# Parking\n\nVisitors of the office park on level 3 of the garage.\n")
    told = said(environment, str(EXAMPLES / "native.sh"), str(note), "Where do visitors of the office park?")
    assert '"state": "succeeded"' in told
    assert told.count("level 3 of the garage") >= 2
