"""Held-out XQuAD questions in, the same with the passages a model is shown out. Knows the retriever, no language model.

The passages are what the workspace's own search finds over all 24 articles: the chunk that holds the answer at its own
rank among the best others, or in its variants:

answerable   the answer's chunk and the 2 best others, as ranked; a chunk that was not found comes last
shuffled     the same in a seeded random order
oracle       the answer's chunk alone
taken        the answer's chunk taken away: the 3 best others
near         the best other alone
far          3 random chunks of other articles, the same for all questions about one paragraph
conflict     as answerable, the answer in its chunk replaced by the answer of another question, of the same kind
"""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, get_args

from bench import xquad
from openbook import Workspace
from openbook.metrics import contains
from openbook.prose import sentences
from openbook.records import Condition, Hit, Scope

Kind = Literal["answerable", "shuffled", "oracle", "taken", "near", "far", "conflict"]
KINDS: tuple[Kind, ...] = get_args(Kind)
ANSWERED: tuple[Kind, ...] = ("answerable", "shuffled", "oracle")
"""Kinds whose passages hold the answer."""
REFUSED: tuple[Kind, ...] = ("taken", "near", "far")
"""Kinds whose passages do not."""
SHOWN = 3
_DEPTH = 20
_DIGIT = re.compile(r"\d")


@dataclass(frozen=True, slots=True)
class Item:
    """A question with what is shown for it."""

    id: str
    kind: Kind
    question: str
    hits: tuple[Hit, ...]
    """Best first."""
    gold: tuple[str, ...]
    """Of a conflict: what the changed passage says; of an unanswerable question: what none of the passages holds."""
    right: tuple[int, ...]
    """1-based numbers of the passages that hold the answer."""
    cluster: str
    """The paragraph: its questions belong together."""
    true: tuple[str, ...] = ()
    """Conflict only: the answer that was replaced."""


@dataclass(frozen=True, slots=True)
class Cases:
    """Items by kind, and what was left out or is odd about them."""

    items: tuple[Item, ...]
    facts: dict[str, int]

    def of(self, kind: Kind, limit: int | None = None, *, seed: int = 0) -> list[Item]:
        """The items of a kind in their order, at most `limit` of them: more with the same seed include the fewer."""
        found = [item for item in self.items if item.kind == kind]
        chosen = set(random.Random(seed).sample(range(len(found)), len(found))[:limit])
        return [item for place, item in enumerate(found) if place in chosen]


@dataclass(frozen=True, slots=True)
class Found:
    """A question, its answer's chunk, and what the retriever finds besides."""

    question: xquad.Question
    gold: Hit
    rank: int
    """0-based among the hits; _DEPTH when it was not found."""
    others: tuple[Hit, ...]
    """Best first, none of them shares a character with the answer."""


def search(workspace: Workspace, questions: Sequence[xquad.Question]) -> tuple[list[Found], int]:
    """What the workspace's search finds for each question, and how many answers stand whole in no chunk."""
    found = []
    cut = 0
    for question in questions:
        name = f"xquad/{question.paragraph}"
        hits = workspace.search_result(question.text, k=_DEPTH).hits
        own = workspace.search_result(question.text, k=_DEPTH, scope=Scope(where=(Condition("document", "=", name),)))
        whole = [hit for hit in (*hits, *own.hits) if _holds(hit, name, question)]
        if not whole:
            cut += 1
            continue
        rank = next((place for place, hit in enumerate(hits) if _place(hit) == _place(whole[0])), _DEPTH)
        others = tuple(hit for hit in hits if not _touches(hit, name, question))
        found.append(Found(question, whole[0], rank, others))
    return found, cut


