"""An English sentence in, its subject, verb and rest out, by word lists; knows no question.

Takes only what the lists make sure of: one main clause with a plain subject and a known finite verb. Everything else
gives None.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from openbook.prose import STOP_WORDS
from openbook.questions.facts import DATE
from openbook.questions.verbs import AUXILIARY, BE, HAVE, forms, participles

CONNECTOR = re.compile(
    r"(?:However|Additionally|Also|In addition|For example|For instance|Furthermore|Moreover|Therefore|Thus|Hence"
    r"|Finally|Usually|Generally|Currently|Instead|Meanwhile|Specifically|Similarly|Nevertheless|Today|Note|Then|So|And|But"
    r"|As a result|In fact|In general|Of course|Unfortunately|Eventually|Initially|Historically|Overall),? "
)
LEAD = re.compile(
    r"(?:In|On|At|During|Since|By|From|Until|Between|Under|Through|Within|Throughout) [^,;:()]{2,60}(?=, )"
)
_DATED_LEAD = re.compile(rf"(?:In|On|By|Since|During) (?:early |late )?{DATE}(?= (?:the |a |an )?[A-Za-z][\w-]+ )")
_BAD_IN_SUBJECT = frozenset(
    """that which who whom whose where when why how if because as while although though but than not there here what it
    they he she this these those him his her hers their its them another other others such same latter former both to
    one ones some none nothing something anything everything whoever so yet again above below following also
    """.split()
)
_ADVERBS = frozenset("also then often always now thus first later just only even still soon".split())
_NO_ADVERBS = frozenset("family supply july italy assembly reply".split())
_FIRST_BAD = frozenset(
    """in on at of for from by with to into during through within per as like unlike despite according due using based
    among behind against along when once until since after before under then and or""".split()
)
_COMMON = re.compile(r"(?:ing|tion|sion|ment|ity|ness|ance|ly|ed|ship|ism)s?$")
_QUANTIFIERS = frozenset(
    """many several two three four five some early late new various numerous employees managers members customers users
    students teachers visitors patients applicants candidates people children workers contractors companies residents
    guests participants researchers scientists scholars""".split()
)
_LAST_BAD = frozenset("a an the of in on at by for from with to and or as its".split())
PLURALS = frozenset("people employees children men women feet police staff data media you we they".split())
_STARTERS = frozenset(
    """which who whom whose where while whereas but and or with as so although though because including making resulting
    when if until after before since except especially particularly unless even both then not rather thus""".split()
)
_CUT = re.compile(
    r";| [–—-] | -- |: | while | whereas | although | though | so that | which | but (?!also)|, (?!(?:1\d|20)\d\d\b)"
)
_NEGATIVE = re.compile(r"\b(?:not|never|neither|nor|cannot|no|nobody|hardly|rarely|without)\b|n['’]t\b", re.IGNORECASE)
_TOKEN = re.compile(r"[^\s()\[\]\"“”,;:]+")
_PARENTHESIS = re.compile(r" ?\([^()]*\)")
_ALSO = re.compile(r"^(?:also|therefore|thus|then|still|however|now|even|just) ")


@dataclass(frozen=True, slots=True)
class Clause:
    """One main clause; offsets into `text`, in which parentheses are blanked out."""

    text: str
    subject: str
    """As it stands inside a sentence: first letter lowered unless it is a name."""
    span: tuple[int, int]
    """Where the subject stands."""
    adverb: str
    """A word between subject and verb: "routinely"; "" mostly."""
    auxiliary: str
    """is, had, will, ...; of a plain verb do, does or did."""
    verb: str
    """The plain verb's base form; "" after is, had, will, ..."""
    said: str
    """The finite verb as it stands."""
    start: int
    """Where the rest begins, behind the finite verb."""
    end: int
    """Where the clause ends."""
    lead: tuple[int, int] | None
    """Where words before the subject stand: "In 1990"."""
    plural: bool

    def asked(self, rest: str, *, subject: str | None = None) -> str:
        """Subject and verb turned round for a question, with another rest: "did Clef raise" + rest."""
        words = (self.auxiliary, self.subject if subject is None else subject, self.adverb, self.verb, rest)
        return " ".join(word for word in words if word)

    def rest(self, *without: tuple[int, int]) -> str:
        """The words behind the verb without the given stretches."""
        kept, at = [], self.start
        for start, end in sorted(without):
            kept.append(self.text[at:start])
            at = end
        kept.append(self.text[at : self.end])
        return tidy(_ALSO.sub("", tidy(" ".join(kept))))


