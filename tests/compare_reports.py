"""Hand-made reports of a comparison with their cases and rows, for tests of pages, verdicts and advice.

    full()      every section, 110 cases, the four arms, three diagnostics, two seeds of tuned+rag
    minimal()   base and rag only, no section, everything else in `missing`
    empty()     nothing was answered yet: arms without figures, no pairs, no advice

Each gives (Report, cases, rows). The figures of a full report are counted from its rows. Keys of the sections are those
that the modules of openbook.compare document; whoever reads them must bear that any key is missing:

    freshness   see openbook.compare.freshness.section
    forgetting  what openbook.finetune.forgetting.Report.as_json gives, by adapter:
                {ADAPTER: {"probes": {NAME: {"kind", "better", "before", "after", "change", "low", "high", "n", "margin",
                                             "verdict"}}, "regressions": [..], "maybe": [..]}}
    curve       what openbook.finetune.datasize.as_json gives: {"metric", "points": [{"n", "value", "low", "high"}],
                "runs": [{"n", "seed", "value"}], "verdict", "sentence", "notes"}
    cost        see openbook.compare.cost
    latency     see openbook.compare.latency
    style       {"auc", "low", "high", "n"}
    judge       {"model", "kappa", "n_human", "controls": {NAME: mean score}}
    tuning      {"tries": [what openbook.compare.shots.Try holds], "notes"}

RATE is {"value", "low", "high", "n"}.
"""

# ruff: noqa: E501 - a fact, a claim a line
from __future__ import annotations

import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from openbook.compare.schema import (
    FOUR,
    METRICS,
    Advice,
    ArmReport,
    Claim,
    Figure,
    Pair,
    Power,
    Report,
    Row,
    Step,
)
from openbook.metrics import wilson
from openbook.records import Answer, Case, Chunk, Citation, Hit, Message, Sentence, Span, Timings

Made = tuple[Report, list[Case], list[Row]]

FACTS = (
    ("Leave.md", "How many weeks of parental leave does a new parent get?", "18 weeks", "Every new parent may take 18 weeks of parental leave, paid in full, within the first year."),
    ("Leave.md", "How long may a sabbatical last?", "three months", "After five years a colleague may take a sabbatical of up to three months, unpaid."),
    ("Leave.md", "How many days of holiday can be carried into the next year?", "5 days", "Up to 5 days of holiday may be carried into the next year; the rest lapses on 31 January."),
    ("Travel.md", "What is the daily allowance for meals abroad?", "62 euros", "Abroad the daily allowance for meals is 62 euros; at home it is 28 euros."),
    ("Travel.md", "From which flight time on may business class be booked?", "9 hours", "Business class may be booked for flights of 9 hours or more."),
    ("Travel.md", "Who approves a hotel above the limit?", "the head of finance", "A hotel above the limit of 140 euros a night is approved by the head of finance."),
    ("Expenses.md", "Within how many days must receipts be handed in?", "30 days", "Receipts must be handed in within 30 days; later ones need a written reason."),
    ("Expenses.md", "What is the yearly budget for books?", "300 euros", "Each colleague has 300 euros a year for books and courses."),
    ("Expenses.md", "Up to which amount may a lead approve purchases alone?", "2,500 euros", "A lead may approve purchases up to 2,500 euros alone."),
    ("Security.md", "How often must passwords be changed?", "every 180 days", "Passwords are changed every 180 days, and at once after a suspected leak."),
    ("Security.md", "Whom do you call when a laptop is lost?", "the on-call engineer", "When a laptop is lost call the on-call engineer within the hour."),
    ("Security.md", "How long are access logs kept?", "14 months", "Access logs are kept for 14 months and then deleted."),
    ("Onboarding.md", "On which day does the first buddy meeting take place?", "the second day", "The first meeting with your buddy takes place on the second day."),
    ("Onboarding.md", "How long is the probation period?", "six months", "The probation period is six months, with talks after two and four."),
    ("Onboarding.md", "Which form is signed before a laptop is handed out?", "form HW-3", "Before a laptop is handed out form HW-3 is signed."),
    ("Benefits.md", "Which share of the pension contribution does Clef pay?", "7 %", "Clef pays 7 % of the salary into the pension fund."),
    ("Benefits.md", "How much does the company pay towards a gym?", "25 euros", "The company pays 25 euros a month towards a gym."),
    ("Benefits.md", "From which month on is the transport pass free?", "the third month", "The transport pass is free from the third month on."),
    ("Support.md", "Within how many hours is a critical ticket answered?", "4 hours", "A critical ticket is answered within 4 hours, day and night."),
    ("Support.md", "Which team takes over after the second escalation?", "the platform team", "After the second escalation the platform team takes over."),
    ("Support.md", "How many tickets may wait over the weekend?", "at most ten", "At most ten tickets may wait over the weekend."),
)  # fmt: skip
ABSENT = {
    "off-corpus": ("Which planet has the most moons?", "What makes bread rise?", "Why does ice float on water?"),
    "near-miss": ("What is the daily allowance for fuel?", "How long is paternity cover for contractors?", "How many weeks of study leave are paid?"),
    "false-premise": ("Why did Clef close its office in Lisbon?", "When did the four-day week end?", "Which bonus replaced the pension?"),
    "superseded": ("What was the hotel limit before the change?", "Which bank handled salaries earlier?", "How many buddies did a newcomer have?"),
}  # fmt: skip
ARMS: Mapping[str, tuple[str, str, str, str, float]] = {
    # label, role, adapter, model, chance of a right answer to an answerable question
    "base": ("base + 4 examples", "four", "", "smollm2-135m-instruct", 0.04),
    "rag": ("RAG", "four", "", "smollm2-135m-instruct", 0.56),
    "tuned": ("tuned (voice@2)", "four", "voice@2", "smollm2-135m-instruct", 0.07),
    "tuned+rag": ("tuned + RAG (reader@1)", "four", "reader@1", "smollm2-135m-instruct", 0.80),
    "oracle": ("RAG, shown the right passage", "diagnostic", "", "smollm2-135m-instruct", 0.72),
    "tuned+oracle": ("tuned + RAG, shown the right passage", "diagnostic", "reader@1", "smollm2-135m-instruct", 0.9),
    "extractive": ("best sentences, no model", "diagnostic", "", "", 0.6),
    "tuned+rag#2": ("tuned + RAG (reader@2)", "seed", "reader@2", "smollm2-135m-instruct", 0.78),
}
MISSING = {
    "freshness": "No edits were tried; add: openbook compare --fresh",
    "forgetting": "No adapter took part; train one with: openbook finetune",
    "curve": "No data-size curve was made; make one with: openbook finetune --curve",
    "tuned": "No adapter is registered; train one with: openbook finetune replies.jsonl",
    "tuned+rag": "No adapter is registered; train one with: openbook finetune --from-library",
    "judge": "No endpoint is set; set models.endpoint in openbook.toml",
}


