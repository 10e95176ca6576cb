"""What people say of answers in, cases and training examples out; in between a reviewer has read each of them.

Thumbs, edits and refusals wait in a queue. What a reviewer accepts is exported as lines that `openbook compare --cases`
and `openbook finetune` read; nothing else ever is. Knows no training and no comparison.
"""

from __future__ import annotations

import hashlib
import io
import json
import re
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import sqlalchemy as sa
from fastapi import APIRouter, Depends, Path, Query
from fastapi.responses import Response
from pydantic import Field

from openbook.finetune.examples import corrected
from openbook.records import Example, Message
from openbook.serve import reach, uploads, visible
from openbook.serve.access import Caller, needs
from openbook.serve.errors import Refused
from openbook.serve.shapes import Asked, Order, Text
from openbook.serve.state import Server, server_of
from openbook.serve.store import ANSWERS, REVIEW, new_id
from openbook.serve.work_shapes import Entry, FeedbackKept, Queue

router = APIRouter(prefix="/api", tags=["review"])
Here = Annotated[Server, Depends(server_of)]
Id = Annotated[Text, Path(max_length=200)]
State = Literal["pending", "accepted", "rejected"]
Kind = Literal["cases", "examples"]
Long = Annotated[Text, Field(max_length=20_000)]
LISTED = 200
"""Entries of one list, the newest."""
_BEFORE = 20
"""Earlier questions of a conversation that a case is given with."""
_SPANS = 8
_MARK = re.compile(r"\s*\[\d+\]")
_deciding = threading.Lock()


class FeedbackOrder(Order):
    """What an asker says of an answer."""

    answer: Annotated[Text, Field(max_length=200, description="Of an answer of yours.", examples=["answer-3f9a"])]
    rating: Literal["up", "down", "edit"]
    reason: Annotated[Text, Field(max_length=4000)] = ""
    correction: Annotated[Long, Field(description="The answer as it should be; an edit needs it.")] = ""


class DecisionOrder(Order):
    """What a reviewer makes of an entry. What is left out is taken from the answer, or from its correction."""

    decision: Annotated[Literal["accept", "reject", "reopen"], Field(examples=["accept"])]
    kind: Annotated[Literal["case", "example"], Field(alias="as", description="What it is accepted as.")] = "case"
    question: Asked | None = None
    gold: Annotated[
        list[Long] | None,
        Field(max_length=20, description="Of a case: each is a right answer; an empty list says that none is there."),
    ] = None
    reply: Annotated[Long | None, Field(description="Of an example: what is to be learned.")] = None


@dataclass(frozen=True, slots=True)
class _Entry:
    """A row of the queue with the answer it speaks of, if that is still kept."""

    row: sa.Row[Any]
    before: tuple[sa.Row[Any], ...]
    """Earlier answers of the conversation, oldest first."""

    @property
    def documents(self) -> set[str]:
        """Documents that the answer and those before it rested on."""
        if self.row.answered is None:
            return set((self.row.result or {}).get("documents", ()))
        told = [self.row.answered, *(one.answer for one in self.before)]
        return {one["document"] for answer in told for one in (*answer["citations"], *answer["hits"])}

    @property
    def groups(self) -> set[str]:
        """The asker's groups."""
        return set(self.row.groups if self.row.answered is not None else (self.row.result or {}).get("groups", ()))

    @property
    def adapter(self) -> str:
        """NAME@VERSION of the adapter that wrote the answer; "" for none of the workspace's."""
        told = self.row.adapter if self.row.answered is not None else (self.row.result or {}).get("adapter")
        return told if told and "@" in told else ""

    @property
    def history(self) -> list[dict[str, str]]:
        """The turns before the question."""
        turns = [(one.question, plain(one.answer["answer"])) for one in self.before]
        return [
            {"role": role, "content": text}
            for pair in turns
            for role, text in zip(("user", "assistant"), pair, strict=True)
        ]


@router.post("/feedback", status_code=201, response_model=FeedbackKept, summary="Say what an answer was worth")
def feedback(order: FeedbackOrder, server: Here, who: Caller = needs("ask")) -> dict[str, Any]:
    """A thumb up or down, or the answer as it should be, of an answer of the caller's own. It waits for a reviewer."""
    if order.rating == "edit" and not order.correction.strip():
        raise Refused(400, "an edit holds the answer as it should be; send it as correction", param="correction")
    said = {"why": order.rating, "reason": order.reason.strip(), "correction": order.correction.strip()}
    with server.store.begin() as db:
        if db.execute(sa.select(ANSWERS.c.owner).where(ANSWERS.c.id == order.answer)).scalar() != who.id:
            raise Refused(404, f"no answer {order.answer!r}", code="no_such_answer", param="answer")
        waiting = sa.and_(REVIEW.c.answer == order.answer, REVIEW.c.owner == who.id, REVIEW.c.state == "pending")
        key = db.execute(sa.select(REVIEW.c.id).where(waiting)).scalar()
        if key is not None:
            db.execute(sa.update(REVIEW).where(REVIEW.c.id == key).values(**said, at=time.time()))
        else:
            key = note(db, who, order.answer, **said)
    return {"id": key, "state": "pending"}


