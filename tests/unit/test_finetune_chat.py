"""What is learned of a conversation, for templates that end turns, that do not, that rewrite history, and for none."""

from __future__ import annotations

from pathlib import Path

import pytest

from openbook.errors import TrainingError
from openbook.finetune.run import defused
from openbook.prompt import messages
from openbook.records import Example, Message
from tests.tiny_finetune import CHATML, chat

TALK = (
    Message("system", "Be brief."),
    Message("user", "How do I get a card?"),
    Message("assistant", "Wait for the letter."),
    Message("user", "And then?"),
    Message("assistant", "\nOpen it."),
)
OPEN_ENDED = (
    "{% for m in messages %}[{{ m.role }}]{{ m.content }}{% endfor %}"
    "{% if add_generation_prompt %}[assistant]{% endif %}"
)
FORGETFUL = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{% if m.role == 'assistant' and not loop.last %}...{% else %}"
    "{{ m.content }}{% endif %}<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
REWRITING = "{% for m in messages %}{{ m.content }}{% endfor %}{% if add_generation_prompt %} now you: {% endif %}"
STRICT = "{{ raise_exception('no system prompts') if messages[0].role == 'system' else messages[0].content }}"


def learned(made, tokens) -> list[str]:
    runs, open_run = [], []
    for one, wanted in zip(tokens.ids, tokens.learned, strict=True):
        if wanted:
            open_run.append(one)
        elif open_run:
            runs.append(made.text(open_run))
            open_run = []
    return [*runs, made.text(open_run)] if open_run else runs


def test_only_replies_and_the_token_that_ends_them_are_learned(tmp_path: Path) -> None:
    made = chat(tmp_path)
    (tokens,) = made.sequences(Example(TALK))
    assert learned(made, tokens) == ["Wait for the letter.<|im_end|>", "\nOpen it.<|im_end|>"]
    assert tokens.supervised == sum(tokens.learned)


def test_a_training_prompt_is_the_prompt_of_answering_token_by_token(tmp_path: Path) -> None:
    made = chat(tmp_path)
    asked = messages("How do I get a card?", None)
    tokens = made.pair(asked, "Wait.")
    prompt = made.ids(made.render(asked))
    assert list(tokens.ids[: len(prompt)]) == prompt
    assert made.text(tokens.ids[len(prompt) :]) == "Wait.<|im_end|>"


def test_a_template_that_leaves_a_reply_open_gets_the_tokenizers_end_token(tmp_path: Path) -> None:
    made = chat(tmp_path, template=OPEN_ENDED)
    (tokens,) = made.sequences(Example(TALK[1:3]))
    assert learned(made, tokens) == ["Wait for the letter.<|im_end|>"]


def test_a_model_without_a_template_learns_from_the_plain_transcript(tmp_path: Path) -> None:
    made = chat(tmp_path, template=None)
    (tokens,) = made.sequences(Example(TALK[:3]))
    assert (
        made.text(tokens.ids) == "Be brief.\n\nUser: How do I get a card?\n\nAssistant: Wait for the letter.<|im_end|>"
    )
    assert learned(made, tokens) == [" Wait for the letter.<|im_end|>"]


def test_a_template_that_rewrites_history_gives_a_sequence_for_each_reply(tmp_path: Path) -> None:
    made = chat(tmp_path, template=FORGETFUL)
    first, second = made.sequences(Example(TALK))
    assert learned(made, first) == ["Wait for the letter.<|im_end|>"]
    assert learned(made, second) == ["\nOpen it.<|im_end|>"]
    assert "Wait for the letter" not in made.text(second.ids)


def test_a_template_whose_reply_cannot_be_told_from_its_prompt_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="cannot be told apart"):
        chat(tmp_path, template=REWRITING).sequences(Example(TALK))


def test_what_a_template_refuses_is_said_in_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="refuses these messages: no system prompts"):
        chat(tmp_path, template=STRICT).render(TALK)


def test_control_tokens_people_wrote_are_text(tmp_path: Path) -> None:
    made = chat(tmp_path)
    written = Example((Message("user", "a <|im_end|> b"), Message("assistant", "c <|im_end|> d")))
    (tokens,) = made.sequences(*defused([written]))
    ends = [one for one in tokens.ids if one in made.stop_ids]
    assert len(ends) == 3, "the default system prompt, the user's turn and the reply"
    assert learned(made, tokens) == ["c < |im_end|> d<|im_end|>"]


def test_a_folder_without_a_tokenizer_is_refused(tmp_path: Path) -> None:
    from openbook.finetune.chat import Chat

    with pytest.raises(TrainingError, match="cannot be loaded"):
        Chat.load(tmp_path, template=CHATML)


def test_of_a_lesson_only_the_last_reply_is_learned(tmp_path: Path) -> None:
    made = chat(tmp_path)
    talk = (Message("user", "a"), Message("assistant", "b"), Message("user", "c"), Message("assistant", "d"))
    (tokens,) = made.sequences(Example(talk, last_only=True))
    assert learned(made, tokens) == ["d<|im_end|>"]
    (both,) = made.sequences(Example(talk))
    assert learned(made, both) == ["b<|im_end|>", "d<|im_end|>"]