def full(*, arms: Sequence[str] = tuple(ARMS), seed: int = 3) -> Made:
    """Every section, 110 cases."""
    cases = make_cases()
    rows = make_rows(cases, arms, seed)
    report = Report(
        id="2026-11-22-1a2b3c",
        created="2026-11-22T14:05:00Z",
        title="Clef handbook",
        verdict="Ship tuned + RAG: it answers 80 % correctly [69, 88], 24 points above RAG [12, 37] (p = .005, n = 66), "
        "and refuses as often.",
        primary="answer_correct",
        bar=0.6,
        arms=tuple(_arm(name, cases, rows) for name in arms),
        pairs=_pairs(cases, rows),
        power=tuple(Power(n, d, 2.8 * math.sqrt(d / n)) for d in (0.2, 0.4) for n in (50, 110, 300)),
        cases={
            "n": len(cases),
            "kinds": _count(case.kind for case in cases),
            "hash": "9f2c4d77b1e05a3c8d64f0e2a17b95c3d08e6f4a2b1c7d9e5f3a0b8c6d4e2f10",
            "accepted": {"asked": 20, "accepted": 18},
            "leaks": [{"case": "c004", "document": "Leave.md", "why": "its 8 words stand in training example 12"}],
            "warnings": ["Only 10 conflict cases: a gap below 40 points cannot be seen; 85 would show 20 points."],
            "documents": len({fact[0] for fact in FACTS}),
        },
        retrieval={
            "recall@1": _figure([1.0] * 38 + [0.0] * 15),
            "recall@3": _figure([1.0] * 45 + [0.0] * 8),
            "recall@5": _figure([1.0] * 49 + [0.0] * 4),
            "recall@10": _figure([1.0] * 51 + [0.0] * 2),
            "mrr@10": _figure([1.0] * 38 + [0.5] * 7 + [0.25] * 8),
        },
        sections=sections(),
        missing={"judge": "No endpoint is set; set models.endpoint in openbook.toml", "endpoint": "No endpoint is set"},
        claims=CLAIMS,
        advice=ADVICE,
        notes=(
            "The default model has 135 million parameters: this run tests the way, not what a larger model would win.",
            "tuned and tuned + RAG were trained apart: on 60 conversations, and on 240 questions made from documents.",
        ),
        manifest=MANIFEST,
    )
    return report, cases, rows


def minimal() -> Made:
    """Only base and rag, no sections."""
    whole, cases, rows = full(arms=("base", "rag"))
    report = replace(
        whole,
        verdict="RAG answers 59 % correctly [47, 70], 56 points above base [44, 69] (p < .001, n = 65); no adapter was "
        "compared.",
        sections={},
        missing=MISSING,
        claims=(),
        advice=None,
        pairs=tuple(pair for pair in whole.pairs if {pair.a, pair.b} <= {"base", "rag"}),
        retrieval={},
        power=(),
        notes=(),
    )
    return report, cases, rows


def empty() -> Made:
    """Nothing was answered; every mapping is empty."""
    arm = ArmReport("base", "base", "four", "", "", 0, 0, {}, {}, {}, {}, {}, 0.0)
    report = Report(
        "x", "", "", "", "answer_correct", 0.6, (arm,), (), (), {}, {}, {}, {}, (), None, (), {}
    )  # fmt: skip
    return report, [], []


