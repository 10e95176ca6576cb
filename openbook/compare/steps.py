"""The steps of advice: one question each, yes, no or unknown, and the number that says so."""

from __future__ import annotations

import math

from openbook.compare import phrases, quote
from openbook.compare.quote import Gain, said, upper
from openbook.compare.schema import Step
from openbook.compare.weigh import FEW, RECALL, Found


def steps(found: Found) -> tuple[Step, ...]:
    """All of them, in the order in which they decide."""
    return (
        _enough(found),
        _prompt(found),
        _search(found),
        _reader(found),
        _documents(found),
        _behaviour(found),
        _training(found),
        _following(found),
        _paying(found),
    )


def _enough(found: Found) -> Step:
    question = "Are there enough cases?"
    if not found.asked:
        return Step(question, "no", "Not measured: no arm answered a case that the deciding metric applies to.")
    told = phrases.asked(found.asked)
    near = [one for one in found.report.power if math.isfinite(one.gap + one.disagreement) and 0 < one.n <= found.asked]
    if near:
        best = max(near, key=lambda one: (one.n, -abs(one.disagreement - 0.3)))
        told += (
            f"; when two arms differ on {quote.percent(best.disagreement)} % of the questions, {best.n} show a gap of "
            f"{quote.percent(best.gap)} points"
        )
    return Step(question, "yes" if found.asked >= FEW else "no", f"{told}.")


def _prompt(found: Found) -> Step:
    question, base = "Is the prompt alone good enough?", found.of("base")
    if not found.knowledge:
        voice = found.voice
        state = {"no": "yes", "unknown": "unknown"}.get(voice.state, "no")
        return Step(question, state, f"{upper(voice.told)}.")
    if base is None:
        return Step(question, "unknown", "Base was not measured.")
    told = f"Base, {phrases.reached(found, base)}"
    if found.bar is None:
        return Step(question, "unknown", f"{told}; no bar is declared for it.")
    told += f"; the bar is {quote.goal(found.bar, found.metric)}"
    if found.meets(base) and found.told_to_follow:
        return Step(question, "no", f"{told}. It knows no document, and you need citations or facts that change.")
    if found.meets(base) and not found.surely_meets(base):
        told += ", inside its interval"
    return Step(question, "yes" if found.prompt_is_enough else "no", f"{told}.")


def _search(found: Found) -> Step:
    question = "Does search find the right passage?"
    if found.shown is None:
        return Step(question, "unknown", "Not measured: no case names the passage that holds its answer.")
    name, value = found.shown
    told = f"{upper(name)}: {said(value, 'retrieved')}; {RECALL * 100:.0f} % is wanted."
    return Step(question, "yes" if value.value >= RECALL else "no", told)


def _reader(found: Found) -> Step:
    question = "Can the model use the right passage?"
    if found.oracle is None:
        return Step(question, "unknown", "Not measured: no arm was shown the right passage.")
    name, value = found.oracle
    who = "Trained and shown" if name == "tuned+oracle" else "Shown"
    told = f"{who} the right passage: {phrases.reached(found, value)}"
    if sentences := found.of("extractive"):
        told += f"; the passages' best sentences without any model: {said(sentences, found.metric)}"
    if found.bar is None:
        return Step(question, "unknown", f"{told}; no bar is declared for it.")
    state = "no" if found.surely_misses(value) else "yes" if found.meets(value) else "unknown"
    return Step(question, state, f"{told}; the bar is {quote.goal(found.bar, found.metric)}.")


def _documents(found: Found) -> Step:
    return _compared("Do documents help?", found.gain("rag", "base"), "RAG and base were not measured on one case.")


def _behaviour(found: Found) -> Step:
    voice = found.voice
    state = {"closed": "yes", "unknown": "unknown", "untried": "unknown"}.get(voice.state, "no")
    return Step("Does training close a gap in format or voice?", state, f"{upper(voice.told)}.")


def _training(found: Found) -> Step:
    question = "Does training add to RAG, without harm?"
    if found.gain("tuned+rag", "rag") is None and not found.harms:
        return Step(question, "unknown", "Not measured: RAG and tuned + RAG share no case.")
    return Step(question, "yes" if found.training_adds else "no", f"{upper(phrases.training(found))}.")


def _following(found: Found) -> Step:
    question = "Do facts change every month, or must answers cite?"
    given = [f"{key}: {found.answers[key]}" for key in ("facts", "citations") if key in found.answers]
    if given:
        told = f"You said {', '.join(given)}; how often facts change is not measured."
        partly = not found.told_to_follow and len(given) < 2
        return Step(question, "unknown" if partly else "yes" if found.told_to_follow else "no", told)
    if found.updates is not None:
        told = f"The costs are reckoned with {found.updates:g} update{'' if found.updates == 1 else 's'} a month"
        if found.updates >= 1:
            told += ", which is taken for yes as long as nobody says; if not so: openbook advise --answer facts=rarely"
        return Step(question, "unknown", f"{told}.")
    return Step(question, "unknown", "Not measured and not said; say it: openbook advise --answer facts=weekly")


def _paying(found: Found) -> Step:
    question, pays = "Is the volume high enough for tuning to pay?", found.pays
    why = f": {pays.reason}" if pays.reason else ""
    if pays.verdict == "never":
        return Step(question, "no", f"Tuned never pays against RAG{why}.")
    if pays.verdict == "always":
        return Step(question, "yes", f"Tuned never costs more than RAG{why}.")
    if pays.verdict == "unknown" or pays.questions is None:
        return Step(question, "unknown", "Not measured: when tuned would cost less than RAG.")
    told = f"Tuned costs less than RAG {pays.verdict} {pays.questions:,.0f} questions a month on"
    told = told if pays.verdict == "from" else told.removesuffix(" on")
    if found.volume is None:
        return Step(question, "unknown", f"{told}; say yours: openbook advise --answer volume=1000")
    whose = "you said" if "volume" in found.answers else "the costs are reckoned with"
    return Step(question, "yes" if found.cheaper else "no", f"{told}; {whose} {found.volume:,.0f}.")


def _compared(question: str, gain: Gain | None, missing: str) -> Step:
    if gain is None:
        return Step(question, "unknown", missing)
    state = "yes" if gain.better else "no" if gain.worse else "unknown"
    return Step(question, state, f"{upper(str(gain))}.")
