"""Drafts of one document in, cases out, each refused one counted under its reason. Knows no library and no rule.

A question stays when its answer stands once in the chunk it is asked about, when it does not quote the passage, and
when it can be understood by someone who does not see the document.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from openbook.metrics import evened
from openbook.prose import content
from openbook.questions.cloze import BLANK
from openbook.questions.draft import Draft
from openbook.records import Case, Chunk, Document, Span

RUN = 9
"""A question may repeat at most so many consecutive words of its chunk: 99 % of people's do (docs/decisions/0091)."""
SHORTEST, LONGEST = 3, 32
"""Words of a question."""
_ANSWER = 60
"""Words of an answer, at most."""
_POINTING = re.compile(
    r"\b(?:this|these|those|such(?! as)|the (?:above|below|following|former|latter)|afore\w+|above-mentioned"
    r"|(?:the|this) (?:document|passage|text|excerpt|paragraph|article|author|context|chunk|page|sentence))\b",
    re.IGNORECASE,
)
_PRONOUN = re.compile(r"\b(?:it|they|he|she|him|them|her|his|its|their|i)\b", re.IGNORECASE)
_LEADING = re.compile(
    r"^(?:[\w' ]{0,40}?\b(?:is|are|was|were|did|does|do|has|have|had|will|can|could|may|might|must|should|would)) "
    r"(?:it|they|he|she|i|them|him|there only|its|their|his|her)\b",
    re.IGNORECASE,
)
_BARE = re.compile(r"the [a-z][a-z-]*")
"""A subject that only the text before tells: "the company", "the site"."""
_DANGLING = re.compile(r"\b(?:it|them|him)\?$")
_VAGUE = re.compile(
    r"(?:this|that|these|those|such|it|they|he|she|here|there)\b|.*\b(?:this|these|such(?! as)|the following)\b",
    re.IGNORECASE,
)
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff\ue000-\uf8ff]")
_NOUN = re.compile(r" (?:[a-z]{3,} )?[a-z]{3,}s\b")
_WORD = re.compile(r"\w+")


def case(draft: Draft, document: Document, chunks: Sequence[Chunk], rejected: Counter[str]) -> Case | None:
    """The case a draft makes, or None with its reason counted."""
    chunk = _chunk(draft, chunks)
    draft = _told_apart(draft, document.text, chunk)
    reason = _fault(draft, document.text, chunk)
    if reason:
        rejected[reason] += 1
        return None
    return made(draft, document)


def made(draft: Draft, document: Document) -> Case:
    """The draft as a case, unchecked."""
    gold = document.text[draft.start : draft.end]
    identity = f"{document.name}\n{draft.start}:{draft.end}\n{draft.question}"
    return Case(
        question=draft.question,
        gold=(gold,),
        spans=(Span(document.name, draft.start, draft.end),),
        origin="endpoint"
        if draft.form == "endpoint"
        else "heading"
        if draft.form in {"heading", "faq"}
        else "sentence",
        id=f"q-{hashlib.sha256(identity.encode('utf-8', 'surrogatepass')).hexdigest()[:12]}",
    )


def copied(question: str, passage: str, words: int = RUN) -> bool:
    """Whether more than `words` consecutive words of the question stand so in the passage, case and marks aside.

    >>> copied("When was the old bridge built?", "The old bridge was built in 1880.", 2)
    True
    >>> copied("When was the old bridge built?", "The old bridge was built in 1880.", 3)
    False
    """
    asked = _WORD.findall(question.lower())
    text = f" {' '.join(_WORD.findall(passage.lower()))} "
    return any(f" {' '.join(asked[at : at + words + 1])} " in text for at in range(len(asked) - words))


