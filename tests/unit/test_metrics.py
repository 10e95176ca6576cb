import sys
from pathlib import Path

import pytest

from openbook.errors import SettingsError
from openbook.metrics import (
    NAMES,
    bootstrap,
    contains,
    exact_match,
    json_valid,
    load,
    normalise,
    rank,
    token_f1,
    wilson,
)
from openbook.records import Case, Chunk, Hit, Message, Span

MESSAGES = (Message("user", "How are you?"),)


def test_normalising_is_squads() -> None:
    assert normalise("  The dog's\tan 'Animal', a-b! ") == "dogs animal ab"


@pytest.mark.parametrize(
    ("reply", "reference", "f1"),
    [
        ("the cat", "cat", 1.0),
        ("cat cat", "cat", 2 / 3),
        ("Paris, France", "paris", 2 / 3),
        ("London", "Paris", 0.0),
        ("", "", 1.0),
        ("The", "a", 1.0),
        ("", "Paris", 0.0),
    ],
)
def test_token_f1_counts_each_word_once(reply: str, reference: str, f1: float) -> None:
    assert token_f1(reply, reference) == pytest.approx(f1)
    assert token_f1(reference, reply) == pytest.approx(f1)


def test_exact_match_forgives_case_articles_and_punctuation_only() -> None:
    assert exact_match("The Eiffel Tower.", "eiffel tower") == 1.0
    assert exact_match("Eiffel Towers", "eiffel tower") == 0.0


@pytest.mark.parametrize("reply", ['{"a": [1, 2]}', " [] \n", '[{"a": null}]'])
def test_an_object_or_array_is_json(reply: str) -> None:
    assert json_valid(reply) == 1.0


@pytest.mark.parametrize("reply", ["", "5", '"text"', "{'a': 1}", '{"a": 1} ok', '```json\n{"a": 1}\n```', "[NaN]"])
def test_anything_else_is_not_json(reply: str) -> None:
    assert json_valid(reply) == 0.0


def test_json_nested_past_the_recursion_limit_is_not_valid_rather_than_a_crash() -> None:
    assert json_valid("[" * 200_000) == 0.0


def test_contains_evens_numbers_and_money() -> None:
    assert contains("It costs $5k in total", ["5,000 dollars"])
    assert not contains("in 115 days", ["15 days"])


def test_wilson_agrees_with_a_published_value() -> None:
    assert wilson(81, 263)[1:] == pytest.approx((0.2553, 0.3662), abs=1e-4)  # Newcombe 1998, table I
    assert wilson(0, 0)[1:] == (0.0, 1.0)


def test_bootstrap_is_repeatable_and_brackets_the_mean() -> None:
    values = [0.1, 0.4, 0.4, 0.9, 1.0]
    mean, low, high = bootstrap(values, 3)
    assert (mean, low, high) == bootstrap(values, 3)
    assert mean == pytest.approx(0.56)
    assert low < mean < high


@pytest.mark.parametrize("name", NAMES)
def test_every_name_loads_and_scores_within_bounds(name: str, tmp_path: Path) -> None:
    assert 0 <= load(name, tmp_path)("{}", "{}", MESSAGES) <= 1


def test_a_function_of_the_workspace_scores_and_sees_the_messages(tmp_path: Path) -> None:
    write(tmp_path, "def length(reply, reference, messages): return len(messages) / 2")
    assert load("scorer:length", tmp_path)("", "", MESSAGES) == 0.5


def test_a_scorer_may_import_files_beside_it_and_leaves_nothing_behind(tmp_path: Path) -> None:
    paths, names = list(sys.path), {name for name in sys.modules if not name.startswith("openbook_metric_")}
    for folder, value in ("one", "0.25"), ("two", "0.75"):
        (tmp_path / folder).mkdir()
        write(tmp_path / folder, f"VALUE = {value}", name="helper_of_scorer")
        write(tmp_path / folder, "import helper_of_scorer\ndef f(r, g, m): return helper_of_scorer.VALUE")
    one, two = load("scorer:f", tmp_path / "one"), load("scorer:f", tmp_path / "two")
    assert (one("", "", ()), two("", "", ())) == (0.25, 0.75)
    assert sys.path == paths
    assert {name for name in sys.modules if not name.startswith("openbook_metric_")} - names == set()


@pytest.mark.parametrize(
    ("name", "code", "said"),
    [
        ("bleu", "", r"'bleu' is unknown; use one of exact_match, token_f1"),
        ("../scorer:f", "", r"'\.\./scorer:f' is unknown"),
        ("nowhere:f", "", r"nowhere\.py' does not exist"),
        ("scorer:missing", "x = 1", r"has no function 'missing'"),
        ("scorer:f", "f = 1", r"has no function 'f'"),
        ("scorer:f", "import no_such_package_here", r"importing .* failed: ModuleNotFoundError"),
        ("scorer:f", "def f(:", r"importing .* failed: SyntaxError"),
    ],
)
def test_a_metric_that_cannot_be_loaded_says_why(tmp_path: Path, name: str, code: str, said: str) -> None:
    write(tmp_path, code)
    with pytest.raises(SettingsError, match=said):
        load(name, tmp_path)


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("return 1 / 0", r"failed on the reply 'hello': ZeroDivisionError"),
        ("return 1.5", r"answered 1\.5; it must answer with a number from 0 to 1"),
        ("return -0.1", r"answered -0\.1"),
        ("return float('nan')", r"answered nan"),
        ("return None", r"answered None"),
        ("return '1'", r"answered '1'"),
    ],
)
def test_a_metric_that_misbehaves_is_named(tmp_path: Path, body: str, said: str) -> None:
    write(tmp_path, f"def f(reply, reference, messages):\n    {body}")
    with pytest.raises(SettingsError, match=said):
        load("scorer:f", tmp_path)("hello", "", MESSAGES)


def write(folder: Path, code: str, *, name: str = "scorer") -> None:
    (folder / f"{name}.py").write_text(code, encoding="utf-8")


def test_the_rank_is_that_of_the_first_hit_that_shares_a_character_with_a_gold_span() -> None:
    def hit(document: str, start: int, end: int) -> Hit:
        return Hit(Chunk(document, start, end, "x" * (end - start)), score=0.0)

    case = Case("?", ("x",), (Span("a", 10, 12), Span("b", 0, 1)))
    assert rank([hit("a", 0, 10), hit("a", 12, 20), hit("c", 10, 12)], case) is None
    assert rank([hit("a", 0, 10), hit("a", 11, 20), hit("b", 0, 5)], case) == 2
    assert rank([hit("a", 0, 10)], Case("?")) is None
