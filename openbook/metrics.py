"""A reply and its reference in, a score in [0, 1] out; scores in, an interval out. Knows no model.

Built-in scores have names (`NAMES`); a team's own is a Python function in its workspace, named module:function.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import math
import re
import string
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

from openbook.errors import SettingsError
from openbook.prompt import declined
from openbook.records import Case, Hit, Message

Metric = Callable[[str, str, Sequence[Message]], float]
"""(reply, reference, the messages that were answered) -> score in [0, 1], 1 is best."""

_ARTICLE = re.compile(r"\b(?:a|an|the)\b")
_PUNCTUATION = str.maketrans("", "", string.punctuation)
_MARKER = re.compile(r"\s*\[\d+\]")
_FUNCTION = re.compile(r"([A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*):([A-Za-z_]\w*)")


def normalise(text: str) -> str:
    """A text as SQuAD compares it: lower case, no ASCII punctuation, no English articles, single spaces.

    >>> normalise("The  answer, is: An Egg!")
    'answer is egg'
    """
    return " ".join(_ARTICLE.sub(" ", text.lower().translate(_PUNCTUATION)).split())


def exact_match(reply: str, reference: str) -> float:
    """1.0 when both are equal once normalised, else 0.0."""
    return float(normalise(reply) == normalise(reference))


def token_f1(reply: str, reference: str) -> float:
    """Harmonic mean of the precision and recall of the reply's normalised words (Rajpurkar et al., SQuAD).

    >>> round(token_f1("The red house", "a red barn"), 2)
    0.5
    """
    said, wanted = normalise(reply).split(), normalise(reference).split()
    if not said or not wanted:
        return float(said == wanted)
    return _f1((Counter(said) & Counter(wanted)).total(), len(said), len(wanted))


def rouge_l(reply: str, reference: str) -> float:
    """F-measure of the longest common subsequence of words (Lin 2004), as rouge-score without stemming.

    Words are runs of ASCII letters and digits, so this is for languages written with them; 0.0 when either has none.

    >>> round(rouge_l("the cat sat", "the cat was sitting"), 3)
    0.571
    """
    from rapidfuzz.distance import LCSseq

    said, wanted = _ascii_words(reply), _ascii_words(reference)
    return _f1(LCSseq.similarity(said, wanted), len(said), len(wanted)) if said and wanted else 0.0


def rank(hits: Sequence[Hit], case: Case) -> int | None:
    """1-based rank of the first hit that overlaps a gold span of the case; None when none does."""
    return next((at for at, hit in enumerate(hits, 1) if any(span.overlaps(hit.chunk) for span in case.spans)), None)


def json_valid(reply: str) -> float:
    """1.0 when the whole reply, white space aside, is one JSON object or array (RFC 8259: no NaN), else 0.0.

    >>> json_valid('{"a": 1}'), json_valid('Sure! {"a": 1}')
    (1.0, 0.0)
    """
    try:
        value = json.loads(reply, parse_constant=_refuse)
    except (ValueError, RecursionError):
        return 0.0
    return float(isinstance(value, dict | list))


def reading(reply: str, reference: str) -> float:
    """How well a reply does what a lesson in reading asks: refuse, or cite the same passages in the same words.

    1.0 when both refuse; 0.0 when one does, or other passages are cited; else token_f1 without the markers.

    >>> reading("It is 15 days [2].", "15 days [2]."), reading("It is 15 days [1].", "15 days [2].")
    (0.6666666666666666, 0.0)
    """
    if declined(reply) or declined(reference):
        return float(declined(reply) and declined(reference))
    if set(_MARKER.findall(reply)) != set(_MARKER.findall(reference)):
        return 0.0
    return token_f1(_MARKER.sub("", reply), _MARKER.sub("", reference))


def contains(text: str, gold: Sequence[str]) -> bool:
    """Whether any gold string stands in the text as whole words, both evened.

    >>> contains("You get 3 weeks, i.e. fifteen days.", ["15 days"]), contains("115 days", ["15 days"])
    (True, False)
    """
    padded = f" {evened(text)} "
    return any(f" {evened(one)} " in padded for one in gold)


_BUILT_IN: dict[str, Metric] = {
    "exact_match": lambda reply, reference, _: exact_match(reply, reference),
    "token_f1": lambda reply, reference, _: token_f1(reply, reference),
    "rouge_l": lambda reply, reference, _: rouge_l(reply, reference),
    "reading": lambda reply, reference, _: reading(reply, reference),
    "json": lambda reply, _, __: json_valid(reply),
}
NAMES = tuple(_BUILT_IN)


def load(name: str, root: Path) -> Metric:
    """The metric of this name: one of NAMES, or module:function of a Python file in the folder `root`.

    The function is called with (reply, reference, messages) and answers in [0, 1]. The file is executed: it is the
    user's own, like openbook.toml. It may import files beside it at its top; nothing stays on sys.path.
    Raises SettingsError when there is no such metric, and from the metric itself when the function raises or answers
    with something else.

    >>> load("exact_match", Path("."))("An egg.", "egg", [])
    1.0
    """
    if name in _BUILT_IN:
        return _BUILT_IN[name]
    if not _FUNCTION.fullmatch(name):
        raise SettingsError(f"metric {name!r} is unknown; use one of {', '.join(NAMES)}, or module:function")
    return _checked(name, function(name, root))


def function(name: str, root: Path) -> Callable[..., object]:
    """The function "module:function" of a Python file in the folder `root`, unchecked; for its raises see load."""
    parts = _FUNCTION.fullmatch(name)
    if parts is None:
        raise SettingsError(f"{name!r} names no function; write module:function")
    module, attribute = parts.groups()
    file = root.resolve().joinpath(*module.split(".")).with_suffix(".py")
    if not file.is_file():
        raise SettingsError(f"metric {name!r}: {str(file)!r} does not exist; write it, or choose another metric")
    try:
        loaded = _executed(file, root.resolve())
    except Exception as error:
        raise SettingsError(f"metric {name!r}: importing {str(file)!r} failed: {_reason(error)}; mend it") from error
    found = getattr(loaded, attribute, None)
    if not callable(found):
        raise SettingsError(f"metric {name!r}: {str(file)!r} has no function {attribute!r}; define it")
    return found  # type: ignore[no-any-return]


def _executed(file: Path, root: Path) -> ModuleType:
    """The file as a module under a name of its own: two recipes may both call theirs scorer.py."""
    name = f"openbook_metric_{hashlib.sha256(str(file).encode()).hexdigest()[:16]}"
    spec = importlib.util.spec_from_file_location(name, file)
    if spec is None or spec.loader is None:
        raise ImportError(f"{str(file)!r} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        with _importing_from(root):
            spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


@contextmanager
def _importing_from(root: Path) -> Iterator[None]:
    """Let files under root be imported meanwhile; afterwards neither the path nor their names stay behind."""
    before = set(sys.modules)
    sys.path.insert(0, str(root))
    try:
        yield
    finally:
        sys.path.remove(str(root))
        for name in set(sys.modules) - before:
            origin = getattr(sys.modules[name], "__file__", None)
            if not name.startswith("openbook_metric_") and origin and Path(origin).is_relative_to(root):
                del sys.modules[name]


def _checked(name: str, scorer: Callable[..., object]) -> Metric:
    def metric(reply: str, reference: str, messages: Sequence[Message]) -> float:
        try:
            score = scorer(reply, reference, messages)
        except Exception as error:
            raise SettingsError(
                f"metric {name!r} failed on the reply {reply[:80]!r}: {_reason(error)}; mend the function"
            ) from error
        if not isinstance(score, int | float) or not 0 <= score <= 1:
            raise SettingsError(f"metric {name!r} answered {score!r}; it must answer with a number from 0 to 1")
        return float(score)

    return metric


class Interval(NamedTuple):
    """A share or mean with its 95 % interval."""

    mean: float
    low: float
    high: float


def wilson(successes: int, n: int) -> Interval:
    """A share with its Wilson score interval (Wilson, JASA 1927); nan within [0, 1] for n = 0.

    >>> [round(value, 3) for value in wilson(9, 10)]
    [0.9, 0.596, 0.982]
    """
    if n == 0:
        return Interval(math.nan, 0.0, 1.0)
    z = 1.959963984540054
    share = successes / n
    middle = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    return Interval(share, max(0.0, middle - half), min(1.0, middle + half))


def bootstrap(values: Sequence[float], seed: int = 0, *, draws: int = 10_000) -> Interval:
    """The mean with its percentile interval over resampled values; nan for no values.

    For a paired comparison give the differences.

    >>> bootstrap([1.0, 1.0, 1.0])
    Interval(mean=1.0, low=1.0, high=1.0)
    """
    import numpy as np

    if not values:
        return Interval(math.nan, math.nan, math.nan)
    array = np.asarray(values, dtype=np.float64)
    picks = np.random.default_rng(seed).integers(0, len(array), size=(draws, len(array)))
    low, high = np.quantile(array[picks].mean(axis=1), [0.025, 0.975])
    return Interval(float(array.mean()), float(low), float(high))


class Paired(NamedTuple):
    """What a change did to the mean score of the same questions, with an interval for the change."""

    difference: float
    """After minus before."""
    low: float
    high: float
    p: float
    """Two-sided, of the hypothesis that the change does nothing."""
    n: int
    clusters: int


def paired(
    before: Sequence[float],
    after: Sequence[float],
    clusters: Sequence[str] = (),
    *,
    level: float = 0.95,
    seed: int = 0,
    draws: int = 10_000,
) -> Paired:
    """The mean difference of paired scores, with a percentile interval over resampled clusters; nan for no values.

    clusters: which scores belong together (the document a question is about); () takes each as its own. The p value is
    of flipping the sign of whole clusters at random, so that fewer than six of them never reach 0.05: the bootstrap
    alone is too sure of itself there (Cameron, Gelbach and Miller 2008).

    >>> found = paired([0.0, 1.0, 0.0, 1.0], [0.0, 1.0, 1.0, 1.0], ["a", "a", "b", "c"])
    >>> found.difference, found.low, found.p
    (0.25, 0.0, 1.0)
    """
    import numpy as np

    change = np.asarray(after, np.float64) - np.asarray(before, np.float64)
    if len(change) == 0:
        return Paired(math.nan, math.nan, math.nan, 1.0, 0, 0)
    labels, rows = np.unique(np.asarray(clusters if clusters else range(len(change))), return_inverse=True)
    count = len(labels)
    sums, sizes = np.bincount(rows, change, count), np.bincount(rows, minlength=count)
    random, means, flipped = np.random.default_rng(seed), [], []
    for done in range(0, draws, 500):
        some = min(500, draws - done)
        picks = random.integers(0, count, size=(some, count))
        means.append(sums[picks].sum(axis=1) / sizes[picks].sum(axis=1))
        flipped.append(random.choice((-1.0, 1.0), size=(some, count)) @ sums)
    low, high = np.quantile(np.concatenate(means), [(1 - level) / 2, (1 + level) / 2])
    extreme = int((np.abs(np.concatenate(flipped)) >= abs(sums.sum()) - 1e-9).sum())
    p = (1 + extreme) / (1 + draws)
    return Paired(float(change.mean()), float(low), float(high), p, len(change), count)


_UNITS = "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen".split()
_WORDS = {
    **{word: str(value) for value, word in enumerate(_UNITS)},
    **dict(zip(("seventeen", "eighteen", "nineteen", "twenty"), ("17", "18", "19", "20"), strict=True)),
    **{"thirty": "30", "forty": "40", "fifty": "50", "sixty": "60", "seventy": "70", "eighty": "80", "ninety": "90"},
    **{"sixth": "6th", "second": "2nd", "third": "3rd", "fourth": "4th", "fifth": "5th"},
    **{"hr": "hour", "hrs": "hour", "min": "minute", "mins": "minute", "yr": "year", "yrs": "year"},
}
_KEEP_S = frozenset({"this", "is", "was", "has", "does", "less", "always", "b"})


def evened(text: str) -> str:
    """A text for `contains`: case, punctuation, articles, plurals, number words, money, percent and ranges evened out.

    >>> evened("The Fifteen days!"), evened("$5k"), evened("45–50 hours"), evened("85%")
    ('15 day', '5000 dollar', '45 to 50 hour', '85 percent')
    """
    text = text.lower().replace("’", "'")
    text = re.sub(r"(?<=\d),(?=\d{3}(?!\d))", "", text)
    text = re.sub(r"\$\s?(\d+(?:\.\d+)?)\s?k\b", lambda match: f"${_thousand(match.group(1))}", text)
    text = re.sub(r"\$\s?(\d+(?:\.\d+)?)(\s*dollars?\b)?", r" \1 dollar ", text)
    text = re.sub(r"(\d)\s?%", r"\1 percent ", text)
    text = re.sub(r"(\d)\s?[-–—]\s?(?=\d)", r"\1 to ", text)
    text = re.sub(r"(\d)([ap]m?)\b", r"\1 \2", text)
    tokens = re.findall(r"\d+(?:\.\d+)?(?:st|nd|rd|th)?|[^\W\d_]+", text.replace("'s ", " ").replace("'", ""))
    return " ".join(_token(token) for token in tokens if token not in {"a", "an", "the"})


def _thousand(amount: str) -> str:
    return f"{float(amount) * 1000:g}" if float(amount) < 1000 else f"{float(amount) * 1000:.0f}"


def _token(token: str) -> str:
    token = _WORDS.get(token, token)
    plural = token.endswith("s") and not token.endswith("ss") and len(token) > 3 and token not in _KEEP_S
    return token[:-1] if plural else token


def _f1(common: int, said: int, wanted: int) -> float:
    return 2 * common / (said + wanted)


def _ascii_words(text: str) -> list[str]:
    return re.findall(r"[a-z0-9]+", text.lower())


def _refuse(constant: str) -> Any:
    raise ValueError(f"{constant} is not JSON")


def _reason(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"
