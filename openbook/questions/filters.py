"""Drafts of one document in, cases out, each refused one counted under its reason. Knows no library and no rule.

A question stays when its answer stands once in the chunk it is asked about, when it does not quote the passage, and
when it can be understood by someone who does not see the document.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections import Counter
from collections.abc import Sequence

from openbook.metrics import evened
from openbook.prose import content
from openbook.questions.cloze import BLANK
from openbook.questions.draft import Draft
from openbook.records import Case, Chunk, Document, Span

RUN = 10
"""A question may repeat at most so many consecutive words of its chunk (people's questions on XQuAD: docs/reading.md)."""
SHORTEST, LONGEST = 3, 32
"""Words of a question."""
_ANSWER = 60
"""Words of an answer, at most."""
_POINTING = re.compile(
    r"\b(?:this|these|those|the (?:above|below|following|former|latter|aforementioned)|aforementioned|above-mentioned"
    r"|(?:the|this) (?:document|passage|text|excerpt|paragraph|article|author|section above|context|chunk|page|sentence))\b",
    re.IGNORECASE,
)
_PRONOUN = re.compile(r"\b(?:it|they|he|she|him|them|her|his|its|their|i)\b", re.IGNORECASE)
_LEADING = re.compile(
    r"^(?:[\w' ]{0,40}?\b(?:is|are|was|were|did|does|do|has|have|had|will|can|could|may|might|must|should|would)) "
    r"(?:it|they|he|she|i|them|him|there only|its|their|his|her)\b",
    re.IGNORECASE,
)
_BARE = re.compile(
    r"\b(?:is|are|was|were|did|does|do|has|have|had|will|can|could|may|might|must|should|would) "
    r"the (?:company|team|city|state|system|group|region|area|country|game|church|school|party|process|act|law|school|book"
    r"|building|river|university|government|king|treaty|policy|plan|program|project|bill|station|club|network|agreement"
    r"|author|event|war|battle|attack|army|council|commission|court|report|study|population|number|majority|rest|result)\b"
    r"(?! (?:of|in|for|on|at|to|from|with)\b)",
    re.IGNORECASE,
)
_WORD = re.compile(r"\w+")
_FIRST_WORD = re.compile(r"\w+", re.UNICODE)


def case(draft: Draft, document: Document, chunks: Sequence[Chunk], rejected: Counter[str]) -> Case | None:
    """The case a draft makes, or None with its reason counted."""
    chunk = _chunk(draft, chunks)
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
        origin="endpoint" if draft.form == "endpoint" else "heading" if draft.form == "heading" else "sentence",
        id=f"q-{hashlib.sha256(identity.encode('utf-8', 'surrogatepass')).hexdigest()[:12]}",
    )


def longest_run(question: str, passage: str) -> int:
    """Most consecutive words of the question that stand so in the passage.

    >>> longest_run("When was the old bridge built?", "The old bridge was built in 1880.")
    3
    """
    asked = [word.lower() for word in _WORD.findall(question)]
    text = f" {' '.join(word.lower() for word in _WORD.findall(passage))} "
    best = 0
    for start in range(len(asked)):
        while start + best < len(asked) and f" {' '.join(asked[start : start + best + 1])} " in text:
            best += 1
    return best


def occurrences(answer: str, text: str) -> int:
    """How often the answer stands in the text as whole words.

    >>> occurrences("5", "5 of 15, or 5.5"), occurrences("5", "5 of 15, then 5")
    (1, 2)
    """
    edges = (r"(?<![\w])(?<!\d[.,])" if answer[:1].isalnum() else "", r"(?!\w|[.,]\d)" if answer[-1:].isalnum() else "")
    return len(re.findall(edges[0] + re.escape(answer) + edges[1], text))


def _chunk(draft: Draft, chunks: Sequence[Chunk]) -> Chunk | None:
    """The chunk that shows the answer, of several the one that shows most of what was asked about."""
    holding = [chunk for chunk in chunks if chunk.start <= draft.start and draft.end <= chunk.end]
    start, end = draft.source
    return max(holding, key=lambda chunk: min(end, chunk.end) - max(start, chunk.start), default=None)


def _fault(draft: Draft, text: str, chunk: Chunk | None) -> str:
    question, answer = draft.question, text[draft.start : draft.end]
    if chunk is None:
        return "the answer is cut by a chunk's end"
    if any(unicodedata.category(char) in {"Cc", "Cs", "Co"} for char in question + answer.replace("\n", " ")):
        return "control characters"
    if not answer.strip() or answer != answer.strip() or not any(char.isalnum() for char in answer):
        return "no answer"
    words = question.split()
    if not SHORTEST <= len(words) <= LONGEST or len(answer.split()) > _ANSWER:
        return "too short or too long"
    if occurrences(answer, chunk.text) != 1:
        return "the answer stands more than once in its passage"
    return _wording_fault(draft, answer, chunk)


def _wording_fault(draft: Draft, answer: str, chunk: Chunk) -> str:
    question = draft.question
    if f" {evened(answer)} " in f" {evened(question.replace(BLANK, ' '))} ":
        return "the answer stands in the question"
    asked = content(question.replace("Fill in the blank:", ""))
    if len(asked) < (4 if draft.form == "cloze" else 2):
        return "asks too little"
    if draft.form != "cloze" and (_POINTING.search(question) or _LEADING.search(question) or _BARE.search(question)):
        return "only understood beside the passage"
    if draft.form == "cloze" and (_PRONOUN.search(question) or _POINTING.search(question)):
        return "only understood beside the passage"
    if draft.form != "heading" and longest_run(question, chunk.text) > RUN:
        return "copies the passage"
    return ""
