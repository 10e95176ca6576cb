"""Cases and the serving retriever in, a trained embedder or reranker with its verdict out: the whole way.

Questions are split by document; the held-out ones are searched before and after over all chunks, with the dense part
alone and as served. Adopting the result (settings, re-embedding the library) is the caller's. Rooms beside this one
come in as Tools.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from openbook import provenance
from openbook.errors import ExamplesError, TrainingError
from openbook.extras import need
from openbook.finetune.retriever import cross, learn, measure, negatives, pairs, shelf
from openbook.finetune.retriever.measure import Change, Ranked
from openbook.finetune.retriever.pairs import Answers, Corpus, Question
from openbook.finetune.retriever.recipe import Kind, Recipe
from openbook.finetune.retriever.swapped import Swapped
from openbook.records import Case, ModelFiles, Scope
from openbook.seams import Embedder, Library, Progress, Reranker, Searcher

if TYPE_CHECKING:
    from openbook.seams import Vectors

QUESTIONS, HELD_DOCUMENTS = 20, 5
"""Fewer on either side of the split, or fewer documents held out, can show nothing."""
MINED = 20
"""Hits of the serving retriever looked at for wrong passages."""
KEPT = 8
"""Of these kept, the hardest; more where an epoch takes more."""
PROBES, COSINE = 50, 0.999
"""Texts by which the served form is compared with the trained weights, and how near they must be."""
LOGIT = 0.1
"""A reranker's logits that differ by no more are the same: where all are close, rounding decides their correlation."""
DENSE, SERVED = "dense alone", "search as served"


@dataclass(frozen=True, slots=True)
class Tools:
    """What a training needs of the other rooms."""

    weights: Callable[[str], Path]
    """A model's name or path -> the folder of its float weights."""
    trial: Callable[[Path, Kind], AbstractContextManager[ModelFiles]]
    """A trained folder -> its served form, which is forgotten afterwards."""
    embedder: Callable[[ModelFiles], Embedder]
    reranker: Callable[[ModelFiles], Reranker]
    searcher: Callable[[Library, Embedder, Reranker | None], Searcher]
    """The search as the settings have it, over a library."""
    split: Callable[[Sequence[Case], float, int], tuple[Sequence[Case], Sequence[Case]]]
    """(cases, share, seed) -> (train, held out), no document on both sides."""
    cluster: Callable[[str], str] = str
    """A document's name -> what is drawn as one for the intervals: itself, or what several documents come from."""
    progress: Progress | None = None


@dataclass(frozen=True, slots=True)
class Serving:
    """What answers searches now."""

    library: Library
    embedder: Embedder
    reranker: Reranker | None
    base: ModelFiles
    """Of the model to train further: the embedder's, or the reranker's."""
    groups: tuple[str, ...] = ()
    """Whose documents may be learned from beside those open to all."""


@dataclass(frozen=True, slots=True)
class Result:
    """A published training."""

    kind: Kind
    folder: Path
    manifest: Mapping[str, Any]
    gained: bool
    verdict: str
    """One sentence: a significant gain, none, or worse."""
    changes: Mapping[str, Mapping[str, Change]]
    """By search (DENSE, SERVED) and score."""
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Parts:
    """The questions on both sides of the split."""

    train: list[Question]
    held: list[Question]
    left_out: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class _Work:
    """What training either kind takes."""

    weights: Path
    serving: Serving
    parts: Parts
    pools: Sequence[Sequence[int]]
    corpus: Corpus
    recipe: Recipe
    answers: Answers
    tools: Tools
    served: Callable[[Library, Embedder, Reranker | None, str], list[Ranked]]
    """Searches the held-out questions as the settings have it; the last argument names the step."""


