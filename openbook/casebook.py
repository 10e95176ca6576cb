"""A library, the user's questions and what was trained on in; the cases of a comparison and how they came about out.

Joins questions, conversations, probes and the leakage check. Cases are made only from documents that no training
example came from: what was learned from a document must not be mistaken for what can be learned in general.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from openbook.errors import LibraryError, UsageError
from openbook.records import Case, CaseKind, Example, Message

if TYPE_CHECKING:
    from openbook.assemble import House
    from openbook.questions import Review
    from openbook.questions.review import Ask
    from openbook.questions.shelf import Shelf
    from openbook.seams import Progress

SHARES: Mapping[str, float] = {"answerable": 0.5, "unanswerable": 0.25, "conflict": 0.125, "late": 0.125}
"""Of the cases that are made; what cannot be made of one kind is made of the others, as far as _MORE."""
_MORE = 1.5
"""Times its share that a kind other than answerable may have: 80 % unanswerable ones would crown who always refuses."""
PARAPHRASED = 0.15
"""Share of the made answerable cases that ask another one's question in other words."""
GAP, DISAGREEMENT = 0.1, 0.3
"""The difference a comparison should show, and the share of cases that two arms usually differ on."""
_LONGEST = 12
"""Words of a gold answer made by rule: nobody repeats a longer one word for word."""
_SPARE = 3
"""Questions made per case wanted: most are blanks and headings, which nobody asks."""
_EACH = 5
"""Questions of one document, at most: those of one document stand or fall together, and a table could give dozens."""
_NOT_ASKED = re.compile(r"Fill in the blank|(?:And )?what (?:do the documents|does \".+\") say about", re.IGNORECASE)


@dataclass(slots=True)
class _Book:
    """What is to be said about cases while they are gathered."""

    warnings: list[str] = field(default_factory=list)
    rejected: Counter[str] = field(default_factory=Counter)


def prepare(
    house: House,
    *,
    files: Sequence[Path],
    conversations: Sequence[Path] = (),
    made: int = 0,
    kinds: Collection[str] | None = None,
    training: Sequence[Example],
    trained_documents: Collection[str],
    trained_version: int | None,
    seed: int,
    review: Ask | None,
    progress: Progress | None,
    groups: Sequence[str] = (),
    pages: Path | None = None,
) -> tuple[list[Case], dict[str, Any]]:
    """The user's cases, held-out conversations as behaviour cases, and at most `made` cases from the library.

    kinds: only these, None for all. trained_version: the library as it was trained on; documents added since give late
    cases. review: asked about a random part of the made cases, of which the rejected ones are left out; with `pages`,
    a folder, the same is written there to be decided later. groups: whose documents count beside those open to all.

    Facts, plain data: "accepted" (what the review said, None when nobody was asked), "leaks" (compare.cases.Leak; of
    made cases and conversations leaked ones are left out, the user's own stay), "warnings", "kinds" (kind -> cases),
    "documents" (that cases are about), "rejected" (why -> how many left out), "made", "given", "version".
    Raises UsageError for an unknown kind, ExamplesError for a file that cannot be read.
    """
    from openbook.compare.cases import leaks, split_leaked
    from openbook.questions.shelf import Shelf

    wanted = _kinds(kinds)
    shelf = Shelf(house.library, groups=groups, version=None)
    book = _Book()
    given = [case for case in _given(house, files, shelf, book, groups) if case.kind in wanted]
    held = _behaviour(conversations, book) if "behaviour" in wanted else []
    found = leaks(given, training)
    of_talks = leaks(held, training)
    held, known = split_leaked(held, of_talks)
    if known:
        book.warnings.append(f"{len(known)} conversations were trained on and are left out; hold some out of training")
    if grave := {leak.case for leak in found if leak.grave}:
        book.warnings.append(
            f"{len(grave)} of {len(given)} given cases share a document or words with the training: what they show of "
            "tuned arms may be remembered"
        )
    added: list[Case] = []
    reviewed: Review | None = None
    if made > 0:
        touched = _touched(shelf, {*trained_documents, *(one.document for one in training if one.document)})
        later = _later(house, shelf, trained_version, book) - touched if "late" in wanted else set()
        added = _Maker(house, shelf, touched, later, wanted, groups, seed, book).make(made, given, progress)
        clean, leaked = split_leaked(added, leaks(added, training))
        book.rejected["shares words with the training"] += len(leaked)
        reviewed = _reviewed(house, clean, seed, review, pages)
        added = _without(clean, reviewed, book)
    cases = _once([*given, *held, *added], book)
    book.warnings += _too_few(cases, made, len(added))
    kept = {case.id for case in cases}
    facts = {
        "accepted": reviewed.facts() if reviewed is not None and reviewed.reviewed else None,
        "leaks": [asdict(leak) for leak in (*found, *of_talks) if leak.case in kept],
        "warnings": book.warnings,
        "kinds": dict(Counter(case.kind for case in cases)),
        "documents": len(_documents(cases)),
        "rejected": {why: count for why, count in sorted(book.rejected.items()) if count},
        "made": len(added),
        "given": len(given) + len(held),
        "version": shelf.version,
    }
    return cases, facts