def cases(found: Sequence[Found], *, seed: int = 0, cut: int = 0) -> Cases:
    """Every kind of item for every question it is possible for."""
    facts: Counter[str] = Counter({"questions": len(found) + cut, "left out: answer stands whole in no chunk": cut})
    pool = {_place(hit): hit for one in found for hit in (one.gold, *one.others)}
    far: dict[str, list[Hit]] = {}
    items: list[Item] = []
    for one in found:
        chance = random.Random(f"{seed} {one.question.id}")
        gold = (one.question.answer,)
        shown = _ranked(one)
        facts["answer's chunk is the first"] += one.rank == 0
        facts["answer's chunk among the first 3"] += one.rank < SHOWN
        facts["answer's words also in another shown passage"] += any(
            _says(hit, gold) for hit in shown if hit != one.gold
        )
        facts["answer lies in one sentence"] += _in_one_sentence(one)
        items.append(_item(one, "answerable", shown))
        items.append(_item(one, "shuffled", chance.sample(shown, len(shown))))
        items.append(_item(one, "oracle", [one.gold]))
        if one.question.paragraph not in far:
            elsewhere = [hit for hit in pool.values() if _article(hit) != one.question.article]
            far[one.question.paragraph] = random.Random(f"{seed} {one.question.paragraph}").sample(elsewhere, SHOWN)
        without: dict[Kind, list[Hit]] = {
            "taken": list(one.others[:SHOWN]),
            "near": list(one.others[:1]),
            "far": far[one.question.paragraph],
        }
        for kind, hits in without.items():
            if any(_says(hit, gold) for hit in hits):
                facts[f"left out, {kind}: a passage holds the answer's words"] += 1
            else:
                items.append(_item(one, kind, hits))
        changed = _changed(one, chance)
        if changed is None:
            facts["left out, conflict: no other value of the kind, or the answer stands elsewhere too"] += 1
        else:
            items.append(changed)
    return Cases(tuple(items), dict(facts))


def same_kind(one: str, other: str) -> bool:
    """Whether two answers are different ones of one kind: names, or numbers that are written alike.

    >>> same_kind("1954", "1981"), same_kind("Grainger Market", "Ernst Haeckel"), same_kind("1954", "12%")
    (True, True, False)
    """
    if _DIGIT.search(one + other):
        alike = _DIGIT.sub("0", one) == _DIGIT.sub("0", other)
    else:
        named = all(word[:1].isupper() for text in (one, other) for word in text.split())
        alike = named and abs(len(one.split()) - len(other.split())) <= 1
    return alike and not contains(one, [other]) and not contains(other, [one])


def _ranked(one: Found) -> list[Hit]:
    shown = list(one.others[: SHOWN - 1])
    shown.insert(min(one.rank, len(shown)), one.gold)
    return shown


def _item(one: Found, kind: Kind, hits: Sequence[Hit]) -> Item:
    right = tuple(number for number, hit in enumerate(hits, start=1) if hit == one.gold)
    question = one.question
    return Item(question.id, kind, question.text.strip(), tuple(hits), (question.answer,), right, question.paragraph)


def _changed(one: Found, chance: random.Random) -> Item | None:
    shown = _ranked(one)
    old = one.question.answer
    if any(_says(hit, (old,)) for hit in shown if hit != one.gold) or contains(one.question.text, [old]):
        return None
    values = sorted({other.answer for other in xquad.questions() if same_kind(old, other.answer)})
    chance.shuffle(values)
    for new in values:
        text = re.sub(rf"(?<!\w){re.escape(old)}(?!\w)", lambda _, new=new: new, one.gold.chunk.text)
        said = contains(one.question.text, [new]) or any(_says(hit, (new,)) for hit in shown)
        if not said and text != one.gold.chunk.text and not contains(text, [old]):
            chunk = replace(one.gold.chunk, text=text, end=one.gold.chunk.start + len(text))
            changed = replace(one, gold=replace(one.gold, chunk=chunk))
            return replace(_item(changed, "conflict", _ranked(changed)), gold=(new,), true=(old,))
    return None


def _holds(hit: Hit, name: str, question: xquad.Question) -> bool:
    chunk = hit.chunk
    return chunk.document == name and chunk.start <= question.start and question.end <= chunk.end


def _touches(hit: Hit, name: str, question: xquad.Question) -> bool:
    chunk = hit.chunk
    return chunk.document == name and chunk.start < question.end and question.start < chunk.end


def _says(hit: Hit, gold: Sequence[str]) -> bool:
    return contains(hit.chunk.text, gold)


def _place(hit: Hit) -> tuple[str, int]:
    return hit.chunk.document, hit.chunk.start


def _article(hit: Hit) -> str:
    return hit.chunk.document.removeprefix("xquad/").partition("-")[0]


def _in_one_sentence(one: Found) -> bool:
    start, end = one.question.start - one.gold.chunk.start, one.question.end - one.gold.chunk.start
    return any(span.start <= start and end <= span.end for span in sentences(one.gold.chunk.text))
