"""A report in, one recommendation out, with the steps that led to it; each step quotes what it rests on.

The steps are those of published guidance (docs/decisions/0109), each held against this report's own numbers. Knows
nothing but the report and what the user said of facts, citations and volume (see prior.QUESTIONS). Bears that any
figure, pair or section is missing: such a step says "not measured".
"""

from __future__ import annotations

from collections.abc import Mapping

from openbook.compare import phrases, quote, steps
from openbook.compare.quote import NAMES, said, short, upper
from openbook.compare.schema import FOUR, Advice, Figure, Recommended, Report
from openbook.compare.stats import HOPELESS, about
from openbook.compare.weigh import BEHAVIOUR, FEW, HARM, RECALL, SEARCH_COSTS, SEEDS, WANTED, Found

_ACTION: Mapping[Recommended, str] = {
    "collect more cases": "Collect more cases before you decide",
    "prompt only": "Ship the prompt alone",
    "fix search first": "Fix search first",
    "RAG": "Ship RAG",
    "fine-tune": "Fine-tune",
    "both": "Ship tuned + RAG",
    "larger model": "Try a larger model",
}

_BELOW: Mapping[str, str] = {
    "rag": "Go on with RAG, which is still below the bar",
    "tuned": "Go on with tuning, which is still below the bar",
    "tuned+rag": "Go on with tuned + RAG, which is still below the bar",
}
_UNTRIED: Mapping[str, str] = {
    "base": "Measure the prompt alone first",
    "rag": "Measure RAG next",
    "tuned": "Try fine-tuning",
    "tuned+rag": "Measure tuned + RAG next",
}
_NAMED: Mapping[Recommended, str] = {"prompt only": "base", "RAG": "rag", "fine-tune": "tuned", "both": "tuned+rag"}
"""The arm that a recommendation is about."""


def advise(report: Report, *, answers: Mapping[str, str] | None = None) -> Advice:
    """The one recommendation of a report.

    answers: what the report cannot know, by key of prior.QUESTIONS; used are "facts", "citations" and "volume".
    Raises UsageError for an answer that is none of its question's.
    """
    from openbook.compare import prior

    found = Found(report, prior.checked(answers or {}))
    recommend, why = _decide(found)
    sentence = f"{_action(found, recommend)}: {why}"
    if careful := quote.caution(report):
        sentence = f"{sentence} {careful}"
    return Advice(recommend, sentence, steps.steps(found), _would_change(found, recommend))


def verdict(report: Report) -> str:
    """The answer in one sentence: what to do, and the numbers of the arms that it is about."""
    found = Found(report, {})
    recommend = report.advice.recommend if report.advice is not None else _decide(found)[0]
    told = _numbers(found, recommend)
    small = " (a small model: this tests the mechanics, not who wins in production)" if quote.caution(report) else ""
    return f"{_action(found, recommend)}: {told}{small}."


def _action(found: Found, recommend: Recommended) -> str:
    """What to do; only what was measured and reaches the bar is to be shipped."""
    arm = _NAMED.get(recommend)
    if arm is None:
        return _ACTION[recommend]
    if quote.arm(found.report, arm) is None:
        return _UNTRIED[arm]
    if not found.knowledge and recommend == "prompt only" and found.voice.state == "unknown":
        return "Keep to the prompt alone for now"
    value = found.of(arm)
    missed = found.bar is not None and value is not None and not found.meets(value)
    if not missed or arm not in _BELOW:
        return _ACTION[recommend]
    goal = quote.goal(found.bar or 0, found.metric)
    unsure = "" if found.surely_misses(value) else ", not beyond chance"
    return f"{_BELOW[arm]} of {goal}{unsure}"


def _decide(found: Found) -> tuple[Recommended, str]:
    if found.asked < FEW:
        more = WANTED - found.asked
        return (
            "collect more cases",
            f"{phrases.asked(found.asked)}. Collect {more} more: {WANTED} show a gap of some 15 points.",
        )
    return _by_knowledge(found) if found.knowledge else _by_behaviour(found)


def _by_behaviour(found: Found) -> tuple[Recommended, str]:
    """No question asks for a document."""
    voice = found.voice
    if voice.state == "closed":
        if not any(one.arm == "tuned" for one in voice.gains):
            return "both", f"{upper(voice.told)}. Tuning without documents was not better than base."
        return "fine-tune", f"training closes the gap. {upper(voice.told)}."
    if voice.state == "untried":
        return "fine-tune", f"{voice.told}. Whether training closes the gap was not measured."
    if voice.state == "open":
        return "larger model", f"neither the prompt nor training reaches the bar. {upper(voice.told)}."
    if (
        rag := next((one for m in BEHAVIOUR if (one := found.gain("rag", "base", m)) and one.better), None)
    ) is not None:
        return "RAG", f"{rag}."
    if voice.state == "unknown":
        return "prompt only", f"nothing says yet that training is needed: {voice.told}."
    return "prompt only", f"training added nothing detectable to the prompt. {upper(voice.told)}."


