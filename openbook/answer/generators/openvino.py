"""A language model on this machine: a model folder in, streamed text out, by OpenVINO GenAI.

Knows no catalogue, no prompt wording and no retrieval. The prompt is rendered once, here, with the model's own chat
template; the pipeline then reads exactly those tokens.
"""

from __future__ import annotations

import contextlib
import os
import queue
import threading
import time
from collections.abc import Collection, Iterator, Sequence
from typing import Any, Literal

from openbook.answer.generators import schemas
from openbook.answer.generators.pieces import check_fits, shown
from openbook.errors import ModelError, UsageError
from openbook.prompt import transcript
from openbook.records import Generation, Message, ModelFiles, Sampling

UNFOLLOWABLE = "this JSON schema cannot be followed"
_BLOCK = 32
"""Tokens in one block of attention state on CPU."""
_REMEMBERED = 16384
"""Tokens of earlier prompts kept at least; memory is touched as it fills, for the 135M default at most 0.4 GB."""


class OpenVINOGenerator:
    """A seams.Generator that is safe to use from several threads; one generates at a time, the others wait.

    prefer "start" loads in a fraction of a second from the compiled blob in files.cache_dir and fits one question per
    process; "throughput" loads slower and keeps the attention state of earlier prompts, so that a prompt beginning
    like one before (a chat's history, the same instructions) reads only what is new.

    Raises ModelError when the folder cannot be loaded.
    """

    def __init__(self, files: ModelFiles, *, prefer: Literal["start", "throughput"] = "start") -> None:
        import openvino_genai

        self._files = files
        self._lock = threading.Lock()
        try:
            self._tokenizer = openvino_genai.Tokenizer(files.folder)
            self._pipeline: Any = openvino_genai.LLMPipeline(
                files.folder, self._tokenizer, "CPU", **_properties(files, prefer)
            )
        except RuntimeError as error:
            raise ModelError(
                f"model {files.name!r} cannot be loaded from {files.folder} ({reason(error)}); "
                f"fetch it again with: openbook models pull {files.name}"
            ) from None
        self._stop_ids = set(files.eos_token_ids) or {self._tokenizer.get_eos_token_id()}

    @property
    def name(self) -> str:
        """The catalogue name, or the path the user gave."""
        return self._files.name

    @property
    def context(self) -> int:
        """Prompt and answer together may have this many tokens."""
        return self._files.context

    def render(self, messages: Sequence[Message]) -> str:
        """The text the model reads, by its own chat template; a plain transcript when it has none.

        Raises ModelError when the template refuses the messages.
        """
        return rendered(messages, self._tokenizer, self._files)

    def count(self, text: str) -> int:
        """Tokens of a text, without special tokens added."""
        return int(self._encode(text).get_size())

    def stream(self, messages: Sequence[Message], sampling: Sampling) -> Iterator[str | Generation]:
        """Yield pieces of whole characters, then one Generation.

        Raises UsageError at once for a schema that cannot be followed, PromptTooLong when prompt and answer exceed the
        context, and ModelError after close().
        """
        if self._pipeline is None:
            raise ModelError(f"model {self.name!r} is closed; make a new generator")
        schemas.check(sampling.json_schema)
        prompt = self._encode(self.render(messages))
        check_fits(prompt.get_size(), sampling, name=self.name, context=self.context)
        return self._pieces(prompt, sampling)

    def close(self) -> None:
        """Free the model, after a generation that still runs. A second call does nothing."""
        with self._lock:
            self._pipeline = None

    def _encode(self, text: str) -> Any:
        return self._tokenizer.encode(text, add_special_tokens=False).input_ids

    def _pieces(self, prompt: Any, sampling: Sampling) -> Iterator[str | Generation]:
        run = _Run(self, prompt, sampling)
        return shown(run, sampling, prompt_tokens=prompt.get_size(), decode=self._tokenizer.decode)


