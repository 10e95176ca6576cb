"""The process behind BatchedGenerator: orders as lines of JSON on stdin, tokens as lines of JSON on stdout.

Apart from the process that answers requests because `ContinuousBatchingPipeline.step()` of OpenVINO 2026.4 holds
Python's lock while it computes: nothing else would run meanwhile, up to a second for a long prompt.
"""

from __future__ import annotations

import json
import os
import select
import sys
from collections import Counter
from typing import IO, Any

from openbook.answer.generators.openvino import cache_of, config_of, reason, unfollowable
from openbook.records import Sampling

_STEP_TOKENS = 256
"""Tokens of one step: a long prompt is read in parts between which other answers go on and it can be cancelled."""
_AT_ONCE = 64
"""Answers in one step at most; the server lets in fewer (serve.concurrent)."""


class Batch:
    """A pipeline and the generations in it."""

    def __init__(self, order: dict[str, Any]) -> None:
        """`order` is {"folder", "context", "stop_ids"}. Raises RuntimeError as OpenVINO does."""
        import openvino_genai

        scheduler = cache_of(int(order["context"]))
        scheduler.max_num_batched_tokens = _STEP_TOKENS
        scheduler.max_num_seqs = _AT_ONCE
        scheduler.dynamic_split_fuse = True
        self._stop_ids = order["stop_ids"]
        self._pipeline = openvino_genai.ContinuousBatchingPipeline(
            order["folder"],
            openvino_genai.Tokenizer(order["folder"]),
            scheduler,
            "CPU",
            KV_CACHE_PRECISION="f16",
        )
        self._handles: dict[int, Any] = {}
        self._came: Counter[int] = Counter()
        """Tokens of each."""
        self._refused: list[tuple[int, list[int], str]] = []
        """Asked for in a shape that no grammar can be made of."""

    def __bool__(self) -> bool:
        return bool(self._handles or self._refused)

    def take(self, order: dict[str, Any]) -> None:
        """Begin or cancel a generation."""
        import numpy as np
        import openvino as ov

        if "cancel" in order:
            handle = self._handles.pop(order["cancel"], None)
            if handle is None:
                return
            if self._came.pop(order["cancel"], 0) == 1:
                # Left now, its last block would be kept as far as the prompt's end, half filled. The same prompt would
                # then read one token instead of that block's, in another kernel, which rounds otherwise.
                self._pipeline.step()
            handle.cancel()
            self._pipeline.step()
            return
        sampling = Sampling(**{**order["sampling"], "stop": tuple(order["sampling"]["stop"])})
        prompt = ov.Tensor(np.array([order["prompt"]], dtype=np.int64))
        try:
            handle = self._pipeline.add_request(order["ask"], prompt, config_of(sampling, self._stop_ids))
        except RuntimeError as error:
            if not sampling.json_schema:
                raise
            self._refused.append((order["ask"], [], str(unfollowable(error))))
        else:
            self._handles[order["ask"]] = handle

    def step(self) -> list[tuple[int, list[int], str]]:
        """One step of the model: (generation, new tokens, how it ended or "")."""
        import openvino_genai

        said, self._refused = self._refused, []
        if self._handles:
            self._pipeline.step()
        for number, handle in list(self._handles.items()):
            tokens: list[int] = []
            end = ""
            while handle.can_read():
                output = handle.read()[0]
                tokens += output.generated_ids
                if output.finish_reason == openvino_genai.GenerationFinishReason.LENGTH:
                    end = "length"
            status = handle.get_status()
            if status == openvino_genai.GenerationStatus.FINISHED:
                end = end or "stop"
            elif status != openvino_genai.GenerationStatus.RUNNING:
                end = "no room for its attention state"
            self._came[number] += len(tokens)
            if end:
                del self._handles[number], self._came[number]
            if tokens or end:
                said.append((number, tokens, end))
        return said


class _Lines:
    """Lines of a pipe, waited for or only taken when they are there."""

    def __init__(self, pipe: int) -> None:
        self._pipe = pipe
        self._rest = b""

    def take(self, *, wait: bool) -> list[dict[str, Any]]:
        """What has come. Raises EOFError when the other side is gone."""
        found: list[bytes] = []
        while not found and (wait or select.select([self._pipe], [], [], 0)[0]):
            some = os.read(self._pipe, 1 << 20)
            if not some:
                raise EOFError
            *found, self._rest = (self._rest + some).split(b"\n")
        return [json.loads(line) for line in found]


def _say(out: IO[str], what: dict[str, Any]) -> None:
    out.write(json.dumps(what) + "\n")
    out.flush()


def main() -> None:
    """The child; ends when its parent does."""
    # OpenVINO would fork a process that reports its use; killed here, it stays behind and holds the pipes open.
    sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]
    # What a library prints must not come between the lines.
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    lines = _Lines(0)
    try:
        first, *orders = lines.take(wait=True)
        batch = Batch(first)
        _say(out, {"ready": True})
        while True:
            for order in orders:
                batch.take(order)
            if batch and (said := batch.step()):
                _say(out, {"said": said})
            orders = lines.take(wait=not batch)
    except RuntimeError as error:
        _say(out, {"error": reason(error)})
    except (EOFError, BrokenPipeError):  # the parent is gone: nobody waits for these answers
        os._exit(0)


if __name__ == "__main__":
    main()
