"""When to decline: fixed words, the words a model uses for it, and how sure retrieval is. Knows hits, not models."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

from openbook.prompt import ABSTENTION
from openbook.prose import content, sentences
from openbook.records import Hit

_SLOPE, _MIDDLE = 10.0, 0.83
"""Logistic regression on the development questions with all-minilm-l6-v2; docs/quality.md has the figures and the
command that refits them for another embedder."""
_READ = 3

_REFUSAL = re.compile(
    r"can(?:'|’)?t find (?:this|that|it|the answer)|cannot find|could not find|couldn(?:'|’)t find"
    r"|(?:passages?|documents?|text|context|information)(?: \w+){0,2} (?:do|does|did)(?: not|n(?:'|’)t)"
    r" (?:\w+ )?(?:mention|say|hold|contain|provide|specify|state|include|answer|give|address|cover)"
    r"|(?:is|are) not (?:\w+ )?(?:mentioned|stated|specified|provided|given|covered|included|found|available) "
    r"(?:in|by) (?:the|these|any|this)"
    r"|no (?:information|mention|answer)|i (?:do not|don(?:'|’)t) (?:know|have)",
    re.IGNORECASE,
)


def declined(text: str) -> bool:
    """Whether a model's words are a refusal: the fixed words, or an opening sentence that says the same.

    >>> declined("I can't find this in the documents."), declined("You get 15 days [1].")
    (True, False)
    """
    opening = text.strip()[:200]
    return ABSTENTION.rstrip(".").lower() in opening.lower().replace("’", "'") or bool(_REFUSAL.search(opening))


def confidence(question: str, hits: Sequence[Hit]) -> float:
    """How sure retrieval is that the hits answer the question, in [0, 1]; 0.0 without hits.

    From the best cosine similarity and the largest share of the question's content words in one sentence of the first
    three hits.
    """
    cosine = max((hit.dense_score for hit in hits if hit.dense_score is not None), default=0.0)
    asked = content(question)
    cover = max(
        (
            len(asked & content(hit.chunk.text[span.start : span.end])) / len(asked)
            for hit in hits[:_READ]
            for span in sentences(hit.chunk.text)
        )
        if asked
        else (),
        default=0.0,
    )
    return 1 / (1 + math.exp(-_SLOPE * (cosine + cover - _MIDDLE))) if hits else 0.0
