"""English sentences in, questions with the answer's place out, by rules on clauses. Knows no document and no library.

Each rule asks for one thing the clause says: when, how many, how much, where, by whom, what, why, what if. A rule
fires on patterns that nearly always give a grammatical question; the rest is left to the blanks (cloze.py).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from openbook.prose import content
from openbook.questions.clause import Clause, parse, tidy
from openbook.questions.facts import DATE, NUMBER, Fact, facts
from openbook.questions.verbs import AUXILIARY, BE, forms, participles

_PREPOSITIONS = (
    "in|on|at|by|for|from|with|to|of|and|or|after|before|when|as|under|near|during|because|through|between|until|following"
    "|over|into|per|across|within|if|than|against|among|that|using|about|around|since|along|each|every|outside|inside|via"
)
ENDS = re.compile(rf"\s*(?:$|[,;.(]|(?:{_PREPOSITIONS})\b|an? (?:hour|day|night|week|month|quarter|year)\b)")
ABOUT = (
    r"(?:(?:about|around|over|up to|at least|at most|nearly|approximately|only|just|more than|less than|fewer than"
    r"|almost|roughly|some|exactly|a total of|as many as|an estimated|the first|the last|another) )?"
)
_TIMES = re.compile(r"(?:^|\s)(in|on|during|since|until|by) ((?:early|late|mid) )?$", re.IGNORECASE)
_WHEN = {"in": "When", "on": "When", "during": "When", "since": "Since when", "until": "Until when", "by": "By when"}
NOUNS = re.compile(
    rf" ((?:(?!(?:{_PREPOSITIONS})\b)[\w'’+-]+ ){{0,3}}?[\w'’+-]+?(?:s|people|feet|men|women|children))(?![\w-])"
)
_OF = re.compile(rf" of (?:(?!(?:{_PREPOSITIONS})\b)[\w'’+-]+ ?){{1,4}}")
_PERSONS = re.compile(
    r"\b(?:player|president|founder|physicist|engineer|scientist|politician|author|writer|actor|singer|musician|king|queen"
    r"|emperor|bishop|leader|inventor|explorer|coach|director|minister|professor|chemist|philosopher|manager|lawyer|artist"
    r"|theologian|mathematician|linebacker|quarterback|businessman|member of|officer|chairman|historian)\b"
)
_PERSON_VERBS = frozenset(
    """say write win lead become invent discover propose argue serve play marry design publish compose paint found
    introduce develop announce join defeat beat study describe sing perform create direct coin demonstrate hire own
    kill appoint elect score intercept sign teach speak patent build buy purchase acquire donate""".split()
)
_PLACE = re.compile(r"(?:^|\s)(in|at) ((?:the )?[A-Z][\w'’.-]+(?:,? (?:of |the |and )*[A-Z][\w'’-]+)*)$")
_NO_PLACE = re.compile(
    r"\b(?:Bowl|League|Cup|War|Act|Chapter|Section|Series|Championship|English|French|German|Polish|Latin|Spanish|Dutch"
    r"|Italian|Greek|Games|Movement|Revolution|Period|Era|Wars|Treaty|January|February|March|April|May|June|July|August"
    r"|September|October|November|December|Part|Article|Table|Figure|GMT|Spring|Summer|Winter|Protestant\w*|Christian\w*)\b"
)
_AGENT = re.compile(r"(?:^|\s)by ((?:the |a |an )?[\w'’.-]+(?: (?:of |the |and )*[\w'’.-]+){0,4})$")
_CALLED = re.compile(r"\b(called|known as|referred to as|named|nicknamed|termed) (.+)$")
_DEFINED = re.compile(r"(?:(?:a|an|the|one of) .+)$")
_BECAUSE = re.compile(r" because (?!of\b)(.+)$")
_CASE = re.compile(r"(.+?) ((?:before|after|when|if|once|until|unless|as soon as) .+)")
_IF = re.compile(r"(?:If|When|Once|Before|After|As soon as|Whenever) ([^,;:()]{8,110}), ((?:[^.;:(),]+(?:, )?){1,2})\.")
_THERE = re.compile(rf"There (is|are|was|were|have been|has been) ({ABOUT})(?P<number>{NUMBER})(?= )")
_FIRST = re.compile(rf"((?:{ABOUT}))(?P<number>{NUMBER})(?= )", re.IGNORECASE)
_SHARE = re.compile(rf"{ABOUT}(?P<number>\d[\d.,–-]*\s?(?:%|percent|per cent)) of ", re.IGNORECASE)
_DANGLING = frozenset(
    """and or the a an of as than between both about is was are were that which who in on at for with from to into over
    within after before during but whether if its their his her up-to near""".split()
)
_NESTED = re.compile(r"\b(?:that|which|who|whose|when|after|before|because|where|while|if|to be|whether|how)\b")
"""Behind these a fact belongs to another verb."""
_UNRESOLVED = re.compile(
    r"\b(?:it|its|they|their|them|he|his|him|she|her|this|these|those|such|our example)\b", re.IGNORECASE
)


class Asked(NamedTuple):
    """A question about a sentence; offsets into the sentence."""

    question: str
    start: int
    end: int
    subject: str = ""
    short: str = ""


def ask(text: str, common: frozenset[str]) -> list[Asked]:
    """The questions a sentence answers, the most telling first; none when no rule is sure.

    >>> [q.question for q in ask("Clef was founded in 2012 by three friends.", frozenset())][:1]
    ['When was Clef founded by three friends?']
    """
    if _IF.match(text):
        return list(_conditions(text))
    found = [*_counted(text), *_there(text)]
    clause = parse(text, common)
    if clause is not None:
        known = [fact for fact in facts(text[: clause.end]) if fact.start >= clause.start]
        for rule in (_dates, _amounts, _places, _agents, _definitions, _names, _reasons, _subjects, _objects, _duties):
            found += rule(clause, known)
    return found


def _question(clause: Clause, opening: str, rest: str, span: tuple[int, int]) -> Iterator[Asked]:
    asked = clause.asked(rest)
    pronoun = "they" if clause.plural else "it"
    maybe_person = clause.subject[0].isupper() and not clause.plural
    if maybe_person or clause.subject in {"we", "you"} or _UNRESOLVED.search(rest):
        pronoun = ""
    short = f"{opening} {clause.asked(rest, subject=pronoun)}?" if pronoun else ""
    yield Asked(polished(f"{opening} {asked}?"), *span, clause.subject, polished(short) if short else "")


def _dates(clause: Clause, known: Sequence[Fact]) -> Iterator[Asked]:
    text = clause.text
    for fact in known:
        if fact.kind != "date":
            continue
        before, after = text[clause.start : fact.start], text[fact.end : clause.end]
        if match := re.search(r"(?:^|\s)between $", before):
            other = re.match(rf" and {DATE}", after)
            if other:
                start = clause.start + match.start() + (match.group()[0] == " ")
                end = fact.end + other.end()
                yield from _question(clause, "When", clause.rest((start, end)), (start, end))
            continue
        match = _TIMES.search(before)
        if clause.verb == "have" or _NESTED.search(before) or re.match(r",? (?:and|or|to|through) ", after):
            continue
        if match and ENDS.match(after):
            start = fact.start - len(match.group(2) or "")
            rest = clause.rest((clause.start + match.start(1), fact.end))
            if whole(rest) and (rest or clause.verb):
                yield from _question(clause, _WHEN[match.group(1).lower()], rest, (start, fact.end))
    if clause.lead:
        lead = text[slice(*clause.lead)]
        match = re.fullmatch(rf"(In|On|During|Since|By|Until) ((?:early |late |mid-?)?{DATE})", lead)
        rest = clause.rest()
        if match and rest and whole(rest) and clause.verb != "have":
            span = clause.lead[0] + match.start(2), clause.lead[0] + match.end(2)
            yield from _question(clause, _WHEN[match.group(1).lower()], rest, span)


def _amounts(clause: Clause, known: Sequence[Fact]) -> Iterator[Asked]:
    text = clause.text
    for fact in known:
        before, after = text[clause.start : fact.start], text[fact.end : clause.end]
        direct = re.fullmatch(rf"\s*{ABOUT}", before)
        if fact.kind == "money" and direct and ENDS.match(after):
            rest = clause.rest((clause.start, fact.end))
            if not rest.startswith(("of ", "in ", "to ")) or rest.startswith("to "):
                yield from _question(clause, "How much", rest, (fact.start, fact.end))
        elif fact.kind == "percent" and direct and (of := _OF.match(after)):
            noun, cut = tidy(of.group()[4:]), fact.end + of.end()
            rest = clause.rest((clause.start, cut))
            if whole(rest):
                yield from _question(clause, f"What percentage of {noun}", rest, (fact.start, fact.end))
        elif fact.kind == "number" and (nouns := NOUNS.match(after)):
            yield from _count(clause, fact, before, nouns)


def _count(clause: Clause, fact: Fact, before: str, nouns: re.Match[str]) -> Iterator[Asked]:
    """Number and noun behind the verb, directly or behind a preposition."""
    if _NESTED.search(before):
        return
    text, noun, end = clause.text, nouns.group(1), fact.end + nouns.end()
    if noun.split()[-1].lower() in {"times", "is", "was", "has", "percents", "as", "this"} or not nominal(noun):
        return
    if of := _OF.match(text, end, clause.end):
        noun, end = noun + of.group().rstrip(), end + len(of.group().rstrip())
    if not ENDS.match(text, end, clause.end):
        return
    if re.fullmatch(rf"\s*(?:(?:up|out|[a-z]+(?:ed|en)) )?{ABOUT}", before) and not re.fullmatch(
        r"\s*(?:increased|used) ", before
    ):
        particle = re.match(r"\s*(up|out|[a-z]+(?:ed|en)) ", before)
        rest = f"{particle.group(1) if particle else ''} {clause.rest((clause.start, end))}".strip()
        opening = f"How many {noun}"
        if later := re.match(r" (?:after|before|ago\b)(.*)", text[end : clause.end]):
            if not later.group(1).strip() or particle:
                return
            opening, rest = f"{opening} {tidy(text[end : clause.end])}", ""
        if clause.auxiliary in BE and not particle:
            return
    elif match := re.search(rf"(?:^|\s)(for|over|within|after) {ABOUT}$", before):
        rest = clause.rest((clause.start + match.start(1), end))
        opening = f"{match.group(1).capitalize()} how many {noun}"
    else:
        return
    if whole(rest):
        yield from _question(clause, opening, rest, (fact.start, fact.end))


def _places(clause: Clause, _: Sequence[Fact]) -> Iterator[Asked]:
    body = clause.text[clause.start : clause.end]
    match = _PLACE.search(body)
    if (
        match
        and not _NESTED.search(body)
        and not _NO_PLACE.search(match.group(2))
        and not re.search(r"\d", match.group(2))
    ):
        rest = clause.rest((clause.start + match.start(1), clause.end))
        if rest and whole(rest) and not _DEFINED.match(rest) and content(rest) and " that " not in rest:
            first = rest.split()[0].lower()
            if clause.auxiliary in BE and first not in participles() and not first.endswith("ed"):
                return
            yield from _question(clause, "Where", rest, (clause.start + match.start(2), clause.end))


def _agents(clause: Clause, _: Sequence[Fact]) -> Iterator[Asked]:
    body = clause.text[clause.start : clause.end]
    match = _AGENT.search(body)
    if not match or re.search(r"\d|ing\b", match.group(1)) or _NESTED.search(body):
        return
    passive = clause.auxiliary in BE or re.match(r"\s*(?:been|be) ", body)
    said = body[: match.start()].split()
    if passive and said and (said[-1] in participles() or said[-1].endswith("ed")):
        rest = clause.rest((clause.start + match.start(1), clause.end))
        who = "Who" if match.group(1)[0].isupper() else "What"
        yield from _question(clause, who, rest, (clause.start + match.start(1), clause.end))


def _body(clause: Clause) -> tuple[int, str]:
    """The words behind the verb as they stand, and where they begin."""
    raw = clause.text[clause.start : clause.end]
    skipped = re.match(r"[ ,;:]*(?:(?:now|also|currently|still|often|usually|traditionally) )?", raw)
    begin = skipped.end() if skipped else 0
    return clause.start + begin, raw[begin:].rstrip(" ,;:.–—-")


def _definitions(clause: Clause, _: Sequence[Fact]) -> Iterator[Asked]:
    start, body = _body(clause)
    if clause.auxiliary not in BE or not _DEFINED.match(body) or not 2 <= len(body.split()) <= 22:
        return
    who = "Who" if _PERSONS.search(body.split(" that ")[0][:60]) and _person_like(clause.subject) else "What"
    if not _UNRESOLVED.search(body):
        yield Asked(f"{who} {clause.auxiliary} {clause.subject}?", start, start + len(body), clause.subject)


def _names(clause: Clause, _: Sequence[Fact]) -> Iterator[Asked]:
    body = clause.text[clause.start : clause.end]
    match = _CALLED.search(body)
    if (
        match
        and clause.auxiliary in BE
        and len(match.group(2).split()) <= 6
        and not match.group(2).startswith(("for ", "after ", "to "))
    ):
        rest = clause.rest((clause.start + match.start(2), clause.end))
        yield from _question(clause, "What", rest, (clause.start + match.start(2), clause.end))


def _reasons(clause: Clause, _: Sequence[Fact]) -> Iterator[Asked]:
    body = clause.text[clause.start : clause.end]
    match = _BECAUSE.search(body)
    if match and 3 <= len(match.group(1).split()) <= 25:
        rest = clause.rest((clause.start + match.start(), clause.end))
        if (rest or clause.verb) and whole(rest):
            yield from _question(clause, "Why", rest, (clause.start + match.start(1), clause.end))


def _subjects(clause: Clause, _: Sequence[Fact]) -> Iterator[Asked]:
    """Who did it, when a person or a team is the subject."""
    rest = clause.rest()
    person = re.search(r"(?:^|[a-z] )([A-Z][a-z]+(?: [A-Z]\.)? [A-Z][a-z]+)$", clause.subject)
    if (
        person
        and clause.verb in _PERSON_VERBS
        and len(content(rest)) >= 3
        and whole(rest)
        and not _UNRESOLVED.search(rest)
    ):
        yield Asked(polished(f"Who {clause.said} {rest}?"), clause.span[1] - len(person.group(1)), clause.span[1])


def _objects(clause: Clause, _: Sequence[Fact]) -> Iterator[Asked]:
    """What it does, uses, covers: a plain verb whose object ends the clause."""
    start, body = _body(clause)
    transitive = """offer provide include require use cover contain affect cause produce manage control support form
    represent describe define own sell create carry consider need comprise enforce display measure influence subsidize
    receive own grant protect invent develop introduce discover promote limit prohibit reward publish cost""".split()
    if clause.verb not in transitive or not 1 <= len(body.split()) <= 12:
        return
    if not re.match(r"(?:[A-Z]|[a-z]+ )", body) or "(" in body:
        return
    specific = len(content(clause.subject)) >= 2 or any(word[0].isupper() for word in clause.subject.split())
    if specific and not re.match(r"(?:to|for|in|at|by|from|with|as|that|on|up|out|more|less|much)\b", body):
        yield from _question(clause, "What", "", (start, start + len(body)))


def _duties(clause: Clause, _: Sequence[Fact]) -> Iterator[Asked]:
    """What someone should or must do, when the sentence says in which case, or of whom exactly."""
    start, body = _body(clause)
    if clause.auxiliary not in {"should", "must"} or body.startswith(("be ", "also be ", "have ", "always be ")):
        return
    case = _CASE.fullmatch(body)
    if case and len(case.group(1).split()) >= 3:
        question = f"What {clause.auxiliary} {clause.subject} do {case.group(2)}?"
        yield Asked(question, start, start + case.end(1), clause.subject)
    elif re.search(r" (?:with|in|for|of|on|from) ", clause.subject) and 4 <= len(body.split()) <= 20:
        yield Asked(f"What {clause.auxiliary} {clause.subject} do?", start, start + len(body), clause.subject)


def _conditions(text: str) -> Iterator[Asked]:
    """What happens if: the main clause behind a condition."""
    match = _IF.match(text)
    if not match or match.end() != len(text) or not 4 <= len(match.group(2).split()) <= 25:
        return
    condition, main = match.group(1), match.group(2)
    skipped = re.match(r"(?:then|though|however|therefore)(?:, | )", main)
    begin = match.start(2) + (skipped.end() if skipped else 0)
    main = text[begin : match.end(2)]
    if not _finite(condition):
        return
    if (
        _UNRESOLVED.search(condition)
        or main.split()[0] in {"and", "but", "which", "or", "who"}
        or not content(condition)
    ):
        return
    word = text.split(" ", 1)[0].lower()
    told = re.match(r"(we|you|employees|they|the \w+|an? \w+) (should|must|can|may|will|need to|have to) ", main)
    if told and told.group(2) in {"should", "must"} and told.group(1) != "they":
        question = f"What {told.group(2)} {told.group(1)} do {word} {condition}?"
    elif word in {"if", "when", "once"}:
        question = f"What happens {word} {condition}?"
    else:
        return
    yield Asked(question, begin, match.end(2))


def _finite(condition: str) -> bool:
    """Whether a condition has a subject before a finite verb: "successful" and "used as ..." have none."""
    words = [word.lower().rstrip(",.") for word in condition.split()]
    first = words[0]
    if (
        first in forms()
        or first.endswith("ing")
        or first in {"and", "possible", "necessary", "so", "not", "in", "at", "on"}
    ):
        return False
    return any(word in AUXILIARY or word in forms() or word.endswith(("'re", "’re", "'s", "’s")) for word in words[1:8])


def _counted(text: str) -> Iterator[Asked]:
    """A number or share that opens the sentence: "Thirty epidemics were recorded ..."."""
    if not _FIRST.match(text) and not _SHARE.match(text):
        return
    clause = parse(text, frozenset())
    if clause is None or clause.lead:
        return
    behind = f"{clause.said} {clause.rest()}".strip()
    if not whole(behind) or _UNRESOLVED.search(behind):
        return
    if match := _SHARE.match(text):
        noun = text[match.end() : clause.span[1]]
        yield Asked(polished(f"What percentage of {noun} {behind}?"), *match.span("number"))
    elif (match := _FIRST.match(text)) and (nouns := NOUNS.match(text, match.end())) and nouns.end() <= clause.span[1]:
        noun = text[match.end() : clause.span[1]].strip()
        if nominal(noun.split(" of ")[0].split(" in ")[0]) and not re.match(DATE, text):
            yield Asked(polished(f"How many {noun} {behind}?"), *match.span("number"))


def _there(text: str) -> Iterator[Asked]:
    match = _THERE.match(text)
    nouns = match and NOUNS.match(text, match.end())
    if match and nouns and nominal(nouns.group(1)):
        rest = tidy(re.split(r",|;|:|\(| [–—-] | which | but | that | out of ", text[nouns.end() : -1])[0])
        verb, _, been = match.group(1).partition(" ")
        if whole(rest) and rest and not _UNRESOLVED.search(rest):
            question = f"How many {nouns.group(1)} {verb} there {been} {rest}?"
            yield Asked(polished(question), *match.span("number"))


def whole(rest: str) -> bool:
    """Whether what is left can end a question."""
    last = rest.split()[-1].lower() if rest.split() else ""
    return last not in _DANGLING and rest.count('"') % 2 == 0 and rest.count("(") == rest.count(")")


def unresolved(text: str) -> bool:
    """Whether a pronoun needs what stood before."""
    return _UNRESOLVED.search(text) is not None


def nominal(noun: str) -> bool:
    """Whether the words can be a noun phrase: no verb, no pronoun."""
    table = forms()
    return not any(
        (form := table.get(word.lower())) is not None and form.tense == "past" and index == len(noun.split()) - 1
        for index, word in enumerate(noun.split())
    ) and not _UNRESOLVED.search(noun)


def _person_like(subject: str) -> bool:
    """Two or three capitalised words without an article: a person, or a team called so."""
    words = subject.split()
    return 2 <= len(words) <= 3 and all(word[0].isupper() and word[1:].islower() for word in words if word)


def polished(question: str) -> str:
    """Single spaces, a capital first."""
    text = " ".join(question.split()).replace(" ?", "?").replace(" ,", ",")
    return text[:1].upper() + text[1:]
