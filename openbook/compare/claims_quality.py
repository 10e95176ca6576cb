"""Sayings about answers: each takes what was found in a report and gives a verdict with the numbers it rests on."""

from __future__ import annotations

from typing import Any, Literal

from openbook.compare import quote
from openbook.compare.quote import NAMES, dig, gain, number, said, short
from openbook.compare.schema import METRICS, Figure
from openbook.compare.weigh import BEHAVIOUR, Found
from openbook.metrics import wilson

Verdict = Literal["holds", "does not hold", "not measured"]
Judged = tuple[Verdict, str]

NO_TUNED = "the arm tuned was not measured; train an adapter with: openbook finetune EXAMPLES"
NO_RAG = "the arm rag was not measured; run: openbook compare"
_INVENTED = ("invents", "invention", "fabricated_citation")


def from_documents(found: Found) -> Judged:
    """RAG is better than base at questions that documents answer."""
    return _gained(found, "rag", "base", found.metric, NO_RAG)


def into_weights(found: Found) -> Judged:
    """By facts that training saw: other cases come from documents that no training example touched."""
    fresh = found.report.sections.get("freshness")
    answers, edits = dig(fresh, "answers"), dig(fresh, "edits")
    arm = quote.arm(found.report, "tuned")
    # Edited facts may be those of another adapter's training: they say nothing about this one's weights.
    if arm is not None and number(dig(fresh, "learned", arm.adapter)) in (None, 0):
        edits = ()
    trained = {
        dig(one, "id") for one in _list(edits) if dig(one, "trained") is True and isinstance(dig(one, "id"), str)
    }
    known: dict[str, list[bool]] = {"tuned": [], "base": []}
    for one in _list(answers):
        name, edit, knew = dig(one, "arm"), dig(one, "edit"), dig(one, "knew")
        if (
            isinstance(name, str)
            and name in known
            and isinstance(edit, str)
            and edit in trained
            and isinstance(knew, bool)
        ):
            known[name].append(knew)
    tuned, base = _counted(known["tuned"]), _counted(known["base"])
    if tuned is None:
        own = found.of("tuned")
        beside = "" if own is None else f"; over all cases: {said(own, found.metric)}"
        return "not measured", f"no edited fact stood in what tuned learned{beside}"
    told = f"of the facts in its training data tuned knows {said(tuned, 'answer_correct')}"
    if base is None:
        return "not measured", f"{told}; base was not asked"
    told += f", base {said(base, 'answer_correct')}"
    if tuned.low > base.high:
        return "holds", told
    return ("does not hold", told) if tuned.high < 0.5 else ("not measured", f"{told}: too few to tell")


def strongly_fewer(found: Found) -> Judged:
    """RAG invents detectably less than base, at most half as much."""
    verdict, told, metric = _invented(found, "rag", NO_RAG)
    rag, base = found.of("rag", metric), found.of("base", metric)
    if verdict == "holds" and rag is not None and base is not None and rag.value > base.value / 2:
        return "does not hold", f"{told}: fewer, but not half as many"
    return verdict, told


def fewer(found: Found) -> Judged:
    """The tuned model invents detectably less than base."""
    return _invented(found, "tuned", NO_TUNED)[:2]


def best_for_facts(found: Found) -> Judged:
    """RAG is better than base and than the tuned model."""
    over = [one for name in ("base", "tuned") if (one := gain(found.report, "rag", name, found.metric))]
    if not over:
        return "not measured", NO_RAG
    told = "; ".join(map(str, over))
    if all(one.better for one in over):
        return "holds", told
    return ("does not hold", told) if any(one.nothing for one in over) else ("not measured", told)


def best_for_tone(found: Found) -> Judged:
    """By the first of format, score and voice that was measured."""
    seen = [one for metric in BEHAVIOUR if (one := gain(found.report, "tuned", "base", metric))]
    if not seen:
        if quote.arm(found.report, "tuned") is None:
            return "not measured", NO_TUNED
        return (
            "not measured",
            "no example conversation was asked of tuned and base; name held-out ones with --conversations",
        )
    told = "; ".join(f"{METRICS[one.metric].label}: {one}" for one in seen)
    if any(one.better for one in seen) and not any(one.worse for one in seen):
        return "holds", told
    return ("does not hold", told) if all(one.nothing for one in seen) else ("not measured", told)


def consistent(found: Found) -> Judged:
    """The tuned model answers paraphrases more alike than base."""
    return _gained(found, "tuned", "base", "consistency", 'no two cases ask the same; give cases with "same"')


