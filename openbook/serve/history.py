"""Conversations of one asker each: kept, given back, followed up and deleted.

What an answer rested on is looked at again whenever it is shown: documents that are gone or hidden by now are left out,
and so is a text that may speak of them.
"""

from __future__ import annotations

import time
from typing import Any

import sqlalchemy as sa

from openbook.records import Answer, Message
from openbook.serve import reach, review, visible
from openbook.serve.access import Caller
from openbook.serve.errors import Refused
from openbook.serve.state import Server
from openbook.serve.store import ANSWERS, CONVERSATIONS, REVIEW, new_id
from openbook.wire import answer_json

LISTED = 500
"""Conversations that are listed, the newest."""
WITHHELD = "This answer rested on documents that are no longer in the library, or not yours to see."
_TITLE = 80
_TURNS = 20
"""Earlier questions that a follow-up is read with."""


def keep(
    server: Server, who: Caller, question: str, model: str, answer: Answer, conversation: str | None
) -> tuple[str | None, str | None]:
    """Store an answer, in a new conversation when none is named; its id and the conversation's.

    Both None when serve.keep_conversations is off. `model` is the id it was asked for under. Raises Refused 404.
    """
    if not server.workspace.settings.serve.keep_conversations:
        return None, None
    if conversation is not None:
        _own(server, who, conversation)
    now, key = time.time(), new_id("answer")
    with server.store.begin() as db:
        talk = conversation
        if talk is not None:
            moved = db.execute(sa.update(CONVERSATIONS).where(CONVERSATIONS.c.id == talk).values(changed=now))
            if not moved.rowcount:  # deleted while the answer was written
                raise _absent(talk)
        else:
            talk = new_id("conv")
            db.execute(
                sa.insert(CONVERSATIONS).values(id=talk, owner=who.id, title=_title(question), created=now, changed=now)
            )
        db.execute(
            sa.insert(ANSWERS).values(
                id=key,
                conversation=talk,
                owner=who.id,
                question=question,
                arm=model,
                adapter=answer.adapter,
                answer=answer_json(answer),
                groups=list(who.groups),
                at=now,
            )
        )
        if answer.abstained:
            review.note(db, who, key, why="refusal")
    return key, talk


def turns(server: Server, who: Caller, conversation: str | None) -> tuple[Message, ...]:
    """The earlier turns of the caller's own conversation, without answers withheld from it now. Raises Refused 404."""
    if conversation is None:
        return ()
    _own(server, who, conversation)
    found: list[Message] = []
    for turn in _turns(server, who, conversation)[-_TURNS:]:
        if not turn["withheld"]:
            found += [Message("user", turn["question"]), Message("assistant", turn["answer"]["answer"])]
    return tuple(found)


def listed(server: Server, who: Caller) -> list[dict[str, Any]]:
    """The caller's own conversations, the newest first."""
    wanted = sa.select(CONVERSATIONS).where(CONVERSATIONS.c.owner == who.id)
    with server.store.connect() as db:
        rows = db.execute(wanted.order_by(CONVERSATIONS.c.changed.desc(), CONVERSATIONS.c.id).limit(LISTED)).all()
    return [_shown(row) for row in rows]


def talk(server: Server, who: Caller, conversation: str) -> dict[str, Any]:
    """A conversation with its turns, of the caller or, for an admin, of anyone. Raises Refused 404."""
    row = _row(server, conversation)
    if row is None or not (row.owner == who.id or who.may("admin")):
        raise _absent(conversation)
    return {**_shown(row), "answers": _turns(server, who, conversation)}


def forget(server: Server, who: Caller, conversation: str) -> None:
    """Delete a conversation with its answers and what of them waits for review. Raises Refused 404."""
    row = _row(server, conversation)
    if row is None or not (row.owner == who.id or who.may("admin")):
        raise _absent(conversation)
    answers = sa.select(ANSWERS.c.id).where(ANSWERS.c.conversation == conversation)
    with server.store.begin() as db:
        db.execute(sa.delete(REVIEW).where(REVIEW.c.state == "pending", REVIEW.c.answer.in_(answers)))
        db.execute(sa.delete(ANSWERS).where(ANSWERS.c.conversation == conversation))
        db.execute(sa.delete(CONVERSATIONS).where(CONVERSATIONS.c.id == conversation))


def seen(answer: dict[str, Any], names: set[str]) -> tuple[dict[str, Any], bool]:
    """A stored answer (wire.answer_json) as someone may read it who sees the documents `names`; whether it is withheld.

    >>> seen({"answer": "Yes. [1]", "citations": [], "sentences": [], "hits": [], "prompt": "", "notes": []}, set())[1]
    False
    """
    citations = [one for one in answer["citations"] if one["document"] in names]
    hits = [one for one in answer["hits"] if one["document"] in names]
    if len(citations) == len(answer["citations"]) and len(hits) == len(answer["hits"]):
        return answer, False
    cited = {one["sentence"] for one in citations}
    told = len(citations) == len(answer["citations"]) and cited >= set(range(len(answer["sentences"])))
    if told or answer["abstained"]:
        # [n] in the text counts the passages, so they are shown all or not at all.
        return {**answer, "hits": [], "prompt": "", "notes": []}, False
    return _withheld(answer), True


def _withheld(answer: dict[str, Any]) -> dict[str, Any]:
    return {**answer, "answer": WITHHELD, "citations": [], "sentences": [], "hits": [], "prompt": "", "notes": []}


def _turns(server: Server, who: Caller, conversation: str) -> list[dict[str, Any]]:
    wanted = sa.select(ANSWERS).where(ANSWERS.c.conversation == conversation).order_by(ANSWERS.c.at, ANSWERS.c.id)
    with server.store.connect() as db:
        rows = db.execute(wanted).all()
    names = {info.name for info in visible.infos(server, who)} if rows else set()
    found = []
    for row in rows:
        answer, withheld = seen(row.answer, names)
        if not reach.may_ask_ref(server, who, row.adapter or ""):
            answer, withheld = _withheld(row.answer), True
        found.append({"id": row.id, "question": row.question, "at": row.at, "answer": answer, "withheld": withheld})
    return found


def _row(server: Server, conversation: str) -> sa.Row[Any] | None:
    with server.store.connect() as db:
        return db.execute(sa.select(CONVERSATIONS).where(CONVERSATIONS.c.id == conversation)).one_or_none()


def _own(server: Server, who: Caller, conversation: str) -> None:
    row = _row(server, conversation)
    if row is None or row.owner != who.id:
        raise _absent(conversation)


def _shown(row: sa.Row[Any]) -> dict[str, Any]:
    return {"id": row.id, "title": row.title, "created": row.created, "changed": row.changed}


def _absent(conversation: str) -> Refused:
    return Refused(404, f"no conversation {conversation!r}", code="no_such_conversation", param="conversation")


def _title(question: str) -> str:
    words = " ".join(question.split())
    return words if len(words) <= _TITLE else f"{words[: _TITLE - 1].rstrip()}…"
