"""Questions with right and wrong passages in, a trained embedder's folder out.

The loss is Multiple Negatives Ranking, a softmax over the batch (Henderson et al. 2017, as in sentence-transformers),
with one difference: a passage of the batch that may answer a question too is left out of that question's wrong ones,
and a passage that several questions share is read once. Knows no library and no retriever.
"""

from __future__ import annotations

import json
import shutil
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from openbook.errors import TrainingError
from openbook.extras import need
from openbook.files import write_atomic
from openbook.finetune.retriever import steps
from openbook.finetune.retriever.pairs import Answers, Corpus, Question
from openbook.finetune.retriever.recipe import Recipe
from openbook.records import ModelFiles
from openbook.seams import Progress

if TYPE_CHECKING:
    from torch import Tensor

    from openbook.seams import Vectors

_PURPOSE = "training a retriever"


@dataclass(frozen=True, slots=True)
class Learned:
    """What a training did."""

    course: steps.Course
    left_out: Mapping[str, int]
    """Pairs of a question and a passage of its batch that were not counted as wrong, by reason."""
    pairs: int
    """All pairs of a question and another's passage."""
    probe: Vectors
    """Unit vectors of the texts given as probes, by the trained weights in torch."""


def embedder(
    weights: Path,
    files: ModelFiles,
    questions: Sequence[Question],
    pools: Sequence[Sequence[int]],
    corpus: Corpus,
    recipe: Recipe,
    *,
    into: Path,
    probes: Sequence[str] = (),
    answers: Answers | None = None,
    progress: Progress | None = None,
) -> Learned:
    """Train the embedder whose float weights lie in `weights` and which serves as `files`; writes the folder `into`.

    `pools` are the mined wrong passages of each question (places in the corpus). `into` becomes a folder that
    sentence-transformers loads, tokenizer, pooling and prefixes as served. Raises MissingExtra, TrainingError.
    """
    machine = steps.machine(recipe)
    with steps.quiet():
        model = load(weights, files, max_tokens=recipe.max_tokens).to(machine.device)
        batches = Batches(questions, pools, answers or Answers(corpus), recipe)

        def descend(batch: list[int], epoch: int) -> float:
            places, right, wrong = batches.of(batch, epoch)
            texts = [files.query_prefix + questions[row].text for row in batch]
            texts += [files.document_prefix + text for text in corpus.texts(places)]
            return descend_cached(
                model, texts, lambda x: ranking_loss(x[: len(batch)], x[len(batch) :], right, wrong, scale=recipe.scale)
            )

        plan = [
            steps.batches(len(questions), recipe.batch, seed=recipe.seed, epoch=epoch) for epoch in range(recipe.epochs)
        ]
        course = steps.run(model, plan, descend, recipe, machine, step_name="train", progress=progress)
        model.max_seq_length = files.context
        probe = model.encode([files.document_prefix + text for text in probes], batch_size=8, show_progress_bar=False)
        save(model, weights, into)
    return Learned(course, dict(batches.left_out), batches.pairs, probe)


def descend_cached(model: Any, texts: Sequence[str], loss_of: Callable[[Tensor], Tensor]) -> float:
    """Add the gradients of a loss over the vectors of all texts, holding the activations of a portion only.

    Gao et al. 2021 (gradient caching): vectors first, then the loss's gradient with respect to them, then each portion
    once more with it. Both passes drop the same units, because the seed is set anew for each portion.
    """
    import torch

    portions = steps.portions(texts)
    seeds = torch.randint(2**31, (len(portions),)).tolist()

    def vectors(number: int) -> Tensor:
        torch.manual_seed(seeds[number])
        features = {
            name: value.to(model.device) if isinstance(value, torch.Tensor) else value
            for name, value in model.preprocess([texts[row] for row in portions[number]]).items()
        }
        found: Tensor = model(features)["sentence_embedding"].float()
        return found

    with torch.no_grad():
        first = torch.cat([vectors(number) for number in range(len(portions))])
    back = torch.argsort(torch.tensor([row for portion in portions for row in portion]))
    leaf = first[back].requires_grad_()
    loss = loss_of(leaf)
    loss.backward()
    assert leaf.grad is not None
    for number, portion in enumerate(portions):
        (vectors(number) * leaf.grad[portion]).sum().backward()
    torch.manual_seed(seeds[0] + 1)
    return float(loss.detach())


