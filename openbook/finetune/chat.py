"""Conversations in, token ids and which of them are learned out: the same text and ids as at answering time.

Masking is by prefix difference: what the template adds when a reply is appended to its prompt is that reply, so it
works for every template and for none. Prompt and reply are tokenized apart, as when a model answers. Knows no model.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from openbook.errors import TrainingError
from openbook.extras import need
from openbook.prompt import transcript
from openbook.records import Example, Message


@dataclass(frozen=True, slots=True)
class Tokens:
    """One training sequence."""

    ids: tuple[int, ...]
    learned: tuple[bool, ...]
    """Same length: True where the token is a target, that is a reply and the token that ends it."""

    @property
    def supervised(self) -> int:
        """Number of learned tokens."""
        return sum(self.learned)


class Chat:
    """A tokenizer with the model's chat template; without one, a plain transcript."""

    def __init__(
        self, tokenizer: Any, *, template: str | None, stop_ids: Sequence[int] = (), context: int = 1 << 30
    ) -> None:
        """`tokenizer` is a transformers tokenizer, whose own end token closes replies that the template leaves open."""
        self._tokenizer = tokenizer
        self.template = template
        self.context = context
        """Longest sequence the model reads."""
        self.stop_ids = tuple(stop_ids) or (int(tokenizer.eos_token_id),)
        """Tokens that end an answer."""
        own = tokenizer.eos_token_id
        self._end = own if own in self.stop_ids else self.stop_ids[0]

    @classmethod
    def load(cls, folder: Path, *, template: str | None, stop_ids: Sequence[int] = (), context: int = 1 << 30) -> Self:
        """The tokenizer of a transformers folder. Raises TrainingError when it cannot be loaded."""
        transformers = need("transformers", extra="finetune", purpose="fine-tuning")
        try:
            tokenizer = transformers.AutoTokenizer.from_pretrained(folder, local_files_only=True)
        except (OSError, ValueError) as error:
            raise TrainingError(f"the tokenizer in {str(folder)!r} cannot be loaded: {error}") from None
        return cls(tokenizer, template=template, stop_ids=stop_ids, context=context)

    def render(self, messages: Sequence[Message]) -> str:
        """The prompt, up to where the reply begins. The turns' own text stands as it is: defuse what people wrote.

        Raises TrainingError when the template refuses the messages.
        """
        return self._text(messages, reply=True)

    def ids(self, text: str) -> list[int]:
        """Token ids of a text, no special tokens added."""
        return list(self._tokenizer(text, add_special_tokens=False)["input_ids"])

    def text(self, ids: Sequence[int]) -> str:
        """The text of token ids, control tokens kept."""
        return str(self._tokenizer.decode(list(ids), skip_special_tokens=False))

    def answer(self, ids: Sequence[int]) -> str:
        """The text of a generated answer: up to the first stop token, without control tokens."""
        end = next((at for at, one in enumerate(ids) if one in self.stop_ids), len(ids))
        return str(self._tokenizer.decode(list(ids[:end]), skip_special_tokens=True))

    def reply(self, prompt: Sequence[Message], reply: str) -> list[int]:
        """Token ids that a model must write after render(prompt): the reply and the token that ends it."""
        if self.template is None:
            ids = self.ids(f" {reply}")
        else:
            start, whole = self.render(prompt), self._text([*prompt, Message("assistant", reply)], reply=False)
            if not whole.startswith(start):
                raise TrainingError(
                    "the chat template renders a prompt otherwise once its reply stands behind it, so what to learn "
                    "cannot be told apart; give the model another chat_template"
                )
            ids = self.ids(whole[len(start) :])
        end = next((at for at, one in enumerate(ids) if one in self.stop_ids), None)
        return [*ids, self._end] if end is None else ids[: end + 1]

    def pair(self, prompt: Sequence[Message], reply: str) -> Tokens:
        """A prompt and its reply, of which only the reply is learned."""
        known, said = self.ids(self.render(prompt)), self.reply(prompt, reply)
        return Tokens((*known, *said), (False,) * len(known) + (True,) * len(said))

    def sequences(self, example: Example) -> list[Tokens]:
        """The training sequences of a conversation.

        One, with every assistant turn learned, when each turn's prompt begins with the turns before it token by token;
        else (templates that rewrite history) one for each assistant turn, each exactly as it would be answered.
        """
        if example.last_only:
            return [self.pair(example.messages[:-1], example.messages[-1].content)]
        turns = enumerate(example.messages)
        parts = [self.pair(example.messages[:at], turn.content) for at, turn in turns if turn.role == "assistant"]
        whole = Tokens((), ())
        for part in parts:
            if part.ids[: len(whole.ids)] != whole.ids:
                return parts
            whole = Tokens(part.ids, whole.learned + part.learned[len(whole.ids) :])
        return [whole]

    def _text(self, messages: Sequence[Message], *, reply: bool) -> str:
        if self.template is None:
            return transcript(messages)
        turns = [{"role": turn.role, "content": turn.content} for turn in messages]
        try:
            text = self._tokenizer.apply_chat_template(
                turns,
                chat_template=self.template,
                tokenize=False,
                add_generation_prompt=reply,
                enable_thinking=False,
            )
        except Exception as error:  # noqa: BLE001 - a template raises whatever its author chose
            raise TrainingError(f"the chat template refuses these messages: {error}") from None
        return str(text)
