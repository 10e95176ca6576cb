"""A document's text in, questions from its own headings out: FAQ lines, titled sections, terms with an explanation.

A heading that asks is taken as it stands; its answer is the first sentence below. Knows no grammar beyond that.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from openbook.prose import content, sentences
from openbook.questions.draft import Draft, Form, plain

_ASKS = re.compile(
    r"^[ \t]*(?:#{1,6}[ \t]*|(?:\d{1,3}[.)]|[-*+•])[ \t]+)?(?:\*\*|__)?(?:(?:Q|F|Question|Frage)\s*\d*[.:)][ \t]*)?"
    r"(?:\*\*|__)?(?P<asked>[^\W\d_][^\n?]{6,160}\?)(?:\*\*|__)?[ \t]*#*[ \t]*$",
    re.MULTILINE,
)
_MARKED = re.compile(
    r"^[ \t]*(?:#{1,6}|\*\*|__|(?:\d{1,3}[.)]|[-*+•])[ \t]+\*\*|(?:\*\*)?(?:Q|F|Question|Frage)\s*\d*[.:)])"
)
_ANSWER_MARK = re.compile(r"(?:\*\*)?(?:A|Answer|Antwort)\s*\d*[.:)](?:\*\*)?\s*")
_HEADING = re.compile(r"^#{1,6}[ \t]*(?P<title>[^\n#?]{4,70}?)[ \t]*#*[ \t]*$", re.MULTILINE)
_TERM = re.compile(
    r"^[ \t]*(?:[-*+•][ \t]+|\d{1,3}[.)][ \t]+)?(?:\*\*|__)(?P<term>[^*_\n:?]{3,50}?)"
    r"(?::(?:\*\*|__)|(?:\*\*|__):|(?:\*\*|__) [–—-])[ \t]+(?=\S)",
    re.MULTILINE,
)
_GENERIC = re.compile(
    r"(?:introduction|overview|scope|summary|notes?|contents|table of contents|background|approach|polic(?:y|ies)"
    r"|purpose|faq|general|details|other|misc\w*|appendix.*"
    r"|chapter \w+|section \w+|part \w+|references|conclusion|example.*"
    r"|acceptance|see also|related.*|links|further reading|about|definitions?|step \w+|\d[\d.]*)$",
    re.IGNORECASE,
)
"""Headings that name no subject."""
_LONGEST = 45
"""Words of an answer, at most."""
_BLOCK = 1500
"""Characters below a heading in which its answer may stand."""


def questions(text: str, title: str, *, english: bool) -> Iterator[Draft]:
    """Drafts in the order of the text; those worded by rule only for English text. `title`: the document's, or ""."""
    for match in _ASKS.finditer(text):
        if _MARKED.match(match.group()) or _alone(text, match):
            asked = plain(text, *match.span("asked")).text
            yield from _below(text, match.end(), asked, form="faq")
    if english:
        yield from _titled(text, title)
        for match in _TERM.finditer(text):
            term = plain(text, *match.span("term")).text
            if (
                content(term)
                and len(term.split()) <= 6
                and not re.match(r"(?:note|example|tip|warning|important)\b", term.lower())
            ):
                yield from _below(text, match.end(), f'What is said about "{term}"?', source=match.start())


def _titled(text: str, name: str) -> Iterator[Draft]:
    """What is said under a heading that names a subject."""
    for match in _HEADING.finditer(text):
        title = plain(text, *match.span("title")).text.strip(" :.*_")
        words = title.split()
        if not 1 <= len(words) <= 7 or not content(title) or _GENERIC.match(title) or not any(map(str.isalpha, title)):
            continue
        if sum(map(str.isupper, title)) > 0.6 * len(title) and len(title) > 6:
            continue
        yield from _below(text, match.end(), f'What {_told(name, title)} say about "{title}"?', source=match.start())


def _told(name: str, title: str) -> str:
    """Who says it: the document by its title, unless the heading is that title."""
    known = name and 1 <= len(name.split()) <= 10 and name.casefold() != title.casefold() and '"' not in name
    return f'does "{name}"' if known else "do the documents"


def _alone(text: str, match: re.Match[str]) -> bool:
    """Whether the question is a paragraph of its own, right above another."""
    before = text[: match.start()].rstrip(" \t")
    return (not before or before.endswith("\n\n")) and text[match.end() : match.end() + 2] == "\n\n"


def _below(text: str, at: int, asked: str, *, source: int | None = None, form: Form = "heading") -> Iterator[Draft]:
    """The question with the first sentence below it as its answer."""
    skip = re.compile(r"\s*").match(text, at)
    start = skip.end() if skip else at
    if mark := _ANSWER_MARK.match(text, start):
        start = mark.end()
    if text.startswith(("#", "|", "```", "<"), start):
        return
    stop = re.compile(r"\n[ \t]*(?:#|\*\*[^*\n]*\?\*\*|(?:Q|F)\s*\d*[.:)])").search(text, start)
    end = min(stop.start() if stop else len(text), start + _BLOCK)
    first = next(iter(sentences(text[start:end])), None)
    if first is None:
        return
    begin, finish = start + first.start, start + first.end
    said = plain(text, begin, finish)
    words = len(said.text.split())
    least = 2 if form == "faq" else 6
    if least <= words <= _LONGEST and not said.text.endswith((":", "?")) and said.exact(0, len(said.text)):
        yield Draft(asked, begin, finish, source=(at if source is None else source, finish), form=form)
