"""Sayings about training, updating, cost, speed and forgetting: a verdict each, with the numbers it rests on."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from openbook.compare import quote, wording
from openbook.compare.claims_quality import NO_RAG, NO_TUNED, Judged
from openbook.compare.quote import NAMES, NOTHING, dig, number, rate, said, short
from openbook.compare.schema import METRICS, Report
from openbook.compare.weigh import Found

SLIGHT = 2.0
"""Up to how many times slower is "slightly"."""
TIMED = 20
"""Answers from which on a median of seconds says something."""
LARGE = 1000
"""Examples from which on a data set is large."""
_NO_FRESH = "no fact was edited; run openbook compare without --skip freshness"
_NO_COST = "no costs were reckoned; run: openbook compare"


def untrained(found: Found) -> Judged:
    """RAG does as well without the bundled reader or an adapter."""
    arm = quote.arm(found.report, "rag")
    if arm is None:
        return "not measured", NO_RAG
    value, bare = found.of("rag"), found.of("bare")
    reached = f"{METRICS[found.metric].label} {said(value, found.metric)}" if value else f"n = {arm.answered}"
    if bare is None or value is None:
        if arm.adapter:
            return "not measured", f"RAG ran with the trained reader {arm.adapter}: {reached}; add the arm bare to tell"
        return "holds", f"RAG ran without any training of yours: {reached}"
    told = f"without a trained reader RAG reaches {short(bare, found.metric)}, with {arm.adapter or 'the bundled one'} "
    told += said(value, found.metric)
    if bare.high < value.low:
        return "does not hold", told
    return ("holds", told) if bare.value >= value.value - NOTHING else ("not measured", f"{told}: too few to tell")


def needs_training(found: Found) -> Judged:
    """What the training was."""
    arm = quote.arm(found.report, "tuned")
    if arm is None:
        return "not measured", NO_TUNED
    parts = dig(found.report.sections.get("cost"), "arms", "tuned", "one_time")
    train, label = number(dig(parts, "train")), number(dig(parts, "label"))
    spent = (
        f"; {_money(found, train)} of machine and {_money(found, label)} of labelling"
        if train is not None and label is not None
        else ""
    )
    return "holds", f"tuned is {arm.adapter or arm.model or 'a trained model'}{spent}; {arm.answered} answers"


def searches(found: Found) -> Judged:
    """Time goes into search."""
    spent, total = _seconds(found.report, "rag", "retrieve"), _seconds(found.report, "rag", "total")
    if spent is None or total is None:
        return "not measured", NO_RAG
    told = f"{spent:.2f} s of {total:.2f} s (medians) go into search"
    return ("holds" if spent > 0 else "does not hold"), told


def no_search(found: Found) -> Judged:
    """No time goes into search."""
    spent, total = _seconds(found.report, "tuned", "retrieve"), _seconds(found.report, "tuned", "total")
    if spent is None or total is None:
        return "not measured", NO_TUNED
    return ("holds" if spent < 0.001 else "does not hold"), f"{spent:.2f} s of {total:.2f} s (medians) go into search"


def easy_to_update(found: Found) -> Judged:
    """RAG answers from an edited document."""
    return _updated(found, "rag")


def keeps_up(found: Found) -> Judged:
    """The trained reader does."""
    return _updated(found, "tuned+rag")


def _updated(found: Found, name: str) -> Judged:
    """An edited document is answered from as well as others are, without the old value."""
    raw = dig(found.report.sections.get("freshness"), "arms", name)
    new, stale = rate(dig(raw, "new_value_rate")), rate(dig(raw, "stale_value_rate"))
    if new is None or stale is None:
        return "not measured", _NO_FRESH
    usual = found.of(name, "answer_correct")
    soon = number(dig(raw, "seconds", "median"))
    soon = soon if soon is not None else number(dig(raw, "seconds"))
    told = f"after an edit {NAMES[name]} is right in {said(new, 'answer_correct')}"
    told += f", {soon:.1f} s after saving" if soon is not None else ""
    told += f", and says the old value in {short(stale, 'stale')}"
    if usual is not None:
        told += f"; it answers {short(usual, 'answer_correct')} of all questions right"
    expected = usual.low if usual is not None else 0.5
    if stale.low > NOTHING or new.high < expected:
        return "does not hold", told
    return ("holds", told) if new.value >= expected and new.low > stale.high else ("not measured", f"{told}: undecided")


def hard_to_update(found: Found) -> Judged:
    """The tuned model does not say what was edited."""
    raw = dig(found.report.sections.get("freshness"), "arms", "tuned")
    new, stale = rate(dig(raw, "new_value_rate")), rate(dig(raw, "stale_value_rate"))
    if new is None:
        return "not measured", _NO_FRESH
    why = dig(raw, "never")
    told = f"after an edit tuned is right in {said(new, 'answer_correct')}"
    told += f" and says the old value in {short(stale, 'stale')}" if stale else ""
    told += f" ({why})" if isinstance(why, str) and why else ""
    if new.high < 0.5:
        return "holds", told
    return ("does not hold", told) if new.low > 0.5 else ("not measured", f"{told}: too few to tell")


def cheaper(found: Found) -> Judged:
    """In money for an acceptable answer, and by volume."""
    if quote.arm(found.report, "tuned") is None:
        return "not measured", NO_TUNED
    rag, tuned = _cost(found, "rag"), _cost(found, "tuned")
    mine, other = number(rag.get("acceptable_answer")), number(tuned.get("acceptable_answer"))
    pays = found.pays
    if pays.verdict == "unknown" and (mine is None or other is None):
        return "not measured", _NO_COST
    parts = []
    if mine is not None and other is not None:
        parts.append(f"an acceptable answer costs {_money(found, mine)} with RAG, {_money(found, other)} with tuned")
    if pays.verdict != "unknown":
        when = {
            "always": "tuned never costs more than RAG, from 0 questions a month on",
            "never": "tuned never pays against RAG, from 0 questions a month on",
        }.get(pays.verdict, f"tuned costs less than RAG {pays.verdict} {pays.questions or 0:,.0f} questions a month")
        parts.append(f"{when}{f' ({pays.reason})' if pays.reason else ''}")
    told = "; ".join(parts)
    if pays.verdict == "unknown":
        return ("holds" if (mine or 0) < (other or 0) else "does not hold"), told
    if pays.verdict in ("from", "until") and found.volume is None:
        return "not measured", f"{told}; your volume is not known"
    return ("does not hold" if found.cheaper else "holds"), told


def expensive(found: Found) -> Judged:
    """What tuning adds (the checks are paid for every arm), compared with what a thousand questions cost."""
    raw = dig(found.report.sections.get("cost"), "arms", "tuned", "one_time")
    thousand = number(_cost(found, "rag").get("thousand_questions"))
    if quote.arm(found.report, "tuned") is None:
        return "not measured", NO_TUNED
    train, label = number(dig(raw, "train")), number(dig(raw, "label"))
    unknown = dig(found.report.sections.get("cost"), "arms", "tuned", "unmeasured")
    if thousand is None or train is None or label is None or "training" in _list(unknown):
        return "not measured", _NO_COST
    told = f"tuning costs {_money(found, train)} of machine and {_money(found, label)} of labelling once"
    told += f"; 1,000 questions to RAG cost {_money(found, thousand)}"
    return ("holds" if train + label > thousand else "does not hold"), told


def slightly_slower(found: Found) -> Judged:
    """RAG takes up to twice as long as base."""
    return _slower(found, "rag", NO_RAG)


def _slower(found: Found, name: str, missing: str) -> Judged:
    mine, base = _seconds(found.report, name, "total"), _seconds(found.report, "base", "total")
    if mine is None or base is None or base <= 0:
        return "not measured", missing
    told = f"{mine:.2f} s against {base:.2f} s of base (medians): {mine / base:.1f} times; n = {_n(found.report, name)}"
    return _timed(found, name, lambda ratio: 1 < ratio <= SLIGHT, mine / base, told)


def faster(found: Found) -> Judged:
    """The tuned model takes less time than base."""
    mine, base = _seconds(found.report, "tuned", "total"), _seconds(found.report, "base", "total")
    if mine is None or base is None or base <= 0:
        return "not measured", NO_TUNED
    told = f"{mine:.2f} s against {base:.2f} s of base (medians); n = {_n(found.report, 'tuned')}"
    return _timed(found, "tuned", lambda ratio: ratio < 0.95, mine / base, told)


def _timed(found: Found, name: str, holds: Callable[[float], bool], ratio: float, told: str) -> Judged:
    """By the process of its own; undecided where all the answers of the comparison say otherwise."""
    if min(_n(found.report, one) for one in (name, "base")) < TIMED:
        return "not measured", f"{told}: too few to tell"
    mine, base = (quote.arm(found.report, one) for one in (name, "base"))
    all_mine, all_base = (number(dig(one.seconds, "total", "p50")) if one else None for one in (mine, base))
    if mine and all_mine is not None and all_base and holds(all_mine / all_base) != holds(ratio):
        told += f"; over all {mine.answered} answers {all_mine:.2f} s against {all_base:.2f} s"
        return "not measured", f"{told}: undecided"
    return ("holds" if holds(ratio) else "does not hold"), told


def stays(found: Found) -> Judged:
    """No weight changed, or the reader's probes did not fall."""
    arm = quote.arm(found.report, "rag")
    if arm is None:
        return "not measured", NO_RAG
    if not arm.adapter:
        return "holds", f"RAG ran without any training of yours; {arm.answered} answers"
    return _forgot(found, arm.adapter, forgets=False)