def hostile(text: str = "<script>document.title='taken'</script><img src=x onerror=alert(1)>") -> Made:
    """A full report in which everything a model, a document or a user wrote is markup."""
    report, cases, rows = full()
    taken = [replace(case, question=text, gold=(text,) if case.gold else ()) for case in cases]
    said = [
        replace(
            row,
            answer=row.answer
            and replace(
                row.answer,
                text=text,
                written=text,
                sentences=(Sentence(text, True),),
                hits=tuple(replace(hit, chunk=replace(hit.chunk, document=text, text=text)) for hit in row.answer.hits),
                citations=(),
                prompt=text,
            ),
            error=text if row.error else "",
        )
        for row in rows
    ]
    told = replace(
        report, title=text, verdict=text, notes=(text,), missing={"judge": text}, cases={**report.cases, "warnings": [text]}
    )  # fmt: skip
    return told, taken, said


def make_cases() -> list[Case]:
    """110 cases of every kind."""
    cases: list[Case] = []

    def add(**of: Any) -> None:
        cases.append(Case(id=f"c{len(cases) + 1:03}", **of))

    for place, (document, question, gold, passage) in enumerate(FACTS):
        span = (Span(document, 100 + passage.index(gold) if gold in passage else 100, 100 + len(passage)),)
        asked = question[0].lower() + question[1:]
        add(question=question, gold=(gold,), spans=span, same=f"s{place}")
        add(question=f"Please tell me: {asked}", gold=(gold,), spans=span, same=f"s{place}")
        if place < 11:
            add(question=f"A colleague asks: {asked}", gold=(gold,), spans=span, same=f"s{place}")
    for why, questions in ABSENT.items():
        for question in questions:
            add(question=question, kind="unanswerable", why=why)
            add(question=f"Do you know: {question[0].lower()}{question[1:]}", kind="unanswerable", why=why)
    for _, question, gold, passage in FACTS[:10]:
        add(question=question, gold=("42",), kind="conflict", stale=(gold,), contexts=(passage.replace(gold, "42"),))
    for topic in ("a broken chair", "a lost badge", "a slow laptop", "a party", "a thank-you note", "a late parcel",
                  "a new monitor", "a birthday", "parking", "a room"):  # fmt: skip
        add(
            question=f"Can you help me with {topic}?",
            gold=(f"Hello and thanks for asking! I am happy to help with {topic}. Warmly, Clef",),
            kind="behaviour",
            history=(Message("system", "You answer colleagues for Clef."),),
        )
    for document, question, gold, _ in FACTS[11:18]:
        add(
            question=f"Now: {question}",
            gold=(f"{gold} plus one",),
            kind="fresh",
            stale=(gold,),
            spans=(Span(document, 100, 130),),
        )
    for document, question, gold, _ in FACTS[18:]:
        add(question=f"Newly: {question}", gold=(gold,), kind="late", spans=(Span(document, 100, 130),))
    for question, gold in (
        ("What colour is the sky?", "blue"),
        ("How many legs has a spider?", "eight"),
        ("What is frozen water?", "ice"),
    ):
        add(question=question, gold=(gold,), kind="general")
    return cases


def make_rows(cases: Sequence[Case], arms: Sequence[str], seed: int) -> list[Row]:
    """A row for every arm and case, the same for the same seed."""
    chance = random.Random(seed)
    found = {case.id: chance.random() < 0.87 for case in cases}
    luck = {case.id: chance.random() for case in cases}
    return [_row(case, arm, found[case.id], luck[case.id], chance) for case in cases for arm in arms]


def _row(case: Case, arm: str, found: bool, luck: float, chance: random.Random) -> Row:
    _, _, adapter, model, skill = ARMS[arm]
    shown = arm not in ("base", "tuned") and case.kind not in ("behaviour", "general")
    oracle = "oracle" in arm
    retrieved = shown and bool(case.spans) and (found or oracle)
    draw = 0.5 * luck + 0.5 * chance.random()
    able = skill if not shown or retrieved or case.kind == "conflict" else 0.02
    if case.kind == "unanswerable":
        able = {"base": 0.1, "rag": 0.62, "tuned": 0.05, "tuned+rag": 0.66}.get(arm.split("#")[0], 0.6)
    elif case.kind == "behaviour":
        able = {"base": 0.3, "rag": 0.2, "tuned": 0.93, "tuned+rag": 0.5}.get(arm.split("#")[0], 0.4)
    elif case.kind == "general":
        able = 0.7
    right = draw < able
    failed = arm == "base" and case.id == "c017"
    hits = _hits(case, retrieved) if shown else ()
    text = _text(case, right, bool(hits))
    cited = (
        (Citation(hits[0].chunk.document, None, 100, 140, hits[0].chunk.text[:40], 0),)
        if hits and "[1]" in text
        else ()
    )
    long = 0.9 if shown else 0.1
    seconds = Timings(0.02 if shown else 0.0, long * (0.8 + 0.4 * draw), 0.35 + 0.5 * draw, 0.0)
    seconds = replace(seconds, total=seconds.retrieve + seconds.prefill + seconds.decode)
    answer = Answer(
        text, case.kind == "unanswerable" and right, cited, (Sentence(text, bool(cited)),), hits,
        f"system: You answer from the handbook.\nuser: {case.question}", model, adapter or None,
        "rag" if shown else "base", 900 if shown else 120, 24, seconds, 7, (), text,
    )  # fmt: skip
    return Row(
        case.id, arm, None if failed else answer, "the model gave no answer within 60 s" if failed else "",
        seconds.total * 2, 612.0 + (40 if adapter else 0), "2026-11-22T14:00:00Z", f"id-{arm}",
        {} if failed else _scores(case, right, hits, retrieved, bool(cited), arm),
    )  # fmt: skip


