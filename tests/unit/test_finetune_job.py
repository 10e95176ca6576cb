"""What is to be trained: settings from three places, recipes, and runs that can be taken up again."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from openbook.errors import SettingsError, TrainingError, UsageError
from openbook.finetune.job import Job, finish, job_of, new_run, open_run, unfinished
from openbook.settings import Finetune, Reading

RECIPE = """
name = "tone"
data = ["train.jsonl"]
test = ["test.jsonl"]

[finetune]
epochs = 5
rank = 8

[map]
question = "user"
"""


@pytest.fixture
def data(tmp_path: Path) -> Path:
    file = tmp_path / "replies.jsonl"
    file.write_text('{"prompt": "a", "completion": "b"}\n')
    return file


def job(data: Path, **values: object) -> Job:
    return job_of("tone", [data], workspace=Finetune(), root=data.parent, model="m", overrides=values)


def test_the_call_wins_over_the_recipe_and_the_recipe_over_the_workspace(tmp_path: Path) -> None:
    recipe = tmp_path / "recipe.toml"
    recipe.write_text(RECIPE)
    made = job_of(
        "",
        [],
        workspace=Finetune(rank=4, epochs=1, seed=7),
        root=tmp_path / "elsewhere",
        model="m",
        recipe=recipe,
        overrides={"rank": 2},
    )
    assert (made.name, made.settings.rank, made.settings.epochs, made.settings.seed) == ("tone", 2, 5, 7)
    assert made.origin == {"rank": "command line", "epochs": "recipe", "seed": "openbook.toml"}
    assert made.data == (tmp_path / "train.jsonl",)
    assert made.test == (tmp_path / "test.jsonl",)
    assert made.functions == tmp_path
    assert made.mapping == {"question": "user"}


def test_files_of_the_call_replace_those_of_the_recipe(tmp_path: Path, data: Path) -> None:
    recipe = tmp_path / "recipe.toml"
    recipe.write_text(RECIPE)
    made = job_of("", [data], workspace=Finetune(), root=tmp_path, model="m", recipe=recipe)
    assert made.data == (data,)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("name = [", "cannot be read"),
        ('name = 3\ndata = ["x"]', "name = 3 is not understood"),
        ('names = "x"', "names = 'x' is not understood"),
        ('name = "x"\ndata = ["x"]\n[finetune]\nepoch = 3', "unknown setting"),
    ],
)
def test_a_wrong_recipe_is_refused_in_one_sentence(tmp_path: Path, text: str, says: str) -> None:
    recipe = tmp_path / "recipe.toml"
    recipe.write_text(text)
    with pytest.raises(SettingsError, match=says):
        job_of("", [], workspace=Finetune(), root=tmp_path, model="m", recipe=recipe)


def test_a_recipe_for_the_library_keeps_what_the_workspace_says_of_reading(tmp_path: Path) -> None:
    recipe = tmp_path / "recipe.toml"
    recipe.write_text('name = "support"\nfrom_library = true\n[reading]\nrefusal = 0.4\n')
    workspace = Reading(groups=("hr",), refusal=0.1, variants=2)
    made = job_of("", [], workspace=Finetune(), root=tmp_path, model="m", recipe=recipe, reading=workspace)
    assert made.reading == Reading(groups=("hr",), refusal=0.4, variants=2)
    assert made.origin["metric"] == "lessons"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('data = ["replies.jsonl"]\n[reading]\nrefusal = 0.4', "--from-library"),
        ('data = ["replies.jsonl"]\nquestions = ["q.jsonl"]', "--from-library"),
        ('from_library = true\n[finetune]\nmethod = "dpo"', "no preference pairs"),
    ],
)
def test_a_recipe_that_would_be_followed_in_part_is_refused(tmp_path: Path, data: Path, text: str, says: str) -> None:
    recipe = tmp_path / "recipe.toml"
    recipe.write_text(f'name = "x"\n{text}\n')
    with pytest.raises(UsageError, match=says):
        job_of("", [], workspace=Finetune(), root=tmp_path, model="m", recipe=recipe)


def test_a_name_and_examples_are_needed(tmp_path: Path, data: Path) -> None:
    with pytest.raises(UsageError, match="no examples"):
        job_of("tone", [], workspace=Finetune(), root=tmp_path, model="m")
    with pytest.raises(UsageError, match="--name"):
        job_of("", [data], workspace=Finetune(), root=tmp_path, model="m")


def test_a_run_is_taken_up_as_it_was_begun(tmp_path: Path, data: Path) -> None:
    made = job(data, epochs=2.5, metric="rouge_l")
    folder = new_run(tmp_path / "runs", made, now=datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC))
    assert folder.name.startswith("20260102-030405-tone-")
    assert open_run(folder) == made


def test_a_run_whose_examples_changed_is_not_taken_up(tmp_path: Path, data: Path) -> None:
    folder = new_run(tmp_path / "runs", job(data))
    data.write_text("other")
    with pytest.raises(TrainingError, match="is not what the run"):
        open_run(folder)
    data.unlink()
    with pytest.raises(TrainingError, match="is not what the run"):
        open_run(folder)


def test_a_damaged_run_is_refused_in_one_sentence(tmp_path: Path, data: Path) -> None:
    folder = new_run(tmp_path / "runs", job(data))
    raw = json.loads((folder / "run.json").read_text())
    (folder / "run.json").write_text(json.dumps({**raw, "settings": {"rank": -1}}))
    with pytest.raises(TrainingError, match="cannot be taken up"):
        open_run(folder)


def test_the_newest_unfinished_run_of_a_name_is_found(tmp_path: Path, data: Path) -> None:
    runs = tmp_path / "runs"
    with pytest.raises(UsageError, match="no unfinished training"):
        unfinished(runs)
    days = [new_run(runs, job(data), now=datetime(2026, 1, day, tzinfo=UTC)) for day in (1, 2, 3)]
    assert unfinished(runs) == days[2]
    finish(days[2], {"adapter": "tone@1"})
    assert unfinished(runs, "tone") == days[1]
    with pytest.raises(UsageError, match="of 'other'"):
        unfinished(runs, "other")
