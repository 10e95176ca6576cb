"""From feedback to lines that compare and finetune read: over a real socket, with the real readers at the end."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

pytest.importorskip("fastapi", reason="the extra serve is not installed")

from openbook import questions
from openbook.finetune import examples
from openbook.records import Message
from openbook.serve import comparisons, history, review, training, uploads
from openbook.serve.access import Caller
from openbook.serve.errors import Refused
from openbook.serve.state import Server
from tests.serving import desk, running

QUESTION = "How many paid vacation days does every colleague get a year?"
TOML = "\n[answer]\nabstain_below = 0.05\n"


@pytest.fixture
def client(tmp_path: Path) -> Iterator[httpx2.Client]:
    workspace = desk(tmp_path / "w", toml=TOML)
    with running(workspace) as url, httpx2.Client(base_url=url, timeout=30) as http:
        yield http
    workspace.close()


def ask(client: httpx2.Client, question: str = QUESTION, **more: Any) -> dict[str, Any]:
    answer = client.post("/api/ask", json={"question": question, **more})
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def rate(client: httpx2.Client, answer: str, rating: str, **more: str) -> str:
    said = client.post("/api/feedback", json={"answer": answer, "rating": rating, **more})
    assert said.status_code == 201, said.text
    return str(said.json()["id"])


def decide(client: httpx2.Client, key: str, **order: Any) -> dict[str, Any]:
    answer = client.post(f"/api/review/{key}", json=order)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def exported(client: httpx2.Client, kind: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in client.get("/api/review/export", params={"as": kind}).text.splitlines()]


def test_an_accepted_case_is_read_by_compare_with_its_place_in_the_documents(
    client: httpx2.Client, tmp_path: Path
) -> None:
    key = rate(client, ask(client)["id"], "up")
    decide(client, key, decision="accept", **{"as": "case"}, gold=["24 paid vacation days"])
    file = tmp_path / "cases.jsonl"
    file.write_bytes(client.get("/api/review/export", params={"as": "cases"}).content)
    read = questions.read([file])
    assert read.problems == ()
    assert [(case.question, case.gold, case.kind) for case in read] == [
        (QUESTION, ("24 paid vacation days",), "answerable")
    ]
    assert [name for name, _ in read[0].sources] == ["Vacation.md"]  # type: ignore[attr-defined]


def test_an_accepted_example_is_read_by_finetune_as_it_was_edited(client: httpx2.Client, tmp_path: Path) -> None:
    key = rate(client, ask(client)["id"], "edit", correction="24 days, dear colleague.")
    assert client.get("/api/review").json()["entries"][0]["suggested"] == "24 days, dear colleague."
    decide(client, key, decision="accept", **{"as": "example"}, question="How much vacation?")
    file = tmp_path / "examples.jsonl"
    file.write_bytes(client.get("/api/review/export", params={"as": "examples"}).content)
    loaded = examples.read([file])
    assert loaded.problems == ()
    assert [one.messages for one in loaded.examples] == [
        (Message("user", "How much vacation?"), Message("assistant", "24 days, dear colleague."))
    ]


def test_nothing_that_was_not_accepted_is_exported(client: httpx2.Client) -> None:
    rate(client, ask(client)["id"], "up")
    rejected = rate(client, ask(client)["id"], "down", reason="It is wrong")
    decide(client, rejected, decision="reject")
    assert exported(client, "cases") == exported(client, "examples") == []


def test_a_refusal_comes_into_the_queue_by_itself_and_becomes_a_case_without_an_answer(
    client: httpx2.Client, tmp_path: Path
) -> None:
    assert ask(client, "zzqx wubble frobnicate?", where="document=none.md")["abstained"]
    entry = client.get("/api/review").json()["entries"][0]
    assert (entry["why"], entry["suggested"]) == ("refusal", "")
    decide(client, entry["id"], decision="accept", **{"as": "case"})
    file = tmp_path / "cases.jsonl"
    file.write_bytes(client.get("/api/review/export", params={"as": "cases"}).content)
    read = questions.read([file])
    assert read.problems == ()
    assert [(case.kind, case.gold) for case in read] == [("unanswerable", ())]


def test_feedback_on_a_refusal_goes_to_the_entry_that_waits_already(client: httpx2.Client) -> None:
    answer = ask(client, "zzqx wubble frobnicate?", where="document=none.md")
    rate(client, answer["id"], "down", reason="It stands in the handbook")
    entries = client.get("/api/review").json()["entries"]
    assert [(one["why"], one["reason"]) for one in entries] == [("down", "It stands in the handbook")]


def test_a_follow_up_is_a_case_with_its_history_and_an_example_without_replies_nobody_reviewed(
    client: httpx2.Client,
) -> None:
    first = ask(client)
    for kind in ("case", "example"):
        answer = ask(client, "Who approves travel above 900 euros?", conversation=first["conversation"])
        decide(client, rate(client, answer["id"], "up"), decision="accept", **{"as": kind})
    assert [turn["role"] for turn in exported(client, "cases")[0]["history"]] == ["user", "assistant"]
    assert "[1]" not in exported(client, "cases")[0]["history"][1]["content"]
    assert len(exported(client, "examples")[0]["messages"]) == 2


def test_a_decision_can_be_taken_back_but_not_made_twice(client: httpx2.Client) -> None:
    key = rate(client, ask(client)["id"], "up")
    decide(client, key, decision="accept")
    again = client.post(f"/api/review/{key}", json={"decision": "reject"})
    assert (again.status_code, again.json()["error"]["code"]) == (409, "already_reviewed")
    assert decide(client, key, decision="reopen")["state"] == "pending"
    assert exported(client, "cases") == []


def test_what_was_accepted_outlives_its_conversation(client: httpx2.Client) -> None:
    answer = ask(client)
    decide(client, rate(client, answer["id"], "up"), decision="accept")
    waiting = rate(client, answer["id"], "down")
    client.delete(f"/api/conversations/{answer['conversation']}")
    assert len(exported(client, "cases")) == 1
    assert client.post(f"/api/review/{waiting}", json={"decision": "accept"}).status_code == 404


@pytest.mark.parametrize(
    ("order", "status"),
    [
        ({"answer": "answer-0", "rating": "up"}, 404),
        ({"answer": "answer-0", "rating": "sideways"}, 400),
        ({"answer": "answer-0", "rating": "edit"}, 400),
    ],
)
def test_feedback_that_means_nothing_is_refused(client: httpx2.Client, order: dict[str, str], status: int) -> None:
    assert client.post("/api/feedback", json=order).status_code == status


def test_a_reviewer_meets_only_answers_whose_documents_its_groups_cover(tmp_path: Path) -> None:
    workspace = desk(tmp_path / "w", toml=TOML)
    server = Server(workspace)
    scopes = frozenset({"ask", "search", "train", "admin"})
    staff, hr = (Caller(f"key-{name}", name, scopes, groups) for name, groups in (("s", ()), ("h", ("hr",))))
    everything = Caller("root", "root", scopes, all_groups=True)
    answer = workspace.ask("Where does the salary band of a senior engineer end?", groups=["hr"])
    assert "Salaries.md" in {one.document for one in answer.citations}
    key, _ = history.keep(server, hr, "Where does the band end?", "rag", answer, None)
    assert key is not None
    with pytest.raises(Refused):
        review.feedback(review.FeedbackOrder(answer=key, rating="up"), server, staff)
    entry = review.feedback(review.FeedbackOrder(answer=key, rating="up"), server, hr)["id"]
    accept = review.DecisionOrder.model_validate({"decision": "accept", "as": "case"})
    assert review.queue(server, "pending", 200, staff)["entries"] == []
    with pytest.raises(Refused):
        review.decide(entry, accept, server, staff)
    assert len(review.queue(server, "pending", 200, everything)["entries"]) == 1
    review.decide(entry, accept, server, hr)
    assert review.export(server, "cases", staff).body == b""
    assert b"98,000" in bytes(review.export(server, "cases", hr).body)
    workspace.close()


def test_a_job_takes_what_was_accepted_and_its_maker_may_see_and_nothing_else(tmp_path: Path) -> None:
    workspace = desk(tmp_path / "w", toml=TOML)
    server = Server(workspace)
    comparisons.register(server)
    training.register(server)
    scopes = frozenset({"ask", "search", "train"})
    staff, hr = (Caller(f"key-{name}", name, scopes, groups) for name, groups in (("s", ()), ("h", ("hr",))))

    def begun(who: Caller) -> list[dict[str, Any]]:
        order = training.TrainOrder(name="check", reviewed=True)
        train = training.preflight(order, server, who)["job"]["args"]["files"]
        compare = comparisons.compare(comparisons.CompareOrder(reviewed=True, made=0), server, who)["job"]["args"]
        return [*train, *compare["files"]["cases"]]

    for asked in ("band", "travel"):
        answer = workspace.ask("Where does the salary band of a senior engineer end?", groups=["hr"])
        for kind in ("example", "case", "case"):
            key, _ = history.keep(server, hr, f"{asked}, as {kind}?", "rag", answer, None)
            assert key is not None
            entry = review.feedback(review.FeedbackOrder(answer=key, rating="up"), server, hr)["id"]
            if asked == "band":  # the others wait for a reviewer
                accept = review.DecisionOrder.model_validate({"decision": "accept", "as": kind})
                review.decide(entry, accept, server, hr)
    first = begun(hr)
    assert begun(hr) == first, "the same accepted entries are one file, however often they are used"
    examples_, cases = (uploads.path_of(server, one["id"]) for one in first)
    assert examples_ is not None
    assert cases is not None
    assert examples_.read_bytes() == review.export(server, "examples", hr).body
    assert cases.read_bytes() == review.export(server, "cases", hr).body
    assert (len(examples_.read_text().splitlines()), len(cases.read_text().splitlines())) == (1, 2)
    assert len(questions.read([cases])) == 2
    for begin in (begun, lambda who: comparisons.compare(comparisons.CompareOrder(reviewed=True), server, who)):
        with pytest.raises(Refused) as nothing:
            begin(staff)
        assert nothing.value.code == "nothing_reviewed"
    assert [job.caller for job in server.jobs.list(staff)] == []
    workspace.close()
