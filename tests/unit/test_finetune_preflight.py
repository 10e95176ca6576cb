"""The pre-flight says before any compute what is wrong with the examples, in plain data, a page and a terminal view."""

from __future__ import annotations

import dataclasses
import io
import json
import re
from collections.abc import Sequence
from html.parser import HTMLParser
from pathlib import Path

import pytest

pytest.importorskip("transformers", reason="needs openbook[finetune]")

from openbook.finetune.chat import Chat, Tokens
from openbook.finetune.examples import Loaded, read
from openbook.finetune.preflight import Preflight, check
from openbook.finetune.preflight_page import html, table
from openbook.records import Example, Message
from openbook.settings import Finetune
from tests.tiny_finetune import CHATML, write_tokenizer

REFUSING = "{% if messages[0]['role'] == 'system' %}{{ raise_exception('no system prompts') }}{% endif %}" + CHATML


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tokenizer")
    write_tokenizer(folder)
    return folder


def chat(folder: Path, *, template: str | None = CHATML, context: int = 4096) -> Chat:
    return Chat.load(folder, template=template, stop_ids=[2], context=context)


def example(number: int, reply: str = "Please wait for the letter.", **more: str) -> Example:
    ask = Message("user", f"Question number {number}: how do I get card {number * 7919}?")
    return Example((ask, Message("assistant", f"{reply} ({number})")), place=f"a.jsonl:{number}", **more)  # type: ignore[arg-type]


def loaded(examples: Sequence[Example]) -> Loaded:
    return Loaded(tuple(examples), (), {"a.jsonl": "chat"}, len(examples))


def run(folder: Path, examples: Sequence[Example], validation: Sequence[Example] = (), **settings: object) -> Preflight:
    return check(loaded(examples), validation, chat=chat(folder), settings=Finetune.model_validate(settings))


def test_sound_examples_pass_without_errors(folder: Path) -> None:
    seen: list[tuple[str, int, int]] = []
    flight = check(
        loaded([example(n) for n in range(30)]),
        [example(99, "Other.")],
        chat=chat(folder),
        settings=Finetune(),
        progress=lambda *step: seen.append(step),
    )
    assert flight.errors == ()
    assert len(flight.kept) == 30
    assert len(flight.kept_validation) == 1
    assert flight.by_format == {"chat": 30}
    assert seen[-1] == ("tokens", 31, 31)


def test_lengths_agree_with_counting_by_hand(folder: Path) -> None:
    examples = [example(n, "word " * n) for n in range(1, 21)]
    speaker = chat(folder)
    counts = sorted(len(speaker.sequences(one)[0].ids) for one in examples)
    lengths = run(folder, examples).lengths
    assert (lengths.minimum, lengths.maximum, lengths.total) == (counts[0], counts[-1], sum(counts))
    assert lengths.median == counts[9]
    assert sum(count for _, _, count in lengths.bins) == 20
    for low, high, count in lengths.bins:
        assert count == sum(low <= one < high for one in counts)


def test_too_long_examples_are_left_out_listed_and_never_cut(folder: Path) -> None:
    long = example(5, "word " * 100_000)
    flight = run(folder, [*(example(n) for n in range(20)), long], [example(6, "word " * 2000)], max_tokens=256)
    assert long not in flight.kept
    assert [(one.place, one.validation) for one in flight.left_out] == [("a.jsonl:5", False), ("a.jsonl:6", True)]
    assert flight.left_out[0].tokens > 100_000
    assert "more than 256" in flight.left_out[0].why
    assert any(
        "1 example left out; 1 for being longer than 256 tokens (finetune.max_tokens)" in one for one in flight.warnings
    )
    assert flight.lengths.bins[-1][2] >= 1


def test_the_models_context_limits_too(folder: Path) -> None:
    small = chat(folder, context=64)
    flight = check(loaded([example(n) for n in range(3)]), (), chat=small, settings=Finetune())
    assert flight.limit == 64
    assert flight.kept == ()
    assert flight.errors[0].startswith("None of the 3 examples can be used")


def test_few_and_equal_examples_are_said(folder: Path) -> None:
    assert any("only 3 examples" in warning for warning in run(folder, [example(n) for n in range(3)]).warnings)
    flight = run(folder, [example(1)] * 40)
    assert flight.errors == ("All 40 examples are the same; a model would learn one reply to everything.",)