def tidy(text: str) -> str:
    """White space evened, and no punctuation at either end.

    >>> tidy(" in  Newcastle , ")
    'in Newcastle'
    """
    return re.sub(r" +(?=[,.;])", "", " ".join(text.split())).strip(" ,;:.–—-")


def parse(text: str, common: frozenset[str]) -> Clause | None:
    """The main clause of a sentence; `common` are words that surely are no names.

    >>> clause = parse("In 1990, the company also built two bridges.", frozenset())
    >>> clause.subject, clause.asked(clause.rest())
    ('the company', 'did the company build two bridges')
    """
    text = _PARENTHESIS.sub(lambda match: " " * len(match.group()), text)
    if not text.endswith(".") or not (text[:1].isupper() or text[:1].isdigit()) or _unbalanced(text):
        return None
    begin = 0
    if match := CONNECTOR.match(text):
        begin = match.end()
    lead = None
    if match := LEAD.match(text, begin) or _DATED_LEAD.match(text, begin):
        lead, begin = match.span(), match.end() + 1 + (text[match.end()] == ",")
    tokens = [(match.group().rstrip("."), match.start(), match.end()) for match in _TOKEN.finditer(text, begin)]
    subject_end = _finite(tokens, text, begin)
    if subject_end is None:
        return None
    word, start, stop = tokens[subject_end]
    verb = word.lower()
    before = tokens[:subject_end]
    adverb = ""
    while len(before) > 1 and _is_adverb(before[-1][0]):
        adverb = before.pop()[0].lower()
    span = before[0][1], before[-1][2]
    subject = tidy(text[slice(*span)])
    if not _is_subject([one[0] for one in before], text[span[0] : start]):
        return None
    end = clause_end(text, stop)
    if end is None or _NEGATIVE.search(text, span[0], end):
        return None
    plural = _plural(subject)
    following = [one[0].lower() for one in tokens[subject_end + 1 : subject_end + 4]]
    auxiliary, base = _split(verb, following)
    if base and forms().get(verb) is not None and forms()[verb].tense == "base" and verb not in HAVE:
        if not plural:
            if verb not in {"cost", "put", "set", "cut", "split", "spread"}:
                return None
            auxiliary = "did"
    elif auxiliary == "does" and plural:
        return None
    if adverb in {"also", "then", "thus", "just", "only", "even", "still"}:
        adverb = ""
    return Clause(text, inside(subject, common), span, adverb, auxiliary, base, word, stop, end, lead, plural)


def _finite(tokens: list[tuple[str, int, int]], text: str, begin: int) -> int | None:
    """Index of the finite verb behind a subject of one to nine words."""
    table = forms()
    for index, (word, start, _) in enumerate(tokens[:12]):
        lower = word.lower()
        if any(mark in text[begin:start] for mark in ",;:"):
            return None
        if index == 0 or (lower not in AUXILIARY and lower not in table) or word[0].isupper():
            continue
        spoken = [one[0].lower() for one in tokens[:index] if not _is_adverb(one[0])]
        previous = spoken[-1] if spoken else ""
        if lower in AUXILIARY:
            return index
        if previous in _LAST_BAD or (previous in STOP_WORDS and previous not in {"we", "you"}):
            continue
        form = table[lower]
        head = " ".join(spoken) or "it"
        if form.tense == "base" and not (_plural(head) or lower in {"cost", "set", "put"}):
            continue
        if form.tense == "s" and _plural(head):
            continue
        nearest = tokens[index + 1][0].lower() if index + 1 < len(tokens) else ""
        if form.tense == "past" and lower in participles() and nearest == "by":
            return None
        if form.tense == "past" and _later_verb(tokens[index + 1 :], text, start):
            return None
        return index
    return None


