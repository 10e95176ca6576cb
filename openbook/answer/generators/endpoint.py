"""A language model behind an OpenAI-compatible server: settings in, streamed text out.

Knows no provider by name: Ollama, vLLM, llama.cpp's server and clouds all speak this protocol, with small differences
that are learned from the server's own refusals. The key comes from the environment and never stands in an error.
"""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Iterator, Sequence
from typing import Any, Literal

from openbook.answer.generators.pieces import StopStrings, check_fits
from openbook.errors import EndpointError, ModelError, OpenbookError, PromptTooLong, SettingsError
from openbook.prompt import transcript
from openbook.records import Generation, Message, Sampling
from openbook.settings import Endpoint

_NO_KEY = "none"
_MOST_STOPS = 4
"""The protocol allows four stop strings; further ones are still honoured here, on the text that arrives."""


class EndpointGenerator:
    """A seams.Generator that asks a server. Safe to use from several threads at once.

    Raises SettingsError when endpoint.model is empty, naming the models the server offers if it answers.
    """

    def __init__(self, settings: Endpoint) -> None:
        import openai

        self._settings = settings
        self._key = os.environ.get(settings.api_key_env, "") if settings.api_key_env else ""
        self._closed = False
        self._renamed: dict[str, str] = {}
        """Parameters this server wants under another name; "" where it wants none."""
        try:
            self._client = openai.OpenAI(
                base_url=settings.url,
                api_key=self._key or _NO_KEY,
                timeout=settings.timeout,
                max_retries=settings.retries,
            )
        except (openai.OpenAIError, ValueError, TypeError) as error:
            raise SettingsError(f"endpoint.url = {settings.url!r} cannot be used: {self._scrub(str(error))}") from None
        if not settings.model:
            offered = self._offer() or "; the server did not say which it offers"
            raise SettingsError(f"endpoint.model is empty: name the model to ask for{offered}")

    @property
    def name(self) -> str:
        """The model's name on the server."""
        return self._settings.model

    @property
    def context(self) -> int:
        """endpoint.context of the settings; the protocol has no way to ask."""
        return self._settings.context

    def render(self, messages: Sequence[Message]) -> str:
        """A plain transcript: the server applies the model's own template where nobody sees it."""
        return transcript(messages)

    def count(self, text: str) -> int:
        """At least the tokens of a text, by estimate: a token for three bytes of UTF-8."""
        return math.ceil(len(text.encode("utf-8", "surrogatepass")) / 3)

    def models(self) -> list[str]:
        """Names of the models the server offers. Raises EndpointError when it does not answer."""
        import openai

        try:
            return sorted(model.id for model in self._client.models.list())
        except openai.OpenAIError as error:
            raise self._explained(error) from None
        except (ValueError, TypeError, AttributeError):
            raise EndpointError(f"{self._settings.url!r} did not answer with a list of models; {_CHECK_URL}") from None

    def check(self) -> None:
        """Ask the server for its models. Raises EndpointError when it does not answer or does not offer this one."""
        names = self.models()
        # Ollama lists "llama3.2:latest" and answers to "llama3.2"; a server that lists nothing is taken at its word.
        if names and self.name not in names and f"{self.name}:latest" not in names:
            raise EndpointError(f"{self._settings.url!r} does not know the model {self.name!r}{_choose(names)}")

    def stream(self, messages: Sequence[Message], sampling: Sampling) -> Iterator[str | Generation]:
        """Yield pieces as the server sends them, then one Generation; token counts are the server's if it tells.

        Raises PromptTooLong at once when the estimate exceeds the context, ModelError after close(), and while
        iterating EndpointError.
        """
        if self._closed:
            raise ModelError(f"model {self.name!r} is closed; make a new generator")
        prompt = self.count(self.render(messages))
        check_fits(prompt, sampling, name=self.name, context=self.context)
        return self._pieces(messages, sampling, prompt)

    def close(self) -> None:
        """Close the connections. A second call does nothing."""
        self._closed = True
        self._client.close()

    def _pieces(self, messages: Sequence[Message], sampling: Sampling, prompt: int) -> Iterator[str | Generation]:
        import openai

        stop = StopStrings(sampling.stop)
        shown: list[str] = []
        finish: Literal["stop", "length"] | None = None
        usage: Any = None
        opened = False
        start = first = last = time.perf_counter()
        try:
            response = self._open(messages, sampling)
            opened = True
            try:
                for chunk in response:
                    usage = getattr(chunk, "usage", None) or usage
                    for choice in chunk.choices or ():
                        if choice.finish_reason:
                            finish = "length" if choice.finish_reason == "length" else "stop"
                        if not choice.delta or not choice.delta.content:
                            continue
                        last = time.perf_counter()
                        first = last if first == start else first
                        if piece := stop.push(choice.delta.content):
                            shown.append(piece)
                            yield piece
                    if stop.stopped:
                        finish = "stop"
                        break
            finally:
                response.close()
        except openai.OpenAIError as error:
            raise self._explained(error, begun=opened) from None
        except (ValueError, TypeError, AttributeError):
            raise EndpointError(
                f"{self._settings.url!r} sent something that is not a chat completion stream; {_CHECK_URL}"
            ) from None
        if finish is None:
            raise EndpointError(
                f"the answer from {self._settings.url!r} broke off before its end; try again or see the server's log"
            )
        if piece := stop.flush():
            shown.append(piece)
            yield piece
        text = "".join(shown)
        yield Generation(
            text=text,
            prompt_tokens=getattr(usage, "prompt_tokens", None) or prompt,
            answer_tokens=getattr(usage, "completion_tokens", None) or self.count(text),
            prefill_seconds=first - start,
            decode_seconds=last - first,
            finish=finish,
        )

    def _open(self, messages: Sequence[Message], sampling: Sampling) -> Any:
        """Ask, learning from a 400 that names a parameter what this server wants instead."""
        import openai

        wanted: dict[str, Any] = {
            "max_tokens": sampling.max_tokens,
            "temperature": sampling.temperature,
            "seed": sampling.seed,
            "stop": list(sampling.stop[:_MOST_STOPS]) or None,
            "stream_options": {"include_usage": True},
        }
        turns = [{"role": message.role, "content": message.content} for message in messages]
        while True:
            named = {self._renamed.get(key, key): value for key, value in wanted.items() if value is not None}
            named.pop("", None)
            try:
                create: Any = self._client.chat.completions.create
                if sampling.json_schema:  # never left out: the text would not be what was asked for
                    shape = {"name": "answer", "schema": json.loads(sampling.json_schema), "strict": True}
                    named["response_format"] = {"type": "json_schema", "json_schema": shape}
                return create(model=self.name, messages=turns, stream=True, **named)
            except openai.BadRequestError as error:
                refused = _refused(error, [key for key in wanted if key in named])
                if refused is None:
                    raise
                self._renamed[refused] = "max_completion_tokens" if refused == "max_tokens" else ""

    def _explained(self, error: Exception, *, begun: bool = False) -> OpenbookError:
        """The one sentence a person needs about what went wrong."""
        import openai

        url, key_env = self._settings.url, self._settings.api_key_env
        tries = f" after {self._settings.retries + 1} tries" if self._settings.retries and not begun else ""
        said = self._scrub(_said(error))
        match error:
            case openai.APITimeoutError():
                return EndpointError(
                    f"{url!r} sent nothing for {self._settings.timeout:g} seconds{tries}; "
                    "raise endpoint.timeout or look at the server's log"
                )
            case openai.APIConnectionError() if begun:
                return EndpointError(f"the connection to {url!r} broke in the middle of the answer; try again")
            case openai.APIConnectionError():
                return EndpointError(f"no server answers at {url!r}{tries}; start it or change endpoint.url")
            case openai.AuthenticationError() | openai.PermissionDeniedError() if self._key:
                return EndpointError(f"{url!r} refuses the key in the environment variable {key_env}; check the key")
            case openai.AuthenticationError() | openai.PermissionDeniedError():
                return EndpointError(f"{url!r} wants a key; put it into the environment variable {key_env}")
            case openai.NotFoundError():
                return EndpointError(
                    f"{url!r} does not know the model {self.name!r}{self._offer() or '; ' + _CHECK_URL}"
                )
            case openai.RateLimitError():
                return EndpointError(f"{url!r} takes no more requests now{tries} ({said}); wait, or check the quota")
            case openai.BadRequestError() if error.code == "context_length_exceeded" or "context length" in said:
                return PromptTooLong(f"{url!r} finds the prompt too long ({said}); lower endpoint.context")
            case openai.APIStatusError() if error.status_code >= 500:
                return EndpointError(f"{url!r} failed with status {error.status_code}{tries} ({said}); see its log")
            case openai.APIStatusError():
                return EndpointError(f"{url!r} refuses the request with status {error.status_code}: {said}")
        return EndpointError(f"{url!r} reports: {said or type(error).__name__}; look at the server's log")

    def _offer(self) -> str:
        """What the server offers, as the end of a sentence; "" when it does not say."""
        try:
            return _choose(self.models())
        except OpenbookError:
            return ""

    def _scrub(self, text: str) -> str:
        return text.replace(self._key, "***") if self._key else text


_CHECK_URL = "check endpoint.url (it usually ends in /v1)"


def _choose(names: Sequence[str]) -> str:
    more = f" and {len(names) - 10} more" if len(names) > 10 else ""
    return f"; set endpoint.model to one it offers: {', '.join(names[:10])}{more}" if names else ""


def _said(error: Exception) -> str:
    """The server's own words on one line, shortened."""
    body = getattr(error, "body", None)
    message = body.get("message") if isinstance(body, dict) else None
    text = " ".join(str(message or getattr(error, "message", "") or error).split())
    return text if len(text) <= 200 else text[:199] + "…"


def _refused(error: Any, sent: Sequence[str]) -> str | None:
    """The parameter a 400 complains about, if it is one of ours that can be left out or renamed."""
    if error.param in sent:
        return str(error.param)
    said = _said(error)
    # Longest first: "max_tokens" stands within no other, but "stop" and "seed" are common words.
    return next((key for key in ("stream_options", "max_tokens", "temperature") if key in sent and key in said), None)