def test_repeats_and_leaks_are_counted(folder: Path) -> None:
    examples = [*(example(n, conversation=f"c{n}") for n in range(20)), example(3)]
    flight = run(folder, examples, [example(50, conversation="c4")])
    assert flight.duplicates == (("a.jsonl:3", "a.jsonl:3"),)
    assert [leak.kind for leak in flight.leaks] == ["conversation"]
    assert any("1 of 1 validation example share" in warning for warning in flight.warnings)


def test_a_template_that_refuses_an_example_leaves_it_out(folder: Path) -> None:
    odd = Example((Message("system", "x"), *example(1).messages), place="a.jsonl:77")
    flight = check(
        loaded([*(example(n) for n in range(12)), odd]), (), chat=chat(folder, template=REFUSING), settings=Finetune()
    )
    assert [(one.place, one.tokens) for one in flight.left_out] == [("a.jsonl:77", 0)]
    assert "no system prompts" in flight.left_out[0].why


def test_without_a_template_the_transcript_is_used_and_said(folder: Path) -> None:
    flight = check(loaded([example(n) for n in range(12)]), (), chat=chat(folder, template=None), settings=Finetune())
    assert len(flight.kept) == 12
    assert any("no chat template" in warning for warning in flight.warnings)


def test_preference_training_needs_pairs(folder: Path) -> None:
    pairs = [dataclasses.replace(example(n), rejected="No.") for n in range(10)]
    flight = run(folder, [*pairs, example(30)], method="dpo")
    assert flight.kept == tuple(pairs)
    assert "no rejected reply" in flight.left_out[0].why
    assert run(folder, [example(n) for n in range(10)], method="dpo").errors
    assert any("rejected replies are not used" in warning for warning in run(folder, pairs).warnings)


class MaskedOddly(Chat):
    """Learns nothing of the first examples, and of the others all but the end."""

    def sequences(self, example: Example) -> list[Tokens]:
        tokens = super().sequences(example)[0]
        if example.place == "a.jsonl:0":
            return [Tokens(tokens.ids, (False,) * len(tokens.ids))]
        return [Tokens(tokens.ids, (*tokens.learned[:-1], False))]


def test_rows_without_learned_tokens_or_without_an_end_are_found(folder: Path) -> None:
    odd = MaskedOddly.load(folder, template=CHATML, stop_ids=[2], context=4096)
    flight = check(loaded([example(n) for n in range(12)]), (), chat=odd, settings=Finetune())
    assert [(one.place, one.why) for one in flight.left_out] == [("a.jsonl:0", "a reply holds no token to learn")]
    assert len(flight.unended) == 11
    assert flight.errors == (
        "No learned reply ends with a token that ends an answer, so the model would never learn to stop.",
    )


def test_the_preview_marks_replies_with_their_end_and_nothing_else(folder: Path) -> None:
    turns = Example(
        (*example(1).messages, Message("user", "And then?"), Message("assistant", "Then é🙂.")), place="a:1"
    )
    flight = run(folder, [turns, *(example(n) for n in range(2, 14))])
    [pieces] = [shown.pieces for shown in flight.preview if shown.place == "a:1"]
    learned = [text for text, yes in pieces if yes]
    assert learned == ["Please wait for the letter. (1)<|im_end|>", "Then é🙂.<|im_end|>"]
    assert "".join(text for text, _ in pieces).startswith("<|im_start|>system\nBe kind.<|im_end|>")
    assert len(flight.preview) == 3


def test_the_shared_system_prompt_is_known(folder: Path) -> None:
    def with_system(number: int, text: str) -> Example:
        return dataclasses.replace(example(number), messages=(Message("system", text), *example(number).messages))

    assert run(folder, [with_system(n, "Be brief.") for n in range(20)]).system == "Be brief."
    assert run(folder, [example(n) for n in range(20)]).system is None
    mixed = run(folder, [*(with_system(n, "Be brief.") for n in range(10)), *(example(n) for n in range(10, 20))])
    assert mixed.system is None
    assert any("50% of the examples have no system prompt" in warning for warning in mixed.warnings)


