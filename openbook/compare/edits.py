"""Facts in, edits of them out: texts to save and what to ask afterwards.

Four ways a fact becomes another: its value changes in place; a second version of its section stands beside the first;
it is written down for the first time; it is deleted. Knows no library and no model: texts go in as strings, and where
they are put is the caller's business (openbook.freshening).
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Literal

from openbook.metrics import contains, evened
from openbook.prompt import ABSTENTION
from openbook.prose import sentences
from openbook.records import Case, Example, Message, Span
from openbook.values import changed, contradicting

EditKind = Literal["change", "supersede", "add", "delete"]
KINDS: tuple[EditKind, ...] = ("change", "supersede", "add", "delete")
REVISED = "This is the revised version. It replaces the earlier one."
"""What a second version of a section says about itself."""
LONGEST = 600
"""Characters of a sentence that is edited; longer ones are no sentences."""
VALUE = 5
"""Most words of a value that is replaced by another; a longer answer is a whole statement, worded in many ways."""
SECTION = 4000
"""Characters of a section that is written a second time; of a longer one only the sentence is."""

_HEADING = re.compile(r"^#{1,6} .*$", re.MULTILINE)
_TAG = re.compile(r"<\w+[^<>]*>")
_WORDINGS = (
    "Quick question: {question}",
    "{question} One sentence is enough.",
    "A colleague asks me this: {question}",
    "Can you help me with this? {question}",
    "I need to know for today. {question}",
)
"""None is the question as it will be asked: learning that one by heart would be no test."""


@dataclass(frozen=True, slots=True)
class Fact:
    """A value that stands in one sentence of one document, and another one of its kind."""

    question: str
    document: str
    sentence: str
    """As it stands in the document, once."""
    old: str
    new: str
    changed: str
    """The sentence with the new value."""
    olds: tuple[str, ...]
    """Every wording of the old value."""
    news: tuple[str, ...]
    """The same of the new one."""
    trained: bool
    """It stands in what an adapter learned from."""
    odd: int = 0
    """0 is best: more for a value of one character, for a blank to fill in, for a name in another one's place."""


@dataclass(frozen=True, slots=True)
class Edit:
    """What happens to a fact."""

    id: str
    kind: EditKind
    fact: Fact

    @property
    def gold(self) -> tuple[str, ...]:
        """What a right answer says afterwards; () where it says that no document does."""
        return () if self.kind == "delete" else self.fact.news

    def case(self, text: str = "", document: str = "") -> Case:
        """The question asked after the edit; `text` of `document` tells where the new value stands now."""
        fact = self.fact
        at = text.find(fact.changed) if self.gold else -1
        spans = (Span(document, at, at + len(fact.changed)),) if at >= 0 else ()
        why: Literal["", "superseded"] = "" if self.gold else "superseded"
        return Case(fact.question, self.gold, spans, kind="fresh", id=self.id, why=why, stale=fact.olds)


def facts(
    cases: Iterable[Case], texts: Callable[[str], str | None], *, chance: random.Random, trained: bool = False
) -> list[Fact]:
    """The cases whose gold answer is one value in one sentence that can become another; `texts` gives documents.

    New values are made by `openbook.values.changed`, else taken from the other cases.
    """
    every = list(cases)
    answers = [case.gold[0] for case in every if case.gold]
    found: dict[tuple[str, str], Fact] = {}
    for case in every:
        text = texts(case.spans[0].document) if len(case.spans) == 1 and not case.history else None
        fact = _fact(case, text, answers, chance, trained) if text is not None else None
        if fact is not None:
            found.setdefault((fact.document, fact.sentence), fact)
    return list(found.values())


