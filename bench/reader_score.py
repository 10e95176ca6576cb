"""A model's words and what it was shown in, verdicts, shares and tables out. Knows no model.

Two levels. The model's own text: does it hold the gold answer, does it name the right passage by [n], is it a refusal.
The product's answer: the same text after openbook.answer.ask has declined, checked the citations or fallen back.
"""

from __future__ import annotations

import math
import re
import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bench.common import table
from bench.reader_cases import ANSWERED, REFUSED, Item
from bench.reader_models import Reply
from bench.scoring import contains_gold, wilson
from openbook import metrics
from openbook.answer.ask import FALLBACK_NOTE
from openbook.prompt import declined
from openbook.records import Answer

_MARKER = re.compile(r"\[\s*(\d{1,2}(?:\s*[,;]\s*\d{1,2})*)\s*\]")


@dataclass(frozen=True, slots=True)
class Row:
    """One reply of one arm, judged; the fields from `answer` on are the product's, None where there is no product."""

    arm: str
    id: str
    kind: str
    cluster: str
    question: str
    gold: tuple[str, ...]
    shown: tuple[str, ...]
    """The passages' documents, best first."""
    right: tuple[int, ...]
    text: str
    prompt_tokens: int
    tokens: int
    cut: bool
    says: bool
    """Holds the gold answer and is no refusal."""
    cites: tuple[int, ...]
    """The numbers in its markers, in order."""
    cites_right: bool
    """Names a passage that holds the answer."""
    cites_only_right: bool
    refuses: bool
    says_true: bool
    """Conflict only: holds the answer that was replaced."""
    answer: str | None = None
    answer_says: bool | None = None
    answer_cites_right: bool | None = None
    """A verified citation lies in a passage that holds the answer."""
    answer_quotes: bool | None = None
    """A verified citation's quote holds the answer's words."""
    answer_refuses: bool | None = None
    fell_back: bool | None = None


def cited(text: str) -> tuple[int, ...]:
    """The passage numbers a text names, in order, each once.

    >>> cited("It rains [2]. It pours [1, 2]."), cited("Founded in [1954].")
    ((2, 1), ())
    """
    return tuple(
        dict.fromkeys(int(number) for marker in _MARKER.findall(text) for number in re.findall(r"\d+", marker))
    )


def judge(arm: str, item: Item, reply: Reply, answer: Answer | None) -> Row:
    """Verdicts on a reply, and on the product's answer made of it."""
    refuses = declined(reply.text)
    numbers = cited(reply.text)
    right = [item.hits[number - 1].chunk for number in item.right]
    product: dict[str, Any] = {}
    if answer is not None:
        inside = [
            one
            for one in answer.citations
            for chunk in right
            if one.document == chunk.document and chunk.start <= one.start and one.end <= chunk.end
        ]
        product = {
            "answer": answer.text,
            "answer_says": not answer.abstained and contains_gold(answer.text, item.gold),
            "answer_cites_right": bool(inside),
            "answer_quotes": any(contains_gold(one.quote, item.gold) for one in inside),
            "answer_refuses": answer.abstained,
            "fell_back": FALLBACK_NOTE in answer.notes,
        }
    return Row(
        arm=arm,
        id=item.id,
        kind=item.kind,
        cluster=item.cluster,
        question=item.question,
        gold=item.gold,
        shown=tuple(hit.chunk.document for hit in item.hits),
        right=item.right,
        text=reply.text,
        prompt_tokens=reply.prompt_tokens,
        tokens=reply.tokens,
        cut=reply.cut,
        says=not refuses and contains_gold(reply.text, item.gold),
        cites=numbers,
        cites_right=any(number in item.right for number in numbers),
        cites_only_right=bool(numbers) and all(number in item.right for number in numbers),
        refuses=refuses,
        says_true=bool(item.true) and contains_gold(reply.text, item.true),
        **product,
    )


Share = tuple[float, float, float, int]
Holds = Callable[[Row], bool]

_ANSWERING: Mapping[str, Holds] = {
    "answer contains gold": lambda row: row.says,
    "right citation": lambda row: row.cites_right,
    "both": lambda row: row.says and row.cites_right,
    "only right citations": lambda row: row.cites_only_right,
    "false refusal": lambda row: row.refuses,
    "cut at the limit": lambda row: row.cut,
}
_PRODUCT: Mapping[str, Holds] = {
    "product: answer contains gold": lambda row: bool(row.answer_says),
    "product: right citation": lambda row: bool(row.answer_cites_right),
    "product: both": lambda row: bool(row.answer_says and row.answer_cites_right),
    "product: right, and quotes it": lambda row: bool(row.answer_says and row.answer_quotes),
    "product: false refusal": lambda row: bool(row.answer_refuses),
    "product: fell back": lambda row: bool(row.fell_back),
}


