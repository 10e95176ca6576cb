"""A comparison by request asks about what its maker may see, and its report opens to those who may see that."""

from __future__ import annotations

import shutil
import time
from dataclasses import replace
from pathlib import Path

import pytest

from openbook import sample
from openbook.serve import comparisons
from openbook.serve.access import OPEN, Caller
from openbook.serve.errors import Refused
from openbook.serve.state import Server
from openbook.workspace import Workspace

pytestmark = [pytest.mark.model, pytest.mark.timeout(600)]
SALES = Caller("key-sales", "sales", frozenset({"train"}), ("sales",))
SKIP = ["diagnostics", "freshness", "latency", "style", "shots"]


def test_a_comparison_sees_what_its_maker_sees(tmp_path: Path) -> None:
    Workspace.init(tmp_path / "desk").close()
    handbook = sorted(Path(sample.__file__).parent.rglob("*.md"))
    with Workspace.open(tmp_path / "desk") as workspace:
        for label, files in (("*", handbook[:4]), ("sales", handbook[4:8]), ("hr", handbook[8:12])):
            folder = tmp_path / f"for-{'all' if label == '*' else label}"
            folder.mkdir()
            for file in files:
                shutil.copy(file, folder / file.name)
            workspace.sync([folder], acl=[label])
        server = Server(workspace)
        comparisons.register(server)
        server.jobs.start()
        order = comparisons.CompareOrder(made=4, arms=["base", "rag"], skip=SKIP)  # type: ignore[arg-type]
        name = comparisons.compare(order, server, SALES)["job"]["id"]
        until = time.monotonic() + 500
        while (job := server.jobs.get(name, SALES)).state not in ("succeeded", "failed"):
            assert time.monotonic() < until
            workspace.search("Who approves travel?")  # answers go on meanwhile
            time.sleep(0.5)
        server.jobs.stop()
        assert job.result is not None, job.error
        report = str(job.result["report"])
        kept = workspace.state / "reports" / report
        told = "".join(path.read_text() for path in kept.rglob("*.json*")) + (kept / "report.html").read_text()
        assert "for-all/" in told or "for-sales/" in told
        assert "for-hr/" not in told
        assert not (workspace.state / "jobs" / name).exists()
        peer = replace(SALES, id="key-peer", groups=("sales", "hr"))
        for who in (SALES, peer, OPEN):
            assert [one["id"] for one in comparisons.reports(server, who)["reports"]] == [report]
        less = replace(SALES, id="key-less", groups=("hr",), scopes=frozenset({"admin"}))
        assert comparisons.reports(server, less) == {"reports": []}
        for ask in (comparisons.report, comparisons.page):
            with pytest.raises(Refused) as hidden:
                ask(report, server, less)
            assert hidden.value.status == 404
