"""Nothing leaks: few documents and groups here, 200 x 20 in bench.serve_access."""

from __future__ import annotations

import pytest

from bench import serve_access

pytestmark = pytest.mark.timeout(300)
SHOWS = ("POST /api/search", "POST /api/ask", "POST /v1/chat/completions", "GET /api/document/text", "POST / (page)")
SHOWS_MCP = ("MCP search", "MCP ask", "MCP read_document", "MCP resource")


def test_no_caller_learns_of_a_document_of_other_groups_anywhere() -> None:
    tally = serve_access.run(6, 2)
    assert tally.leaks == []
    assert len(tally.requests) > 45
    for path in serve_access.SHOWN:
        assert tally.found[f"{path} (of the owner)"] > 0, path
    for route in (*SHOWS, *SHOWS_MCP):  # a route that shows nobody anything would prove nothing
        assert tally.found[route] > 0, route


def test_the_matrix_would_see_a_leak(monkeypatch: pytest.MonkeyPatch) -> None:
    from openbook.records import DocumentInfo
    from openbook.serve.access import Caller

    def all_see(self: Caller, info: DocumentInfo) -> bool:
        return True

    monkeypatch.setattr(Caller, "sees", all_see)
    assert any("saw the secret" in leak for leak in serve_access.run(4, 2).leaks)
