"""The Ask page: a question and its cited answer, and the first run for someone who has no documents here yet.

The page's scripts speak to /api; what is rendered here is the frame, and a whole answer for browsers without scripts.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Annotated, Any

import anyio
from fastapi import APIRouter, Depends, Form, Request
from fastapi.responses import HTMLResponse

from openbook.errors import OpenbookError
from openbook.records import Answer, Case, Citation
from openbook.serve import arms, asking, errors, history, openai_models, pages, suggesting, visible, work
from openbook.serve.access import Caller, needs
from openbook.serve.errors import Refused
from openbook.serve.state import Server, server_of

_LINK = re.compile(r"\[([^\][]+)\]\(\S+?\)")
router = APIRouter(include_in_schema=False)
router.include_router(pages.router)
Here = Annotated[Server, Depends(server_of)]

_AROUND = 20_000
"""Characters shown before and after a cited span."""


@dataclass(frozen=True, slots=True)
class Part:
    """A stretch of an answer: a sentence, or what lies between two."""

    text: str
    supported: bool | None = None
    """None: no sentence."""
    citation: Citation | None = None
    number: int = 0
    """Of the passage, as `[n]` in the answer."""
    tail: str = ""
    """The sentence's closing punctuation."""


@router.get("/")
def ask_page(request: Request, server: Here, model: str = "rag", who: Caller = needs("ask")) -> HTMLResponse:
    """The page, empty of answers; `model` is who will answer, as in the link from a finished training."""
    return _page(request, server, who, model=model)


@router.post("/")
async def asked(
    request: Request,
    server: Here,
    question: Annotated[str, Form(max_length=8000)],
    model: Annotated[str, Form(max_length=300)] = "rag",
    conversation: Annotated[str, Form(max_length=200)] = "",
    who: Caller = needs("ask"),
) -> HTMLResponse:
    """The page with an answer in it, for browsers that run no script."""
    turn: dict[str, Any] = {"question": question.strip(), "wrong": "", "answer": None, "parts": (), "conversation": ""}
    status = 200
    try:
        if not turn["question"]:
            raise Refused(400, "write a question first")
        arm, adapter = await anyio.to_thread.run_sync(openai_models.arm_of, server, who, model)
        told = await anyio.to_thread.run_sync(history.turns, server, who, conversation or None)
        answer = await asking.whole(server, who, asking.Question(turn["question"], arm, adapter, told))
        kept = await anyio.to_thread.run_sync(
            history.keep, server, who, turn["question"], model, answer, conversation or None
        )
        turn |= {"answer": answer, "parts": parts(answer), "conversation": kept[1] or ""}
    except (Refused, OpenbookError) as error:
        refused = error if isinstance(error, Refused) else errors.of(error)
        turn["wrong"], status = refused.message, refused.status
    return await anyio.to_thread.run_sync(lambda: _page(request, server, who, turn=turn, model=model, status=status))


@router.get("/source")
def source(
    request: Request, server: Here, name: str, start: int = 0, end: int = 0, who: Caller = needs("search")
) -> HTMLResponse:
    """A document's text with a span marked, for browsers that run no script."""
    info = visible.find(server, who, name)
    document = server.house.library.document(name)
    if document is None:
        raise visible.absent(name)
    start = min(max(0, start), len(document.text))
    end = min(max(start, end), len(document.text))
    return pages.render(
        request,
        "source",
        name=name,
        title=info.title or name.rpartition("/")[2],
        before=document.text[max(0, start - _AROUND) : start],
        quote=document.text[start:end],
        after=document.text[end : end + _AROUND],
    )


@router.post("/api/sample", status_code=202)
def take_sample(server: Here, who: Caller = needs("write")) -> dict[str, Any]:
    """Bring the sample handbook into the library: a job."""
    from openbook import sample

    folder = server.workspace.state / "sample" / "handbook"
    if not folder.exists():
        folder.parent.mkdir(parents=True, exist_ok=True)
        sample.copy_handbook(folder)
    args = {"targets": [str(folder)], "labels": [], "allow_mass_delete": False, "dry_run": False}
    return {"job": work.shown(server.jobs.submit("sync", args, who), who)}


@router.get("/api/suggestions")
def suggestions(server: Here, who: Caller = needs("ask")) -> dict[str, list[str]]:
    """A few questions that the caller's documents answer."""
    return {"questions": _suggested(server, who)}


def parts(answer: Answer) -> list[Part]:
    """The text cut at its sentences, each with its citation; what static/answer.js does with JSON."""
    found, at = [], 0
    cited = {one.sentence: one for one in answer.citations}
    for index, sentence in enumerate(answer.sentences):
        body = sentence.text.rstrip(".!?")
        place = answer.text.find(body, at) if body else -1
        if place < 0:
            continue
        if place > at:
            found.append(Part(_plain(answer.text[at:place])))
        match = re.compile(r"(?:\s*\[(\d+)\])?([.!?]*)(?:\s*\[(\d+)\])?").match(answer.text, place + len(body))
        assert match is not None, "it matches nothing, too"
        at = match.end()
        citation = cited.get(index)
        number = int(match.group(1) or match.group(3) or 0) or _number(answer, citation)
        found.append(Part(_plain(body), sentence.supported, citation, number, match.group(2)))
    if at < len(answer.text):
        found.append(Part(_plain(answer.text[at:])))
    return found


def _plain(text: str) -> str:
    """Markdown links by their words: the address is in the source.

    >>> _plain("see the [Holiday List](https://a.example/x%20y.md) [1]")
    'see the Holiday List [1]'
    """
    return _LINK.sub(r"\1", text)


def _number(answer: Answer, citation: Citation | None) -> int:
    for number, hit in enumerate(answer.hits, start=1):
        chunk = hit.chunk
        if citation and chunk.document == citation.document and chunk.start <= citation.start <= chunk.end:
            return number
    return 0


def _page(
    request: Request,
    server: Server,
    who: Caller,
    *,
    turn: dict[str, Any] | None = None,
    model: str = "rag",
    status: int = 200,
) -> HTMLResponse:
    return pages.render(
        request,
        "ask",
        status=status,
        empty=not visible.infos(server, who),
        most=int(server.workspace.settings.serve.max_upload_mb * 1e6),
        local=server.workspace.settings.models.generator != "endpoint",
        arms=arms.listed(server, who),
        model=model,
        turn=turn,
    )


def _suggested(server: Server, who: Caller) -> list[str]:
    quotes = server.house.assistant("extractive")
    scope = who.scope(server.labels)

    def answered(case: Case) -> bool:
        found = quotes.ask(case.question, scope=scope)
        return any(
            one.document == span.document and one.start < span.end and span.start < one.end
            for one in found.citations
            for span in case.spans
        )

    return suggesting.suggest(server.house.library, visible.infos(server, who), answered)
