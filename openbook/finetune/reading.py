"""Questions with their answers in, lessons in reading retrieved passages out: the prompts that answering will render.

A lesson shows passages from the retriever that will serve and asks for a verbatim quote with its `[n]`, or for the
fixed refusal where no passage holds the answer (Zhang et al. 2024, arXiv 2403.10131, without its chain of thought, and
with refusals in place of quoting what is not shown). Several questions are asked over the same passages, so that
training reads those once. Knows no library and no model.
"""

from __future__ import annotations

import json
import random
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Literal

from openbook.errors import TrainingError
from openbook.files import write_atomic
from openbook.metrics import contains
from openbook.prompt import ABSTENTION, Hint, defuse, messages
from openbook.prose import sentences
from openbook.records import Case, Example, Hit, Message
from openbook.seams import Progress
from openbook.settings import Reading
from openbook.values import contradicting, swapped

AT_ONCE = 8
"""Most questions over the same passages: more would make one optimizer step of one text."""
_FEWER = 0.2
"""Share of the passage sets that show fewer passages than serving does, down to one."""
_PLAIN = 0.3
"""Share of the lessons without hints: else a prompt without them would always be refused."""
_EMPTY = 0.05
"""Share of the refusals before which nothing is shown."""
_LONGEST = 500
"""Characters of a quote; of a longer sentence only the answer is learned."""

Place = tuple[str, int, int]
Hints = Callable[[Case, Sequence[Hit]], Sequence[Hint]]
"""The sentences of these passages that serving would repeat before the question."""
Render = Callable[[Case, Sequence[Hit]], Sequence[Message]]


@dataclass(frozen=True, slots=True)
class Source:
    """A question with the passage that holds its answer and what the serving retriever finds for it."""

    case: Case
    gold: Hit
    answer: str
    """As it stands in the passage."""
    start: int
    """Of the answer in the passage's text."""
    found: tuple[Hit, ...]
    """Best first; the passage that holds the answer may be among them."""


@dataclass(frozen=True, slots=True)
class Unanswerable:
    """A question of the user's that no document answers, with what the serving retriever finds for it."""

    case: Case
    found: tuple[Hit, ...]
    """Best first."""


@dataclass(frozen=True, slots=True)
class Lessons:
    """What a model learns to read from."""

    examples: tuple[Example, ...]
    counts: Mapping[str, int]
    """Lessons by kind: "answer", "refusal", "conflict"."""


def build(
    sources: Sequence[Source],
    *,
    unanswerable: Sequence[Unanswerable] = (),
    settings: Reading,
    shown: int,
    hints: Hints = lambda _, __: (),
    instructions: str = "",
    order: Literal["best_last", "best_first"] = "best_last",
    seed: int = 0,
    progress: Progress | None = None,
) -> Lessons:
    """Lessons from questions: each is answered `settings.variants` times, over other passages each time.

    `unanswerable` come first among the refusals, whose share stays as set: in turn when they are more than that.
    `shown`, `hints`, `instructions` and `order` are what serving does. The same lessons for the same seed.
    """

    chance = random.Random(seed)

    def asked(case: Case, passages: Sequence[Hit]) -> list[Message]:
        helped = hints(case, passages) if passages and chance.random() >= _PLAIN else ()
        return messages(
            case.question, passages, history=case.history, instructions=instructions, order=order, hints=helped
        )

    maker = _Maker(sources, unanswerable, settings, shown, asked, random.Random(seed))
    made: list[Example] = []
    for number in range(settings.variants):
        made += maker.variant()
        if progress:
            progress("lessons", number + 1, settings.variants)
    made += maker.conflicts(len(made))
    return Lessons(tuple(made), maker.counts)


