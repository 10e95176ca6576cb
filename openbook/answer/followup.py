"""A question within a conversation in; a question that stands alone out, for retrieval. Knows no documents."""

from __future__ import annotations

from collections.abc import Sequence

from openbook.prompt import rewrite
from openbook.prose import words
from openbook.records import Generation, Message, Sampling
from openbook.seams import Generator

_POINTERS = frozenset(
    "it its that this those these they them their he him his she her one ones there then same else".split()
)
_ENOUGH = 4


def standalone(question: str, history: Sequence[Message], *, model: Generator | None = None) -> str:
    """The question to retrieve with.

    With a model, it rewrites the question; a rewrite that is empty or much longer is not used. Without one, a question
    that points back ("and for part-timers?", "does it expire?") gets the user's last question put before it.

    >>> standalone("Does it expire?", [Message("user", "How much vacation do I get?"), Message("assistant", "15 days")])
    'How much vacation do I get? Does it expire?'
    """
    asked = [turn.content for turn in history if turn.role == "user"]
    if not asked:
        return question
    if model is not None:
        written = _generate(model, rewrite(question, history))
        if written and len(written) <= 3 * len(question) + 200:
            return written
    return f"{asked[-1]} {question}" if points_back(question) else question


def points_back(question: str) -> bool:
    """Whether a question leans on what was said before."""
    return sum(not word.stop for word in words(question)) < _ENOUGH or bool(_POINTERS & _spoken(question))


def names_nothing(question: str) -> bool:
    """Whether a question points at something that only what was said before names; "are there ..." does not.

    >>> names_nothing("Does it expire?"), names_nothing("Which holidays are there?")
    (True, False)
    """
    return bool((_POINTERS - {"there"}) & _spoken(question))


def _spoken(question: str) -> set[str]:
    return {question[word.start : word.end].lower() for word in words(question)}


def _generate(model: Generator, messages: Sequence[Message]) -> str:
    done = next(part for part in model.stream(messages, Sampling(max_tokens=64)) if isinstance(part, Generation))
    return " ".join(done.text.split())