def tune(
    kind: Kind,
    cases: Sequence[Case],
    serving: Serving,
    recipe: Recipe,
    *,
    name: str,
    root: Path,
    tools: Tools,
    about: Mapping[str, Any] | None = None,
) -> Result:
    """Train, measure and publish `root`/NAME/N; `about` is added to the manifest's account of the data.

    Raises ExamplesError when there are too few questions or documents, TrainingError, ModelError, MissingExtra.
    Stopped at any moment it leaves nothing that serves changed.
    """
    for package in ("torch", "sentence_transformers"):
        need(package, extra="finetune", purpose="training a retriever")
    started = time.perf_counter()
    corpus = pairs.read(serving.library, groups=serving.groups)
    parts = divide(cases, corpus, recipe, tools.split)
    weights = tools.weights(serving.base.name)
    scope = Scope(serving.groups, version=corpus.version)
    places = {(chunk.document, chunk.start, chunk.end): place for place, chunk in enumerate(corpus.chunks)}

    def found(searcher: Searcher, question: str, k: int) -> list[int]:
        hits = searcher.search(question, k=k, scope=scope).hits
        return [places[key] for hit in hits if (key := (hit.chunk.document, hit.chunk.start, hit.chunk.end)) in places]

    def served(library: Library, embedder: Embedder, reranker: Reranker | None, step: str) -> list[Ranked]:
        searcher = tools.searcher(library, embedder, reranker)
        return [
            _ranked(one, found(searcher, one.text, measure.DEPTH)) for one in _told(parts.held, tools.progress, step)
        ]

    before = {SERVED: served(serving.library, serving.embedder, serving.reranker, "measure")}
    if kind == "embedder":
        before[DENSE] = _dense(parts.held, serving.library, serving.embedder, corpus, scope)
    first = tools.searcher(serving.library, serving.embedder, None)
    answers = Answers(corpus)
    pools, dropped = negatives.mine(
        parts.train,
        corpus,
        find=lambda question: found(first, question, MINED),
        embedder=serving.embedder,
        answers=answers,
        keep=max(KEPT, recipe.negatives),
        margin=recipe.margin,
        progress=tools.progress,
    )
    with shelf.draft(root, name) as folder:
        train = _embedder if kind == "embedder" else _reranker
        work = _Work(weights, serving, parts, pools, corpus, recipe, answers, tools, served)
        learned, check, after = train(work, folder)
        clusters = [tools.cluster(one.document) for one in parts.held]
        changes = {
            part: measure.compare(before[part], after[part], clusters, seed=recipe.seed)
            for part in (DENSE, SERVED)
            if part in before
        }
        gained, verdict = measure.verdict(changes[SERVED])
        notes = _notes(serving.library, corpus, parts)
        manifest = {
            "kind": kind,
            "base": {"name": serving.base.name, "sha256": serving.base.sha256},
            "data": {**_data(parts, cases, corpus, clusters), **(about or {})},
            "settings": recipe.model_dump(),
            "negatives": {"mean": float(np.mean([len(pool) for pool in pools])), "dropped": dropped},
            "batch": {"pairs": learned.pairs, "left_out": learned.left_out},
            "training": asdict(learned.course),
            "check": check,
            "scores": {part: measure.as_json(one) for part, one in changes.items()},
            "verdict": verdict,
            "gained": gained,
            "notes": notes,
            "seconds": time.perf_counter() - started,
            "made": datetime.now(UTC).isoformat(timespec="seconds"),
            "machine": provenance.machine(),
        }
        place = shelf.publish(folder, name, manifest)
    return Result(kind, place, shelf.read(place), gained, verdict, changes, notes)


def divide(
    cases: Sequence[Case],
    corpus: Corpus,
    recipe: Recipe,
    split: Callable[[Sequence[Case], float, int], tuple[Sequence[Case], Sequence[Case]]],
) -> Parts:
    """Usable questions on both sides. Raises ExamplesError saying what is needed when they are too few."""
    whole, left_out = pairs.questions(cases, corpus)
    # A question asked twice must not stand on both sides, so only those that are kept are split.
    kept = {one.text for one in whole}
    usable = [case for case in cases if case.question in kept and case.kind != "unanswerable" and not case.history]
    train_cases, held_cases = split(usable, recipe.held_out, recipe.seed) if usable else ((), ())
    train, _ = pairs.questions(train_cases, corpus)
    known = {one.text.casefold() for one in train}
    held = [one for one in pairs.questions(held_cases, corpus)[0] if one.text.casefold() not in known]
    documents = len({one.document for one in held})
    if min(len(train), len(held)) < QUESTIONS or documents < HELD_DOCUMENTS:
        why = "; ".join(f"{count} left out: {reason}" for reason, count in left_out.items())
        raise ExamplesError(
            f"{len(whole)} usable questions on {len({one.document for one in whole})} documents leave {len(train)} to "
            f"learn from and {len(held)} on {documents} documents to measure with; at least {QUESTIONS} on each side "
            f"and {HELD_DOCUMENTS} documents to measure with are needed: add questions on more documents"
            + (f" ({why})" if why else "")
        )
    return Parts(train, held, left_out)


