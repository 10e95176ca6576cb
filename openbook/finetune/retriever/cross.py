"""Questions with right and wrong passages in, a trained cross-encoder's folder out. Knows no library and no retriever.

Binary cross-entropy on pairs of a question and a passage, as in sentence-transformers: each question's right passage
against its mined wrong ones, and against another question's passage where it has none.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from openbook.errors import TrainingError
from openbook.extras import need
from openbook.files import write_atomic
from openbook.finetune.retriever import steps
from openbook.finetune.retriever.learn import Learned
from openbook.finetune.retriever.pairs import Answers, Corpus, Question
from openbook.finetune.retriever.recipe import Recipe
from openbook.records import ModelFiles
from openbook.seams import Progress

if TYPE_CHECKING:
    from torch import Tensor

Pair = tuple[int, int, float]
"""(question row, place of a passage, 1.0 when it is right)."""


def reranker(
    weights: Path,
    files: ModelFiles,
    questions: Sequence[Question],
    pools: Sequence[Sequence[int]],
    corpus: Corpus,
    recipe: Recipe,
    *,
    into: Path,
    probes: Sequence[tuple[str, str]] = (),
    answers: Answers | None = None,
    progress: Progress | None = None,
) -> Learned:
    """Train the reranker whose float weights lie in `weights` and which serves as `files`; writes the folder `into`.

    `Learned.probe` holds one logit per pair of `probes`. Raises MissingExtra, TrainingError.
    """
    machine = steps.machine(recipe)
    with steps.quiet():
        model = load(weights, files, max_tokens=recipe.max_tokens).to(machine.device)
        pairs = [
            made(
                questions, pools, answers or Answers(corpus), negatives=recipe.negatives, seed=recipe.seed, epoch=epoch
            )
            for epoch in range(recipe.epochs)
        ]

        def descend(batch: list[int], epoch: int) -> float:
            import torch

            some = [pairs[epoch][number] for number in batch]
            texts = corpus.texts([place for _, place, _ in some])
            total = 0.0
            for portion in steps.portions(texts):
                asked = [(questions[some[number][0]].text, texts[number]) for number in portion]
                logits = _logits(model, asked).float()
                wanted = torch.tensor([some[number][2] for number in portion], device=logits.device)
                loss = torch.nn.functional.binary_cross_entropy_with_logits(logits, wanted, reduction="sum") / len(some)
                loss.backward()
                total += float(loss.detach())
            return total

        plan = [
            steps.batches(len(some), recipe.batch, seed=recipe.seed, epoch=epoch) for epoch, some in enumerate(pairs)
        ]
        course = steps.run(model, plan, descend, recipe, machine, step_name="train", progress=progress)
        _set_longest(model, files.context)
        probe = _scores(model, probes)
        save(model, weights, into, longest=files.context)
    return Learned(course, {}, sum(map(len, pairs)), probe)


def made(
    questions: Sequence[Question],
    pools: Sequence[Sequence[int]],
    answers: Answers,
    *,
    negatives: int,
    seed: int,
    epoch: int,
) -> list[Pair]:
    """One epoch's pairs: a right passage of each question and `negatives` wrong ones, another turn each epoch."""
    random = np.random.default_rng((seed, epoch, 1))
    everywhere = [one.right[0] for one in questions]
    found: list[Pair] = []
    for row, question in enumerate(questions):
        found.append((row, question.right[epoch % len(question.right)], 1.0))
        pool = list(pools[row])
        wrong = [pool[(epoch * negatives + number) % len(pool)] for number in range(min(negatives, len(pool)))]
        for place in random.permutation(everywhere).tolist()[: 4 * negatives]:
            if len(wrong) >= negatives:
                break
            if place not in wrong and not answers.doubt(question, place):
                wrong.append(place)
        found += [(row, place, 0.0) for place in wrong]
    return found


def load(weights: Path, files: ModelFiles, *, max_tokens: int) -> Any:
    """The reranker as a sentence-transformers CrossEncoder. Raises MissingExtra, TrainingError."""
    need("sentence_transformers", extra="finetune", purpose="training a reranker")
    from sentence_transformers import CrossEncoder

    try:
        model = CrossEncoder(str(weights), device="cpu", num_labels=1, local_files_only=True)
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        says = (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
        raise TrainingError(f"the weights of {files.name!r} cannot be trained ({says}); choose another model") from None
    _set_longest(model, min(max_tokens, files.context))
    return model


def save(model: Any, weights: Path, into: Path, *, longest: int) -> None:
    """Write the folder, its tokenizer.json byte for byte the one that serves now."""
    into.mkdir(parents=True, exist_ok=True)
    model.save(str(into), create_model_card=False)
    shutil.copyfile(weights / "tokenizer.json", into / "tokenizer.json")
    config = into / "sentence_bert_config.json"
    values = json.loads(config.read_text(encoding="utf-8")) if config.exists() else {}
    write_atomic(config, json.dumps({**values, "max_seq_length": longest}, indent=1))


def _set_longest(model: Any, tokens: int) -> None:
    model.max_seq_length = tokens


def _logits(model: Any, pairs: Sequence[tuple[str, str]]) -> Tensor:
    import torch

    features = {
        name: value.to(model.device) if isinstance(value, torch.Tensor) else value
        for name, value in model.preprocess(list(pairs)).items()
    }
    logits: Tensor = model(features)["scores"]
    return logits.reshape(len(pairs))


def _scores(model: Any, pairs: Sequence[tuple[str, str]]) -> Any:
    import torch

    model.eval()
    with torch.inference_mode():
        found = [_logits(model, pairs[start : start + 8]).float() for start in range(0, len(pairs), 8)]
    return torch.cat(found).cpu().numpy() if found else np.zeros(0, dtype=np.float32)
