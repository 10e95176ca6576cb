"""Replies of a team and of a base model in, a classifier of the team's voice out; and its habits told from replies.

Knows no model that writes. What the classifier learns from are answers to the same prompts, so that it has to go by how
things are said; a held-out AUC near 0.5 says that it cannot tell, and then its probabilities mean nothing.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from openbook.errors import CompareError
from openbook.extras import need
from openbook.prose import NEGATIONS, STOP_WORDS

TELLS = 0.7
"""AUC from which on a classifier's opinion counts; below it, it cannot tell the team from the base model."""
FEWEST = 10
"""Different replies of each side; fewer teach no voice."""
_COMMON = 0.2
"""Share of the team's replies from which on an opening or a closing line is a habit."""
_LONGEST = 8
"""Words of a greeting or a sign-off line."""
_GREETING = re.compile(
    r"(?:hello|hi|hey|dear|greetings|welcome|good (?:morning|day|afternoon|evening)|thanks? (?:you )?for"
    r"|hallo|guten (?:tag|morgen|abend)|sehr geehrte|liebe[rs]?|bonjour|salut|hola|buenos|ciao)\b",
    re.I,
)
_SIGN_OFF = re.compile(
    r"(?:(?:kind|best|warm|many)?\s*(?:regards|wishes)|best|cheers|sincerely|yours|thanks|thank you|take care"
    r"|all the best|let (?:me|us) know|have a (?:\w+ )?(?:day|week|weekend)"
    r"|(?:freundliche|liebe|viele) grüße|cordialement|saludos)\b"
    r"|[-–—]\s?\w+",
    re.I,
)


@dataclass(frozen=True, slots=True)
class StyleModel:
    """What tells the team's replies from the base model's."""

    auc: float
    """Held-out: how often a reply of the team looks more like the team than one of the base model does."""
    n: int
    """Replies it learned from, both sides."""
    probability: Callable[[str], float]
    """How sure it is that the team wrote a text, in [0, 1]."""
    low: float = 0.0
    """95 % interval of `auc`, prompts resampled."""
    high: float = 1.0
    openings: frozenset[str] = frozenset()
    """First lines that are a habit of the team, in lower case without punctuation."""
    closings: frozenset[str] = frozenset()


def fit(team: Sequence[str], base: Sequence[str], seed: int = 0) -> StyleModel:
    """Logistic regression on character n-grams and function words; `base[i]` answers what `team[i]` does.

    The AUC is of folds that never hold a prompt, or a text, that was learned from. Raises CompareError for too few
    different replies or when both sides say the same; MissingExtra without openbook[compare].
    """
    need("sklearn", extra="compare", purpose="telling a team's voice")
    from sklearn.metrics import roc_auc_score
    from sklearn.model_selection import StratifiedGroupKFold, cross_val_predict

    sides = [[text for text in side if text.strip()] for side in (team, base)]
    for name, side in zip(("the team", "the base model"), sides, strict=True):
        if len(set(side)) < FEWEST:
            raise CompareError(
                f"{len(set(side))} different replies of {name} are too few to tell a voice; {FEWEST} are needed"
            )
    texts, labels, groups = _table(team, base)
    if len(set(groups)) < FEWEST:
        raise CompareError("the team and the base model reply with the same words; there is no voice to tell")
    folds = StratifiedGroupKFold(n_splits=5, shuffle=True, random_state=seed)
    held = cross_val_predict(_pipeline(), texts, labels, groups=groups, cv=folds, method="predict_proba")[:, 1]
    low, high = _interval(labels, held, groups, seed)
    model = _pipeline().fit(texts, labels)
    return StyleModel(
        auc=float(roc_auc_score(labels, held)),
        n=len(texts),
        probability=lambda text: float(model.predict_proba([text])[0, 1]),
        low=low,
        high=high,
        openings=_habits([_first(text) for text in sides[0]]),
        closings=_habits([_last(text) for text in sides[0]]),
    )


def habits(reply: str, reference: str, model: StyleModel | None = None) -> dict[str, float]:
    """greeting, sign_off and length of a reply against the reply that the team gave.

    >>> habits("Hello Ann! It rains.\\n\\nCheers, Bo", "It rains.")
    {'greeting': 0.0, 'sign_off': 0.0, 'length': 0.0}
    """
    said, wanted = len(reply.split()), len(reference.split())
    near = max(0.0, 1 - abs(math.log(said / wanted))) if said and wanted else float(said == wanted)
    return {
        "greeting": float(_opens(reply, model) == _opens(reference, model)),
        "sign_off": float(_closes(reply, model) == _closes(reference, model)),
        "length": near,
    }


