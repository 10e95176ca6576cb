"""Cases in, the same cases frozen on disk under a hash out; and which of them the training has seen already.

Knows no library and no model: `texts` hands it a document's text. What is frozen is never changed: a comparison of
other cases is another comparison.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

from openbook.compare.schema import FORMAT
from openbook.errors import CompareError
from openbook.files import write_atomic
from openbook.metrics import evened
from openbook.prose import content
from openbook.records import Case, Example

CASES, SEAL = "cases.jsonl", "cases.json"
GRAM = 8
"""Words in a row that stand in a case and in the training by copying, hardly by chance."""
ALIKE = 80.0
"""rapidfuzz token_sort_ratio (0-100) of evened questions from which two with the same words of meaning ask the same."""
GOLDLESS = frozenset({"unanswerable"})
"""Kinds of cases that need no gold answer."""

How = Literal["document", "reply", "question", "shown"]

_USUAL = 3
"""Words that stand in more texts of a training are its form (a greeting, a task's wording), which behaviour shares."""
_WORD = re.compile(r"\w+")
_FENCED = re.compile(r"<passage\b.*</passage>", re.DOTALL)
_HINTED = re.compile(r"\n*Closest sentences in the passages:\n.*?\n\n", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Frozen:
    """Cases as they were decided before anything ran."""

    cases: tuple[Case, ...]
    hash: str
    """sha256 hex of cases.jsonl."""
    facts: Mapping[str, Any]
    """How they came about; see openbook.casebook.prepare."""


@dataclass(frozen=True, slots=True)
class Leak:
    """What a case has in common with the training."""

    case: str
    """Case.id."""
    how: How
    """The training learned from the same document; learned the case's words; was asked the same; had its gold answer
    among the passages it read, as an example of what does not help."""
    example: str
    """Where the training example stands."""
    text: str
    """The document, the words in common, or the question."""

    @property
    def grave(self) -> bool:
        """Whether the answer may have been learned; a passage that is only shown is no target."""
        return self.how != "shown"


def freeze(
    cases: Sequence[Case],
    folder: Path,
    *,
    facts: Mapping[str, Any],
    texts: Callable[[str], str | None] | None = None,
) -> Frozen:
    """Write the cases to folder/cases.jsonl and their sha256 with the facts to folder/cases.json, which seals them.

    Cases without an id get one made of what they say. `texts` gives a document's text, None for one that does not
    exist; with it every gold span is checked. The same cases frozen again are left as they are.
    Raises CompareError for no case, an id that stands there twice, a case without gold that needs one, a span that its
    document does not have, and other cases in the folder.
    """
    named = [case if case.id else replace(case, id=identity(case)) for case in cases]
    _check(named, texts)
    data = b"".join(map(_line, named))
    digest = hashlib.sha256(data).hexdigest()
    if sealed(folder):
        before = read_frozen(folder)
        if before.hash != digest:
            raise CompareError(
                f"{str(folder)!r} holds {len(before.cases)} other cases (sha256 {before.hash[:12]}), and frozen cases "
                "are never replaced; compare in a new folder"
            )
        return before
    write_atomic(folder / CASES, data)
    seal = {"format": FORMAT, "sha256": digest, "n": len(named), "facts": dict(facts)}
    write_atomic(folder / SEAL, json.dumps(seal, ensure_ascii=False, indent=1))
    return Frozen(tuple(named), digest, dict(facts))


def read_frozen(folder: Path) -> Frozen:
    """The cases of a folder that `freeze` wrote. Raises CompareError when they are missing or were changed since."""
    from pydantic import TypeAdapter

    try:
        seal = json.loads((folder / SEAL).read_text(encoding="utf-8"))
        data = (folder / CASES).read_bytes()
    except (OSError, ValueError) as error:
        raise CompareError(
            f"{str(folder)!r} holds no frozen cases ({error}); make them with: openbook compare"
        ) from None
    found = seal.get("format") if isinstance(seal, dict) else None
    if found != FORMAT:
        raise CompareError(
            f"the cases in {str(folder)!r} have the format {found!r} and this openbook reads {FORMAT}; "
            "compare in a new folder"
        )
    digest = hashlib.sha256(data).hexdigest()
    if digest != seal.get("sha256"):
        raise CompareError(
            f"{str(folder / CASES)!r} was changed after it was frozen (sha256 {digest[:12]}, not "
            f"{str(seal.get('sha256'))[:12]}); put it back, or compare in a new folder"
        )
    try:
        lines = data.decode().split("\n")
        cases = tuple(TypeAdapter(Case).validate_json(line) for line in lines if line)
    except ValueError as error:
        raise CompareError(f"{str(folder / CASES)!r} cannot be read ({error}); compare in a new folder") from None
    return Frozen(cases, digest, seal.get("facts") or {})


def sealed(folder: Path) -> bool:
    """Whether the folder holds frozen cases; the seal is written last, so half written ones do not count."""
    return (folder / SEAL).is_file()


def identity(case: Case) -> str:
    """An id made of everything a case says, its own id aside: the same case has the same everywhere.

    >>> identity(Case("Who?", ("Ann",))) == identity(Case("Who?", ("Ann",), id="7"))
    True
    """
    said = json.dumps(asdict(replace(case, id="", same="")), ensure_ascii=False, sort_keys=True)
    return f"c-{hashlib.sha256(said.encode('utf-8', 'surrogatepass')).hexdigest()[:12]}"


def leaks(cases: Sequence[Case], training: Sequence[Example]) -> list[Leak]:
    """What the cases share with training examples, at most one leak of each sort for a case.

    Shared are: the document; eight words in a row of the question or of a gold answer, in what was learned ("reply") or
    asked ("question") or only shown as a passage ("shown"); a question that is nearly the same.
    """
    found: dict[tuple[str, str], Leak] = {}

    def leak(case: Case, how: How, example: Example, text: str) -> None:
        found.setdefault((_key(case), how), Leak(_key(case), how, example.place, text))

    by_document: dict[str, list[Case]] = {}
    by_gram: dict[str, list[Case]] = {}
    for case in cases:
        for name in {span.document for span in case.spans} | set(case.without):
            by_document.setdefault(name, []).append(case)
        for gram in {gram for text in (case.question, *case.gold, *case.contexts) for gram in _grams(text)}:
            by_gram.setdefault(gram, []).append(case)
    asked: dict[str, Example] = {}
    texts: dict[str, tuple[How, Example]] = {}
    for example in training:
        for case in by_document.get(example.document, ()) if example.document else ():
            leak(case, "document", example, example.document)
        for how, text in _parts(example):
            texts.setdefault(text, (how, example))
            if how == "question":
                asked.setdefault(evened(text), example)
    standing: dict[str, list[tuple[How, Example]]] = {}
    for text, place in texts.items():
        for gram in dict.fromkeys(_grams(text)):
            if gram in by_gram:
                standing.setdefault(gram, []).append(place)
    usual = max(_USUAL, len(texts) // 100)
    for gram, places in standing.items():
        for case in by_gram[gram]:
            if case.kind != "behaviour" or len(places) <= usual:
                for how, example in places:
                    leak(case, how, example, gram)
    for case in cases:
        twin = _twin(case, asked)
        if twin is not None:
            leak(case, "question", asked[twin], twin)
    return sorted(found.values(), key=lambda one: (one.case, one.how))


def split_leaked(cases: Sequence[Case], found: Iterable[Leak]) -> tuple[list[Case], list[Case]]:
    """(clean, leaked): leaked are those with a grave leak. The order of the cases is kept."""
    away = {leak.case for leak in found if leak.grave}
    return [case for case in cases if _key(case) not in away], [case for case in cases if _key(case) in away]


def _line(case: Case) -> bytes:
    try:
        return f"{json.dumps(asdict(case), ensure_ascii=False)}\n".encode()
    except UnicodeEncodeError:
        raise CompareError(
            f"case {case.id!r} ({case.question[:60]!a}) holds half of a surrogate pair, which is no character; mend it"
        ) from None


def _key(case: Case) -> str:
    return case.id or identity(case)


def _check(cases: Sequence[Case], texts: Callable[[str], str | None] | None) -> None:
    if not cases:
        raise CompareError("there is no case to compare on; give questions of your own, or have some made")
    twice = [name for name, count in Counter(case.id for case in cases).items() if count > 1]
    if twice:
        same = [case.question for case in cases if case.id == twice[0]]
        raise CompareError(
            f"the id {twice[0]!r} stands there {len(same)} times ({same[0][:60]!r}, {same[1][:60]!r}); give each case "
            "its own"
        )
    lengths: dict[str, int | None] = {}
    for case in cases:
        if not case.gold and case.kind not in GOLDLESS:
            raise CompareError(
                f"case {case.id!r} ({case.question[:60]!r}) is {case.kind} and has no gold answer; add one, or make it "
                "unanswerable"
            )
        if case.gold and case.kind in GOLDLESS:
            raise CompareError(
                f"case {case.id!r} ({case.question[:60]!r}) is {case.kind} and has the gold answer "
                f"{case.gold[0][:40]!r}; remove one of both"
            )
        for span in case.spans:
            if texts is not None and span.document not in lengths:
                text = texts(span.document)
                lengths[span.document] = None if text is None else len(text)
            length = lengths.get(span.document, span.end)
            if length is None or not 0 <= span.start < span.end <= length:
                within = "is not in the library" if length is None else f"has {length} characters"
                raise CompareError(
                    f"case {case.id!r}: the gold span {span.start}-{span.end} is outside the library: "
                    f"{span.document!r} {within}; mend the case, or sync the document"
                )


def _grams(text: str) -> Iterator[str]:
    words = [word.lower() for word in _WORD.findall(text)]
    return (" ".join(words[at : at + GRAM]) for at in range(len(words) - GRAM + 1))


def _parts(example: Example) -> Iterator[tuple[How, str]]:
    """What an example teaches, asks and shows."""
    last = len(example.messages) - 1
    for at, turn in enumerate(example.messages):
        if turn.role == "assistant" and (at == last or not example.last_only):
            yield "reply", turn.content
        elif turn.role == "user":
            for fenced in _FENCED.findall(turn.content):
                yield "shown", fenced
            bare = _HINTED.sub("\n", _FENCED.sub("", turn.content)).strip()
            yield "question", bare.removeprefix("Question: ")


def _twin(case: Case, asked: Mapping[str, Example]) -> str | None:
    """The training's question that asks the same: nearly the same words, and the same words that carry meaning."""
    from rapidfuzz import fuzz, process

    question = evened(case.question)
    if question in asked:
        return question
    close = process.extract(question, list(asked), scorer=fuzz.token_sort_ratio, score_cutoff=ALIKE, limit=5)
    meant = content(question)
    return next((other for other, _, _ in close if content(other) == meant), None)
