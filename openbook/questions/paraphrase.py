"""A question in, the same question in other words out, by rules that keep what is asked. English only.

Three sorts: asked within another sentence ("Can you tell me how many weeks Clef offers?"), with its condition first
("If it rains, what happens?"), and with other words of the same meaning. A question no rule is sure of has none.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from openbook.prose import sentences
from openbook.questions.clause import parse
from openbook.questions.draft import plain
from openbook.questions.english import lowered
from openbook.questions.sentences import polished
from openbook.records import Case

_FRAMES = ("Can you tell me {}?", "I would like to know {}.", "Do you know {}?")
_IS = re.compile(r"(?P<asked>What|Who|When|Where) (?P<be>is|are|was|were) (?P<what>(?:the |[A-Z])[^,;?]*)\?$")
_PARTICIPLE = re.compile(r"\b(?:given|called|named|used|made|\w+ed|to be)\b")
_WHEN = r"(?:if|when|once|before|after|while)"
_DO = re.compile(rf"What (?P<modal>should|must|can|may|will) (?P<who>[^,;?]+?) do(?P<rest> (?:{_WHEN}|to) [^?]+)?\?$")
_HAPPENS = re.compile(rf"What happens (?P<case>{_WHEN} [^?]+)\?$")
_LATER = re.compile(
    r"(?P<main>[^,?]* (?:do|does|did|should|must|will|can|may|is|are) [^,?]{4,}?) "
    rf"(?P<case>{_WHEN} (?:you|we|they|employees|an?|the) [^?]+)\?$"
)
_ONE_NOUN = re.compile(r"How many \w+ (?:do|does|did|will|should|can|are|were)\b")
_EVERY = r"(?<=every )employee(?= (?:will|must|should|may|is|has)\b)"
_WORDS: tuple[tuple[str, str], ...] = (
    ("How many", "What number of"), ("What percentage of", "What share of"),
    (_EVERY, "member of staff"), ("employees", "members of staff"), ("teammates", "colleagues"),
    ("purchase", "buy"), ("purchased", "bought"), ("receive", "get"), ("obtain", "get"), ("select", "choose"),
    ("allowed", "permitted"), ("required", "obliged"), ("assist", "help"), ("begin", "start"), ("notify", "inform"),
    ("ended", "came to an end"), ("located", "situated"), ("immediately", "at once"), ("approximately", "about"),
    ("annually", "every year"), ("each year", "every year"), ("per year", "a year"), ("per month", "a month"),
    ("per day", "a day"), ("prior to", "before"), ("in order to", "to"), ("regarding", "about"),
    ("concerning", "about"), ("additional", "further"), ("inbound", "incoming"), ("largest", "biggest"),
    ("illnesses", "diseases"), ("children", "kids"), ("film", "movie"),
)  # fmt: skip
"""Patterns of a word, and what stands for it; one that begins with a capital opens the question."""


def reworded(case: Case, text: str = "") -> list[str]:
    """The case's question in other words, the most different first; none when no rule is sure.

    `text` is that of the document the case was made from; its sentence tells how to turn the question round.

    >>> reworded(Case("What happens if a holiday falls on a weekend?"))
    ['If a holiday falls on a weekend, what happens?']
    """
    question = case.question
    if case.history or '"' in question or not question.endswith("?"):
        return []
    found = [*_embedded(case, text), *_conditions(question)]
    swapped = _synonyms(question)
    if swapped != question:
        found = [_synonyms(one) for one in found] + [swapped]
    return [one for one in dict.fromkeys(map(polished, found)) if one != question]


def _embedded(case: Case, text: str) -> Iterator[str]:
    asked = next((one for one in (_turned(case, text), _defined(case.question), _duty(case.question)) if one), "")
    if asked:
        frame = _FRAMES[sum(map(ord, case.question)) % len(_FRAMES)]
        yield frame.format(asked)


def _turned(case: Case, text: str) -> str:
    """The question with its subject before its verb, as the sentence it was made from has them."""
    span = case.spans[0] if case.spans else None
    if span is None or span.end > len(text):
        return ""
    for place in sentences(text):
        if place.start <= span.start and span.end <= place.end:
            clause = parse(plain(text, place.start, place.end).text, lowered(text))
            if clause is None:
                return ""
            turned = f" {clause.auxiliary} {clause.subject} {clause.adverb} ".replace("  ", " ")
            opening, found, rest = case.question.removesuffix("?").partition(turned)
            if not found or not opening or not re.match(r"[A-Z]\w+", opening):
                return ""
            if clause.verb:
                verb, _, rest = rest.partition(" ")
                if verb != clause.verb:
                    return ""
            said = " ".join(word for word in (clause.subject, clause.adverb, clause.said, rest) if word)
            return f"{opening[0].lower()}{opening[1:]} {said}"
    return ""


def _defined(question: str) -> str:
    found = _IS.fullmatch(question)
    if not found or _PARTICIPLE.search(found["what"]) or len(found["what"].split()) > 10:
        return ""
    return f"{found['asked'].lower()} {found['what']} {found['be']}"


def _duty(question: str) -> str:
    found = _DO.fullmatch(question)
    return f"what {found['who']} {found['modal']} do{found['rest'] or ''}" if found else ""


def _conditions(question: str) -> Iterator[str]:
    found = _HAPPENS.fullmatch(question)
    if found:
        yield f"{found['case'][0].upper()}{found['case'][1:]}, what happens?"
        return
    found = _LATER.fullmatch(question)
    if found and not re.search(r"\b(?:if|when|that|which|who)\b", found["main"][4:]):
        main = found["main"]
        yield f"{found['case'][0].upper()}{found['case'][1:]}, {main[0].lower()}{main[1:]}?"


def _synonyms(question: str) -> str:
    for word, other in _WORDS:
        pattern = rf"^{word}\b" if word[0].isupper() else rf"(?<![\w-]){word}(?![\w-])"
        if other == "What number of" and not _ONE_NOUN.match(question):
            continue
        question = re.sub(pattern, other, question)
    return question