def _kinds(kinds: Collection[str] | None) -> set[str]:
    known = get_args(CaseKind)
    for kind in kinds or ():
        if kind not in known:
            raise UsageError(f"kind {kind!r} does not exist; use one of {', '.join(known)}")
    return set(kinds or known)


def _given(house: House, files: Sequence[Path], shelf: Shelf, book: _Book, groups: Sequence[str]) -> list[Case]:
    """The user's cases, located; each with an id."""
    from openbook import questions as asking
    from openbook.compare.cases import identity

    read = asking.read(files)
    book.warnings += read.problems
    cases, notes = asking.locate(read, house.library, groups=groups, version=shelf.version)
    book.warnings += notes
    known = {info.name for info in shelf.infos}
    placed = [replace(case, without=tuple(_hidden(case, known, book))) if case.without else case for case in cases]
    return [case if case.id else replace(case, id=identity(case)) for case in placed]


def _hidden(case: Case, known: Collection[str], book: _Book) -> Iterator[str]:
    """The documents a case takes out of sight, by the end of their path where that tells which."""
    for name in case.without:
        ending = [one for one in known if one == name or one.endswith(f"/{name.lstrip('/')}")]
        if len(ending) == 1:
            yield ending[0]
        else:
            which = "several documents" if ending else "no document"
            book.warnings.append(
                f"{case.id or case.question[:60]!r}: {name!r} names {which} to take out of sight; mend the name"
            )


def _behaviour(paths: Sequence[Path], book: _Book) -> list[Case]:
    """Conversations as cases: the last reply is the reference, what came before is the history."""
    from openbook.compare.cases import identity
    from openbook.finetune import examples

    if not paths:
        return []
    loaded = examples.read(paths)
    book.warnings += [f"{problem.file}:{problem.line}: {problem.what}" for problem in loaded.problems]
    cases = []
    for example in loaded.examples:
        *before, last = example.messages
        if not before or before[-1].role != "user" or last.role != "assistant":
            book.rejected["a conversation that does not end with a question and its reply"] += 1
            continue
        history = tuple(Message(turn.role, turn.content) for turn in before[:-1])
        case = Case(before[-1].content, (last.content,), kind="behaviour", history=history)
        cases.append(replace(case, id=identity(case)))
    return cases


def _touched(shelf: Shelf, trained: set[str]) -> set[str]:
    """The documents trained on and those that hold largely the same text."""
    from openbook.questions import divide

    if not trained:
        return set()
    sketches = {
        info.name: divide.sketch(document.text)
        for info in shelf.infos
        if (document := shelf.document(info.name)) is not None
    }
    groups = divide.twins(sketches)
    return trained.union(*(set(group) for group in groups if trained & set(group)))


def _later(house: House, shelf: Shelf, version: int | None, book: _Book) -> set[str]:
    """Documents that the library did not have when it was trained on."""
    if version is None:
        return set()
    try:
        before = {info.name for info in house.library.documents(version=version)}
    except LibraryError as error:
        book.warnings.append(f"there are no late cases, for what was trained on is not known any more: {error}")
        return set()
    return {info.name for info in shelf.infos} - before


