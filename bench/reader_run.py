"""A model and items in, judged rows out: the model's own text many prompts at once, then the product's answer from it.

The product is openbook.answer.ask over the same passages with a generator that says what the model said, so that both
levels judge one text.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache

from bench import xquad
from bench.quality_workspaces import xquad_workspace
from bench.reader_cases import Cases, Item, Kind, cases, search
from bench.reader_models import Reader
from bench.reader_score import Row, judge
from openbook import Workspace
from openbook.answer.ask import Assistant
from openbook.answer.extractive import Ranker
from openbook.answer.generators.fake import ScriptedGenerator
from openbook.records import Answer, Hit, Message, Scope, SearchResult
from openbook.seams import ANYONE, Embedder
from openbook.settings import AnswerSettings

_ROOMY = 1_000_000
"""Context of the generator that repeats a reply: the model's own context was minded before."""


_ranker = lru_cache(4)(Ranker)


@dataclass(frozen=True, slots=True)
class Found:
    """A seams.Searcher that has found already."""

    hits: tuple[Hit, ...]

    def search(self, question: str, *, k: int | None = None, scope: Scope = ANYONE) -> SearchResult:  # noqa: ARG002
        """The same hits for every question."""
        return SearchResult(self.hits, 1, {})


@contextmanager
def held_out(articles: Sequence[str] = xquad.HELD_OUT, *, seed: int = 0) -> Iterator[tuple[Workspace, Cases]]:
    """The workspace of all 24 articles, and the cases of the held-out ones."""
    with xquad_workspace() as workspace:
        found, cut = search(workspace, xquad.about(articles))
        yield workspace, cases(found, seed=seed, cut=cut)


def chosen(all_cases: Cases, limits: dict[Kind, int], *, seed: int = 0) -> list[Item]:
    """At most so many items of each kind; those of one paragraph stand together, so that their prompts share more."""
    return [item for kind, limit in limits.items() for item in all_cases.of(kind, limit, seed=seed)]


def ask(arm: str, reader: Reader, items: Sequence[Item], *, embedder: Embedder | None) -> list[Row]:
    """One arm on all items. Without an embedder the model is asked without passages, and there is no product."""
    reads = embedder is not None
    prompts = [reader.prompt(item.question, item.hits if reads else None) for item in items]
    replies = reader.replies(prompts, progress=say_progress(arm))
    return [
        judge(arm, item, reply, product(item, reply.text, embedder) if embedder else None)
        for item, reply in zip(items, replies, strict=True)
    ]


def product(item: Item, text: str, embedder: Embedder, *, history: Sequence[Message] = ()) -> Answer:
    """What the product answers when the model says this text."""
    assistant = Assistant(
        arm="rag",
        settings=AnswerSettings(hints=0),
        library_version=lambda: 1,
        searcher=Found(item.hits),
        ranker=_ranker(embedder),
        generator=lambda: ScriptedGenerator(lambda _: text, context=_ROOMY),
    )
    return assistant.ask(item.question, history=history)


def timed(reader: Reader, items: Sequence[Item], *, reads: bool) -> dict[str, float]:
    """Seconds per answer, one question after the other; the first warms up and does not count."""
    prompts = [reader.prompt(item.question, item.hits if reads else None) for item in items]
    spent = reader.seconds([*prompts[:1], *prompts])[1:]
    return {
        "median": statistics.median(one.wall for one in spent),
        "max": max(one.wall for one in spent),
        "cpu, median": statistics.median(one.cpu for one in spent),
        "answer tokens, median": statistics.median(one.tokens for one in spent),
        "n": len(spent),
    }


def say_progress(arm: str) -> Callable[[int, int], None]:
    """A callback that shows how far an arm is, on stderr."""
    start = time.perf_counter()

    def say(done: int, total: int) -> None:
        print(f"\r{arm}: {done}/{total}, {time.perf_counter() - start:.0f} s", end="", file=sys.stderr, flush=True)
        if done == total:
            print(file=sys.stderr)

    return say