def forgets(found: Found) -> Judged:
    """The probes fell with training."""
    arm = quote.arm(found.report, "tuned") or quote.arm(found.report, "tuned+rag")
    if arm is None:
        return "not measured", NO_TUNED
    return _forgot(found, arm.adapter, forgets=True)


def _forgot(found: Found, adapter: str, *, forgets: bool) -> Judged:
    """By the probes before and after training: a fall beyond the margin and beyond noise."""
    probes = dig(found.report.sections.get("forgetting"), adapter, "probes")
    told, fell, noisy = [], False, False
    for name, one in probes.items() if isinstance(probes, Mapping) else ():
        before, after, n = (number(dig(one, key)) for key in ("before", "after", "n"))
        if before is None or after is None or n is None or dig(one, "kind") == "perplexity":
            continue
        verdict = dig(one, "verdict")
        fell, noisy = fell or verdict == "regression", noisy or verdict == "maybe"
        if verdict in ("regression", "maybe") or name == "general":
            low, high = number(dig(one, "low")), number(dig(one, "high"))
            spread = (
                f" (change [{quote.percent(low)}, {quote.percent(high)}])"
                if low is not None and high is not None
                else ""
            )
            told.append(
                f"{str(name).replace('_', ' ')} {quote.percent(before)} % before, {quote.percent(after)} % after"
                f"{spread}, n = {n:.0f}"
            )
    if not told:
        return "not measured", f"{adapter or 'the adapter'} was not probed; train with finetune.probes above 0"
    sentence = f"by the probes of {adapter}: {'; '.join(told)}"
    if fell:
        return ("holds" if forgets else "does not hold"), sentence
    if noisy:
        return "not measured", f"{sentence}: within noise"
    return ("does not hold" if forgets else "holds"), f"{sentence}; no fall beyond the margin"