def full(folder: Path, tmp_path: Path) -> Preflight:
    """A pre-flight with something to show everywhere, hostile text included."""
    path = tmp_path / "replies.jsonl"
    reply = "The fee is $25, see fees.md or write to lee@openmail.org"
    rows = [
        {
            "messages": [
                {"role": "user", "content": f"<script>alert({n})</script>"},
                {"role": "assistant", "content": text},
            ]
        }
        for n, text in [(1, reply), (1, reply), (2, "[bold]not markup[/bold] "), (3, "word " * 3000)]
    ]
    path.write_text("\n".join([*map(json.dumps, rows), "{<b>broken"]), encoding="utf-8")
    found = read([path])
    flight = check(found, found.examples[:1], chat=chat(folder), settings=Finetune(), documents=["fees.md"])
    return dataclasses.replace(flight, estimate={"seconds": 431.0, "peak_memory_mb": 1830.0, "tokens": 9, "cost": None})


def test_the_result_is_plain_json_with_every_finding(folder: Path, tmp_path: Path) -> None:
    plain = json.loads(json.dumps(full(folder, tmp_path).as_json()))
    assert plain["examples"] == 3
    assert plain["problems"][0]["line"] == 5
    assert plain["left_out"][0]["place"] == "replies.jsonl:4"
    assert plain["duplicates"] == [["replies.jsonl:1", "replies.jsonl:2"]]
    assert {one["fact"] for one in plain["changing"]} >= {"$25", "fees.md"}
    assert plain["estimate"]["seconds"] == 431.0
    assert "kept" not in plain


class Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.addresses: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.addresses += [value or "" for name, value in attrs if name in ("src", "href")]


def test_the_page_stands_alone_and_escapes_what_examples_say(folder: Path, tmp_path: Path) -> None:
    page = html(full(folder, tmp_path))
    tags = Tags()
    tags.feed(page)
    assert "script" not in tags.tags
    assert tags.addresses == []
    assert not re.search(r"@import|url\(", page)
    assert "&lt;script&gt;alert(1)" in page
    assert "<mark>The fee is $25, see fees.md" in page
    assert page.count("<svg") == 1
    assert 'aria-label="Histogram' in page
    for title in ("Problems in the files", "Left out", "Exact duplicates", "Better retrieved than learned"):
        assert title in page


def test_the_terminal_view_shows_what_is_learned_and_leaves_markup_alone(folder: Path, tmp_path: Path) -> None:
    from rich.console import Console

    out = io.StringIO()
    Console(file=out, width=120, color_system=None).print(table(full(folder, tmp_path)))
    shown = out.getvalue()
    assert "⟦The fee is $25, see fees.md or write to lee@openmail.org<|im_end|>⟧" in shown
    assert "[bold]not markup[/bold]" in shown
    assert "replies.jsonl:5" in shown
    assert "about 7 min, 1,830 MB" in shown


def test_an_empty_result_can_still_be_shown(folder: Path) -> None:
    from rich.console import Console

    flight = check(loaded([]), (), chat=chat(folder), settings=Finetune())
    assert flight.errors
    assert "Cannot train like this" in html(flight)
    Console(file=io.StringIO()).print(table(flight))


def test_without_the_privacy_extra_the_pip_line_is_given(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "presidio_analyzer", None)
    monkeypatch.setitem(sys.modules, "presidio_analyzer.predefined_recognizers", None)
    flight = run(folder, [example(n) for n in range(12)])
    assert flight.personal is None
    assert "pip install 'openbook[privacy]'" in flight.personal_note
    assert any("Personal data was not looked for" in warning for warning in flight.warnings)


def test_a_training_is_refused_when_no_lesson_fits_though_examples_do(folder: Path) -> None:
    short, long = [example(n) for n in range(20)], [example(n, "word " * 900) for n in range(30, 33)]
    flight = check(loaded(short), [], chat=chat(folder), settings=Finetune(max_tokens=512), lessons=long)
    assert flight.lines == 23
    assert flight.lessons == 0
    assert flight.errors[0].startswith("None of the 3 lessons made from the library can be used: all are longer")
    fitting = check(loaded(short), [], chat=chat(folder), settings=Finetune(max_tokens=512), lessons=[example(40)])
    assert (fitting.lessons, fitting.errors) == (1, ())
