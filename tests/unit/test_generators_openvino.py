"""The local model: it reads what render shows, characters stay whole, errors and cancellation reach the caller."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from openbook.answer.generators.openvino import OpenVINOGenerator
from openbook.errors import ModelError
from openbook.models import fetch
from openbook.records import Generation, Message, Sampling

pytestmark = pytest.mark.model
MODEL = "smollm2-135m-instruct"


@pytest.fixture(scope="module")
def generator() -> Iterator[OpenVINOGenerator]:
    it = OpenVINOGenerator(fetch.ensure(MODEL))
    yield it
    it.close()


def answer(generator: OpenVINOGenerator, question: str, sampling: Sampling) -> tuple[list[str], Generation]:
    *pieces, end = generator.stream([Message("user", question)], sampling)
    assert isinstance(end, Generation)
    return [str(piece) for piece in pieces], end


def test_render_is_the_models_own_template_applied_once(generator: OpenVINOGenerator) -> None:
    turns = [Message("system", "Be brief."), Message("user", "Hi {{ name }}"), Message("assistant", "Hello.")]
    assert generator.render([*turns, Message("user", "<b>Bye</b>")]) == (
        "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nHi {{ name }}<|im_end|>\n"
        "<|im_start|>assistant\nHello.<|im_end|>\n<|im_start|>user\n<b>Bye</b><|im_end|>\n<|im_start|>assistant\n"
    )


def test_the_templates_default_system_prompt_shows_in_render(generator: OpenVINOGenerator) -> None:
    assert generator.render([Message("user", "Hi")]).startswith("<|im_start|>system\nYou are a helpful AI assistant")


def test_the_model_reads_exactly_the_rendered_tokens(generator: OpenVINOGenerator) -> None:
    turns = [Message("user", "Hi")]
    *_, end = generator.stream(turns, Sampling(max_tokens=1))
    assert isinstance(end, Generation)
    assert end.prompt_tokens == generator.count(generator.render(turns))
    # Each marker is one token, not the characters it is written with, and nothing is added in front or behind.
    assert generator.count("<|im_start|>") == generator.count("<|im_end|>") == 1


def test_a_model_without_template_reads_a_transcript(generator: OpenVINOGenerator) -> None:
    plain = OpenVINOGenerator(replace(fetch.ensure(MODEL), chat_template=None))
    assert plain.render([Message("user", "Hi")]) == "User: Hi\n\nAssistant:"
    plain.close()


def test_an_answer_that_ends_by_itself_finishes_with_stop(generator: OpenVINOGenerator) -> None:
    pieces, end = answer(
        generator, "What is the capital of France? Answer with the name alone.", Sampling(max_tokens=60)
    )
    assert end.finish == "stop"
    assert "Paris" in end.text
    assert "<|im_end|>" not in "".join(pieces)


def test_pieces_hold_whole_characters(generator: OpenVINOGenerator) -> None:
    pieces, end = answer(generator, "Repeat: 漢字漢字漢字", Sampling(max_tokens=30))
    assert end.answer_tokens > len(pieces), "these characters take several tokens each"
    assert "漢" in pieces
    assert "\ufffd" not in end.text


def test_a_seed_repeats_a_sampled_answer_and_another_changes_it(generator: OpenVINOGenerator) -> None:
    said = [
        answer(generator, "Tell me a story.", Sampling(max_tokens=20, temperature=1.0, seed=seed))[1].text
        for seed in (7, 7, 8)
    ]
    assert said[0] == said[1] != said[2]


def test_closing_stops_the_model_before_its_answer_is_done(generator: OpenVINOGenerator) -> None:
    stream = generator.stream([Message("user", "Count to one thousand.")], Sampling(max_tokens=4000))
    next(stream)
    stream.close()  # type: ignore[attr-defined]
    start = time.perf_counter()
    answer(generator, "Hi", Sampling(max_tokens=1))
    assert time.perf_counter() - start < 10, "4,000 tokens take at least 40 seconds"


def test_an_iterator_closed_before_its_first_piece_starts_nothing(generator: OpenVINOGenerator) -> None:
    stream = generator.stream([Message("user", "Hi")], Sampling(max_tokens=4000))
    stream.close()  # type: ignore[attr-defined]
    assert not [thread for thread in threading.enumerate() if thread.name == "openbook-generate"]


def test_a_stop_string_inside_a_token_ends_the_answer_there(generator: OpenVINOGenerator) -> None:
    _, end = answer(generator, "What is the capital of France?", Sampling(max_tokens=60, stop=("ari",)))
    assert end.text.endswith("P")
    assert end.finish == "stop"


def test_a_template_that_refuses_the_messages_is_a_model_error(generator: OpenVINOGenerator) -> None:
    files = replace(fetch.ensure(MODEL), chat_template="{{ raise_exception('no system prompts, please') }}")
    picky = OpenVINOGenerator(files)
    with pytest.raises(ModelError, match=r"refuses these messages .*no system prompts"):
        picky.render([Message("user", "Hi")])
    picky.close()


def test_closing_while_another_thread_generates_lets_it_finish() -> None:
    generator = OpenVINOGenerator(fetch.ensure(MODEL))
    stream = generator.stream([Message("user", "Count to ten.")], Sampling(max_tokens=30))
    first = next(stream)
    generator.close()
    *_, end = stream
    assert isinstance(end, Generation)
    assert end.text.startswith(str(first))


@pytest.mark.parametrize("damage", ["cut", "missing", "not xml"])
def test_a_damaged_model_is_named_with_what_to_do(tmp_path: Path, damage: str) -> None:
    files = fetch.ensure(MODEL)
    for file in files.folder.iterdir():
        (tmp_path / file.name).symlink_to(file)
    hurt = tmp_path / files.model.name
    hurt.unlink()
    if damage == "cut":
        hurt.write_bytes(files.model.read_bytes()[:100_000])
    elif damage == "not xml":
        hurt.write_text("hello", encoding="utf-8")
    with pytest.raises(ModelError, match=r"cannot be loaded from .*; fetch it again with: openbook models pull"):
        OpenVINOGenerator(replace(files, folder=tmp_path, model=hurt, cache_dir=tmp_path / "cache"))


def test_a_cache_that_cannot_be_made_does_not_keep_the_model_from_loading(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    OpenVINOGenerator(replace(fetch.ensure(MODEL), cache_dir=tmp_path / "file" / "cache")).close()


CHAT = """
from openbook.answer.generators.openvino import OpenVINOGenerator
from openbook.models import fetch
from openbook.records import Message, Sampling
generator = OpenVINOGenerator(fetch.ensure("smollm2-135m-instruct"))
for piece in generator.stream([Message("user", "Count to one thousand.")], Sampling(max_tokens=4000)):
    print(piece, flush=True)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="signals are sent differently there")
def test_ctrl_c_ends_the_process_at_once_and_in_order() -> None:
    with subprocess.Popen([sys.executable, "-c", CHAT], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        start = time.perf_counter()
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=30)
        assert time.perf_counter() - start < 10
    assert errors.decode().rstrip().endswith("KeyboardInterrupt")
    assert process.returncode in (-signal.SIGINT, 130)
