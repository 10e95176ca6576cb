"""A question in; streamed text and then a checked, cited Answer out. Knows seams, not how anything is stored or loaded.

The way of a question: retrieve, decline if nothing is good enough, render the prompt, generate, check every sentence,
fall back to the passages' own sentences when less than half of what the model wrote is supported.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Literal

from openbook.answer import abstain, cite, extractive
from openbook.answer.followup import names_nothing, standalone
from openbook.errors import OpenbookError, PromptTooLong, UsageError
from openbook.prompt import ABSTENTION, WITHOUT_PASSAGES, Hint, defuse, messages
from openbook.prose import sentences
from openbook.records import Answer, Arm, Chunk, Generation, Hit, Message, Sampling, Scope, Sentence, Timings
from openbook.seams import ANYONE, Generator, Searcher
from openbook.settings import AnswerSettings

FALLBACK_NOTE = "the passages did not support what the model wrote; these are their own best sentences, verbatim"
OVERRULED_NOTE = "the model declined, retrieval is sure; these are the passages' own best sentences, verbatim"
CUT_NOTE = "the answer was cut at answer.max_tokens"
EMPTY_NOTE = "the library is empty; add documents with: openbook sync FOLDER"


@dataclass(frozen=True, slots=True)
class _Found:
    hits: tuple[Hit, ...]
    version: int
    seconds: float
    asked: str | None
    """The question made to stand alone; None where it is compared with no passage."""


class AnswerStream(Iterator[str]):
    """Pieces of the answer as the model writes them; `answer` holds the checked result once they are through.

    The checked text may differ from the pieces: unverified citation marks are taken out, and an unsupported answer is
    replaced by the passages' own sentences.
    """

    def __init__(self, parts: Iterator[str | Answer], writing: _Writing | None = None) -> None:
        self._parts = parts
        self._writing = writing if writing is not None else _Writing()
        self._answer: Answer | None = None

    def __next__(self) -> str:
        for part in self._parts:
            if isinstance(part, str):
                return part
            self._answer = part
        raise StopIteration

    @property
    def answer(self) -> Answer:
        """The checked answer; reads the rest of the stream first when there is one."""
        for _ in self:
            pass
        if self._answer is None:
            raise OpenbookError("this answer was cancelled before it was finished; ask again")
        return self._answer

    def close(self) -> None:
        """Stop generating; from any thread, also while another waits for the next piece."""
        self._writing.stop()
        _close(self._parts)


class _Writing:
    """The model's stream of one answer, to be stopped from any thread."""

    def __init__(self) -> None:
        self.stopped = False
        self._stream: Iterator[str | Generation] | None = None

    def begin(self, stream: Iterator[str | Generation]) -> Iterator[str | Generation]:
        """The stream, closed already where nobody wants it any more."""
        self._stream = stream
        if self.stopped:  # after the line above: one of the two threads sees what the other has set
            _close(stream)
        return stream

    def stop(self) -> None:
        """Nobody wants the rest."""
        self.stopped = True
        if self._stream is not None:
            _close(self._stream)


def _close(stream: Iterator[object]) -> None:
    close = getattr(stream, "close", None)
    if close is not None:
        with suppress(ValueError):  # a generator that another thread is in: it ends with its next piece
            close()