class _Maker:
    def __init__(
        self,
        sources: Sequence[Source],
        unanswerable: Sequence[Unanswerable],
        settings: Reading,
        shown: int,
        asked: Render,
        chance: random.Random,
    ) -> None:
        self._sources = list(sources)
        self._unanswerable = deque(unanswerable)
        self._settings = settings
        self._shown = shown
        self._asked = asked
        self._chance = chance
        self.counts: Counter[str] = Counter()
        self._near: dict[Place, list[tuple[int, int]]] = {}
        """By passage: the questions the retriever finds it for, and its rank there."""
        self._hits: dict[Place, Hit] = {}
        for number, source in enumerate(self._sources):
            for hit in (source.gold, *source.found):
                self._hits.setdefault(_place(hit), hit)
            for rank, hit in enumerate(source.found, start=1):
                self._near.setdefault(_place(hit), []).append((number, rank))

    def variant(self) -> Iterator[Example]:
        """Every question answered once, and the share of refusals."""
        yield from self._declined()
        waiting: dict[Place, list[int]] = {}
        for number, source in enumerate(self._sources):
            waiting.setdefault(_place(source.gold), []).append(number)
        for numbers in waiting.values():
            self._chance.shuffle(numbers)
        order = list(waiting)
        self._chance.shuffle(order)
        for place in order:
            while waiting[place]:
                shown = self._passages(self._sources[waiting[place][0]])
                asked = self._waiting_for(shown, waiting)
                yield from (self._answered(self._sources[number], shown) for number in asked)
                yield from self._refused(shown, len(asked), asked)

    def _waiting_for(self, shown: Sequence[Hit], waiting: dict[Place, list[int]]) -> list[int]:
        asked: list[int] = []
        for place in map(_place, shown):
            some = waiting.get(place, [])
            while some and len(asked) < AT_ONCE:
                asked.append(some.pop(0))
        return asked

    def _passages(self, source: Source) -> list[Hit]:
        """The passage that holds the answer among distractors, in any order."""
        few = self._chance.random() < _FEWER
        beside = self._chance.randint(0, self._shown - 1) if few else self._shown - 1
        shown = [source.gold, *self._distractors(source, beside)]
        self._chance.shuffle(shown)
        return shown

    def _distractors(self, source: Source, count: int) -> list[Hit]:
        gold = _place(source.gold)
        if self._settings.distractors == "random":
            pool = list(self._hits.values())
            self._chance.shuffle(pool)
        else:
            pool = self._drawn(source.found)
        chosen: list[Hit] = []
        for hit in pool:
            if len(chosen) == count:
                break
            if _place(hit) != gold and not contains(hit.chunk.text, source.case.gold) and hit not in chosen:
                chosen.append(hit)
        return chosen

    def _declined(self) -> Iterator[Example]:
        """Refusals of unanswerable questions, each at most once a variant, over the passages found for it."""
        share = self._settings.refusal
        due = round((self.counts["answer"] + len(self._sources)) * share / (1 - share)) - self.counts["refusal"]
        for _ in range(min(due, len(self._unanswerable))):
            one = self._unanswerable[0]
            self._unanswerable.rotate(-1)
            shown = self._drawn(one.found)[: self._shown]
            self._chance.shuffle(shown)
            yield self._lesson(one.case, shown, ABSTENTION, "refusal", "")

    def _drawn(self, found: Sequence[Hit]) -> list[Hit]:
        """Mostly the best found first, as serving shows them, now and then one further down."""
        keys = {id(hit): rank * self._chance.random() for rank, hit in enumerate(found, start=1)}
        return sorted(found, key=lambda hit: keys[id(hit)])

    def _refused(self, shown: Sequence[Hit], answered: int, asked: Sequence[int]) -> Iterator[Example]:
        """Refusals over the same passages, of questions these nearly answer, so that their share stays as set."""
        share = self._settings.refusal
        due = round((self.counts["answer"]) * share / (1 - share)) - self.counts["refusal"]
        if due <= 0:
            return
        near: dict[int, int] = {}
        for hit in shown:
            for number, rank in self._near.get(_place(hit), ()):
                near[number] = min(rank, near.get(number, rank))
        # Mostly questions for which serving would show these very passages.
        keys = {number: rank * self._chance.random() for number, rank in near.items() if number not in asked}
        pool = sorted(keys, key=lambda number: keys[number])
        places = {_place(hit) for hit in shown}
        most = max(2, answered)
        for number in pool:
            if due <= 0 or most <= 0:
                break
            source = self._sources[number]
            if _place(source.gold) in places or any(contains(hit.chunk.text, source.case.gold) for hit in shown):
                continue
            nothing = self._chance.random() < _EMPTY
            yield self._lesson(source.case, () if nothing else shown, ABSTENTION, "refusal", source.gold.chunk.document)
            due, most = due - 1, most - 1

    def _answered(self, source: Source, shown: Sequence[Hit]) -> Example:
        number = 1 + [_place(hit) for hit in shown].index(_place(source.gold))
        return self._lesson(source.case, shown, self.target(source, number), "answer", source.gold.chunk.document)

    def target(self, source: Source, number: int) -> str:
        """The reply to learn; its quote stands word by word in the passage."""
        text, answer = source.gold.chunk.text, " ".join(source.answer.split())
        quote = quoted(text, source.start, source.start + len(source.answer))
        if self._settings.target == "answer" or len(quote) > _LONGEST:
            return _cited(answer, number)
        assert " ".join(quote.split()) in " ".join(text.split())
        if self._settings.target == "quote":
            return _cited(quote, number)
        return f"{_cited(quote, number)} {_cited(f'Answer: {answer}', number)}"

    def conflicts(self, lessons: int) -> Iterator[Example]:
        """Passages that say otherwise than the documents: the reply follows the passage shown."""
        share = self._settings.conflict
        wanted = round(lessons * share / (1 - share))
        order = list(self._sources)
        self._chance.shuffle(order)
        for source in order:
            if self.counts["conflict"] >= wanted:
                return
            changed = self._changed(source)
            if changed is not None:
                shown = [hit for hit in self._passages(changed) if not contains(hit.chunk.text, source.case.gold)]
                number = 1 + shown.index(changed.gold) if changed.gold in shown else 0
                if number:
                    reply, document = self.target(changed, number), source.gold.chunk.document
                    yield self._lesson(source.case, shown, reply, "conflict", document)

    def _changed(self, source: Source) -> Source | None:
        """The source with another answer of the same kind in its passage."""
        some = self._chance.sample(self._sources, min(40, len(self._sources)))
        others = contradicting(source.answer, (other.answer for other in some), gold=source.case.gold)
        chunk = source.gold.chunk
        text = swapped(chunk.text, source.answer, others[0]) if others else None
        if text is None:
            return None
        return replace(source, gold=replace(source.gold, chunk=replace(chunk, text=text)), answer=others[0])

    def _lesson(self, case: Case, shown: Sequence[Hit], reply: str, kind: str, document: str) -> Example:
        self.counts[kind] += 1
        # As the passage is shown: a control token in a quote would end the reply there.
        return Example(
            (*self._asked(case, shown), Message("assistant", defuse(reply))),
            place=f"{kind}:{case.id or case.question[:60]}",
            document=document,
            last_only=True,
        )