def no_examples(found: Found) -> Judged:
    """RAG has no trained reader and no examples in its prompt."""
    value = found.of("rag")
    if value is None:
        return "not measured", NO_RAG
    arm = quote.arm(found.report, "rag")
    if arm is not None and arm.adapter:
        return "not measured", f"RAG ran with the trained reader {arm.adapter}: {said(value, found.metric)}"
    tries = _list(dig(found.report.sections.get("tuning"), "tries"))
    chosen = next((one for one in tries if dig(one, "arm") == "rag" and dig(one, "chosen") is True), None)
    shown = len(_list(dig(chosen, "places")))
    told = f"RAG reaches {said(value, found.metric)} with {shown} of your examples in its prompt"
    return ("does not hold" if shown else "holds"), told


def much_data(found: Found) -> Judged:
    """The data-size curve still rises at many examples."""
    curve = found.report.sections.get("curve")
    sentence, verdict = dig(curve, "sentence"), dig(curve, "verdict")
    sizes = [n for one in _list(dig(curve, "points")) if (n := number(dig(one, "n"))) is not None]
    plateau = number(dig(curve, "plateau"))
    if not sizes or not isinstance(sentence, str):
        return (
            "not measured",
            "no data-size curve was trained; train one with: openbook finetune EXAMPLES --curve 10,30,100",
        )
    told = f"{sentence.removesuffix('.')} (up to {max(sizes):,.0f} examples)"
    if verdict == "enough" and plateau is not None:
        return ("does not hold" if plateau < LARGE else "holds"), told
    if verdict == "rising" and max(sizes) >= LARGE:
        return "holds", told
    return "not measured", told


def _cost(found: Found, name: str) -> Mapping[str, float]:
    arm = next((one for one in found.report.arms if one.name == name), None)
    return arm.cost if arm is not None else {}


def _money(found: Found, amount: float | None) -> str:
    currency = next(
        (one for key in ("currency", "unit") if isinstance(one := dig(found.report.sections.get("cost"), key), str)), ""
    )
    return wording.money(amount, currency).replace("\N{NO-BREAK SPACE}", " ")


def _seconds(report: Report, name: str, step: str) -> float | None:
    """Median of a step: from the measurement in a process of its own if there is one, else from the rows."""
    alone = number(dig(report.sections.get("latency"), "arms", name, step, "p50"))
    arm = quote.arm(report, name)
    return alone if alone is not None else number(dig(arm.seconds, step, "p50")) if arm is not None else None


def _n(report: Report, name: str) -> int:
    """Answers that a median rests on."""
    alone = number(dig(report.sections.get("latency"), "arms", name, "n"))
    arm = quote.arm(report, name)
    return round(alone) if alone is not None else arm.answered if arm is not None else 0


def _list(value: Any) -> list[Any]:
    return list(value) if isinstance(value, list | tuple) else []