class _Run:
    """One generation in a thread of its own, handing tokens to the consumer through a queue.

    The model's lock is held by that thread, not by the consumer: an iterator nobody finishes blocks nobody.
    """

    def __init__(self, owner: OpenVINOGenerator, prompt: Any, sampling: Sampling) -> None:
        self.start = self.first = self.last = 0.0
        self.count = 0
        self.finish: Literal["stop", "length"] = "stop"
        self._cancelled = False
        self._owner, self._prompt, self._sampling = owner, prompt, sampling
        self._queue: queue.SimpleQueue[list[int] | Exception | None] = queue.SimpleQueue()

    @property
    def cancelled(self) -> bool:
        """Whether nobody wants the rest. The model notices at its next token: it is not to be stopped in a prompt."""
        return self._cancelled

    @cancelled.setter
    def cancelled(self, value: bool) -> None:
        if value and not self._cancelled:
            self._cancelled = True
            self._queue.put(None)  # lets go of who waits for a token

    def tokens(self) -> Iterator[list[int]]:
        """Begin, and give token ids as they come; raises what the generation raised."""
        # Not a daemon: an interpreter that ends under a native thread calling back into it crashes.
        threading.Thread(target=self.generate, name="openbook-generate").start()
        while (item := self._queue.get()) is not None:
            if isinstance(item, Exception):
                raise item
            yield item

    def generate(self) -> None:
        """Run to the end, to cancellation or to an error, each of which ends tokens()."""
        outcome: Exception | None = None
        try:
            with self._owner._lock:
                if not self.cancelled:
                    self._generate()
        except RuntimeError as error:
            # The grammar is made before the first token.
            outcome = (
                unfollowable(error)
                if self._sampling.json_schema and not self.count
                else ModelError(
                    f"model {self._owner.name!r} failed while generating ({reason(error)}); run: openbook doctor"
                )
            )
        except Exception as error:  # noqa: BLE001 - a thread has no caller: whatever it was travels to the consumer
            outcome = error
        self._queue.put(outcome)

    def _generate(self) -> None:
        import openvino_genai

        pipeline = self._owner._pipeline
        if pipeline is None:
            raise ModelError(f"model {self._owner.name!r} is closed; make a new generator")
        run = self

        class Streamer(openvino_genai.StreamerBase):  # type: ignore[misc]
            def write(self, token: int | list[int]) -> Any:
                run._arrived(token if isinstance(token, list) else [token])
                status = openvino_genai.StreamingStatus
                return status.CANCEL if run.cancelled else status.RUNNING

            def end(self) -> None:
                pass

        self.start = self.first = self.last = time.perf_counter()
        result = pipeline.generate(self._prompt, config_of(self._sampling, self._owner._stop_ids), Streamer())
        if result.finish_reasons[0] == openvino_genai.GenerationFinishReason.LENGTH:
            self.finish = "length"

    def _arrived(self, tokens: list[int]) -> None:
        self.last = time.perf_counter()
        if not self.count:
            self.first = self.last
        self.count += len(tokens)
        self._queue.put(tokens)


def rendered(messages: Sequence[Message], tokenizer: Any, files: ModelFiles) -> str:
    """The text a model reads, by its own chat template; a plain transcript when it has none.

    Raises ModelError when the template refuses the messages.
    """
    if not files.chat_template:
        return transcript(messages)
    turns = [{"role": message.role, "content": message.content} for message in messages]
    try:
        # Qwen3 would spend the whole answer thinking; templates that do not know the name ignore it.
        text: str = tokenizer.apply_chat_template(
            turns, True, files.chat_template, extra_context={"enable_thinking": False}
        )
    except RuntimeError as error:
        raise ModelError(
            f"the chat template of model {files.name!r} refuses these messages ({reason(error)}); "
            "choose another model in openbook.toml"
        ) from None
    return text


def config_of(sampling: Sampling, stop_ids: Collection[int]) -> Any:
    """An openvino_genai.GenerationConfig; `stop_ids` are the tokens that end an answer."""
    import openvino_genai

    config = openvino_genai.GenerationConfig(
        max_new_tokens=sampling.max_tokens,
        apply_chat_template=False,
        stop_token_ids=set(stop_ids),
        do_sample=sampling.temperature > 0,
    )
    if sampling.json_schema:
        config.structured_output_config = openvino_genai.StructuredOutputConfig(json_schema=sampling.json_schema)
    if config.do_sample:
        config.temperature = sampling.temperature
        config.rng_seed = sampling.seed & 0xFFFFFFFF
    return config


def unfollowable(error: RuntimeError) -> UsageError:
    """What is said of a schema of which no grammar can be made."""
    said = str(error).strip().splitlines()[0]
    return UsageError(
        f"{UNFOLLOWABLE} ({said.rpartition('.cc:')[2].partition(': ')[2] or reason(error)}); use a simpler one"
    )


def cache_of(context: int) -> Any:
    """An openvino_genai.SchedulerConfig that keeps the attention state of earlier prompts."""
    import openvino_genai

    scheduler = openvino_genai.SchedulerConfig()
    scheduler.enable_prefix_caching = True
    scheduler.num_kv_blocks = -(-max(context, _REMEMBERED) // _BLOCK) + 1
    return scheduler


def _properties(files: ModelFiles, prefer: Literal["start", "throughput"]) -> dict[str, Any]:
    if prefer == "start":
        properties = {"ATTENTION_BACKEND": "SDPA"}
        with contextlib.suppress(OSError):  # an installed, read-only cache loads slower, but it loads
            files.cache_dir.mkdir(parents=True, exist_ok=True)
            if os.access(files.cache_dir, os.W_OK):
                properties["CACHE_DIR"] = str(files.cache_dir)
        return properties
    # No CACHE_DIR here: OpenVINO 2026.4 writes a blob with paged attention but cannot read it back, and would
    # write it anew (as large as the model) at every start.
    scheduler = cache_of(files.context)
    scheduler.max_num_batched_tokens = 2**31
    # OpenVINO would keep the attention state in 8 bits here, and a small model then answers otherwise.
    return {"scheduler_config": scheduler, "KV_CACHE_PRECISION": "f16"}


def reason(error: RuntimeError) -> str:
    """The part of an OpenVINO message a person can use: it begins with places in its own source."""
    lines = [line.strip() for line in str(error).split("Minja's error: ")[-1].splitlines()]
    said = [line for line in lines if line and not line.startswith(("Exception from ", "Check '"))]
    return (said or ["no reason given"])[0].rstrip(".")[:200]