def _by_knowledge(found: Found) -> tuple[Recommended, str]:
    base, rag = found.of("base"), found.of("rag")
    if found.prompt_is_enough and base is not None:
        enough = f"base reaches the bar without documents: {phrases.reached(found, base)}."
        if _tuned_for_voice(found):
            return "fine-tune", f"{enough} Format or voice needs training: {found.voice.told}."
        return "prompt only", enough
    if rag is None and found.of("tuned+rag") is None:
        return _without_rag(found)
    if found.meets(found.of("tuned")) and not found.training_adds and (decided := _weights_alone(found)):
        return decided
    if decided := _below_the_bar(found):
        return decided
    if found.training_adds and found.of("tuned+rag"):
        return "both", f"{_why_both(found)}"
    if decided := _weights_alone(found):
        return decided
    if rag is None:
        return "both", f"{phrases.arm(found, 'tuned+rag')}; RAG without training was not measured."
    return _plain_rag(found, base, rag)


def _below_the_bar(found: Found) -> tuple[Recommended, str] | None:
    """What to do about answers from documents that are not good enough yet."""
    value = found.of(found.best)
    if value is None or found.meets(value):
        return None
    if found.search_limits and (found.bar is not None or found.oracle_gap >= SEARCH_COSTS):
        told = phrases.search(found)
        return "fix search first", f"{phrases.arm(found, found.best)}. {upper(told)}."
    if found.oracle and found.surely_misses(found.oracle[1]):
        named = f"with the right passage shown it reaches {short(found.oracle[1], found.metric)}"
        untried = "" if found.of("tuned+rag") else " A reader trained on the library was not measured."
        return (
            "larger model",
            f"{phrases.arm(found, found.best)}. Even {named}, n = {found.oracle[1].n}, and the bar is "
            f"{quote.goal(found.bar or 0, found.metric)}.{untried}",
        )
    other = found.of("endpoint")
    if other is not None and found.meets(other) and found.surely_misses(value):
        return (
            "larger model",
            f"the endpoint's model reaches {phrases.reached(found, other)}; {NAMES[found.best]} "
            f"{said(value, found.metric)}.",
        )
    return None


def _weights_alone(found: Found) -> tuple[Recommended, str] | None:
    """A tuned model without documents, when it is better or cheaper and nothing forbids it."""
    tuned, gain = found.of("tuned"), found.gain("tuned", "rag")
    if tuned is None or gain is None or found.weights_alone_forbidden or gain.worse:
        return None
    refusing, declined = found.of("rag", "refusal"), found.of("tuned", "refusal")
    if refusing and declined and refusing.value - declined.value > HARM + 1e-9:
        return None
    if gain.better:
        return "fine-tune", f"{gain}. Nothing said that facts change monthly or that answers must cite."
    if found.meets(tuned) and found.cheaper:
        volume = "at any volume" if found.volume is None else f"at {found.volume:,.0f} questions a month"
        return "fine-tune", f"{phrases.reached(found, tuned)}, which reaches the bar; {volume} it costs less than RAG."
    return None


def _plain_rag(found: Found, base: Figure | None, rag: Figure) -> tuple[Recommended, str]:
    gain = found.gain("rag", "base")
    told = phrases.arm(found, "rag")
    if gain is not None and gain.worse and not found.told_to_follow:
        return "larger model", f"passages make this model's answers worse. {upper(str(gain))}."
    undecided = gain is not None and not gain.better and not gain.worse
    if undecided and gain is not None and not found.meets(rag) and not found.told_to_follow:
        if gain.needed > gain.n:
            return "collect more cases", f"{gain}."
        if found.surely_misses(rag):
            return "larger model", f"{told}, below the bar of {quote.goal(found.bar or 0, found.metric)}; {gain}."
    parts = [phrases.reached(found, rag)]
    if gain is not None:
        parts.append(upper(str(gain)))
    elif base is None:
        parts.append("Base was not measured")
    parts.append(upper(phrases.training(found)))
    return "RAG", ". ".join(parts) + "."


def _without_rag(found: Found) -> tuple[Recommended, str]:
    tuned = found.of("tuned")
    if found.meets(tuned) and tuned is not None and not found.weights_alone_forbidden:
        return "fine-tune", f"it reaches the bar: {phrases.reached(found, tuned)}. RAG was not measured."
    return (
        "RAG",
        f"it was not measured, and questions that documents answer need documents. {upper(phrases.first(found))}.",
    )