class Assistant:
    """One arm of answering (see records.Arm) over what it is given."""

    def __init__(
        self,
        *,
        arm: Arm,
        settings: AnswerSettings,
        library_version: Callable[[], int],
        searcher: Searcher | None = None,
        ranker: extractive.Ranker | None = None,
        generator: Callable[[], Generator] | None = None,
        rewriter: Callable[[], Generator] | None = None,
        adapter: str | None = None,
        system: str | None = WITHOUT_PASSAGES,
        shots: Sequence[Message] = (),
        notes: Sequence[str] = (),
    ) -> None:
        """`ranker` puts the passages' sentences in order; without one there are no hints and no fallback.
        `generator` is called when first needed, so that a model loads while passages are sought.
        `rewriter` makes follow-ups stand alone where answer.rewrite is "model"; without one, rules do.
        `adapter` is named in answers that `generator` wrote.
        `system` is the system prompt of questions without passages (see openbook.prompt.messages).
        `shots` are user and assistant turns that show how to answer: they stand before the conversation and go first
        when the prompt is too long.
        `notes` stand first in every answer's notes.
        """
        self._arm = arm
        self._settings = settings
        self._version = library_version
        self._searcher = searcher
        self._ranker = ranker
        self._generator = generator
        self._rewriter = rewriter
        self._adapter = adapter
        self._system = system
        self._shots = tuple(shots)
        self._notes = tuple(notes)

    def load(self) -> None:
        """Wait until the model is here, so that no answer waits for it. Raises what the loading raised."""
        if self._generator is not None:
            self._generator()

    def ask(
        self,
        question: str,
        *,
        history: Sequence[Message] = (),
        scope: Scope = ANYONE,
        contexts: Sequence[str | Chunk] | None = None,
        task: str = "",
    ) -> Answer:
        """Answer in one piece; see stream."""
        return self.stream(question, history=history, scope=scope, contexts=contexts, task=task).answer

    def stream(
        self,
        question: str,
        *,
        history: Sequence[Message] = (),
        scope: Scope = ANYONE,
        contexts: Sequence[str | Chunk] | None = None,
        task: str = "",
        stop: Sequence[str] = (),
        json_schema: str = "",
    ) -> AnswerStream:
        """Answer piece by piece. `contexts` are passages to answer from instead of searching.

        `task` is this conversation's own system turn: it takes the place of `system` in a prompt without passages, and
        stands behind answer.instructions in one with. The model's text ends before a string of `stop`, and is JSON of
        `json_schema`, which only arms without passages can do: passages are answered in sentences that can be checked.

        Raises UsageError for a schema that cannot be followed, PromptTooLong when the question does not fit with one
        passage, EndpointError or ModelError from the generator.
        """
        if json_schema and self._arm not in ("base", "tuned"):
            raise UsageError(
                f"arm {self._arm!r} answers in checked sentences, not in JSON; ask an arm without passages for JSON"
            )
        sampling = Sampling(
            max_tokens=self._settings.max_tokens,
            temperature=self._settings.temperature,
            seed=self._settings.seed,
            stop=tuple(stop),
            json_schema=json_schema,
        )
        writing = _Writing()
        return AnswerStream(self._parts(question, history, scope, contexts, task, sampling, writing), writing)

    def _parts(
        self,
        question: str,
        history: Sequence[Message],
        scope: Scope,
        contexts: Sequence[str | Chunk] | None,
        task: str,
        sampling: Sampling,
        writing: _Writing,
    ) -> Iterator[str | Answer]:
        started = time.perf_counter()
        found = self._retrieve(question, history, scope, contexts)
        base = self._blank(found)
        if self._arm in ("base", "tuned"):
            yield from self._generated(question, history, None, base, started, task, sampling, writing)
        elif not found.hits or (found.asked is not None and not self._confident(found.asked, found.hits)):
            notes = (EMPTY_NOTE,) if not found.hits and found.version == 0 else ()
            yield ABSTENTION
            yield self._timed(_declined(replace(base, notes=notes)), started)
        elif self._arm == "extractive":
            checked = self._extract(found.asked or question, found.hits)
            yield checked.text
            yield self._timed(
                replace(base, text=checked.text, citations=checked.citations, sentences=checked.sentences), started
            )
        else:
            yield from self._generated(
                question, history, found.hits, base, started, task, sampling, writing, found.asked or question
            )

    def _generated(
        self,
        question: str,
        history: Sequence[Message],
        hits: Sequence[Hit] | None,
        base: Answer,
        started: float,
        task: str,
        sampling: Sampling,
        writing: _Writing,
        asked: str = "",
    ) -> Iterator[str | Answer]:
        if self._generator is None:
            raise OpenbookError(f"arm {self._arm!r} needs a language model; set models.generator in openbook.toml")
        model = self._generator()
        behind = defuse(task) if hits is not None else ""
        turns, shown = fit(
            question,
            hits,
            model,
            sampling,
            history=[*self._shots, *history],
            instructions="\n".join(part for part in (self._settings.instructions, behind) if part),
            system=task or self._system,
            order=self._settings.order,
            hints=self._hints(asked, hits) if hits is not None else (),
        )
        prompt = model.render(turns)
        done: Generation | None = None
        for piece in writing.begin(model.stream(turns, sampling)):
            if isinstance(piece, Generation):
                done = piece
            else:
                yield piece
        if writing.stopped:
            return
        if done is None:
            raise OpenbookError(f"the model {model.name!r} ended without finishing its answer; ask again")
        notes = [CUT_NOTE] if done.finish == "length" else []
        if hits is not None and len(shown) < len(hits):
            notes.append(f"{len(hits) - len(shown)} passages left out: the model's context is {model.context} tokens")
        answer = replace(
            base,
            hits=tuple(shown),
            prompt=prompt,
            model=model.name,
            adapter=self._adapter,
            prompt_tokens=done.prompt_tokens,
            answer_tokens=done.answer_tokens,
            seconds=replace(base.seconds, prefill=done.prefill_seconds, decode=done.decode_seconds),
            notes=tuple(notes),
            written=done.text,
        )
        yield self._timed(self._checked(answer, done.text, question, asked), started)

    def _checked(self, answer: Answer, text: str, question: str, asked: str) -> Answer:
        if self._arm in ("base", "tuned"):
            parts = tuple(Sentence(text[span.start : span.end], supported=False) for span in sentences(text))
            return replace(answer, text=text.strip(), sentences=parts, abstained=abstain.declined(text))
        if abstain.declined(text):
            return self._overruled(answer, asked) or _declined(answer)
        checked = cite.check(text, answer.hits, question=question)
        notes = answer.notes
        supported = sum(one.supported for one in checked.sentences)
        if self._settings.fallback and 2 * supported < max(1, len(checked.sentences)):
            checked = self._extract(question, answer.hits)
            notes = (*notes, FALLBACK_NOTE)
        return replace(answer, text=checked.text, sentences=checked.sentences, citations=checked.citations, notes=notes)

    def _retrieve(
        self, question: str, history: Sequence[Message], scope: Scope, contexts: Sequence[str | Chunk] | None
    ) -> _Found:
        if self._arm in ("base", "tuned"):
            return _Found((), self._version(), 0.0, asked=None)
        if contexts is not None:
            if self._ranker is None:
                return _Found(tuple(_given(contexts)), self._version(), 0.0, asked=None)
            asked = standalone(question, history)
            return _Found(self._ranker.measured(asked, list(_given(contexts))), self._version(), 0.0, asked)
        if self._searcher is None:
            raise OpenbookError(f"arm {self._arm!r} needs a library to search")
        started = time.perf_counter()
        rewriter = self._rewriter() if self._settings.rewrite == "model" and self._rewriter and history else None
        asked = standalone(question, history, model=rewriter)
        result = self._searcher.search(asked, k=self._settings.passages, scope=scope)
        if rewriter is None and asked != question and not names_nothing(question):
            # Short, it may lean on the last question or begin anew: the library knows better than its length does.
            alone = self._searcher.search(question, k=self._settings.passages, scope=scope)
            if abstain.confidence(question, alone.hits) > abstain.confidence(asked, result.hits):
                asked, result = question, alone
        return _Found(result.hits, result.version, time.perf_counter() - started, asked)

    def _confident(self, question: str, hits: Sequence[Hit]) -> bool:
        return abstain.confidence(question, hits) >= self._settings.abstain_below

    def _extract(self, question: str, hits: Sequence[Hit]) -> cite.Checked:
        if self._ranker is None:
            return cite.Checked(ABSTENTION, (), ())
        return extractive.extract(question, hits, self._ranker)

    def _hints(self, question: str, hits: Sequence[Hit]) -> Sequence[Hint]:
        if self._ranker is None:
            return ()
        return extractive.hints(question, hits, self._ranker, most=self._settings.hints)

    def _overruled(self, answer: Answer, asked: str) -> Answer | None:
        """The passages' own sentences where retrieval is too sure for a refusal; else None."""
        bar = self._settings.overrule
        if bar >= 1 or not self._settings.fallback or abstain.confidence(asked, answer.hits) < bar:
            return None
        checked = self._extract(asked, answer.hits)
        if not checked.sentences:
            return None
        notes = (*answer.notes, OVERRULED_NOTE)
        return replace(answer, text=checked.text, sentences=checked.sentences, citations=checked.citations, notes=notes)

    def _timed(self, answer: Answer, started: float) -> Answer:
        seconds = replace(answer.seconds, total=time.perf_counter() - started)
        return replace(answer, seconds=seconds, notes=(*self._notes, *answer.notes))

    def _blank(self, found: _Found) -> Answer:
        return Answer(
            text="",
            abstained=False,
            citations=(),
            sentences=(),
            hits=found.hits,
            prompt="",
            model=extractive.NAME if self._arm == "extractive" else "",
            adapter=None,
            arm=self._arm,
            prompt_tokens=0,
            answer_tokens=0,
            seconds=Timings(found.seconds, 0.0, 0.0, 0.0),
            library_version=found.version,
        )