def traceable(found: Found) -> Judged:
    """RAG cites a right passage more often than not."""
    cited, precise = found.of("rag", "citation_recall"), found.of("rag", "citation_precision")
    if cited is None:
        return "not measured", "no case names the passage that holds its answer; give cases with spans"
    told = f"RAG cites a right passage in {said(cited, 'citation_recall')}"
    told += f"; citation precision {short(precise, 'citation_precision')}" if precise else ""
    if cited.low > 0.5:
        return "holds", told
    return ("does not hold", told) if cited.high < 0.5 else ("not measured", f"{told}: too few to tell")


def untraceable(found: Found) -> Judged:
    """The tuned model cites nothing."""
    arm = quote.arm(found.report, "tuned")
    if arm is None:
        return "not measured", NO_TUNED
    cited = found.of("tuned", "citation_recall")
    if cited is None or not cited.value:
        return "holds", f"tuned is shown no passage, and none of its {arm.answered} answers names one"
    return "does not hold", f"tuned names a right passage in {said(cited, 'citation_recall')}"


def needs_search(found: Found) -> Judged:
    """RAG is right more often where the right passage was shown."""
    arm = quote.arm(found.report, "rag")
    counts = arm.failures if arm is not None else {}
    right, wrong, lucky, missed = (
        max(0, counts.get(name, 0)) for name in ("retrieved-right", "retrieved-wrong", "missed-right", "missed-wrong")
    )
    if not right + wrong or not lucky + missed:
        if right + wrong:
            seen = right + wrong
            return "not measured", f"search found the right passage for all {seen} questions: no miss could be watched"
        return "not measured", "search never found a passage that a case names, or no case names one"
    with_it, without = _share(right, right + wrong), _share(lucky, lucky + missed)
    told = (
        f"with the right passage shown RAG is right in {said(with_it, 'answer_correct')}, without it in "
        f"{said(without, 'answer_correct')}"
    )
    if with_it.low > without.high:
        return "holds", told
    return ("does not hold", told) if without.low > with_it.high else ("not measured", f"{told}: too few to tell")


def both_best(found: Found) -> Judged:
    """tuned + RAG is better than each of the other three."""
    others = [one for name in ("base", "rag", "tuned") if (one := gain(found.report, "tuned+rag", name, found.metric))]
    if not any(one.over == "rag" for one in others):
        return (
            "not measured",
            "the arms rag and tuned+rag were not both measured; train with: openbook finetune --from-library",
        )
    told = "; ".join(map(str, others))
    if all(one.better for one in others):
        return "holds", told
    if any(one.nothing for one in others if one.over != "base"):
        return "does not hold", told
    return "not measured", told


def _invented(found: Found, name: str, missing: str) -> tuple[Verdict, str, str]:
    for metric in _INVENTED:
        mine, base = found.of(name, metric), found.of("base", metric)
        if mine is None or base is None:
            continue
        verdict, told = _gained(found, name, "base", metric, missing)
        refused = found.of(name, "refusal")
        declines = f"; it declines {said(refused, 'refusal')} of what no document answers" if refused else ""
        told = f"{METRICS[metric].label}: {NAMES[name]} {said(mine, metric)}, base {short(base, metric)}; {told}"
        return verdict, told + declines, metric
    return "not measured", missing, _INVENTED[0]


def _gained(found: Found, name: str, over: str, metric: str, missing: str) -> Judged:
    one = gain(found.report, name, over, metric)
    mine, other = found.of(name, metric), found.of(over, metric)
    if one is None:
        return _apart(mine, other, metric) if mine and other else ("not measured", missing)
    told = str(one)
    if mine and other and metric not in _INVENTED:
        told = f"{told} ({short(mine, metric)} against {short(other, metric)})"
    if one.better:
        return "holds", told
    return ("does not hold", told) if one.nothing else ("not measured", told)


def _apart(mine: Figure, other: Figure, metric: str) -> Judged:
    """Without a pair, only intervals that do not touch say anything."""
    lower = METRICS[metric].better == "lower"
    told = "not compared in pairs"
    if metric not in _INVENTED:
        told = f"{short(mine, metric)} against {short(other, metric)}, {told}"
    if mine.low > other.high:
        return ("does not hold" if lower else "holds"), told
    if mine.high < other.low:
        return ("holds" if lower else "does not hold"), told
    return "not measured", told


def _counted(hits: list[bool]) -> Figure | None:
    return _share(sum(hits), len(hits)) if hits else None


def _share(hits: int, n: int) -> Figure:
    value, low, high = wilson(hits, n)
    return Figure(value, low, high, n)


def _list(value: Any) -> list[Any]:
    return list(value) if isinstance(value, list | tuple) else []