class _Maker:
    """Makes cases of each kind from documents that were not trained on."""

    def __init__(
        self,
        house: House,
        shelf: Shelf,
        touched: set[str],
        later: set[str],
        kinds: set[str],
        groups: Sequence[str],
        seed: int,
        book: _Book,
    ) -> None:
        self._house, self._shelf, self._touched, self._later = house, shelf, touched, later
        self._kinds, self._groups, self._seed, self._book = kinds, groups, seed, book

    def make(self, most: int, given: Sequence[Case], progress: Progress | None) -> list[Case]:
        open_ = [info.name for info in self._shelf.infos if info.name not in self._touched]
        if not open_:
            self._book.warnings.append(
                "no case was made from the library: every document was trained on; "
                "give cases of your own, or train on a part of the documents"
            )
            return []
        questions = self._questions(most, progress)
        late = [replace(case, kind="late") for case in questions if self._about(case) & self._later]
        plain = [case for case in questions if not self._about(case) & self._later]
        own = [case for case in given if case.kind == "answerable" and case.spans and self._free(case)]
        piles: dict[str, list[Case]] = {
            "answerable": plain,
            "late": late,
            "unanswerable": self._unanswerable([*plain, *own], set(open_)) if "unanswerable" in self._kinds else [],
            "conflict": self._conflicts([*plain, *own]) if "conflict" in self._kinds else [],
        }
        sizes = _sizes(most, {kind: len(pile) for kind, pile in piles.items() if kind in self._kinds})
        chosen = {kind: piles[kind][:size] for kind, size in sizes.items()}
        chosen["answerable"] = self._paraphrased(chosen.get("answerable", []), most - sum(sizes.values()))
        return [case for kind in piles for case in chosen.get(kind, [])]

    def _questions(self, most: int, progress: Progress | None) -> list[Case]:
        """Natural questions with short answers, in turn from each document."""
        from openbook import questions as asking

        settings = self._house.settings.reading.model_copy(
            update={"questions": _SPARE * most + 50, "groups": tuple(self._groups)}
        )
        built = asking.build(
            self._house.library,
            settings=settings,
            seed=self._seed,
            progress=progress,
            version=self._shelf.version,
            apart=self._touched,
        )
        self._book.rejected.update(built.rejected)
        asked = [case for case in built.cases if not _NOT_ASKED.match(case.question)]
        short = [case for case in asked if len(case.gold[0].split()) <= _LONGEST]
        seen: Counter[str] = Counter()
        spread = []
        for case in short:
            seen[case.spans[0].document] += 1
            if seen[case.spans[0].document] <= _EACH:
                spread.append(case)
        self._book.rejected["its document has enough questions"] += len(short) - len(spread)
        self._book.rejected["a blank or a heading, as nobody asks"] += len(built.cases) - len(asked)
        self._book.rejected["an answer too long to be found again"] += len(asked) - len(short)
        return spread

    def _unanswerable(self, cases: Sequence[Case], open_: set[str]) -> list[Case]:
        """The four types in turn."""
        from openbook.finetune import probes
        from openbook.questions import unanswerable as without_answer

        corpus = without_answer.Corpus(
            {
                info.name: document.text
                for info in self._shelf.infos
                if (document := self._shelf.document(info.name)) is not None
            }
        )
        queries = [choice.query for choice in probes.choices("arc_easy")]
        kinds = (
            without_answer.near_miss(cases, corpus, seed=self._seed),
            without_answer.false_premise(corpus, names=open_, seed=self._seed),
            without_answer.superseded(cases, corpus, seed=self._seed),
            without_answer.off_corpus(queries, corpus, seed=self._seed),
        )
        return [kind[at] for at in range(max(map(len, kinds))) for kind in kinds if at < len(kind)]

    def _conflicts(self, cases: Sequence[Case]) -> list[Case]:
        from openbook.questions.conflict import conflicts

        names = {name for case in cases for name in self._about(case)}
        return conflicts(cases, {name: self._shelf.chunks(name) for name in names}, seed=self._seed)

    def _paraphrased(self, chosen: Sequence[Case], room: int) -> list[Case]:
        """The cases with some in other words, on top as far as there is room and else in the place of the last ones."""
        from openbook.questions.paraphrase import reworded

        wanted = round(PARAPHRASED * len(chosen))
        kept = list(chosen[: len(chosen) - max(0, wanted - room)])
        more: list[Case] = []
        for at, case in enumerate(kept):
            if len(more) == wanted:
                break
            document = self._shelf.document(case.spans[0].document)
            others = reworded(case, document.text if document else "")
            if others:
                kept[at] = replace(case, same=case.id)
                more.append(replace(case, question=others[0], id=f"{case.id}-again", same=case.id))
        return [*kept, *more]

    def _about(self, case: Case) -> set[str]:
        return {span.document for span in case.spans}

    def _free(self, case: Case) -> bool:
        return not self._about(case) & self._touched


