"""A library's texts and questions they answer in, questions they do not answer out, of four kinds (records.WhyNot).

Off-corpus: another topic altogether. Near-miss: an entity or a matter no document speaks of, where its like is spoken
of. False premise: presupposes a value that a document contradicts. Superseded: the only document that answers is
withdrawn. What cannot be made sure of is left out: a right answer to it would be marked wrong.
"""

from __future__ import annotations

import hashlib
import random
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence

from openbook.metrics import contains, evened
from openbook.prose import content, sentences
from openbook.questions.clause import CONNECTOR, clause_end, inside, parse, tidy
from openbook.questions.conflict import another
from openbook.questions.draft import plain
from openbook.questions.english import is_english, lowered
from openbook.questions.facts import Fact, facts
from openbook.questions.nearby import COINED, LIKE, WORKPLACE, WORKPLACE_ANCHORS
from openbook.questions.sentences import unresolved, whole
from openbook.questions.verbs import AUXILIARY
from openbook.records import Case, WhyNot

_ALONE = re.compile(r"(?:What|How|Where|Why|Who|When|During which process|Which scientist|Which theory|Which season)\b")
_CHOOSING = re.compile(
    r"\b(?:following|these|this|statement|best|better|likely|such|pictured|shown|above|below|example|students?)\b"
    r"|^What (?:has|is happening)|\. ",
    re.IGNORECASE,
)
_VAGUE = re.compile(
    r"\b(?:about|around|approximately|roughly|nearly|almost|some|up to|at least|at most|between"
    r"|e\.g|example|to \d+|\d+ to|or|instance|might|could|would|may|if|unless|suppose|imagine|say)\b|~",
    re.IGNORECASE,
)
_ASIDE = re.compile(r"\([^()]*\)")
_BAD_START = re.compile(
    rf"(?:{CONNECTOR.pattern}|(?:It|They|He|She|This|These|Those|That|There|Here|Such|Both|If|When|While|After|Before|As"
    r"|For|To|With|In|On|At|By|From|Not|No|What|Which|Who|How|Another|Other|One of|\w+ing|Please|Note|See)\b)"
)
_VERB = re.compile(r"\b(?:is|are|was|were|has|have|had|will|must|should|can|cannot|does|do|did)\b")
_UNSURE = re.compile(
    r"\b(?:because|so that|in order to|due to|since|reason|thus|therefore|why|would|could|might|following|to help"
    r"|(?:report|find|show|say|state) that"
    r"|and .*(?:is|are|was|were))\b",
    re.IGNORECASE,
)
"""A reason that the document gives, a mere supposition, or a second clause that the rules took for a noun."""
_NAME = re.compile(r"(?<=[a-z,] )[A-Z][\w’'-]*[A-Za-z](?:(?: (?:of|and|the))? [A-Z][\w’'-]*[A-Za-z])*(?:['’]s)?")
_NO_NAME = re.compile(
    r"(?:January|February|March|April|May|June|July|August|September|October|November|December|\w+day|I|Mr|Ms|Dr"
    r"|English|French|German|Spanish|[A-Z]{2,})\b"
)
_DIGITS = re.compile(r"\d+")
_LONGEST = 28
"""Words of a question about a false premise."""
_BEFORE_NAME = re.compile(
    r"(?:[a-z]\w*|[,.]) [A-Z]\w+ $|\b(?:[Tt]he|[Aa]rticle|[Ss]ection|[Cc]hapter|[Rr]oute|[Pp]age|[Nn]umber|[Nn]o\.) $|±"
)
"""A number behind these is a name: "State Route 29", "the 60 freeway"."""
_KNOWN_TO_ALL = re.compile(r"When (?:is|are) ")
"""A holiday's date is known without the document."""
_LEAST = 2
"""Times a name must stand in the library for its stranger to be a near miss."""
_STEM = 6
"""First letters by which words count as the same when passages are looked through."""
_TELLS, _ABOUT = 0.4, 0.75
"""Share of a question's words in a paragraph that makes it answer, with the gold in it and without."""
_TREATED = 0.1
"""Share of the documents in which each of the anchors of a topic stands when a library is about it."""
_FACTS = frozenset({"money", "percent", "number", "date"})