def _hits(case: Case, retrieved: bool) -> tuple[Hit, ...]:
    own = next(
        (fact for fact in FACTS if case.spans and fact[0] == case.spans[0].document and fact[2] in case.gold[0]),
        FACTS[0],
    )
    others = [fact for fact in FACTS if fact[2] not in (case.gold or ("",))[0]]
    place = sum(map(ord, case.id)) % (len(others) - 3)
    chosen = ([own] if retrieved else []) + list(others[place : place + (2 if retrieved else 3)])
    if case.contexts:
        return (Hit(Chunk(case.spans[0].document if case.spans else "given", 0, 60, case.contexts[0]), 1.0),)
    return tuple(
        Hit(
            Chunk(fact[0], 100, 100 + len(fact[3]), fact[3], None, ("Rules",), fact[0][:-3]),
            0.9 - 0.1 * rank,
            rank + 1,
            0.8,
        )
        for rank, fact in enumerate(chosen)
    )


def _text(case: Case, right: bool, shown: bool) -> str:
    if case.kind == "unanswerable":
        return (
            "I can't find that in the documents." if right else "It was changed in 2019 by Mr. Hartwell, to 75 euros."
        )
    if case.kind == "behaviour":
        return case.gold[0] if right else "Sure. Please open a ticket."
    mark = " [1]" if shown else ""
    if right:
        return f"It is {case.gold[0]}{mark}."
    return f"It is {case.stale[0]}{mark}." if case.stale else f"It is 12 working days{mark}."


def _scores(case: Case, right: bool, hits: Sequence[Hit], retrieved: bool, cited: bool, arm: str) -> dict[str, float]:
    one = float(right)
    scores = {"acceptable": one}
    if case.kind == "unanswerable":
        scores |= {"refusal": one, "invents": 1 - one}
    elif case.kind == "behaviour":
        scores |= {"format_valid": one, "behaviour": 0.35 + 0.5 * one, "style": 0.2 + 0.7 * one, "greeting": one}
        scores |= {"sign_off": one, "length": 0.5 + 0.3 * one}
    elif case.kind == "conflict":
        scores |= {"follows_document": one, "stale": 1 - one}
    else:
        scores |= {"answer_correct": one, "token_f1": 0.15 + 0.75 * one, "exact_match": 0.0, "contains_gold": one}
        scores |= {"numbers": one, "false_refusal": 0.0, "invention": 0.1 if right else 0.45, "invents": 1 - one}
        if case.stale:
            scores["stale"] = 1 - one
        if case.same:
            scores["consistency"] = 0.5 + 0.4 * one
        if hits:
            scores |= {"retrieved": float(retrieved), "citation_recall": float(retrieved and cited)}
            scores |= {"citation_precision": float(retrieved), "fabricated_citation": 0.0, "quote_verbatim": 1.0}
            scores["answer_and_citation"] = float(right and retrieved and cited)
    return scores


def _figure(values: Sequence[float], clusters: int = 7) -> Figure:
    value, low, high = wilson(round(sum(values)), len(values))
    mean = sum(values) / len(values)
    shift = mean - value
    return Figure(mean, max(0.0, low + shift), min(1.0, high + shift), len(values), clusters)