def _sizes(most: int, available: Mapping[str, int]) -> dict[str, int]:
    """How many of each kind: by SHARES, and what one cannot give the others do. Paraphrases may add to the answerable.

    >>> _sizes(40, {"answerable": 100, "unanswerable": 100, "conflict": 2, "late": 0})
    {'answerable': 26, 'unanswerable': 12, 'conflict': 2, 'late': 0}
    """
    bounded = "answerable" in available
    caps = {
        kind: min(count, round(_MORE * SHARES[kind] * most)) if bounded and kind != "answerable" else count
        for kind, count in available.items()
    }
    sizes = dict.fromkeys(available, 0)
    left, some = most, {kind for kind, count in caps.items() if count}
    while left > 0 and some:
        whole = sum(SHARES[kind] for kind in some)
        parts = {kind: max(1, round(left * SHARES[kind] / whole)) for kind in sorted(some)}
        for kind, part in parts.items():
            more = min(part, caps[kind] - sizes[kind], left)
            sizes[kind] += more
            left -= more
        some = {kind for kind in some if sizes[kind] < caps[kind]}
    return sizes


def _reviewed(house: House, cases: Sequence[Case], seed: int, ask: Ask | None, pages: Path | None) -> Review:
    from openbook.questions import review
    from openbook.questions.review import write

    found = review(cases, house.settings.reading.review, seed, ask=ask)
    if pages is not None:
        pages.mkdir(parents=True, exist_ok=True)
        write(found, pages)
    return found


def _without(cases: Sequence[Case], reviewed: Review, book: _Book) -> list[Case]:
    """The cases without those rejected and the rewordings of these."""
    away = {*reviewed.rejected, *(f"{name}-again" for name in reviewed.rejected)}
    book.rejected["rejected in the review"] += sum(case.id in away for case in cases)
    return [case for case in cases if case.id not in away]


def _once(cases: Sequence[Case], book: _Book) -> list[Case]:
    """Each case once: the same question with the same history, passages and documents out of sight is the same."""
    seen: set[Any] = set()
    kept = []
    for case in cases:
        key = (" ".join(case.question.lower().split()), case.history, case.contexts, case.without)
        if key in seen:
            book.rejected["asked already"] += 1
            book.warnings.append(f"{case.question[:60]!r} is asked twice; the later one is left out")
        else:
            seen.add(key)
            kept.append(case)
    return kept


def _documents(cases: Sequence[Case]) -> set[str]:
    return {name for case in cases for name in (*(span.document for span in case.spans), *case.without)}


def _too_few(cases: Sequence[Case], wanted: int, made: int) -> list[str]:
    """What the numbers of cases cannot show, with the number that could."""
    from openbook.compare import stats
    from openbook.compare.report import cluster

    need = stats.needed(GAP, DISAGREEMENT)
    said = []
    if made < wanted:
        said.append(
            f"{made} of {wanted} cases could be made from the library; add documents, or give cases of your own"
        )
    if len(cases) < need:
        seen = [row.gap for row in stats.power_table(len(cases), disagreements=(DISAGREEMENT,))] if cases else []
        best = f"a gap of {seen[0]:.0%} or more" if seen else "no gap"
        said.append(
            f"{len(cases)} cases show {best} between two arms; {need} would show {GAP:.0%} "
            f"(arms differing on {DISAGREEMENT:.0%} of the cases)"
        )
    few = [(kind, count) for kind, count in Counter(case.kind for case in cases).items() if count < need]
    if len(few) > 1:
        listed = ", ".join(f"{count} {kind}" for kind, count in few)
        said.append(f"of single kinds there are fewer than these {need}: {listed}; differences within one are hints")
    clusters = len({cluster(case) for case in cases})
    if cases and clusters < stats.FEWEST:
        said.append(
            f"the cases are about {clusters} documents and conversations; "
            f"below {stats.FEWEST} no difference can be shown"
        )
    return said
