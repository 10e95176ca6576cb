"""When to decline: fixed words, the words a model uses for it, and how sure retrieval is. Knows hits, not models."""

from __future__ import annotations

import re

from openbook.prompt import ABSTENTION

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