def quoted(text: str, start: int, end: int) -> str:
    """The sentence or sentences of a text around a span, white space evened.

    >>> quoted("He left. She paid 5 dollars. It rained.", 18, 19)
    'She paid 5 dollars.'
    """
    inside = [span for span in sentences(text) if span.start < end and start < span.end]
    if not inside:
        return " ".join(text[start:end].split())
    return " ".join(text[min(start, inside[0].start) : max(end, inside[-1].end)].split())


def style(examples: Sequence[Example], lessons: int, share: float, *, seed: int = 0) -> list[Example]:
    """Conversations that make up `share` of a training beside so many lessons, each at least once."""
    wanted = max(len(examples), round(lessons * share / (1 - share))) if examples else 0
    order = list(examples)
    random.Random(seed).shuffle(order)
    return [order[number % len(order)] for number in range(wanted)]


def write(path: Path, lessons: Sequence[Example]) -> None:
    """Lessons as JSON lines, to be read back by `read`."""
    lines = (json.dumps(_plain(one), ensure_ascii=False) for one in lessons)
    write_atomic(path, "".join(f"{line}\n" for line in lines))


def read(path: Path) -> tuple[Example, ...]:
    """Lessons as `write` wrote them. Raises TrainingError for anything else."""
    try:
        # Not splitlines(): a text may hold U+2028 and the like.
        raw = [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n") if line]
        return tuple(
            Example(
                tuple(Message(**turn) for turn in one["messages"]),
                place=one["place"],
                document=one["document"],
                last_only=True,
            )
            for one in raw
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise TrainingError(f"the lessons in {str(path)!r} cannot be read ({error}); make them anew") from None


def _plain(lesson: Example) -> dict[str, object]:
    return {
        "messages": [asdict(turn) for turn in lesson.messages],
        "place": lesson.place,
        "document": lesson.document,
    }


def _cited(text: str, number: int) -> str:
    """The text with its marker before the closing punctuation, as openbook.answer.cite writes it."""
    body = text.rstrip(".!?")
    return f"{body} [{number}]{text[len(body) :] or '.'}"


def _place(hit: Hit) -> Place:
    return hit.chunk.document, hit.chunk.start, hit.chunk.end
