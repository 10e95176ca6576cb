"""A language model on this machine: a model folder in, streamed text out, by OpenVINO GenAI.

Knows no catalogue, no prompt wording and no retrieval. The prompt is rendered once, here, with the model's own chat
template; the pipeline then reads exactly those tokens.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Iterator, Sequence
from typing import Any, Literal

from openbook.answer.generators.pieces import Detokenizer, StopStrings, transcript
from openbook.errors import ModelError, PromptTooLong
from openbook.records import Generation, Message, ModelFiles, Sampling


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
                f"model {files.name!r} cannot be loaded from {files.folder} ({_first_line(error)}); "
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
        if not self._files.chat_template:
            return transcript(messages)
        turns = [{"role": message.role, "content": message.content} for message in messages]
        try:
            # Qwen3 would spend the whole answer thinking; templates that do not know the name ignore it.
            text: str = self._tokenizer.apply_chat_template(
                turns, True, self._files.chat_template, extra_context={"enable_thinking": False}
            )
        except RuntimeError as error:
            raise ModelError(
                f"the chat template of model {self.name!r} refuses these messages ({_first_line(error)}); "
                "choose another model in openbook.toml"
            ) from None
        return text

    def count(self, text: str) -> int:
        """Tokens of a text, without special tokens added."""
        return int(self._encode(text).get_size())

    def stream(self, messages: Sequence[Message], sampling: Sampling) -> Iterator[str | Generation]:
        """Yield pieces of whole characters, then one Generation.

        Raises PromptTooLong at once when prompt and answer exceed the context, and ModelError after close().
        """
        if self._pipeline is None:
            raise ModelError(f"model {self.name!r} is closed; make a new generator")
        prompt = self._encode(self.render(messages))
        if prompt.get_size() + sampling.max_tokens > self.context:
            raise PromptTooLong(
                f"the prompt has {prompt.get_size():,} tokens and the answer may take {sampling.max_tokens:,}, but model "
                f"{self.name!r} reads {self.context:,} together; shorten the question or lower answer.max_tokens"
            )
        return self._pieces(prompt, sampling)

    def close(self) -> None:
        """Free the model, after a generation that still runs. A second call does nothing."""
        with self._lock:
            self._pipeline = None

    def _encode(self, text: str) -> Any:
        return self._tokenizer.encode(text, add_special_tokens=False).input_ids

    def _pieces(self, prompt: Any, sampling: Sampling) -> Iterator[str | Generation]:
        run = _Run(self, prompt, sampling)
        detokenizer = Detokenizer(self._tokenizer.decode)
        stop = StopStrings(sampling.stop)
        shown: list[str] = []
        # Not a daemon: an interpreter that ends under a native thread calling back into it crashes.
        threading.Thread(target=run.generate, name="openbook-generate").start()
        try:
            for tokens in run.tokens():
                if piece := stop.push(detokenizer.push(tokens)):
                    shown.append(piece)
                    yield piece
                if stop.stopped:
                    break
            else:
                if piece := stop.push(detokenizer.flush()) + stop.flush():
                    shown.append(piece)
                    yield piece
        finally:
            run.cancelled = True
        yield Generation(
            text="".join(shown),
            prompt_tokens=prompt.get_size(),
            answer_tokens=run.count,
            prefill_seconds=run.first - run.start,
            decode_seconds=run.last - run.first,
            finish="stop" if stop.stopped else run.finish,
        )