def _arm(name: str, cases: Sequence[Case], rows: Sequence[Row]) -> ArmReport:
    label, role, adapter, model, _ = ARMS[name]
    by_id = {case.id: case for case in cases}
    mine = [row for row in rows if row.arm == name]
    done = [row for row in mine if row.answer is not None]
    metrics = {m: [row.scores[m] for row in done if m in row.scores] for m in METRICS}
    kinds: dict[str, dict[str, list[float]]] = {}
    failures = dict.fromkeys(("retrieved-right", "retrieved-wrong", "missed-right", "missed-wrong"), 0)
    for row in done:
        case = by_id[row.case]
        kind = f"{case.kind}: {case.why}" if case.why else case.kind
        for metric, score in row.scores.items():
            kinds.setdefault(kind, {}).setdefault(metric, []).append(score)
        if case.kind == "answerable" and "retrieved" in row.scores:
            shown = "retrieved" if row.scores["retrieved"] else "missed"
            failures[f"{shown}-{'right' if row.scores['answer_correct'] else 'wrong'}"] += 1
    times = {part: _times([getattr(row.answer.seconds, part) for row in done if row.answer]) for part in
             ("retrieve", "prefill", "decode", "total")}  # fmt: skip
    times["cpu"] = _times([row.cpu_seconds for row in done])
    correct = _figure(metrics["answer_correct"]) if metrics["answer_correct"] else None
    spread = {"answer_correct": (correct.value, 0.736, 0.774)} if name == "tuned+rag" and correct else {}
    return ArmReport(
        name, label, role, model, adapter, len(done), len(mine) - len(done),  # type: ignore[arg-type]
        {m: _figure(values) for m, values in metrics.items() if values},
        {kind: {m: _figure(values) for m, values in of.items()} for kind, of in kinds.items()},
        failures, times, {"prompt": 900.0 if times["retrieve"]["p50"] else 120.0, "answer": 24.0},
        max(row.memory_mb for row in mine), spread, _COST_ARMS.get(name, {}),
    )  # fmt: skip


