"""Arms timed as a comparison times them: real processes, the real default model, a library that is open or not."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from openbook import timing
from openbook.compare import latency
from openbook.compare.cost import Measured, Spent, cost
from openbook.compare.latency import Order
from openbook.compare.prices import Prices
from openbook.finetune.registry import Registry
from openbook.records import Case, Message
from openbook.workspace import Workspace
from tests.tiny_gguf import write_adapter
from tests.tiny_hf import write_hf

pytestmark = [
    pytest.mark.timeout(300),
    pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning"),
]
PAGES = {
    "leave.md": "# Leave\n\nEvery employee gets twenty-six days of paid leave a year. Leave ends in March.",
    "travel.md": "# Travel\n\nThe office manager books all train tickets. Hotels cost at most 140 euros a night.",
    "tools.md": "# Tools\n\nLaptops are replaced after four years. The workshop lends drills to everyone on Fridays.",
}
CASES = [
    Case("How many days of paid leave does every employee get?"),
    Case("Who books train tickets?"),
    Case("After how many years are laptops replaced?"),
]


def write(folder: Path) -> Path:
    folder.mkdir(parents=True)
    for name, text in PAGES.items():
        (folder / name).write_text(text)
    return folder


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("desk")
    with Workspace.init(folder) as workspace:
        workspace.sync([write(folder / "pages")])
    return folder


@pytest.fixture
def workspace(desk: Path) -> Iterator[Workspace]:
    with Workspace.open(desk) as workspace:
        yield workspace


@pytest.mark.model
def test_arms_are_timed_while_the_library_is_open_here(workspace: Workspace) -> None:
    assert workspace.house.library.documents()  # this process owns it from here on
    shots = [Message("user", "Where is the kitchen? " * 20), Message("assistant", "On the second floor.")]
    section = timing.measure(workspace.house, CASES, {"base": None, "rag": None}, questions=2, shots={"base": shots})
    assert section["failed"] == {}
    base, rag = section["arms"]["base"], section["arms"]["rag"]
    assert base["n"] == rag["n"] == 2
    assert base["retrieve"]["p50"] == 0 < rag["retrieve"]["p50"] < rag["total"]["p50"]
    assert base["prompt_tokens"] > 100  # the examples are in it
    assert rag["written"] == 2
    assert rag["prompt_tokens"] > 100
    assert 100 < base["peak_mb"] < 4000
    assert rag["load_seconds"] > 0
    assert workspace.house.library.documents()


@pytest.mark.model
@pytest.mark.slow
def test_a_library_that_another_process_owns_is_a_sentence(workspace: Workspace) -> None:
    assert workspace.house.library.documents()
    order = Order(str(workspace.root), "rag", questions=tuple((case.question, ()) for case in CASES))
    section = latency.measure([order, replace(order, arm="base")])
    assert "process" in section["failed"]["rag"]
    assert list(section["arms"]) == ["base"]


@pytest.mark.model
def test_the_librarys_seconds_are_estimated_from_a_sample_and_have_a_price(workspace: Workspace) -> None:
    found = timing.library_seconds(workspace.house, sample=2)
    whole = timing.library_seconds(workspace.house)
    assert (found["sampled"], whole["sampled"]) == (2, 3)
    assert found["documents"] == whole["documents"] == found["chunks"] == 3
    assert found["embed"] > 0
    spent = Spent("rag", 1.0, searches=True, parse_seconds=whole["parse"], embed_seconds=whole["embed"])
    assert 0 < cost(Measured((spent,)), Prices())["arms"]["rag"]["one_time"]["total"] < 0.1


@pytest.mark.model
def test_files_that_are_gone_leave_parsing_unmeasured(tmp_path: Path) -> None:
    with Workspace.init(tmp_path / "desk") as workspace:
        workspace.sync([write(tmp_path / "pages")])
        (tmp_path / "pages").rename(tmp_path / "elsewhere")
        found = timing.library_seconds(workspace.house, sample=3)
    assert "parse" not in found
    assert found["embed"] > 0


@pytest.fixture(scope="module")
def tuned(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace with a tiny model and an adapter of it."""
    folder = tmp_path_factory.mktemp("tuned")
    model = write_hf(folder / "model", max_position_embeddings=1024)
    with Workspace.init(folder / "desk", model=str(model)) as workspace:
        files = workspace.house.base_files()
        with Registry(folder / "desk" / ".openbook" / "adapters").reserve("voice") as draft:
            write_adapter(draft.folder, model)
            draft.publish({"base": {"name": files.name, "sha256": files.sha256}})
    return folder / "desk"


@pytest.mark.slow
def test_an_adapter_is_timed_merged_and_unmerged(tuned: Path) -> None:
    with Workspace.open(tuned) as workspace:
        section = timing.measure(workspace.house, [], {}, adapters=["voice@1"])
    found = section["adapters"]["voice@1"]
    assert section["adapters_missing"] == {}
    assert found["ratio"]["decode"] > 1  # layers beside the weights are never free
    assert (found["prompt_tokens"], found["answer_tokens"]) == (256, 32)
    assert "peft" in found["runtime"]


def test_an_adapter_of_another_model_or_none_is_a_sentence(tuned: Path) -> None:
    with Workspace.open(tuned) as workspace:
        section = timing.measure(workspace.house, [], {}, adapters=["voice@7"])
    assert "voice" in section["adapters_missing"]["voice@7"]


def test_without_torch_the_layers_are_not_measured_and_the_reason_names_the_extra(tuned: Path) -> None:
    script = "import sys; sys.modules['torch'] = None\nfrom openbook.timing import main; main()"
    order = Order(str(tuned), "tuned", adapter="voice@1", unmerged=True)
    section = latency.measure([order], command=[sys.executable, "-c", script])
    assert "pip install 'openbook[finetune]'" in section["adapters_missing"]["voice@1"]


def test_an_arm_without_an_adapter_is_a_sentence(desk: Path) -> None:
    with Workspace.open(desk) as workspace:
        section = timing.measure(workspace.house, CASES, {"tuned": None}, questions=2)
    assert "openbook finetune" in section["failed"]["tuned"]
