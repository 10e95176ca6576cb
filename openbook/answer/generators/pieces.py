"""From a model's raw output to the pieces a person sees: whole characters, no stop string, a plain transcript.

Token ids or text in, text out; knows no model, no server and no thread.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import suppress
from typing import Literal, Protocol

from openbook.errors import PromptTooLong
from openbook.records import Generation, Sampling

REPLACEMENT = "\ufffd"


def check_fits(prompt: int, sampling: Sampling, *, name: str, context: int) -> None:
    """Raise PromptTooLong when `prompt` tokens and the longest answer exceed `context` tokens."""
    if prompt + sampling.max_tokens > context:
        raise PromptTooLong(
            f"the prompt has {prompt:,} tokens and the answer may take {sampling.max_tokens:,}, but model {name!r} "
            f"reads {context:,} together; shorten the question or lower answer.max_tokens"
        )


class Run(Protocol):
    """One generation; times are of time.perf_counter."""

    cancelled: bool
    """Set, from any thread, to stop generating and to end tokens()."""
    start: float
    first: float
    last: float
    count: int
    """Tokens that came."""
    finish: Literal["stop", "length"]

    def tokens(self) -> Iterator[list[int]]:
        """Begin, and give token ids as they come; raises what the generation raised."""


class shown(Iterator[str | Generation]):  # noqa: N801 - used like a function
    """A generation's tokens as pieces of whole characters, then one Generation; cancels it when closed.

    close() may be called from any thread, also while another waits for the next piece: that one then gets an end
    without a Generation.
    """

    def __init__(self, run: Run, sampling: Sampling, *, prompt_tokens: int, decode: Callable[[list[int]], str]) -> None:
        self._run = run
        self._closed = False
        self._parts = _parts(run, sampling, prompt_tokens=prompt_tokens, decode=decode)

    def __next__(self) -> str | Generation:
        part = next(self._parts)
        if self._closed:
            raise StopIteration
        return part

    def close(self) -> None:
        """Stop generating."""
        self._closed = True
        self._run.cancelled = True
        with suppress(ValueError):  # another thread is in it, which the cancelled run lets go
            self._parts.close()


def _parts(
    run: Run, sampling: Sampling, *, prompt_tokens: int, decode: Callable[[list[int]], str]
) -> Generator[str | Generation, None, None]:
    detokenizer = Detokenizer(decode)
    stop = StopStrings(sampling.stop)
    text: list[str] = []
    try:
        for tokens in run.tokens():
            if piece := stop.push(detokenizer.push(tokens)):
                text.append(piece)
                yield piece
            if stop.stopped:
                break
        else:
            if piece := stop.push(detokenizer.flush()) + stop.flush():
                text.append(piece)
                yield piece
    finally:
        run.cancelled = True
    yield Generation(
        text="".join(text),
        prompt_tokens=prompt_tokens,
        answer_tokens=run.count,
        prefill_seconds=run.first - run.start,
        decode_seconds=run.last - run.first,
        finish="stop" if stop.stopped else run.finish,
    )


class Detokenizer:
    """Turns a growing list of token ids into text, holding back characters whose bytes have not all come.

    A token's text can depend on the ones before it (leading spaces, multi-byte characters), so a short window of
    earlier tokens is decoded together with the new ones and cut off again.
    """

    def __init__(self, decode: Callable[[list[int]], str]) -> None:
        self._decode = decode
        self._window: list[int] = []
        self._shown = 0
        """How many tokens of the window have been given out as text."""

    def push(self, tokens: Sequence[int]) -> str:
        """The text that became whole with these tokens; "" while a character is incomplete."""
        self._window += tokens
        before = self._decode(self._window[: self._shown])
        after = self._decode(self._window)
        if after.endswith(REPLACEMENT) or len(after) <= len(before):
            return ""
        self._window = self._window[self._shown :]
        self._shown = len(self._window)
        return after[len(before) :]

    def flush(self) -> str:
        """What was held back, without a character that stayed incomplete."""
        before = self._decode(self._window[: self._shown])
        after = self._decode(self._window)
        self._window, self._shown = [], 0
        return after[len(before) :].rstrip(REPLACEMENT)


class StopStrings:
    """Passes text on up to the stop string that is complete first; how the text is cut into pieces does not matter.

    >>> stop = StopStrings(("END",))
    >>> stop.push("one E"), stop.push("ND two"), stop.stopped
    ('one ', '', True)
    """

    def __init__(self, stop: Sequence[str]) -> None:
        self._stop = tuple(text for text in stop if text)
        self._held = ""
        self.stopped = False
        """True once a stop string was seen; nothing more comes out then."""

    def push(self, text: str) -> str:
        """The text that can be shown: all but a tail that may be the beginning of a stop string."""
        if self.stopped:
            return ""
        self._held += text
        found = [(at + len(stop), at) for stop in self._stop if (at := self._held.find(stop)) >= 0]
        if found:
            self.stopped = True
            return self._take(min(found)[1])
        tails = (n for stop in self._stop for n in range(1, len(stop)) if self._held.endswith(stop[:n]))
        return self._take(len(self._held) - max(tails, default=0))

    def flush(self) -> str:
        """The held-back tail, once nothing more will come; "" after a stop."""
        return "" if self.stopped else self._take(len(self._held))

    def _take(self, end: int) -> str:
        text, self._held = self._held[:end], self._held[end:]
        return text
