"""The native API over a real socket: search, ask, documents and conversations, in the shapes that pages build on."""

from __future__ import annotations

import json
from collections.abc import Iterator

import httpx2
import pytest

from tests.serving import desk, running


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx2.Client]:
    workspace = desk(tmp_path_factory.mktemp("native"))
    try:
        with running(workspace) as url, httpx2.Client(base_url=url, timeout=60) as http:
            yield http
    finally:
        workspace.close()


def test_search_gives_passages_with_their_places(client: httpx2.Client) -> None:
    found = client.post("/api/search", json={"question": "How many vacation days?", "k": 2}).json()
    hit = found["hits"][0]
    text = client.get(
        "/api/document/text", params={"name": hit["document"], "start": hit["start"], "end": hit["end"]}
    ).json()
    assert text["text"] == hit["text"]


def test_a_question_is_answered_with_citations_and_kept(client: httpx2.Client) -> None:
    reply = client.post("/api/ask", json={"question": "How many paid vacation days do colleagues get?"})
    assert reply.status_code == 200, reply.text
    said = reply.json()
    cited = said["citations"][0]
    text = client.get("/api/document/text", params={"name": cited["document"]}).json()["text"]
    assert text[cited["start"] : cited["end"]] == cited["quote"]
    talk = client.get(f"/api/conversations/{said['conversation']}").json()
    assert [one["id"] for one in talk["answers"]] == [said["id"]]
    assert talk["answers"][0]["answer"]["citations"] == said["citations"]


def test_a_streamed_answer_ends_with_the_whole_answer(client: httpx2.Client) -> None:
    order = {"question": "How many paid vacation days do colleagues get?", "stream": True}
    with client.stream("POST", "/api/ask", json=order) as reply:
        assert reply.headers["content-type"].startswith("text/event-stream")
        events = [
            (lines[0].removeprefix("event: "), json.loads(lines[1].removeprefix("data: ")))
            for block in "".join(reply.iter_text()).strip().split("\n\n")
            if (lines := block.split("\n"))
        ]
    assert {name for name, _ in events[:-1]} == {"piece"}
    assert events[-1][0] == "answer"
    assert events[-1][1]["citations"]


def test_documents_are_found_by_a_part_of_a_name_a_title_or_a_label(client: httpx2.Client) -> None:
    def found(wanted: str) -> list[str]:
        listed = client.get("/api/documents", params={"find": wanted}).json()
        assert listed["total"] == len(listed["documents"])
        return [one["name"] for one in listed["documents"]]

    assert found("avel") == ["Travel.md"]
    assert found(" ODD ") == ["Script.md"]
    assert found("hr") == ["Salaries.md"]
    assert found("100 %") == []


def test_documents_are_listed_a_page_at_a_time(client: httpx2.Client) -> None:
    first = client.get("/api/documents", params={"limit": 3}).json()
    rest = client.get("/api/documents", params={"limit": 3, "after": first["next"]}).json()
    assert len(first["documents"]) == 3
    assert [one["name"] for one in first["documents"] + rest["documents"]] == sorted(
        ["Vacation.md", "Travel.md", "Salaries.md", "Script.md"]
    )
    assert (first["total"], rest["next"]) == (4, None)


def test_a_documents_file_comes_back_as_it_was(client: httpx2.Client) -> None:
    answer = client.get("/api/document/file", params={"name": "Script.md"})
    assert answer.content.startswith(b"# Odd\n\nThe badge reader says <script>")
    assert answer.headers["content-disposition"].startswith("attachment")
    assert answer.headers["content-type"] == "application/octet-stream"


def test_an_upload_is_a_job_and_then_a_document_that_can_be_deleted(client: httpx2.Client) -> None:
    sent = client.post("/api/documents", files=[("files", ("Parking.md", b"# Parking\n\nPark in the yard.\n"))])
    assert sent.status_code == 202, sent.text
    client.get(f"/api/jobs/{sent.json()['job']['id']}/events")
    told = client.get("/api/document", params={"name": "Parking.md"}).json()
    assert (told["source"], told["labels"]) == ("", ["*"])
    assert (
        client.get("/api/document/file", params={"name": "Parking.md"}).content == b"# Parking\n\nPark in the yard.\n"
    )
    assert client.delete("/api/document", params={"name": "Parking.md"}).json()["removed"] == "Parking.md"
    assert client.get("/api/document", params={"name": "Parking.md"}).status_code == 404