def occurrences(answer: str, text: str) -> int:
    """How often the answer stands in the text as whole words.

    >>> occurrences("5", "5 of 15, or 5.5"), occurrences("5", "5 of 15, then 5")
    (1, 2)
    """
    found, at = 0, text.find(answer)
    while at >= 0:
        found += _edge(text, at - 1, -1, answer[0]) and _edge(text, at + len(answer), 1, answer[-1])
        at = text.find(answer, at + 1)
    return found


def _edge(text: str, at: int, step: int, inner: str) -> bool:
    """Whether the word ends before position `at`, which lies outside it in the direction `step`."""
    if not inner.isalnum() or not 0 <= at < len(text):
        return True
    if text[at].isalnum() or text[at] == "_":
        return False
    beyond = at + step
    return not (text[at] in ".," and inner.isdigit() and 0 <= beyond < len(text) and text[beyond].isdigit())


def _chunk(draft: Draft, chunks: Sequence[Chunk]) -> Chunk | None:
    """The chunk that shows the answer, of several the one that shows most of what was asked about."""
    holding = [chunk for chunk in chunks if chunk.start <= draft.start and draft.end <= chunk.end]
    start, end = draft.source
    return max(holding, key=lambda chunk: min(end, chunk.end) - max(start, chunk.start), default=None)


def _told_apart(draft: Draft, text: str, chunk: Chunk | None) -> Draft:
    """With the noun behind a bare number that stands in its chunk more than once: "2" becomes "2 weeks"."""
    answer = text[draft.start : draft.end]
    if chunk is None or len(answer.split()) > 1 or occurrences(answer, chunk.text) < 2:
        return draft
    noun = _NOUN.match(text, draft.end, min(draft.source[1], chunk.end))
    counted = "how many" in draft.question.lower()
    return replace(draft, end=noun.end()) if noun and counted else draft


def _fault(draft: Draft, text: str, chunk: Chunk | None) -> str:
    question, answer = draft.question, text[draft.start : draft.end]
    if chunk is None:
        return "the answer is cut by a chunk's end"
    if _CONTROL.search(question + answer.replace("\n", " ").replace("\t", " ")):
        return "control characters"
    if not answer.strip() or answer != answer.strip() or not any(char.isalnum() for char in answer):
        return "no answer"
    words = question.split()
    if not SHORTEST <= len(words) <= LONGEST or len(answer.split()) > _ANSWER:
        return "too short or too long"
    if occurrences(answer, chunk.text) != 1:
        return "the answer stands more than once in its passage"
    return _wording_fault(draft, answer, chunk)


def _needed(draft: Draft, named: bool) -> int:
    """Meaning words a question must hold to be understood alone; with a name or number among them fewer do."""
    if draft.form == "cloze":
        return 4 if named else 6
    if draft.form != "question" or named:
        return 2
    return 3 if draft.question.startswith(("What happens", "What should", "What must")) else 4


def _wording_fault(draft: Draft, answer: str, chunk: Chunk) -> str:
    question = draft.question
    if f" {evened(answer)} " in f" {evened(question.replace(BLANK, ' '))} ":
        return "the answer stands in the question"
    asked = content(question.replace("Fill in the blank:", ""))
    shown = question.removeprefix("Fill in the blank: ").removeprefix("... ").split()
    named = any(word[:1].isupper() or word[:1].isdigit() for word in shown[1:])
    if len(asked) < _needed(draft, named):
        return "asks too little"
    if draft.form != "cloze" and (_POINTING.search(question) or _LEADING.search(question)):
        return "the question cannot stand alone"
    bare = _BARE.fullmatch(draft.subject) and not draft.subject.endswith("s")
    if _DANGLING.search(question) or (bare and not named and len(asked) < 5):
        return "the question cannot stand alone"
    if draft.form in {"question", "heading"} and _VAGUE.match(answer):
        return "the answer is too vague"
    if draft.form == "cloze" and (_PRONOUN.search(question) or _POINTING.search(question)):
        return "the question cannot stand alone"
    if draft.form not in {"heading", "faq"} and copied(question, chunk.text):
        return "copies the passage"
    return ""
