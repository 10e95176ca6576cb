"""An answer and everything it could be drawn from in, what it made up out. Knows words only, no model.

A word is known when its stem stands in the question, the conversation, a gold answer or a passage that was shown. This
counts words, not claims: a wrong sentence made of known words is not found, a paraphrase counts a little.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from openbook.compare.citations import unmarked
from openbook.compare.plain import quantities
from openbook.prose import content, sentences, words
from openbook.records import Answer, Case

_FENCE = re.compile(r"</?passage\b[^<>\n]*>")
"""Of the prompt, which small models repeat: bad form, but no number or name made up."""
_NAME = re.compile(r"[^\W\d_]+(?:['’-][^\W\d_]+)*")


class Invention(NamedTuple):
    """What of an answer stands nowhere."""

    share: float
    """Of its different content words, in [0, 1]."""
    numbers: tuple[str, ...]
    names: tuple[str, ...]


def invention(case: Case, answer: Answer) -> Invention:
    """What of the answer's words stands neither in the question, nor in gold, nor in what was shown.

    >>> from openbook.records import Timings
    >>> said = Answer("Ask Zoe within 30 days.", False, (), (), (), "", "m", None, "base", 0, 0, Timings(0, 0, 0, 0), 0)
    >>> invention(Case("Whom do I ask?", gold=("the 30 days rule",)), said)
    Invention(share=0.4, numbers=(), names=('Zoe',))
    """
    text = _FENCE.sub("", unmarked(answer.text))
    source = known_text(case, answer)
    known = content(source)
    said = content(text)
    share = len(said - known) / len(said) if said else 0.0
    values = {value for value, _ in quantities(source)} | {word.key for word in words(source) if word.number}
    claims = " \n".join(text[span.start : span.end] for span in sentences(text))
    numbers = dict.fromkeys(value for value, _ in quantities(claims) if value not in values)
    every = {word.key for word in words(source)}
    # a word of a link is one for this pattern only
    named = {name[0].lower() for name in _NAME.finditer(source)}
    names = dict.fromkeys(
        name[0]
        for span in sentences(text)
        for name in list(_NAME.finditer(text, span.start, span.end))[1:]
        if name[0][0].isupper()
        and name[0].lower() not in named
        and not {word.key for word in words(name[0]) if not word.stop} <= every
    )
    return Invention(share, tuple(numbers), tuple(names))


def known_text(case: Case, answer: Answer) -> str:
    """Everything an answer may be drawn from, in one text."""
    shown = (part for hit in answer.hits for part in (hit.chunk.title, *hit.chunk.heading, hit.chunk.text))
    asked = (turn.content for turn in case.history)
    return "\n".join((case.question, *asked, *case.gold, *case.contexts, *shown))
