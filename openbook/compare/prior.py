"""Answers to eight questions in, advice out for whoever has measured nothing yet: published experience, no measurement.

Knows nothing of a report. Where the rules come from: docs/decisions/0109.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from openbook.compare.schema import Advice, Recommended, Step
from openbook.errors import UsageError

EXAMPLES = 30
"""Conversations from which on a voice can be trained."""
VOLUME = 100_000
"""Questions a month from which on a shorter prompt is worth reckoning with."""


@dataclass(frozen=True, slots=True)
class Question:
    """One question; `choices` is empty where a whole number is asked for."""

    key: str
    text: str
    choices: tuple[str, ...] = ()


QUESTIONS = (
    Question(
        "facts",
        "How often do the facts that answers rest on change? none: answers need no documents.",
        ("daily", "weekly", "monthly", "rarely", "none"),
    ),
    Question("citations", "Must every answer show its source?", ("yes", "no")),
    Question("examples", "How many good example conversations do you have?"),
    Question("volume", "How many questions a month do you expect?"),
    Question(
        "latency",
        "How soon must an answer come, and on what? relaxed: some seconds; fast-cpu: a second on ordinary cores; gpu.",
        ("relaxed", "fast-cpu", "gpu"),
    ),
    Question("private", "Is there data that may not leave your machines?", ("yes", "no")),
    Question(
        "tone",
        "How strict are format and voice? some: a prompt with examples may do; strict: it must be the same every time.",
        ("none", "some", "strict"),
    ),
    Question("wrong", "What does a wrong answer cost?", ("low", "medium", "high")),
)
"""What is asked, in this order."""
_NOTE = "This is a prior from published experience, not a measurement: run openbook compare on your own questions."


def parse(given: Sequence[str]) -> dict[str, str]:
    """KEY=VALUE pairs as answers.

    Raises UsageError for another form, an unknown key or a value that is no answer to its question.

    >>> parse(["facts=weekly", "examples=40"])
    {'facts': 'weekly', 'examples': '40'}
    """
    found: dict[str, str] = {}
    for one in given:
        key, equals, value = one.partition("=")
        if not equals:
            raise UsageError(f"answer {one!r} is not of the form KEY=VALUE; for example: --answer facts=weekly")
        found[key.strip()] = value
    return checked(found)


def checked(answers: Mapping[str, str]) -> dict[str, str]:
    """The answers in their normal form. Raises UsageError for an unknown key or value."""
    known = {question.key: question for question in QUESTIONS}
    found: dict[str, str] = {}
    for key, value in answers.items():
        if key not in known:
            raise UsageError(f"there is no question {key!r}; use one of {', '.join(known)}")
        found[key] = answer(known[key], value)
    return found


def answer(question: Question, value: str) -> str:
    """One answer in its normal form. Raises UsageError for one that does not fit the question."""
    plain = value.strip().lower()
    if question.choices:
        if plain not in question.choices:
            raise UsageError(f"{question.key} is {value!r} but must be one of {', '.join(question.choices)}")
        return plain
    digits = plain.replace(",", "").replace("_", "")
    if not (digits.isascii() and digits.isdigit() and len(digits) <= 12):
        raise UsageError(f"{question.key} is {value!r} but must be a whole number, for example {question.key}=200")
    return str(int(digits))


def advise(answers: Mapping[str, str]) -> Advice:
    """What usually fits such answers; what was not answered counts as unknown. Raises UsageError as `checked` does."""
    told = checked(answers)
    documents = told.get("facts", "") != "none" or told.get("citations") == "yes"
    examples = int(told.get("examples", "0"))
    strict = told.get("tone") == "strict"
    recommend: Recommended
    if not documents and strict and examples >= EXAMPLES:
        recommend, why = (
            "fine-tune",
            f"the voice is strict, no document is needed and {examples} examples can teach it.",
        )
    elif not documents:
        recommend, why = "prompt only", "no document is needed and a prompt with a few examples is the cheapest start."
        if strict:
            why += f" A strict voice may need training; have at least {EXAMPLES} examples first."
    elif strict and examples >= EXAMPLES:
        recommend = "both"
        why = (
            f"documents hold the facts and {examples} examples can teach the voice. Train with passages in the "
            "prompt, and keep the training only if it beats RAG."
        )
    else:
        recommend, why = "RAG", _why_rag(told)
    action = {
        "fine-tune": "Fine-tune",
        "prompt only": "Start with a prompt",
        "both": "Plan for both",
        "RAG": "Start with RAG",
    }
    return Advice(recommend, f"{action[recommend]}: {why} {_NOTE}", _steps(told), _would_change(told), prior=True)


def _why_rag(told: Mapping[str, str]) -> str:
    reasons = []
    if told.get("facts") in ("daily", "weekly", "monthly"):
        reasons.append(f"facts change {told['facts']}, and an edited document is answered from at once")
    if told.get("citations") == "yes":
        reasons.append("answers must cite, and only shown passages can be cited")
    if not reasons:
        reasons.append("questions that documents answer are best answered from the documents")
    return " and ".join(reasons) + "."


def _steps(told: Mapping[str, str]) -> tuple[Step, ...]:
    return tuple(
        Step(
            question.text,
            told.get(question.key, "unknown"),
            f"You said {told[question.key]}; not measured." if question.key in told else "Not said and not measured.",
        )
        for question in QUESTIONS
    )


def _would_change(told: Mapping[str, str]) -> tuple[str, ...]:
    changes = ["A measurement on 100 questions of your own: it outweighs every answer given here."]
    if told.get("tone") == "strict" and int(told.get("examples", "0")) < EXAMPLES:
        changes.append(f"{EXAMPLES} good example conversations: then training the voice can be tried.")
    if told.get("wrong") == "high":
        changes.append("Wrong answers are dear: how often it declines what no document answers counts for as much.")
    if told.get("latency") == "fast-cpu":
        changes.append("Passages make prompts longer; on ordinary cores measure the seconds before you promise any.")
    if told.get("private") == "yes":
        changes.append("Data must stay: a larger model is only an option if it runs on your own machines.")
    if int(told.get("volume", "0")) >= VOLUME:
        changes.append("At such a volume a tuned model with a shorter prompt may be cheaper; the cost curve shows it.")
    return tuple(changes)