def note(db: sa.Connection, who: Caller, answer: str, *, why: str, reason: str = "", correction: str = "") -> str:
    """Put an answer into the queue, within a transaction; the entry's id."""
    key = new_id("review")
    db.execute(
        sa.insert(REVIEW).values(
            id=key,
            answer=answer,
            owner=who.id,
            why=why,
            reason=reason,
            correction=correction,
            state="pending",
            at=time.time(),
        )
    )
    return key


@router.get("/review", response_model=Queue, summary="The review queue")
def queue(
    server: Here,
    state: State = "pending",
    limit: Annotated[int, Query(ge=1, le=LISTED)] = LISTED,
    who: Caller = needs("train"),
) -> dict[str, Any]:
    """What waits, was accepted or rejected: of answers whose documents the caller may see, the newest first."""
    found: list[dict[str, Any]] = []
    for entry in _entries(server, who, REVIEW.c.state == state):
        if len(found) == limit:
            return {"entries": found, "more": True}
        found.append(_shown(entry))
    return {"entries": found, "more": False}


@router.get(
    "/review/export",
    response_class=Response,
    summary="Export what was accepted",
    responses={200: {"content": {"application/jsonl": {}}, "description": "One JSON object a line."}},
)
def export(
    server: Here,
    kind: Annotated[Kind, Query(alias="as")] = "cases",
    who: Caller = needs("train"),
) -> Response:
    """Accepted cases for `openbook compare --cases`, or examples for `openbook finetune`, as JSON lines.

    Empty when none was accepted. What nobody reviewed, or rests on documents hidden from the caller, is not in it.
    """
    return Response(
        accepted(server, who, kind),
        media_type="application/jsonl",
        headers={
            "Content-Disposition": f'attachment; filename="reviewed-{kind}.jsonl"',
            "X-Content-Type-Options": "nosniff",
            "Cache-Control": "no-store",
        },
    )


def accepted(server: Server, who: Caller, kind: Kind) -> str:
    """What was accepted as cases or examples and the caller may see, as JSON lines, the oldest first."""
    found = [entry.row.result for entry in _entries(server, who, REVIEW.c.state == "accepted")][::-1]
    part = kind[:-1]
    return "".join(_line(one[part], part) for one in found if one and part in one)


def file_of_accepted(server: Server, who: Caller, kind: Kind) -> dict[str, Any]:
    """The same as a file of the caller's, as jobs are told of files: what is accepted later is not in it.

    Raises Refused 400 when there is nothing.
    """
    lines = accepted(server, who, kind)
    if not lines:
        says = f"none of the {kind} you may see was accepted yet; accept some in the review, or leave reviewed out"
        raise Refused(400, says, code="nothing_reviewed", param="reviewed")
    name, purpose = f"reviewed-{kind}.jsonl", "evals" if kind == "cases" else "fine-tune"
    kept = uploads.same(server, name, hashlib.sha256(lines.encode()).hexdigest(), who)
    if kept is None:
        kept = uploads.keep(server, io.BytesIO(lines.encode()), name)
        uploads.record(server, [kept], purpose, who)
    return {**kept.json(), "purpose": purpose}


@router.post("/review/{key}", response_model=Entry, summary="Accept or reject")
def decide(key: Id, order: DecisionOrder, server: Here, who: Caller = needs("train")) -> dict[str, Any]:
    """Accept an entry as a case or an example, as it is or edited; reject it; or put it back into the queue."""
    with _deciding:
        entry = next(_entries(server, who, REVIEW.c.id == key), None)
        if entry is None:
            raise Refused(404, f"no entry {key!r}", code="no_such_entry")
        if (entry.row.state == "pending") == (order.decision == "reopen"):
            raise Refused(409, f"the entry is {entry.row.state} already", code="already_reviewed")
        if order.decision == "reopen" and entry.row.answered is None:
            raise Refused(409, "its conversation was deleted; it cannot be reviewed again", code="answer_gone")
        values: dict[str, Any] = {"state": "pending", "result": sa.null(), "reviewer": None, "reviewed": None}
        if order.decision != "reopen":
            values |= {"state": f"{order.decision}ed", "reviewer": who.id, "reviewed": time.time()}
        if order.decision == "accept":
            values["result"] = _result(entry, order)
        with server.store.begin() as db:
            db.execute(sa.update(REVIEW).where(REVIEW.c.id == key).values(**values))
        return _shown(next(_entries(server, who, REVIEW.c.id == key)))


