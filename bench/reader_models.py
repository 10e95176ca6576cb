"""A model folder and prompts in, greedy replies out, many prompts at once. Knows no documents and no scores.

Prompts read side by side share each reading of the weights: on one core half the time of one after the other. The
kernels then add in another order, so that single words of an answer may differ from those of a lone question. Replies
are kept in bench/out/replies by the model's hash; remove that folder after a change to how models run.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any, NamedTuple

from bench.common import OUT
from openbook.answer.ask import fit
from openbook.answer.extractive import Ranker, hints
from openbook.answer.generators.openvino import OpenVINOGenerator
from openbook.models import fetch
from openbook.prompt import WITHOUT_PASSAGES
from openbook.records import Generation, Hit, Message, ModelFiles, Sampling
from openbook.seams import Embedder
from openbook.settings import AnswerSettings, Models

SAMPLING = Sampling(max_tokens=AnswerSettings().max_tokens)
_AT_ONCE = 16
_BLOCK = 32
_REMEMBERED = 24_576
"""Tokens of attention state: 16 prompts of 1,000 tokens, and what they have in common."""


@dataclass(frozen=True, slots=True)
class Loaded:
    """A model to ask, and the system prompt of its questions without passages."""

    files: ModelFiles
    system: str | None
    folder: str
    """"" for the untouched model of the settings' default."""


@dataclass(frozen=True, slots=True)
class Reply:
    """What a model said."""

    text: str
    prompt_tokens: int
    tokens: int
    cut: bool
    """Ended by the limit of tokens."""


class Spent(NamedTuple):
    """What one reply took."""

    wall: float
    """Seconds."""
    cpu: float
    """Seconds of all cores together: what a busy machine does not change."""
    tokens: int
    """Of the answer."""


def load(folder: Path | None) -> Loaded:
    """The model of an adapter's folder in a registry, of a served model's folder, or of what models.generator takes.

    None is the untouched default model. Raises ModelError, or SystemExit when the adapter was not served.
    """
    if folder is None:
        return Loaded(fetch.ensure(Models().generator), WITHOUT_PASSAGES, "")
    manifest = folder / "manifest.json"
    if (folder / "served").is_dir():
        files = fetch.read_home(folder / "served")
        if files is None:
            raise SystemExit(f"{str(folder / 'served')!r} holds no whole model; train the adapter again")
        known = json.loads(manifest.read_text(encoding="utf-8")) if manifest.is_file() else {}
        return Loaded(files, known.get("system"), str(folder))
    files = fetch.read_home(folder) if folder.is_dir() else None
    return Loaded(files or fetch.ensure(str(folder)), WITHOUT_PASSAGES, str(folder))


class Reader:
    """One model loaded for many prompts; a context manager."""

    def __init__(self, loaded: Loaded, embedder: Embedder | None = None, *, helped: int | None = None) -> None:
        """`helped` sentences stand before the question, chosen with the embedder; None is what answering does."""
        import openvino_genai

        self._ranker = Ranker(embedder) if embedder is not None else None
        self._helped = AnswerSettings().hints if helped is None else helped

        self.loaded = loaded
        files = loaded.files
        self._generator = OpenVINOGenerator(files, prefer="throughput")
        self._tokenizer = openvino_genai.Tokenizer(files.folder)
        scheduler = openvino_genai.SchedulerConfig()
        scheduler.enable_prefix_caching = True
        scheduler.max_num_batched_tokens = 2**31
        scheduler.num_kv_blocks = _REMEMBERED // _BLOCK
        # The attention state in 16 bits, as answering keeps it.
        self._pipeline: Any = openvino_genai.ContinuousBatchingPipeline(
            files.folder, self._tokenizer, scheduler, "CPU", KV_CACHE_PRECISION="f16"
        )
        self._kept = Kept(OUT / "replies" / f"{files.sha256[:32]}.jsonl")
        self._stop = set(files.eos_token_ids) or {self._tokenizer.get_eos_token_id()}

    def __enter__(self) -> Reader:
        return self

    def __exit__(self, *_: object) -> None:
        self._pipeline = None
        self._generator.close()

    def prompt(self, question: str, hits: Sequence[Hit] | None, *, history: Sequence[Message] = ()) -> list[Message]:
        """The messages openbook.answer.ask would render."""
        helped = hints(question, hits, self._ranker, most=self._helped) if hits and self._ranker else ()
        return fit(question, hits, self._generator, SAMPLING, history=history, system=self.loaded.system, hints=helped)[
            0
        ]

    def replies(
        self, prompts: Sequence[Sequence[Message]], *, progress: Callable[[int, int], None] | None = None
    ) -> list[Reply]:
        """Greedy replies in order; those to prompts this model has answered before come from the kept ones."""
        texts = [self._generator.render(prompt) for prompt in prompts]
        known = self._kept.read()
        todo = list(dict.fromkeys(text for text in texts if _key(text) not in known))
        for first in range(0, len(todo), _AT_ONCE):
            some = todo[first : first + _AT_ONCE]
            fresh = dict(zip(map(_key, some), self._generate(some), strict=True))
            self._kept.add(fresh)
            known |= fresh
            if progress:
                progress(first + len(some), len(todo))
        return [known[_key(text)] for text in texts]

    def _generate(self, texts: Sequence[str]) -> Iterator[Reply]:
        import openvino_genai

        config = openvino_genai.GenerationConfig(
            max_new_tokens=SAMPLING.max_tokens, apply_chat_template=False, stop_token_ids=self._stop, do_sample=False
        )
        inputs = [self._tokenizer.encode(text, add_special_tokens=False).input_ids for text in texts]
        for tokens, result in zip(inputs, self._pipeline.generate(inputs, [config] * len(inputs)), strict=True):
            ids = result.m_generation_ids[0]
            cut = result.finish_reasons[0] == openvino_genai.GenerationFinishReason.LENGTH
            yield Reply(self._tokenizer.decode(ids).strip(), tokens.get_size(), len(ids), cut)

    def seconds(self, prompts: Sequence[Sequence[Message]]) -> list[Spent]:
        """What each reply takes when asked one after the other, as a person would."""
        spent = []
        for prompt in prompts:
            wall, cpu = time.perf_counter(), time.process_time()
            *_, done = self._generator.stream(prompt, SAMPLING)
            assert isinstance(done, Generation)
            spent.append(Spent(time.perf_counter() - wall, time.process_time() - cpu, done.answer_tokens))
        return spent

    def length(self, prompt: Sequence[Message]) -> int:
        """Tokens of a prompt."""
        return self._generator.count(self._generator.render(prompt))


class Kept:
    """Replies of one model, a line each, appended as they come: a run that was stopped goes on where it was."""

    def __init__(self, file: Path) -> None:
        self._file = file

    def read(self) -> dict[str, Reply]:
        """By key; a last line cut by a kill is left out."""
        if not self._file.is_file():
            return {}
        found = {}
        for line in self._file.read_text(encoding="utf-8").split("\n"):
            with contextlib.suppress(ValueError):
                key, *reply = json.loads(line)
                found[key] = Reply(*reply)
        return found

    def add(self, replies: Mapping[str, Reply]) -> None:
        """Append."""
        self._file.parent.mkdir(parents=True, exist_ok=True)
        with self._file.open("a", encoding="utf-8") as file:
            file.writelines(
                f"\n{json.dumps([key, *astuple(reply)], ensure_ascii=False)}" for key, reply in replies.items()
            )


def _key(text: str) -> str:
    return hashlib.sha256(f"{SAMPLING.max_tokens} {text}".encode()).hexdigest()[:32]