def ranking_loss(asked: Tensor, read: Tensor, right: Sequence[int], wrong: Tensor, *, scale: float) -> Tensor:
    """Mean cross-entropy of each question's right passage among all that count as wrong for it.

    asked [questions, dimensions] and read [passages, dimensions] are unit vectors; right[i] is the row of question i's
    passage; wrong [questions, passages] is true where a passage counts.
    """
    import torch

    scores = (asked.float() @ read.float().T) * scale
    rows = torch.arange(len(right), device=scores.device)
    target = torch.tensor(list(right), device=scores.device)
    allowed = wrong.to(scores.device).clone()
    allowed[rows, target] = True
    return torch.nn.functional.cross_entropy(scores.masked_fill(~allowed, float("-inf")), target)


class Batches:
    """Which passages a batch of questions is trained against, and which of them count for whom."""

    def __init__(
        self,
        questions: Sequence[Question],
        pools: Sequence[Sequence[int]],
        answers: Answers,
        recipe: Recipe,
    ) -> None:
        self._questions, self._pools, self._answers, self._recipe = questions, pools, answers, recipe
        self.left_out: Counter[str] = Counter()
        self.pairs = 0

    def of(self, batch: Sequence[int], epoch: int) -> tuple[list[int], list[int], Tensor]:
        """(passages as places, the row of each question's own passage, [questions, passages] counts).

        Each epoch takes the next of a question's right passages and of its mined wrong ones.
        """
        import torch

        own = [self._questions[row].right[epoch % len(self._questions[row].right)] for row in batch]
        mined = [place for row in batch for place in _turn(self._pools[row], epoch, self._recipe.negatives)]
        places = list(dict.fromkeys([*own, *mined]))
        where = {place: number for number, place in enumerate(places)}
        wrong = torch.ones(len(batch), len(places), dtype=torch.bool)
        for number, row in enumerate(batch):
            for column, place in enumerate(places):
                if place == own[number]:
                    continue
                self.pairs += 1
                if why := self._answers.doubt(self._questions[row], place):
                    wrong[number, column] = False
                    self.left_out[why] += 1
        return places, [where[place] for place in own], wrong


def load(weights: Path, files: ModelFiles, *, max_tokens: int) -> Any:
    """The embedder as a sentence-transformers model. Raises MissingExtra, TrainingError."""
    need("sentence_transformers", extra="finetune", purpose=_PURPOSE)
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.base.modules import Normalize, Transformer
    from sentence_transformers.sentence_transformer.modules import Pooling

    if not files.pooling:
        raise TrainingError(f"model {files.name!r} does not tell how it pools; choose another embedder to train")
    try:
        body = Transformer(str(weights))
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        says = (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
        raise TrainingError(f"the weights of {files.name!r} cannot be trained ({says}); choose another model") from None
    body.max_seq_length = min(max_tokens, files.context)
    modules = [body, Pooling(body.get_embedding_dimension(), pooling_mode=files.pooling), Normalize()]
    return SentenceTransformer(
        modules=modules, device="cpu", prompts={"query": files.query_prefix, "document": files.document_prefix}
    )


def save(model: Any, weights: Path, into: Path) -> None:
    """Write the folder, its tokenizer.json byte for byte the one that serves now."""
    into.mkdir(parents=True, exist_ok=True)
    model.save(str(into), create_model_card=False)
    shutil.copyfile(weights / "tokenizer.json", into / "tokenizer.json")
    # Older releases of sentence-transformers look here for the longest input.
    config = into / "sentence_bert_config.json"
    values = json.loads(config.read_text(encoding="utf-8"))
    write_atomic(config, json.dumps({**values, "max_seq_length": model.max_seq_length}, indent=1))


def _turn(pool: Sequence[int], epoch: int, count: int) -> list[int]:
    """The next `count` of a pool, which is gone round and round."""
    return [pool[(epoch * count + number) % len(pool)] for number in range(min(count, len(pool)))]