def _later_verb(tokens: list[tuple[str, int, int]], text: str, start: int) -> bool:
    """Whether an auxiliary follows in the same clause: the verb was a participle ("voters registered ... were")."""
    for word, at, _ in tokens:
        if word.lower() in {
            "and",
            "that",
            "which",
            "who",
            "but",
            "when",
            "where",
            "what",
            "because",
            "as",
            "it",
            "while",
        }:
            return False
        if "," in text[start:at]:
            return False
        if word.lower() in BE | HAVE:
            return True
    return False


def _is_subject(words: list[str], raw: str) -> bool:
    lowered = [word.lower() for word in words]
    return (
        0 < len(words) <= 9
        and not any(mark in raw for mark in "()[]")
        and not any(word in _BAD_IN_SUBJECT for word in lowered)
        and lowered[-1] not in _LAST_BAD
        and lowered[0] not in _FIRST_BAD
        and not any(word in AUXILIARY for word in lowered)
        and lowered not in (["i"], ["our"])
        and any(char.isalpha() for char in raw)
    )


def _split(verb: str, following: list[str]) -> tuple[str, str]:
    """(auxiliary, base form of the plain verb or "")."""
    if verb in HAVE:
        nearby = [word for word in following if not _is_adverb(word)][:1]
        if nearby and (nearby[0] in participles() or nearby[0].endswith("ed")):
            return verb, ""
        return {"has": "does", "have": "do", "had": "did"}[verb], "have"
    if verb in AUXILIARY:
        return verb, ""
    form = forms()[verb]
    return {"past": "did", "s": "does", "base": "do"}[form.tense], form.base


def clause_end(text: str, start: int) -> int | None:
    """Where the clause ends; None when a comma is part of an enumeration."""
    end = len(text) - 1
    if cut := _CUT.search(text, start):
        end = cut.start()
        if text[cut.start()] == ",":
            follows = text[cut.end() :].split(" ", 1)[0].lower().rstrip(",.")
            plain = follows not in _STARTERS and not follows.endswith("ing")
            if plain and re.search(r" (?:and|or) ", text[cut.end() :]):
                return None
    for match in re.finditer(r" (?:and|or) (?:(?:also|then|later|subsequently|was|were) )*(\w+)", text[start:end]):
        word = match.group(1).lower()
        form = forms().get(word)
        if word in AUXILIARY | {"it", "they", "he", "she", "we", "you"} or (form is not None and form.tense != "base"):
            return start + match.start()
    return end


def _plural(subject: str) -> bool:
    head = re.split(r" (?:of|in|on|at|by|for|from|with|who|between|under|to) ", subject)[0].split()[-1].lower()
    if " and " in subject and not re.search(r" (?:of|in|for|between|from|with|on) ", subject):
        return True
    return head in PLURALS or (head.endswith("s") and not head.endswith(("ss", "us", "is", "'s", "’s", "ics", "ps")))


def _is_adverb(word: str) -> bool:
    lower = word.lower()
    return lower in _ADVERBS or (lower.endswith("ly") and lower not in _NO_ADVERBS)


def inside(subject: str, common: frozenset[str]) -> str:
    """The words as they stand within a sentence: the first in lower case unless it may be a name."""
    first, _, others = subject.partition(" ")
    lower = first.lower()
    known = (
        lower in STOP_WORDS
        or lower in _QUANTIFIERS
        or lower in common
        or (bool(_COMMON.search(lower)) and not others[:1].isupper())
    )
    return f"{lower}{' ' + others if others else ''}" if known else subject


def _unbalanced(text: str) -> bool:
    return text.count("(") != text.count(")") or text.count('"') % 2 == 1 or "?" in text
