"""What pages are made of: escaped templates, files to keep, answers cut at their sentences, first questions."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from dataclasses import replace

import pytest

pytest.importorskip("fastapi", reason="the extra serve is not installed")

import httpx2

from openbook.records import Answer, Chunk, Citation, Hit, Sentence, Timings
from openbook.serve import pages, suggesting
from openbook.serve.pages_ask import parts
from openbook.workspace import Workspace
from tests.serving import DOCUMENTS, desk, running

CHUNK = Chunk("a.md", start=0, end=40, text="Cats sleep a lot. Dogs bark.")
ANSWER = Answer(
    text="Cats sleep a lot [1]. Cows fly! So be it",
    abstained=False,
    citations=(Citation("a.md", None, 0, 17, "Cats sleep a lot.", 0),),
    sentences=(Sentence("Cats sleep a lot.", supported=True), Sentence("Cows fly!", supported=False)),
    hits=(Hit(CHUNK, 1.0),),
    prompt="",
    model="m",
    adapter=None,
    arm="rag",
    prompt_tokens=1,
    answer_tokens=1,
    seconds=Timings(0, 0, 0, 0),
    library_version=1,
)


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workspace]:
    found = desk(tmp_path_factory.mktemp("pages") / "w")
    yield found
    found.close()


@pytest.fixture(scope="module")
def client(workspace: Workspace) -> Iterator[httpx2.Client]:
    with running(workspace) as url, httpx2.Client(base_url=url) as found:
        yield found


def test_an_answer_is_cut_at_its_sentences_and_nothing_is_lost() -> None:
    found = parts(ANSWER)
    assert [(one.text, one.supported, one.number, one.tail) for one in found] == [
        ("Cats sleep a lot", True, 1, "."),
        (" ", None, 0, ""),
        ("Cows fly", False, 0, "!"),
        (" So be it", None, 0, ""),
    ]
    assert found[0].citation == ANSWER.citations[0]


def test_a_citation_without_a_mark_in_the_text_still_has_its_number() -> None:
    assert parts(replace(ANSWER, text="Cats sleep a lot."))[0].number == 1


def test_a_mark_behind_the_full_stop_is_the_citations_and_is_not_shown_twice() -> None:
    found = parts(replace(ANSWER, text="Cats sleep a lot. [1] Cows fly! So be it"))
    assert [(one.text, one.number, one.tail) for one in found[:2]] == [("Cats sleep a lot", 1, "."), (" ", 0, "")]


def test_a_link_in_a_document_is_shown_by_its_words() -> None:
    linked = replace(ANSWER, text="Cats [sleep](https://cats.example/a%20b) a lot.", sentences=(), citations=())
    assert [one.text for one in parts(linked)] == ["Cats sleep a lot."]


def test_a_page_escapes_what_it_is_given(client: httpx2.Client) -> None:
    answer = client.post("/", data={"question": "<script>alert(1)</script>?"}, headers={"Accept": "text/html"})
    assert "<script>alert(1)" not in answer.text
    assert "&lt;script&gt;alert(1)" in answer.text


def test_a_page_is_not_kept_by_anyone_and_holds_nothing_inline(client: httpx2.Client) -> None:
    answer = client.get("/", headers={"Accept": "text/html"})
    assert answer.headers["cache-control"] == "no-store"
    assert not re.search(r"<style|\sstyle=|\son\w+=|<script(?![^>]* src=)", answer.text)


def test_a_file_is_kept_for_ever_under_its_stamp_and_asked_after_without(client: httpx2.Client) -> None:
    stamped = client.get(pages.address("app.js"))
    assert "immutable" in stamped.headers["cache-control"]
    assert stamped.headers["content-type"].startswith("text/javascript")
    plain = client.get("/static/app.js")
    assert plain.headers["cache-control"] == "no-cache"
    assert client.get("/static/app.js", headers={"If-None-Match": plain.headers["etag"]}).status_code == 304


@pytest.mark.parametrize("file", ["nothing.js", "..%2Fpages.py", "%2e%2e%2fapp.py"])
def test_only_files_of_the_folder_are_served(client: httpx2.Client, file: str) -> None:
    assert client.get(f"/static/{file}").status_code == 404


def test_a_browser_is_told_of_errors_by_a_page_and_a_program_by_json(client: httpx2.Client) -> None:
    page = client.get("/nowhere", headers={"Accept": "text/html"})
    assert page.status_code == 404
    assert "There is no such page" in page.text
    assert client.get("/nowhere").json()["error"]["message"]


def test_a_source_that_is_not_there_is_a_404(client: httpx2.Client) -> None:
    assert client.get("/source", params={"name": "Absent.md"}).status_code == 404


def test_a_source_marks_exactly_the_span(client: httpx2.Client) -> None:
    text = client.get("/source", params={"name": "Script.md", "start": 7, "end": 44}).text
    mark = re.search(r"<mark id=\"here\">(.*?)</mark>", text)
    assert mark is not None
    assert "&lt;script&gt;" in mark.group(1)
    assert html.unescape(mark.group(1)) == DOCUMENTS["Script.md"][0][7:44]


def test_suggested_questions_come_each_from_another_document(workspace: Workspace) -> None:
    library = workspace.house.library
    found = suggesting.suggest(library, library.documents(), lambda _: True)
    assert found
    assert len(found) == len(set(found)) <= 4
    assert all(one.endswith("?") for one in found)


def test_only_questions_that_find_an_answer_are_suggested(workspace: Workspace) -> None:
    library = workspace.house.library
    assert suggesting.suggest(library, library.documents(), lambda _: False) == []


def test_suggestions_speak_of_no_document_that_is_not_given(workspace: Workspace) -> None:
    library = workspace.house.library
    seen = [info for info in library.documents() if info.acl == ("*",)]
    assert not any("Salaries" in one for one in suggesting.suggest(library, seen, lambda _: True, most=9))


def test_the_sample_is_copied_once_and_synced_as_a_job(client: httpx2.Client, workspace: Workspace) -> None:
    for _ in range(2):
        answer = client.post("/api/sample")
        assert answer.status_code == 202
    assert (workspace.state / "sample" / "handbook" / "LICENSE").is_file()