def _embedder(work: _Work, folder: Path) -> tuple[learn.Learned, dict[str, Any], dict[str, list[Ranked]]]:
    serving, parts, corpus, tools = work.serving, work.parts, work.corpus, work.tools
    step = max(1, len(corpus.chunks) // PROBES)
    probes = corpus.texts(range(0, len(corpus.chunks), step)[:PROBES])
    learned = learn.embedder(
        work.weights,
        serving.base,
        parts.train,
        work.pools,
        corpus,
        work.recipe,
        into=folder,
        probes=probes,
        answers=work.answers,
        progress=tools.progress,
    )
    with tools.trial(folder, "embedder") as files:
        embedder = tools.embedder(files)
        cosine = float((embedder.embed(probes, kind="document") * learned.probe).sum(axis=1).min())
        if not cosine >= COSINE:
            raise TrainingError(
                f"the served form of the trained embedder differs from the trained weights (cosine {cosine:.4f} of "
                f"{COSINE} needed); nothing was adopted: choose another embedder to train"
            )
        vectors = embedder.embed(corpus.texts(), kind="document", progress=tools.progress)
        swapped = Swapped(serving.library, corpus, vectors, old=serving.embedder)
        scope = Scope(serving.groups, version=corpus.version)
        after = {
            SERVED: work.served(swapped, embedder, serving.reranker, "measure again"),
            DENSE: _dense(parts.held, swapped, embedder, corpus, scope),
        }
    return learned, {"cosine": cosine, "texts": len(probes)}, after


def _reranker(work: _Work, folder: Path) -> tuple[learn.Learned, dict[str, Any], dict[str, list[Ranked]]]:
    serving, parts, corpus, tools = work.serving, work.parts, work.corpus, work.tools
    question = parts.train[0].text
    texts = corpus.texts(range(min(PROBES, len(corpus.chunks))))
    learned = cross.reranker(
        work.weights,
        serving.base,
        parts.train,
        work.pools,
        corpus,
        work.recipe,
        into=folder,
        probes=[(question, text) for text in texts],
        answers=work.answers,
        progress=tools.progress,
    )
    with tools.trial(folder, "reranker") as files:
        reranker = tools.reranker(files)
        scores, learnt = np.asarray(reranker.score(question, texts)), np.asarray(learned.probe)
        alike, apart = _correlation(scores, learnt), float(np.abs(scores - learnt).max())
        if not (alike >= COSINE or apart <= LOGIT):
            raise TrainingError(
                f"the served form of the trained reranker differs from the trained weights (correlation {alike:.4f} of "
                f"{COSINE} needed); nothing was adopted: choose another reranker to train"
            )
        after = {SERVED: work.served(serving.library, serving.embedder, reranker, "measure again")}
    return learned, {"correlation": alike, "largest_difference": apart, "texts": len(texts)}, after


def _dense(
    held: Sequence[Question], library: Library, embedder: Embedder, corpus: Corpus, scope: Scope
) -> list[Ranked]:
    """The held-out questions by vectors alone."""
    places = {number: place for place, number in enumerate(corpus.ids)}
    asked = embedder.embed([one.text for one in held], kind="query")
    ranked = []
    for question, vector in zip(held, asked, strict=True):
        found = library.candidates(vector.tolist(), question.text, scope=scope, limit=measure.DEPTH)
        ranked.append(_ranked(question, [places[one.id] for one in found.dense if one.id in places]))
    return ranked


def _ranked(question: Question, places: Sequence[int]) -> Ranked:
    return Ranked(tuple(place in question.right for place in places[: measure.DEPTH]), len(question.right))


def _told(held: Sequence[Question], progress: Progress | None, step: str) -> Iterator[Question]:
    for done, question in enumerate(held, start=1):
        yield question
        if progress is not None:
            progress(step, done, len(held))


def _correlation(one: Vectors, other: Vectors) -> float:
    if float(np.ptp(one)) == 0 or float(np.ptp(other)) == 0:
        return float(np.allclose(one, other, atol=1e-2))
    return float(np.corrcoef(one, other)[0, 1])


def _data(parts: Parts, cases: Sequence[Case], corpus: Corpus, clusters: Sequence[str]) -> dict[str, Any]:
    text = json.dumps([[one.question, one.gold, [asdict(span) for span in one.spans]] for one in cases])
    return {
        "sha256": hashlib.sha256(text.encode()).hexdigest(),
        "train": len(parts.train),
        "train_documents": len({one.document for one in parts.train}),
        "held_out": len(parts.held),
        "held_out_documents": len(set(clusters)),
        "left_out": dict(parts.left_out),
        "library_version": corpus.version,
        "chunks": len(corpus.chunks),
    }


def _notes(library: Library, corpus: Corpus, parts: Parts) -> tuple[str, ...]:
    notes = [f"{count} questions were left out: {reason}" for reason, count in parts.left_out.items()]
    if (now := library.version()) != corpus.version:
        notes.append(
            f"the library changed from version {corpus.version} to {now} while training; the figures are of version "
            f"{corpus.version}"
        )
    return tuple(notes)