def summary(rows: Sequence[Row]) -> dict[str, Share | float]:
    """Shares with Wilson intervals and n, named "kind: measure", of the rows of one arm."""
    found: dict[str, Share | float] = {}

    def add(name: str, of: Sequence[Row], holds: Holds) -> None:
        found[name] = _share(of, holds)

    for kind in ANSWERED:
        if some := [row for row in rows if row.kind == kind]:
            with_product = some[0].answer is not None
            for name, holds in {**_ANSWERING, **(_PRODUCT if with_product else {})}.items():
                add(f"{kind}: {name}", some, holds)
            if kind != "oracle" and with_product:
                add(f"{kind}: naming always [1] would be right", some, lambda row: 1 in row.right)
            found[f"{kind}: answer tokens, median"] = statistics.median(row.tokens for row in some)
    refusing = [row for row in rows if row.kind in REFUSED]
    for kind in ("unanswerable", *REFUSED) if refusing else ():
        if some := refusing if kind == "unanswerable" else [row for row in refusing if row.kind == kind]:
            add(f"{kind}: refusal", some, lambda row: row.refuses)
            if some[0].answer is not None:
                add(f"{kind}: product: refusal", some, lambda row: bool(row.answer_refuses))
    if some := [row for row in rows if row.kind == "conflict"]:
        add("conflict: followed", some, lambda row: row.says and not row.says_true)
        add("conflict: followed and cited", some, lambda row: row.says and not row.says_true and row.cites_right)
        add("conflict: says what was replaced", some, lambda row: row.says_true)
        add("conflict: refusal", some, lambda row: row.refuses)
    return found


def mcnemar(before: Sequence[bool], after: Sequence[bool]) -> tuple[int, int, float]:
    """Only before, only after, and the exact two-sided p that both are as likely (McNemar 1947, binomial).

    >>> mcnemar([True, False, False, False], [False, True, True, True])
    (1, 3, 0.625)
    """
    lost = sum(one and not other for one, other in zip(before, after, strict=True))
    won = sum(other and not one for one, other in zip(before, after, strict=True))
    n = lost + won
    tail = sum(math.comb(n, k) for k in range(min(lost, won) + 1)) / 2**n
    return lost, won, min(1.0, 2 * tail)


def pair(before: Sequence[Row], after: Sequence[Row]) -> dict[str, dict[str, Any]]:
    """What the second arm changes against the first on the items both answered: difference, interval, McNemar."""
    known = {(row.id, row.kind): row for row in before}
    both = [(known[row.id, row.kind], row) for row in after if (row.id, row.kind) in known]
    compared: dict[str, tuple[Iterable[str], Holds]] = {
        "both": (("answerable",), _ANSWERING["both"]),
        "answer contains gold": (("answerable",), _ANSWERING["answer contains gold"]),
        "product: both": (("answerable",), _PRODUCT["product: both"]),
        "product: answer contains gold": (("answerable",), _PRODUCT["product: answer contains gold"]),
        "refusal of unanswerable": (REFUSED, lambda row: row.refuses),
        "false refusal": (("answerable",), _ANSWERING["false refusal"]),
    }
    found = {}
    for name, (kinds, holds) in compared.items():
        some = [(one, other) for one, other in both if one.kind in kinds]
        if some:
            old, new = [holds(one) for one, _ in some], [holds(other) for _, other in some]
            change = metrics.paired(
                [float(one) for one in old], [float(one) for one in new], [one.cluster for one, _ in some]
            )
            lost, won, p = mcnemar(old, new)
            found[name] = {
                "difference": change.difference,
                "low": change.low,
                "high": change.high,
                "n": len(some),
                "only before": lost,
                "only after": won,
                "mcnemar p": p,
            }
    return found


def pair_table(pairs: Mapping[str, Mapping[str, Any]]) -> str:
    """pair()'s result as Markdown."""
    return table(
        ["", "difference", "n", "only before", "only after", "McNemar p"],
        [
            [
                name,
                f"{one['difference']:+.3f} [{one['low']:+.3f}, {one['high']:+.3f}]",
                one["n"],
                one["only before"],
                one["only after"],
                f"{one['mcnemar p']:.2g}",
            ]
            for name, one in pairs.items()
        ],
    )


def shares_table(summaries: Mapping[str, Mapping[str, Any]], *, only: Callable[[str], bool] = lambda _: True) -> str:
    """Arms side by side as Markdown; a measure that no arm has is left out."""
    names = dict.fromkeys(name for one in summaries.values() for name in one if only(name))
    return table(
        ["", *summaries],
        [[name, *(shown(one.get(name)) for one in summaries.values())] for name in names],
    )


def shown(value: object) -> object:
    """A share with interval and n; other values as they are.

    >>> shown((0.5, 0.31, 0.69, 24))
    '.50 [.31, .69] n=24'
    """
    if isinstance(value, (tuple, list)):
        share, low, high, n = value
        return f"{short(share)} [{short(low)}, {short(high)}] n={n}"
    return value


def short(share: float) -> str:
    """A share with two digits and no leading zero.

    >>> short(0.5), short(1.0), short(-0.25)
    ('.50', '1.00', '-.25')
    """
    return f"{share:.2f}".replace("0.", ".", 1)


def _share(rows: Sequence[Row], holds: Holds) -> Share:
    value, low, high, n = wilson(sum(holds(row) for row in rows), len(rows))
    return value, low, high, n