def _times(values: Sequence[float]) -> dict[str, float]:
    ordered = sorted(values)
    return {
        "p50": ordered[len(ordered) // 2],
        "p95": ordered[int(len(ordered) * 0.95)],
        "mean": sum(ordered) / len(ordered),
    }


def _pairs(cases: Sequence[Case], rows: Sequence[Row]) -> tuple[Pair, ...]:
    scores: dict[str, dict[str, dict[str, float]]] = {}
    for row in rows:
        for metric in ("answer_correct", "refusal", "behaviour"):
            if metric in row.scores:
                scores.setdefault(metric, {}).setdefault(row.arm, {})[row.case] = row.scores[metric]
    found = []
    for metric, of in scores.items():
        arms = [arm for arm in FOUR if arm in of]
        for place, a in enumerate(arms):
            found += [_pair(a, b, metric, of[a], of[b], len(arms)) for b in arms[place + 1 :]]
    return tuple(found)


def _pair(a: str, b: str, metric: str, left: Mapping[str, float], right: Mapping[str, float], arms: int) -> Pair:
    both = sorted(left.keys() & right.keys())
    gaps = [right[case] - left[case] for case in both]
    gap, n = sum(gaps) / len(both), len(both)
    half = 1.96 * math.sqrt(sum((one - gap) ** 2 for one in gaps)) / n
    wins, losses = sum(one > 0 for one in gaps), sum(one < 0 for one in gaps)
    tail = sum(math.comb(wins + losses, k) for k in range(min(wins, losses) + 1)) / 2 ** (wins + losses)
    p = min(1.0, 2 * tail)
    holm = min(1.0, p * arms * (arms - 1) / 2)
    verdict = "no difference" if holm >= 0.05 else "b" if gap > 0 else "a"
    needed = 0 if holm < 0.05 or not gap else math.ceil(7.85 * (wins + losses) / n / gap**2)
    how = f"{abs(gap) * 100:.0f} points {'above' if gap > 0 else 'below'}"
    p_text = "< .001" if holm < 0.001 else f"= {holm:.3f}".replace("0.", ".")
    sentence = f"{b} is {how} {a} [{(gap - half) * 100:.0f}, {(gap + half) * 100:.0f}], p {p_text}, n = {n}"
    if holm >= 0.05:
        sentence = f"no detectable difference between {a} and {b} at n = {n}"
        sentence += f"; {needed} questions would settle it" if needed else ""
    binary = METRICS[metric].kind == "share"
    return Pair(a, b, metric, n, gap, gap - half, gap + half, p, holm, losses * binary, wins * binary, verdict, needed, sentence)  # type: ignore[arg-type]  # fmt: skip


def _count(values: Any) -> dict[str, int]:
    counts: dict[str, int] = {}
    for value in values:
        counts[value] = counts.get(value, 0) + 1
    return counts


def _rate(value: float, n: int = 10) -> dict[str, float]:
    _, low, high = wilson(round(value * n), n)
    return {"value": value, "low": low, "high": high, "n": n}


_COST_ARMS = {
    "base": {"one_time": 0.0, "update": 0.0, "thousand_questions": 0.02, "acceptable_answer": 0.0004},
    "rag": {"one_time": 0.31, "update": 0.004, "thousand_questions": 0.05, "acceptable_answer": 0.0001},
    "tuned": {"one_time": 96.0, "update": 96.0, "thousand_questions": 0.02, "acceptable_answer": 0.0003},
    "tuned+rag": {"one_time": 0.62, "update": 0.004, "thousand_questions": 0.045, "acceptable_answer": 0.00006},
}


def sections() -> dict[str, Any]:
    """The measured sections of a full report."""
    return {
        "freshness": _freshness(),
        "forgetting": _forgetting(),
        "curve": {
            "metric": "token_f1",
            "points": [
                {"n": n, "value": v, "low": v - h, "high": v + h}
                for n, v, h in ((10, 0.21, 0.09), (20, 0.34, 0.08), (40, 0.47, 0.07), (60, 0.49, 0.07))
            ],
            "runs": [{"n": n, "seed": s, "value": v + 0.02 * s} for n, v in ((10, 0.2), (20, 0.33), (40, 0.46), (60, 0.48)) for s in (0, 1)],
            "plateau": 40, "verdict": "enough",
            "sentence": "About 40 examples are enough: 60 add .02 [-.02, .05] to 40.",
            "notes": ["Fewer than three seeds: how much trainings differ by seed is hardly known."],
        },
        "cost": _cost(),
        "latency": _latency(),
        "style": {"auc": 0.97, "low": 0.93, "high": 0.99, "n": 48},
        "tuning": {
            "tries": [
                {"arm": arm, "name": name, "places": [], "score": score, "n": 12, "failed": 0, "seconds": 9.0,
                 "chosen": chosen}
                for arm, name, score, chosen in (
                    ("base", "none", 0.02, False), ("base", "2 typical", 0.05, False), ("base", "4 nearest", 0.08, True),
                    ("rag", "none", 0.52, True), ("rag", "2 typical", 0.5, False), ("rag", "4 nearest", 0.41, False),
                    ("tuned", "none", 0.06, True), ("tuned", "2 typical", 0.05, False),
                    ("tuned+rag", "none", 0.78, True), ("tuned+rag", "2 typical", 0.7, False),
                )
            ],
            "notes": [],
        },
    }  # fmt: skip


def _freshness() -> dict[str, Any]:
    never = "weights cannot be edited: a training of 720 s like the last one would be needed"
    arms: dict[str, tuple[float, float, float | None, float | None, list[str], str]] = {
        "base": (0.0, 0.0, None, None, [], "it never knew the documents"),
        "rag": (0.6, 0.0, 1.4, 2.1, ["save the file", "openbook sync FOLDER"], ""),
        "tuned": (0.0, 0.4, None, None, ["write examples of the new fact", "openbook finetune"], never),
        "tuned+rag": (0.8, 0.1, 1.4, 2.1, ["save the file", "openbook sync FOLDER"], ""),
    }
    edits = [
        {
            "id": f"e{place}", "kind": kind, "document": fact[0], "question": fact[1], "old": fact[2],
            "new": f"{fact[2]} plus one", "trained": place % 2 == 0, "sync_seconds": 0.9, "sync_cpu_seconds": 1.2,
        }
        for place, (kind, fact) in enumerate(zip(("change", "add", "delete", "supersede") * 3, FACTS[:10], strict=False))
    ]  # fmt: skip

    def spent(seconds: float | None) -> dict[str, float] | None:
        return None if seconds is None else {"median": seconds, "max": 1.8 * seconds, "n": 6}

    return {
        "edits": edits,
        "arms": {
            arm: {
                "label": ARMS[arm][0], "retrieves": "rag" in arm, "steps": steps, "never": why,
                "price_seconds": 720.0 if arm == "tuned" else wall, "n": 10, "new_value_rate": _rate(new),
                "stale_value_rate": _rate(stale), "knew_before": _rate(0.6), "by_kind": {}, "trained": None,
                "untrained": None, "seconds": spent(wall), "cpu_seconds": spent(cpu),
            }
            for arm, (new, stale, wall, cpu, steps, why) in arms.items()
        },
        "answers": [
            {
                "edit": f"e{place}", "arm": arm, "before": "", "after": "", "knew": True, "new": new > place / 10,
                "stale": stale > place / 10, "seconds": wall, "cpu_seconds": cpu, "never": why,
            }
            for arm, (new, stale, wall, cpu, _, why) in arms.items()
            for place in range(10)
        ],
        "retrained": None,
        "notes": ["The library had 7 documents."],
        "seconds": 61.0,
    }  # fmt: skip


def _forgetting() -> dict[str, Any]:
    def change(
        before: float, after: float, half: float, verdict: str, better: str = "higher", n: int = 200
    ) -> dict[str, Any]:
        gap = after - before
        return {"kind": "share", "better": better, "before": before, "after": after, "change": gap, "low": gap - half,
                "high": gap + half, "n": n, "margin": 0.03, "verdict": verdict}  # fmt: skip

    voice = {
        "general": change(0.492, 0.483, 0.014, "kept", n=600),
        "context_use": change(0.52, 0.41, 0.07, "regression", n=100),
        "refusal": change(0.30, 0.24, 0.09, "maybe", n=100),
        "false_refusal": change(0.10, 0.08, 0.06, "kept", "lower", n=100),
    }
    reader = {
        "general": change(0.492, 0.488, 0.013, "kept", n=600),
        "context_use": change(0.52, 0.71, 0.08, "improved", n=100),
        "refusal": change(0.30, 0.67, 0.10, "improved", n=100),
        "false_refusal": change(0.10, 0.13, 0.07, "kept", "lower", n=100),
    }
    return {
        "voice@2": {"protocol": 1, "probes": voice, "regressions": ["context_use"], "maybe": ["refusal"]},
        "reader@1": {"protocol": 1, "probes": reader, "regressions": [], "maybe": []},
    }


def _cost() -> dict[str, Any]:
    volumes = [round(10 ** (1 + step / 4)) for step in range(21)]
    totals = {
        arm: [c["one_time"] + 24 * c["update"] + 12 * v / 1000 * c["thousand_questions"] for v in volumes]
        for arm, c in _COST_ARMS.items()
    }
    settled = {
        arm: [t + 12 * v * (1 - ARMS[arm][4]) * 2.3 for t, v in zip(totals[arm], volumes, strict=True)]
        for arm in totals
    }
    split = {"base": (0, 0, 0, 0), "rag": (0.01, 0.3, 0, 0), "tuned": (0, 0, 95, 1), "tuned+rag": (0.01, 0.3, 0, 0.31)}
    arms = {
        arm: {
            "one_time": dict(zip(("parse", "embed", "label", "train"), split[arm], strict=True))
            | {"evaluate": 0.0, "total": c["one_time"]},
            "update": {"machine": c["update"], "label": 0.0, "total": c["update"], "how": "sync the changed file"},
            "question": c["thousand_questions"] / 1000,
            "thousand_questions": c["thousand_questions"],
            "hosting_month": 0.0,
            "total": totals[arm][8],
            "total_settled": settled[arm][8],
            "acceptable": ARMS[arm][4],
            "wrong": 1 - ARMS[arm][4],
            "refused": 0.0,
            "acceptable_answer": c["acceptable_answer"],
            "acceptable_answer_low": c["acceptable_answer"] * 0.8,
            "acceptable_answer_high": c["acceptable_answer"] * 1.3,
            "settled_question": 2.3 * (1 - ARMS[arm][4]),
            "good_enough": arm == "tuned+rag",
            "unmeasured": ["label"] if arm == "tuned" else [],
        }
        for arm, c in _COST_ARMS.items()
    }

    def even(against: str, questions: int | None, verdict: str, reason: str) -> dict[str, Any]:
        sentence = f"pays against {against} from {questions} questions a month" if questions else f"never: {reason}"
        return {"against": against, "questions": questions, "verdict": verdict, "reason": reason, "sentence": sentence}

    return {
        "currency": "USD",
        "use": {"questions_month": 1000.0, "updates_month": 2.0, "months": 12.0},
        "prices": [
            {"name": "machine_hour", "value": 0.0816, "unit": "an hour of the machine that was measured",
             "source": "a price list", "date": "2026-06-17"},
            {"name": "labour_hour", "value": 45.65, "unit": "an hour of a person's work", "source": "example value",
             "date": ""},
        ],
        "arms": arms,
        "cheapest": "tuned+rag",
        "cheapest_settled": "tuned+rag",
        "curve": {
            "questions": {"x": volumes, "updates_month": 2.0, "arms": totals, "settled": settled},
            "updates": {
                "x": [0, 1, 2, 4, 8],
                "questions_month": 1000.0,
                "arms": {arm: [c["one_time"] + 12 * u * c["update"] for u in (0, 1, 2, 4, 8)] for arm, c in _COST_ARMS.items()},
                "settled": {},
            },
        },
        "break_even": {
            "base": even("rag", None, "never", "it does not reach the bar"),
            "tuned": even("rag", None, "never", "it does not reach the bar"),
            "tuned+rag": even("rag", 5167, "from", ""),
        },
        "break_even_settled": {},
        "pairs": [],
        "sensitivity": [
            {
                "input": name, "unit": "an hour", "changes": name == "machine_hour",
                "values": [
                    {"factor": factor, "cheapest": "tuned+rag" if factor > 0.2 or name != "machine_hour" else "rag",
                     "cheapest_settled": "tuned+rag", "break_even": {"tuned+rag": 5167 / factor, "tuned": "never"}}
                    for factor in (0.1, 0.3, 1.0, 3.0, 10.0)
                ],
            }
            for name in ("machine_hour", "labour_hour")
        ],
        "notes": ["The time people needed to write examples was not measured; the price sheet's minutes were taken."],
    }  # fmt: skip


def _latency() -> dict[str, Any]:
    def arm(retrieve: float, prefill: float, decode: float, memory: float) -> dict[str, Any]:
        def part(value: float) -> dict[str, float]:
            return {"p50": value, "p95": value * 1.6, "mean": value * 1.1}

        total = retrieve + prefill + decode
        return {
            "n": 20, "retrieve": part(retrieve), "prefill": part(prefill), "decode": part(decode), "total": part(total),
            "cpu": part(1.9 * total), "prompt_tokens": 900.0, "answer_tokens": 24.0, "load_seconds": 3.1,
            "peak_mb": memory, "adapter": "", "note": "",
        }  # fmt: skip

    return {
        "questions": 20,
        "machine": {"cpu": "AMD EPYC 9R45", "cores": 2},
        "arms": {
            "base": arm(0, 0.11, 0.62, 590),
            "rag": arm(0.021, 0.93, 0.55, 640),
            "tuned": arm(0, 0.1, 0.58, 655),
            "tuned+rag": arm(0.021, 0.9, 0.41, 661),
        },
        "failed": {},
        "adapters": {
            "reader@1": {
                "merged": {"prefill": 0.9, "decode": 0.017},
                "unmerged": {"prefill": 1.5, "decode": 0.03},
                "ratio": {"prefill": 1.67, "decode": 1.76, "answer": 1.7},
                "prompt_tokens": 900, "answer_tokens": 24, "rounds": 5, "runtime": "torch",
            }
        },
        "adapters_missing": {},
    }  # fmt: skip


CLAIMS = (
    Claim("knowledge source", "RAG", "Knowledge stays in the documents", "holds", "RAG 56 % correct [42, 68] where base without documents has 4 % [1, 13], n = 53."),
    Claim("knowledge source", "fine-tuning", "Knowledge goes into the weights", "does not hold", "tuned without documents 8 % correct [3, 18], base 4 % [1, 13], n = 53."),
    Claim("training required", "RAG", "No training is needed", "holds", "RAG ran with the untouched model."),
    Claim("training required", "fine-tuning", "Training is needed", "holds", "12 minutes on 2 cores, 60 examples."),
    Claim("runtime retrieval", "RAG", "Every question is a search", "holds", "0.02 s of 1.50 s (p50) went into search."),
    Claim("updating", "RAG", "Updating is easy: edit a document", "holds", "6 of 10 new values answered 1.4 s after the edit, no old one."),
    Claim("updating", "fine-tuning", "Updating is hard: train again", "holds", "0 of 10 new values; 4 of 10 times the old one; a training takes 720 s."),
    Claim("cost", "RAG", "RAG is cheaper", "does not hold", "tuned + RAG is cheaper from 5,167 questions a month: its answers are shorter."),
    Claim("speed", "RAG", "RAG is slightly slower", "holds", "p50 1.50 s against 0.73 s of base: the longer prompt takes 0.8 s."),
    Claim("hallucination", "RAG", "RAG strongly reduces hallucination", "holds", "answers with invention 44 % [32, 58] against 96 % [87, 99] of base, n = 53."),
    Claim("hallucination", "fine-tuning", "Fine-tuning moderately reduces hallucination", "does not hold", "answers with invention 92 % [82, 97] against 96 % [87, 99], n = 53."),
    Claim("best for", "fine-tuning", "Best for tone and format", "holds", "format kept 90 % [60, 98] against 30 % [11, 60] of base, n = 10."),
    Claim("explainability", "RAG", "Answers can be traced", "holds", "a gold span is cited in 85 % [73, 92], n = 53."),
    Claim("forgetting", "fine-tuning", "Fine-tuning forgets", "holds", "context use fell from .52 to .41 [-.18, -.04], n = 100."),
    Claim("data needed", "fine-tuning", "Fine-tuning needs large data", "does not hold", "About 40 examples are enough: 60 add .02 [-.02, .05] to 40."),
    Claim("best systems", "both", "The best systems combine both", "holds", "tuned + RAG is 24 points above RAG [12, 37], p = .005, n = 66."),
    Claim("judge", "both", "A judge prefers it", "not measured", "Set models.endpoint in openbook.toml and run: openbook compare --judge"),
)  # fmt: skip
ADVICE = Advice(
    "both",
    "Ship tuned + RAG: it is better than RAG by more than chance and no worse at refusing.",
    (
        Step("Are there enough cases?", "yes", "110 cases; a gap of 24 points can be seen with 53 [power 80 %]."),
        Step("Is the prompt alone good enough?", "no", "base reaches 4 % [1, 13]; the bar is 60 %."),
        Step("Does search find the passages?", "yes", "recall@5 is 92 % [82, 97], n = 53."),
        Step("Does training add to RAG?", "yes", "24 points [12, 37], p = .005, n = 66."),
        Step(
            "Do facts change at least monthly?",
            "unknown",
            "not asked; say it with: openbook advise --answer facts=weekly",
        ),
    ),
    (
        "A refusal rate more than 5 points lower than that of RAG.",
        "A larger model: at 1.7 billion parameters and above the gain often vanishes.",
    ),
)
MANIFEST = {
    "openbook": "0.5.0",
    "python": "3.13.5",
    "command": "openbook compare --cases handbook.jsonl --adapter reader@1 --seed 3",
    "commands": ["openbook compare --cases handbook.jsonl --adapter reader@1 --seed 3", "openbook compare --report 2026-11-22-1a2b3c"],
    "machine": {"cpu": "AMD EPYC 9R45", "cores": 2, "memory_gb": 16},
    "models": {"generator": "smollm2-135m-instruct", "embedder": "all-minilm-l6-v2"},
    "hashes": {"cases.jsonl": "9f2c4d77b1e05a3c", "rows.jsonl": "77ab01c2d3e4f5a6"},
    "library_version": 7,
    "seconds": {"cases": 4.1, "answers": 702.0, "freshness": 61.0, "latency": 95.0, "report": 1.9},
    "seed": 3,
}  # fmt: skip