def plain(text: str) -> str:
    """An answer without its marks of citations, which mean nothing where its passages are not beside it.

    >>> plain("Yes [1]. No [2] [3].")
    'Yes. No.'
    """
    return _MARK.sub("", text)


def _result(entry: _Entry, order: DecisionOrder) -> dict[str, Any]:
    """What is kept of an accepted entry: the case or example, and what decides who may see it."""
    row, answer = entry.row, entry.row.answered
    question = (order.question or row.question).strip()
    known = row.correction or ("" if answer["abstained"] else plain(answer["answer"]))
    kept = {"documents": sorted(entry.documents), "groups": sorted(entry.groups), "adapter": entry.adapter}
    if order.kind == "example":
        reply = (order.reply if order.reply is not None else known or answer["answer"]).strip()
        if not question or not reply:
            raise Refused(400, "an example needs a question and a reply to learn", param="reply")
        # Earlier replies are left out: they would be learned, too, and nobody reviewed them.
        turns = [{"role": "user", "content": question}, {"role": "assistant", "content": reply}]
        return {**kept, "example": {"messages": turns}}
    gold = [one.strip() for one in (order.gold if order.gold is not None else [known]) if one.strip()]
    if not question:
        raise Refused(400, "a case needs a question", param="question")
    cited = {(one["document"], one["quote"]) for one in answer["citations"]}
    held = sorted((name, quote) for name, quote in cited if any(one.casefold() in quote.casefold() for one in gold))
    return {
        **kept,
        "case": {
            "id": row.id,
            "question": question,
            "answer": gold,
            "kind": "answerable" if gold else "unanswerable",
            "history": entry.history,
            "spans": [{"document": name, "quote": quote} for name, quote in held[:_SPANS]],
        },
    }


def _line(told: Mapping[str, Any], kind: str) -> str:
    if kind == "example":
        turns = tuple(Message(one["role"], one["content"]) for one in told["messages"])
        return corrected([Example(turns)])
    return json.dumps({name: value for name, value in told.items() if value != []}, ensure_ascii=False) + "\n"


def _entries(server: Server, who: Caller, wanted: sa.ColumnElement[bool]) -> Iterator[_Entry]:
    """Entries that a caller may see, the newest first: all documents of the answer are its to see."""
    kept = (ANSWERS.c.question, ANSWERS.c.arm, ANSWERS.c.adapter, ANSWERS.c.groups, ANSWERS.c.conversation)
    rows = (
        sa.select(REVIEW, *kept, ANSWERS.c.answer.label("answered"), ANSWERS.c.at.label("asked"))
        .outerjoin(ANSWERS, ANSWERS.c.id == REVIEW.c.answer)
        .where(wanted)
        .order_by(sa.func.coalesce(REVIEW.c.reviewed, REVIEW.c.at).desc(), REVIEW.c.id)
    )
    names = {info.name for info in visible.infos(server, who)}
    with server.store.connect() as db:
        for row in db.execute(rows):
            entry = _Entry(row, _before(db, row))
            if _covers(server, who, entry, names):
                yield entry


def _before(db: sa.Connection, row: sa.Row[Any]) -> tuple[sa.Row[Any], ...]:
    if row.answered is None:
        return ()
    earlier = (
        sa.select(ANSWERS)
        .where(ANSWERS.c.conversation == row.conversation, ANSWERS.c.at < row.asked)
        .order_by(ANSWERS.c.at.desc())
        .limit(_BEFORE)
    )
    return tuple(db.execute(earlier))[::-1]


def _covers(server: Server, who: Caller, entry: _Entry, names: set[str]) -> bool:
    if who.all_groups:
        return True
    if not (entry.documents <= names and entry.groups <= set(who.groups)):
        return False
    return reach.may_ask_ref(server, who, entry.adapter)


def _shown(entry: _Entry) -> dict[str, Any]:
    row, answer = entry.row, entry.row.answered
    result = {name: row.result[name] for name in ("case", "example") if name in row.result} if row.result else None
    return {
        "id": row.id,
        "why": row.why,
        "reason": row.reason,
        "correction": row.correction,
        "state": row.state,
        "at": row.at,
        "reviewed": row.reviewed,
        "question": row.question or "",
        "history": entry.history,
        "model": row.arm or "",
        "answer": answer,
        "suggested": row.correction or (plain(answer["answer"]) if answer and not answer["abstained"] else ""),
        "result": result,
    }