class Corpus:
    """The whole text of a library, to make sure that nothing in it speaks of something."""

    def __init__(self, texts: Mapping[str, str]) -> None:
        self.texts = texts
        self._lower = {name: " ".join(text.lower().split()) for name, text in texts.items()}
        self._blocks: dict[str, list[str]] = {}

    def mentions(self, *prefixes: str) -> bool:
        """Whether a word of any document begins with one of the prefixes."""
        return self.share(*prefixes) > 0

    def share(self, *prefixes: str) -> float:
        """The share of the documents in which a word begins with one of the prefixes."""
        found = re.compile(r"\b(?:" + "|".join(re.escape(one.lower()) for one in prefixes) + ")")
        return sum(found.search(text) is not None for text in self._lower.values()) / max(1, len(self._lower))

    def count(self, words: str) -> int:
        """How often the words stand in the documents, case aside."""
        found = re.compile(rf"\b{re.escape(' '.join(words.lower().split()))}\b")
        return sum(len(found.findall(text)) for text in self._lower.values())

    def passages(self, gold: Sequence[str], *, without: Iterable[str] = ()) -> Iterator[str]:
        """Paragraphs of the other documents, evened, in which a gold answer stands, or its numbers do."""
        wanted = [f" {evened(one)} " for one in gold]
        numbers = {f" {key} " for one in wanted for key in one.split() if key[0].isdigit()}
        for block in self._others(without):
            if any(one in block for one in wanted) or (numbers and all(one in block for one in numbers)):
                yield block

    def about(self, words: set[str], share: float, *, without: Iterable[str] = ()) -> bool:
        """Whether a paragraph of another document holds this share of the words of meaning (see `overlap`)."""
        return any(overlap(words, block) >= share for block in self._others(without))

    def _others(self, without: Iterable[str]) -> Iterator[str]:
        away = set(without)
        for name, text in self.texts.items():
            if name not in self._blocks:
                self._blocks[name] = [f" {evened(block)} " for block in re.split(r"\n\s*\n", text) if block.strip()]
            if name not in away:
                yield from self._blocks[name]


def overlap(words: set[str], block: str) -> float:
    """The share of the words (`prose.content`) that an evened text seems to hold: by their first letters, quickly.

    >>> overlap({"polici", "travel"}, " our policy on leave ")
    0.5
    """
    return sum(f" {word[:_STEM].rstrip('i')}" in block for word in words) / max(1, len(words))


def off_corpus(queries: Sequence[str], corpus: Corpus, *, seed: int = 0) -> list[Case]:
    """Those of the queries that can be asked alone and that no document has half the words of."""
    made = []
    for query in queries:
        asked = query.removeprefix("Question:").strip()
        words = content(asked)
        if not asked.endswith("?") or not _ALONE.match(asked) or _CHOOSING.search(asked) or len(words) < 3:
            continue
        if all(len(words & content(text)) < 0.5 * len(words) for text in corpus.texts.values()):
            made.append(_case(asked, "off-corpus"))
    return _drawn(made, seed)


def near_miss(cases: Sequence[Case], corpus: Corpus, *, seed: int = 0) -> list[Case]:
    """Questions of the cases asked for a stranger, and matters of a workplace that no document of one mentions.

    Sorts take turns, so that the first of them are of every sort.
    """
    strangers = [name for name in COINED if not corpus.mentions(name)]
    random.Random(seed).shuffle(strangers)
    swapped, named = [], []
    for number, case in enumerate(_drawn(cases, seed)):
        if case.history or '"' in case.question or len(sentences(case.question)) > 1:
            continue
        other = _likened(case.question, corpus)
        if other:
            swapped.append(_case(other, "near-miss"))
            continue
        found = [name for name in _NAME.finditer(case.question) if _entity(name.group(), corpus)]
        alone = len(found) == 1 and case.question.count(found[0].group().split("'")[0]) == 1
        if strangers and alone and len(content(case.question)) >= 3 and _small(case.question[: found[0].start()]):
            name = found[0].group()
            stranger = strangers[number % len(strangers)] + ("'s" if name.endswith(("'s", "’s")) else "")
            named.append(_case(case.question.replace(name, stranger), "near-miss"))
    matters = []
    if all(corpus.share(*anchors) >= _TREATED for anchors in WORKPLACE_ANCHORS):
        matters = [_case(question, "near-miss") for question, watch in WORKPLACE if not corpus.mentions(*watch)]
    return _in_turn(swapped, _drawn(matters, seed), named)


def false_premise(corpus: Corpus, *, names: Iterable[str] | None = None, seed: int = 0) -> list[Case]:
    """Why-questions about a value that a document states otherwise; of `names` only, at most one of a sentence."""
    made = []
    for name in sorted(corpus.texts if names is None else names):
        text = corpus.texts.get(name, "")
        if not is_english(text):
            continue
        common = lowered(text)
        chance = random.Random(f"{seed} {name}")
        for span in sentences(text):
            line = text.rfind("\n", 0, span.start) + 1
            if text.startswith(("#", "|", "<", "`"), line):
                continue
            sentence = plain(text, span.start, span.end).text
            question = _presupposing(sentence, common, corpus, chance)
            if question:
                made.append(_case(question, "false-premise"))
    return _drawn(made, seed)


