"""English sentences in, questions with the question words in the fact's own place out; needs no parse.

"Clef offers 12 weeks of paid leave." becomes "Clef offers how many weeks of paid leave?": the wording of a quiz, taken
where no rule turns the clause round.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from openbook.questions.clause import CONNECTOR, LEAD, clause_end, tidy
from openbook.questions.facts import MONTH, Fact, facts
from openbook.questions.sentences import ABOUT, ENDS, NOUNS, Asked, nominal, polished, unresolved, whole
from openbook.questions.verbs import AUXILIARY, forms

_SHORTEST, _LONGEST = 6, 24
"""Words of a question."""
_ABOUT_BEFORE = re.compile(rf"(?:^|(?<= )){ABOUT}$", re.IGNORECASE)
_TIMES = re.compile(r"(?:^| )(in|on|during|since|until|by|from|before|after) (?:early |late |mid-)?$", re.IGNORECASE)
_BETWEEN = re.compile(r"^,? ?(?:and|or|to|through|–|-) ?\d|^ (?:and|or|to) ")
_BAD_START = re.compile(
    r"(?i:it|they|he|she|this|these|those|that|their|his|her|its|such|another|others?|there|here|both|all three|one of"
    r"|two of|then|soon|instead|which|who|if|when|because|although|while|since|as|after|before|behind|but|and|for|to"
    r"|with|so|not|no|also)\b|[A-Z][a-z]+(?:ing|ed)\b"
)
_NO_ASK = re.compile(
    r"(?:\b(?:every|previous|next|past|last|first|another|other|a|the|these|one|its|their|his|her|our|your"
    r"|\d+ to|\w+-)|[–±-]) ?$",
    re.IGNORECASE,
)


def ask(text: str) -> Iterator[Asked]:
    """The questions a sentence answers, in its own order of words.

    >>> [q.question for q in ask("Clef offers 12 weeks of paid leave for all employees.")]
    ['Clef offers how many weeks of paid leave for all employees?']
    """
    if not text.endswith(".") or '"' in text or "“" in text or sum(map(str.isupper, text)) > 0.3 * len(text):
        return
    even = re.sub(r"\([^()]*\)", lambda match: " " * len(match.group()), text)
    connector = CONNECTOR.match(even)
    begin = connector.end() if connector else 0
    if _BAD_START.match(even, begin) or unresolved(even[begin:].split(",")[0]):
        return
    lead = LEAD.match(even, begin)
    main = lead.end() + 2 if lead else begin
    for fact in facts(even):
        if fact.start < main or re.search(r"[,:;]", even[main : fact.start]):
            continue
        end = clause_end(even, fact.end)
        worded = _worded(even[begin : fact.start], even[fact.end : end or fact.end], fact, even) if end else None
        if worded is None or end is None:
            continue
        before, words = worded
        after = even[fact.end : end]
        if unresolved(after) or not whole(f"x {tidy(after)}" if after.strip() else "x"):
            continue
        question = polished(f"{before}{words}{after}?")
        if not _finite(before + after):
            continue
        if _SHORTEST <= len(question.split()) <= _LONGEST:
            yield Asked(question, fact.start, fact.end)


def _finite(text: str) -> bool:
    """Whether a verb is among the words."""
    table = forms()
    return any(word.lower() in AUXILIARY or word.lower() in table for word in re.findall(r"\w+", text)[1:])


def _worded(before: str, after: str, fact: Fact, text: str) -> tuple[str, str] | None:
    """(the words before, without "about", and the question words); None when the fact cannot be asked for so."""
    if fact.kind == "date":
        match = _TIMES.search(before)
        if not match or not ENDS.match(after) or _BETWEEN.match(after):
            return None
        words = _date(text[fact.start : fact.end])
        return (before[: match.end(1)] + " ", words) if words else None
    if re.match(r",? (?:and |or )?(?:\d|two|three|four)", after):
        return None
    vague = _ABOUT_BEFORE.search(before)
    bare = before[: vague.start()] if vague else before
    if _NO_ASK.search(bare):
        return None
    if re.search(r"(?:[A-Z]\w+|[#$])\s$", bare) and bare.count(" ") > 1 and fact.kind == "number":
        return None
    if fact.kind == "number":
        nouns = NOUNS.match(after)
        usable = nouns and nominal(nouns.group(1)) and ENDS.match(after, nouns.end())
        return (bare, "how many") if usable else None
    if fact.kind == "money":
        return (bare, "how much") if ENDS.match(after) or after.startswith((" per ", " a ", " each", "/")) else None
    if fact.kind == "percent":
        return (bare, "what percentage") if ENDS.match(after) else None
    return None


def _date(said: str) -> str:
    if re.fullmatch(r"\d{4}", said):
        return "what year"
    if re.fullmatch(r"\d{4}[–-]\d+", said):
        return "what years"
    if "century" in said:
        return "what century"
    if said.endswith("0s"):
        return "what decade"
    if re.fullmatch(MONTH, said):
        return "what month"
    if re.search(r"\d", said) and re.search(MONTH, said):
        return "what date" if re.search(r"\b\d{1,2}(?:st|nd|rd|th)?\b", said) else "what month and year"
    return ""