def _why_both(found: Found) -> str:
    gain = found.gain("tuned+rag", "rag")
    value = found.of("tuned+rag")
    parts = [phrases.reached(found, value)] if value else []
    if gain is not None:
        parts.append(upper(str(gain)))
    if gain is None or not gain.better:
        parts += [upper(one) for one in phrases.behaviour(found, "tuned+rag", "rag")]
    refused = found.of("tuned+rag", "refusal"), found.of("rag", "refusal")
    if refused[0] and refused[1]:
        parts.append(f"It declines {said(refused[0], 'refusal')}, RAG {short(refused[1], 'refusal')}")
    return ". ".join(parts) + "."


def _tuned_for_voice(found: Found) -> bool:
    gain = found.gain("tuned", "base")
    closes = any(one.arm == "tuned" for one in found.voice.gains)
    return found.voice.state == "closed" and closes and not (gain is not None and gain.worse)


def _would_change(found: Found, recommend: Recommended) -> tuple[str, ...]:
    own: Mapping[Recommended, str] = {
        "collect more cases": f"{max(WANTED, 2 * found.asked)} cases of your own; then they decide.",
        "prompt only": "An arm that is detectably better while base falls below the bar on new cases.",
        "fix search first": f"A right passage shown for {RECALL * 100:.0f} % of the questions or more.",
        "RAG": f"A training that beats RAG detectably and costs at most {HARM * 100:.0f} points of refusals or "
        "citations.",
        "fine-tune": "Facts that change every month, or answers that must cite: then RAG.",
        "both": f"A later run in which it declines {HARM * 100:.0f} points less often than RAG: then RAG.",
        "larger model": "A model that reaches the bar when the right passage is shown."
        if found.knowledge
        else "A model, or more examples, that reach the bar.",
    }
    changes = [own[recommend]]
    for name, over in (("tuned+rag", "rag"), ("rag", "base"), ("tuned", "base")):
        gain = found.gain(name, over)
        if gain is not None and not gain.better and not gain.worse and gain.n < gain.needed <= HOPELESS:
            changes.append(
                f"About {about(gain.needed):,} questions instead of {gain.n}: a difference between {NAMES[name]} and "
                f"{NAMES[over]} of the size seen would then show."
            )
    if recommend == "both" and len(found.seeds) < SEEDS:
        changes.append(
            f"Trainings with other seeds: {max(1, len(found.seeds))} of the {SEEDS} wanted measured, which may be luck."
        )
    for name in FOUR:
        if quote.arm(found.report, name) is None:
            why = found.report.missing.get(name, "")
            changes.append(f"{upper(NAMES[name])} was not measured{f': {why}' if why else '.'}")
    if found.pays.verdict == "from" and found.pays.questions and not found.cheaper and recommend != "fine-tune":
        changes.append(f"{found.pays.questions:,.0f} questions a month or more: tuned then costs less than RAG.")
    if quote.caution(found.report):
        changes.append("A larger model: what training gains over RAG on a small one often vanishes there.")
    return tuple(changes)


def _numbers(found: Found, recommend: Recommended) -> str:
    """The figures a verdict quotes."""
    if found.asked < FEW:
        return phrases.asked(found.asked)
    if not found.knowledge:
        return found.voice.told
    arm = _NAMED.get(recommend, found.best)
    value = found.of(arm)
    if value is None:
        return f"{phrases.arm(found, arm)}; {phrases.first(found)}"
    told = phrases.reached(found, value) if recommend in _NAMED else phrases.arm(found, arm)
    if recommend == "fix search first":
        return f"{told}; {phrases.search(found)}"
    if recommend == "larger model":
        other = found.of("endpoint")
        if other is not None and found.meets(other):
            return f"{told}; the endpoint's model {said(other, found.metric)}"
        if found.oracle is not None:
            return f"{told}; with the right passage shown {short(found.oracle[1], found.metric)}"
    pairs = {
        "RAG": (("rag", "base"), ("tuned+rag", "rag")),
        "fine-tune": (("tuned", "rag"),),
        "both": (("tuned+rag", "rag"),),
    }.get(recommend, (("rag", "base"),))
    gains = [str(one) for name, over in pairs if (one := found.gain(name, over))]
    return "; ".join([told, *gains, *_voiced(found, recommend)])


def _voiced(found: Found, recommend: Recommended) -> list[str]:
    """What training gains in behaviour, where that is why it is recommended."""
    gain = found.gain("tuned+rag", "rag")
    if recommend == "both" and gain is not None and not gain.better:
        return phrases.behaviour(found, "tuned+rag", "rag")
    if recommend == "fine-tune" and found.prompt_is_enough:
        return phrases.behaviour(found, "tuned", "base")
    return []
