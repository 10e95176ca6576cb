"""Text in, whether it is English and which of its words are surely no names out; by function words and capitals."""

from __future__ import annotations

import re

_FUNCTION = frozenset(
    """the of and to in is that for it as was with be by on not he his but at are this have from or had an they which
    one you were all her she there would their we him been has when
    who will no more if out so up said what its about than
    into them can only other time new some could these may do our any your must should each also after""".split()
)
_WORD = re.compile(r"[^\W\d_]+")
_NO_PROSE = re.compile(r"^[ \t]*\|.*$|<table\b.*?</table>|<[^<>]*>|\(?https?://\S+", re.MULTILINE | re.DOTALL)
_LEAST = 0.1
"""Share of function words in English prose; German, Dutch and French stay below 0.07."""


def is_english(text: str) -> bool:
    """Whether at least a tenth of the words are English function words; short texts need two of them.

    >>> is_english("The price of the plan is fixed."), is_english("Der Preis des Tarifs ist fest und gilt hier.")
    (True, False)
    """
    words = _words(text)
    found = sum(word in _FUNCTION for word in words)
    return found >= 2 and found >= _LEAST * len(words)


def has_prose(text: str) -> bool:
    """Whether there are enough words to tell a language by."""
    return len(_words(text)) >= 20


def _words(text: str) -> list[str]:
    """The words of the prose: no table, tag or address."""
    return [word.lower() for word in _WORD.findall(_NO_PROSE.sub(" ", text[:20000]))]


def lowered(text: str) -> frozenset[str]:
    """Words in lower case, never capitalised within a sentence: at a sentence's start they are no names."""
    named = {word.lower() for word in re.findall(r"(?<=[a-z,;] )[A-Z][\w'’-]*", text)}
    return frozenset(re.findall(r"\b[a-z][\w'’-]*", text)) - named