def superseded(cases: Sequence[Case], corpus: Corpus, *, seed: int = 0) -> list[Case]:
    """Cases whose only document is out of sight, where no other one seems to answer too."""
    made = []
    for case in cases:
        names = {span.document for span in case.spans}
        if len(names) != 1 or case.history or not case.gold or _KNOWN_TO_ALL.match(case.question):
            continue
        asked = content(case.question)
        told = (len(asked & content(block)) for block in corpus.passages(case.gold, without=names))
        if (
            max(told, default=0) >= 0.4 * len(asked)
            or contains(case.question, case.gold)
            or corpus.about(asked, 0.75, without=names)
        ):
            continue
        made.append(_case(case.question, "superseded", stale=case.gold, without=tuple(names)))
    return _drawn(made, seed)


def _case(question: str, why: WhyNot, *, stale: tuple[str, ...] = (), without: tuple[str, ...] = ()) -> Case:
    identity = hashlib.sha256(f"{why}\n{question}\n{without}".encode("utf-8", "surrogatepass")).hexdigest()[:12]
    return Case(
        question, kind="unanswerable", origin="sentence", id=f"u-{identity}", why=why, stale=stale, without=without
    )


def _drawn(cases: Iterable[Case], seed: int) -> list[Case]:
    """Each question once, whatever its numbers, in an order drawn by the seed, the same whatever the order was."""
    once = {_DIGITS.sub("0", evened(case.question)): case for case in cases}
    found = sorted(once.values(), key=lambda case: case.id)
    random.Random(seed).shuffle(found)
    return found


def _in_turn(*piles: Sequence[Case]) -> list[Case]:
    most = max(map(len, piles))
    return [pile[at] for at in range(most) for pile in piles if at < len(pile)]


def _likened(question: str, corpus: Corpus) -> str:
    """The question about another of the same sort, of which no document speaks; "" when there is none."""
    for group in LIKE:
        for known in group:
            found = re.search(rf"\b{re.escape(known)}\b", question)
            if not found:
                continue
            strange = [other for other in group if not corpus.count(other) and not corpus.mentions(other.split()[0])]
            if strange:
                other = strange[int(hashlib.sha256(question.encode()).hexdigest(), 16) % len(strange)]
                return question[: found.start()] + other + question[found.end() :]
    return ""


def _entity(name: str, corpus: Corpus) -> bool:
    bare = re.sub(r"['’]s$", "", name)
    return not _NO_NAME.match(bare) and corpus.count(bare) >= _LEAST and len(bare) > 2


def _small(before: str) -> bool:
    """Whether the word before is no part of the name."""
    last = before.split()[-1] if before.split() else ""
    return last.islower() or last.lower() in AUXILIARY or last in {"When", "Where", "Who", "What", "Why", "How"}


def _presupposing(sentence: str, common: frozenset[str], corpus: Corpus, chance: random.Random) -> str:
    """A question that takes another value for granted than the sentence states; "" when none is sure."""
    if not 6 <= len(sentence.split()) <= 45 or not sentence.endswith(".") or '"' in sentence or "“" in sentence:
        return ""
    even = _ASIDE.sub(lambda aside: " " * len(aside.group()), sentence)
    for fact in facts(even):
        if fact.kind not in _FACTS or _VAGUE.search(even[max(0, fact.start - 25) : fact.end + 12]):
            continue
        other = another(even[fact.start : fact.end], chance)
        named = fact.kind == "number" and _BEFORE_NAME.search(even[: fact.start])
        if other is None or named or other in even or _said(other, even, fact, corpus):
            continue
        question = _why(even[: fact.start] + other + even[fact.end :], other, common)
        if question:
            return question
    return ""


def _why(sentence: str, value: str, common: frozenset[str]) -> str:
    """Why what the sentence says is so, as far as the clause goes that holds the value; "" when it cannot be asked."""
    for text in (sentence, f"{sentence.split(',')[0].rstrip('.')}."):
        clause = parse(text, common)
        if clause is not None:
            rest = clause.rest()
            lead = f" {inside(text[slice(*clause.lead)], common)}" if clause.lead else ""
            asked = f"{clause.asked(rest)}{lead}"
            question = f"Why {asked}?" if whole(rest) else ""
        else:
            end = clause_end(text, 0)
            asked = tidy(text[:end])
            sure = end is not None and not _BAD_START.match(text) and _VERB.search(asked) and whole(asked)
            question = f"Why is it that {inside(asked, common)}?" if sure else ""
        usable = value in question and not unresolved(asked) and not _UNSURE.search(asked)
        if usable and len(content(question)) >= 5 and len(question.split()) <= _LONGEST:
            return question
    return ""


def _said(other: str, sentence: str, fact: Fact, corpus: Corpus) -> bool:
    """Whether a document has the other value in front of the same word, so that it may hold somewhere."""
    after = re.match(r"\s*([\w-]+)", sentence[fact.end :])
    return corpus.count(f"{other} {after.group(1)}" if after else other) > 0