def _opens(text: str, model: StyleModel | None) -> str:
    """ "team" for one of the team's openings, "other" for another greeting, "" for none."""
    line = _first(text)
    if model is not None and line in model.openings:
        return "team"
    return "other" if _GREETING.match(text.lstrip()) else ""


def _closes(text: str, model: StyleModel | None) -> str:
    line = _last(text)
    if model is not None and line in model.closings:
        return "team"
    lines = _lines(text)
    return "other" if len(lines) > 1 and len(lines[-1].split()) <= _LONGEST and _SIGN_OFF.match(lines[-1]) else ""


def _habits(lines: Sequence[str]) -> frozenset[str]:
    counted = Counter(line for line in lines if line)
    return frozenset(line for line, count in counted.items() if count >= max(3, _COMMON * len(lines)))


def _first(text: str) -> str:
    """The first line, or its first sentence, in lower case when it is short, else ""."""
    lines = _lines(text)
    return _bare(lines[0]) or _bare(re.split(r"(?<=[.!?,:])\s", lines[0], maxsplit=1)[0]) if lines else ""


def _last(text: str) -> str:
    lines = _lines(text)
    return _bare(lines[-1]) or _bare(re.split(r"(?<=[.!?])\s", lines[-1])[-1]) if lines else ""


def _bare(line: str) -> str:
    said = re.findall(r"\w+", line.lower())
    return " ".join(said) if len(said) <= _LONGEST else ""


def _lines(text: str) -> list[str]:
    return [line.strip() for line in text.splitlines() if line.strip()]


def _table(team: Sequence[str], base: Sequence[str]) -> tuple[list[str], list[int], list[str]]:
    """Texts, sides and groups: replies to one prompt are one group, and so are all prompts with an equal reply."""
    parent: dict[str, str] = {}

    def root(name: str) -> str:
        while parent.setdefault(name, name) != name:
            name = parent[name]
        return name

    rows = []
    for label, side in ((1, team), (0, base)):
        for number, text in enumerate(side):
            if text.strip():
                prompt, key = f"#{number}", " ".join(text.lower().split())
                parent[root(prompt)] = root(f"={key}")
                rows.append((text, label, prompt))
    return [text for text, _, _ in rows], [label for _, label, _ in rows], [root(prompt) for *_, prompt in rows]


def _pipeline() -> Any:
    from sklearn.feature_extraction.text import CountVectorizer, TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline, make_union
    from sklearn.preprocessing import Normalizer

    marks = r"(?u)\b\w+(?:'\w+)?\b|[!?…:;\n-]"
    small = sorted(STOP_WORDS | NEGATIONS | set("!?…:;\n-"))
    return make_pipeline(
        make_union(
            TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 4), sublinear_tf=True, max_features=20_000),
            make_pipeline(CountVectorizer(vocabulary=small, token_pattern=marks), Normalizer()),
        ),
        LogisticRegression(C=10.0, max_iter=1000),
    )


def _interval(
    labels: Sequence[int], held: Any, groups: Sequence[str], seed: int, draws: int = 1000
) -> tuple[float, float]:
    """Percentile interval of the AUC over resampled groups; (0, 1) where every draw holds one side only."""
    import numpy as np

    side, score = np.asarray(labels), np.asarray(held)
    _, group = np.unique(np.asarray(groups), return_inverse=True)
    count = int(group.max()) + 1
    drawn = np.random.default_rng(seed).multinomial(count, np.full(count, 1 / count), size=draws)[:, group]
    ours, theirs = drawn[:, side == 1].astype(float), drawn[:, side == 0].astype(float)
    gap = np.subtract.outer(score[side == 1], score[side == 0])
    pairs = ours.sum(axis=1) * theirs.sum(axis=1)
    won = np.einsum("di,ij,dj->d", ours, (gap > 0) + 0.5 * (gap == 0), theirs, optimize=True)
    if not pairs.any():
        return 0.0, 1.0
    low, high = np.quantile(won[pairs > 0] / pairs[pairs > 0], [0.025, 0.975])
    return float(low), float(high)