def fit(
    question: str,
    hits: Sequence[Hit] | None,
    model: Generator,
    sampling: Sampling,
    *,
    history: Sequence[Message] = (),
    instructions: str = "",
    system: str | None = WITHOUT_PASSAGES,
    order: Literal["best_last", "best_first"] = "best_last",
    hints: Sequence[Hint] = (),
) -> tuple[list[Message], list[Hit]]:
    """The messages that fit the model's context, and the passages in them.

    The oldest turns of the conversation go first, then the lowest-ranked passages, never the question.
    Raises PromptTooLong, naming the longest part, when the question and the best passage alone are too long.
    """
    shown = None if hits is None else list(hits)
    turns = list(history)
    room = model.context - sampling.max_tokens
    while True:
        rendered = messages(
            question,
            shown,
            history=turns,
            instructions=instructions,
            system=system,
            order=order,
            hints=[hint for hint in hints if shown is not None and hint.number <= len(shown)],
        )
        if model.count(model.render(rendered)) <= room:
            return rendered, shown or []
        if turns:
            turns = turns[2:]
        elif shown and len(shown) > 1:
            shown.pop()
        else:
            parts = {
                "the question": (question, "shorten it"),
                "the best passage": (shown[0].chunk.text if shown else "", "sync with a smaller ingest.chunk_tokens"),
                "the hints": (" ".join(hint.text for hint in hints if hint.number == 1), "set a smaller answer.hints"),
                "answer.instructions": (instructions, "shorten it"),
                "the system prompt": ((system or "") if shown is None else "", "train with a shorter one"),
            }
            name, (text, mend) = max(parts.items(), key=lambda part: len(part[1][0]))
            raise PromptTooLong(
                f"the prompt does not fit the model's context of {model.context} tokens beside {sampling.max_tokens} "
                f"tokens for the answer, and the longest part of it is {name} of {len(text)} characters; {mend}, or "
                "set a smaller answer.max_tokens"
            )


def _given(contexts: Sequence[str | Chunk]) -> Iterator[Hit]:
    for number, one in enumerate(contexts, start=1):
        chunk = one if isinstance(one, Chunk) else Chunk(f"contexts/{number}", start=0, end=len(one), text=one)
        yield Hit(chunk, score=0.0)


def _declined(answer: Answer) -> Answer:
    return replace(answer, text=ABSTENTION, abstained=True, sentences=(), citations=())