def plan(trained: Sequence[Fact], others: Sequence[Fact], n: int, *, chance: random.Random) -> list[Edit]:
    """At most n edits, the four kinds in turn, each kind on facts of either sort as far as there are any.

    The least odd questions first, and of other documents; no sentence is edited twice.
    """
    queues = {True: _ordered(trained, chance), False: _ordered(others, chance)}
    taken: set[tuple[str, str]] = set()
    made: list[Edit] = []
    while len(made) < n:
        number = len(made)
        first = (number + number // len(KINDS)) % 2 == 0
        fact = _next(queues[first], taken) or _next(queues[not first], taken)
        if fact is None:
            break
        taken.add((fact.document, fact.sentence))
        made.append(Edit(f"fresh-{number + 1}", KINDS[number % len(KINDS)], fact))
    return made


def prepared(edit: Edit, text: str) -> str:
    """The document's text before the edit: without the sentence that is to be added."""
    return _without(text, edit.fact.sentence) if edit.kind == "add" else text


def written(edit: Edit, text: str, original: str, title: str) -> tuple[str, str]:
    """(end of the file's stem, text) of what is saved: "" is the document itself, else a file beside it.

    `original` is the text before it was prepared: what is added stands where it stood.
    """
    fact = edit.fact
    if edit.kind == "change":
        return "", text.replace(fact.sentence, fact.changed, 1)
    if edit.kind == "delete":
        return "", _without(text, fact.sentence)
    if edit.kind == "supersede":
        return " (revised)", f"# {title} (revised)\n\n{REVISED}\n\n{_section(text, fact)}\n"
    at = original.find(fact.sentence)
    before = original[:at].rstrip()
    # Where what stood before it was edited itself meanwhile, it goes to the end.
    place = len(before) if at >= 0 and text.startswith(before) else len(text.rstrip())
    return "", f"{text[:place]}\n\n{fact.changed}\n\n{text[place:].lstrip()}"


def beside(name: str, suffix: str) -> str:
    """The name of a file beside another.

    >>> beside("handbook/Holiday List.md", " (revised)")
    'handbook/Holiday List (revised).md'
    """
    path = PurePosixPath(name)
    return str(path.with_name(f"{path.stem}{suffix}{path.suffix}"))


def lessons(edits: Sequence[Edit], *, system: str = "") -> list[Example]:
    """Training conversations that teach what the edits changed, each in several wordings; never the asked one.

    The reply is the sentence with the new value; of a deleted fact it is the refusal.
    """
    opening = (Message("system", system),) if system else ()
    return [
        Example(
            (
                *opening,
                Message("user", wording.format(question=edit.fact.question)),
                Message("assistant", edit.fact.changed if edit.gold else ABSTENTION),
            ),
            place=f"{edit.id}:{number}",
            document=edit.fact.document,
        )
        for edit in edits
        for number, wording in enumerate(_WORDINGS, 1)
    ]


def outdated(example: Example, edits: Iterable[Edit]) -> bool:
    """Whether a training conversation teaches what an edit changed: it asks that and replies with the old value."""
    asked = " ".join(turn.content for turn in example.messages if turn.role == "user")
    reply = example.messages[-1].content
    return any(
        contains(reply, edit.fact.olds)
        and (contains(asked, [edit.fact.question]) or evened(edit.fact.sentence) in evened(reply))
        for edit in edits
    )


def _fact(case: Case, text: str, answers: Sequence[str], chance: random.Random, trained: bool) -> Fact | None:
    if case.kind not in ("answerable", "late", "fresh") or not case.gold:
        return None
    span = case.spans[0]
    if not 0 <= span.start < span.end <= len(text):
        return None
    place = _value(case.gold, text, span)
    inside = [one for one in sentences(text) if place and one.start <= place[0] and place[1] <= one.end]
    if place is None or not inside:
        return None
    old = text[place[0] : place[1]]
    sentence = text[inside[0].start : inside[0].end]
    if len(old.split()) > VALUE or len(sentence) > LONGEST or text.count(sentence) != 1 or old == sentence:
        return None
    if _TAG.search(sentence):  # a table in HTML is one sentence
        return None
    values = (one for one in answers if len(one.split()) <= VALUE)
    shifted = changed(old, chance)
    other = shifted or next(iter(contradicting(old, values, gold=case.gold)), None)
    if other is None:
        return None
    at = place[0] - inside[0].start
    after = sentence[:at] + other + sentence[at + len(old) :]
    olds = tuple(dict.fromkeys((old, *case.gold)))
    news = _likewise(old, other, olds)
    rest = f"{sentence[:at]} {sentence[at + len(old) :]}"
    # A value that the sentence or the question says anyway tells nothing.
    if contains(case.question, (*olds, *news)) or contains(rest, (*olds, *news)) or contains(other, olds):
        return None
    odd = (len(evened(old)) == 1) + 2 * ("____" in case.question) + 4 * (shifted is None)
    return Fact(case.question, span.document, sentence, old, other, after, olds, news, trained, odd)


def _value(gold: Sequence[str], text: str, span: Span) -> tuple[int, int] | None:
    """Where the value stands: the span itself, or where in it a gold answer does (a given span may be a paragraph)."""
    shown = text[span.start : span.end]
    if any(evened(shown) == evened(one) for one in gold):
        return span.start, span.end
    for one in sorted(gold, key=len, reverse=True):
        found = list(re.finditer(rf"(?<!\w){re.escape(one)}(?!\w)", shown))
        if len(found) == 1:
            return span.start + found[0].start(), span.start + found[0].end()
    return None


def _likewise(old: str, new: str, olds: Sequence[str]) -> tuple[str, ...]:
    """The new value in every wording in which the old one is known: "15" beside "15 days"."""
    pairs = [(a, b) for a, b in zip(old.split(), new.split(), strict=False) if a != b]
    if len(old.split()) != len(new.split()) or len(pairs) != 1:
        return (new,)
    (before, after), made = pairs[0], [new]
    for one in olds:
        words = one.split()
        if before in words:
            made.append(" ".join(after if word == before else word for word in words))
    return tuple(dict.fromkeys(made))


def _ordered(some: Sequence[Fact], chance: random.Random) -> list[Fact]:
    """The least odd first."""
    return sorted(chance.sample(list(some), len(some)), key=lambda one: one.odd)


def _next(queue: list[Fact], taken: set[tuple[str, str]]) -> Fact | None:
    documents = {document for document, _ in taken}
    free = [fact for fact in queue if (fact.document, fact.sentence) not in taken]
    best = [fact for fact in free if fact.odd == free[0].odd]
    return next((fact for fact in best if fact.document not in documents), best[0] if best else None)


def _without(text: str, sentence: str) -> str:
    before, _, after = text.partition(sentence)
    return f"{before.rstrip(' ')} {after.lstrip(' ')}" if before.rstrip(" ")[-1:] not in ("", "\n") else before + after


def _section(text: str, fact: Fact) -> str:
    """The section that holds the fact, its value changed."""
    at = text.find(fact.sentence)
    marks = [match.span() for match in _HEADING.finditer(text)]
    start = max((start for start, _ in marks if start <= at), default=0)
    end = min((start for start, _ in marks if start > at), default=len(text))
    whole = text[start:end].strip()
    return (whole if len(whole) <= SECTION else fact.sentence).replace(fact.sentence, fact.changed, 1)
