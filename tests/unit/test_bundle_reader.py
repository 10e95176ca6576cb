"""Bundled readers: found, verified, merged once and kept; who is asked with one, and who is not."""

from __future__ import annotations

import hashlib
import json
import runpy
import shutil
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from openbook import readers
from openbook.assemble import House, reader_of, with_reader
from openbook.doctor import examine
from openbook.errors import AdapterError, ModelError
from openbook.finetune import tensorfile
from openbook.finetune.merge import merge_gguf, read_lora
from openbook.models import catalogue, derive, fetch
from openbook.models.catalogue import File, FileSource, Model
from openbook.prompt import fingerprint
from openbook.records import Message, Sampling
from openbook.retrieve.embed import FakeEmbedder
from openbook.settings import AnswerSettings, Models, Settings

pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")
ROOT = Path(__file__).parents[2]
BUNDLE: Any = runpy.run_path(str(ROOT / "scripts/bundle_reader.py"))
TINY = Settings(models=Models(generator="tiny"), answer=AnswerSettings(max_tokens=8, abstain_below=0))
TRAINING = {
    "created": "2026-11-22T14:38:07+00:00",
    "data": {"examples": 120},
    "settings": {"rank": 4, "epochs": 3.0, "learning_rate": 2e-4, "batch": 8},
    "seed": 7,
    "training_seconds": 240.0,
    "machine": {"cores": 2},
    "gate": {"passed": True, "difference": 0.004, "bound": 0.02},
    "run": "20261122-tiny",
    "files": {"served/model.gguf": {"bytes": 1, "sha256": "0"}},
}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with model.gguf and adapter/, a random LoRA for it as the registry keeps them."""
    pytest.importorskip("torch", reason="needs the extra finetune")
    pytest.importorskip("peft", reason="needs the extra finetune")
    from tests.tiny_finetune import write_model
    from tests.tiny_gguf import write_adapter, write_gguf_of

    folder = tmp_path_factory.mktemp("tiny")
    hub = write_model(folder / "hub")
    gguf = write_gguf_of(hub, folder / "model.gguf", kind="Q4_1")
    write_adapter(folder / "adapter", hub)
    base = {"name": "tiny", "sha256": hashlib.sha256(gguf.read_bytes()).hexdigest(), "license": "MIT"}
    (folder / "adapter/manifest.json").write_text(json.dumps({"base": base, **TRAINING}))
    return folder


@pytest.fixture
def tiny(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Model:
    """The tiny model in the catalogue; an empty cache."""
    monkeypatch.setenv("OPENBOOK_CACHE", str(tmp_path / "cache"))
    model = entry(made)
    monkeypatch.setitem(catalogue.CATALOGUE, "tiny", model)
    return model


@pytest.fixture
def shelf(tiny: Model, made: Path, tmp_path: Path) -> Path:
    """A folder of readers that holds one for the tiny model."""
    bundle(made / "adapter", tmp_path / "readers")
    return tmp_path / "readers"


@pytest.fixture
def house(shelf: Path, tmp_path: Path) -> Iterator[House]:
    opened = House(tmp_path / "desk", TINY, readers=shelf)
    opened.embedder = FakeEmbedder()
    yield opened
    opened.close()


def entry(made: Path) -> Model:
    data = (made / "model.gguf").read_bytes()
    source = FileSource(str(made / "model.gguf"))
    file = File("model.gguf", len(data), hashlib.sha256(data).hexdigest(), (source,))
    return Model("tiny", "generator", "tests", "MIT", 1000, 1024, (file,))


def bundle(adapter: Path, home: Path) -> readers.Reader:
    found: readers.Reader = BUNDLE["bundle"](adapter, data_licence="Made up, CC0.", scores={}, home=home)
    return found


def written(house: House, *, reads: bool) -> str:
    *_, done = house.generator(reads=reads).stream([Message("user", "Hello")], Sampling(max_tokens=24))
    return done.text


def test_a_bundle_holds_the_lora_in_half_the_bytes_and_no_place_of_this_machine(shelf: Path, made: Path) -> None:
    folder = shelf / "tiny"
    before, after = read_lora(made / "adapter"), read_lora(folder)
    assert before.keys() == after.keys()
    for module, (left, right, scale) in before.items():
        assert after[module][2] == scale
        np.testing.assert_allclose(after[module][0], left, rtol=2**-8)
        np.testing.assert_allclose(after[module][1], right, rtol=2**-8)
    stored = tensorfile.tensors_of(folder / readers.WEIGHTS)
    assert {one.dtype for one in stored.values()} == {"BF16"}
    assert sorted(path.name for path in folder.iterdir()) == sorted((*readers.FILES, "manifest.json", "README.md"))
    assert str(made) not in "".join(path.read_text() for path in folder.glob("*.json"))


def test_a_bundle_tells_how_it_was_trained(shelf: Path) -> None:
    reader = readers.find("tiny", home=shelf)
    assert reader is not None
    assert reader.manifest["gate"] == TRAINING["gate"]
    assert reader.manifest["seed"] == 7
    assert reader.manifest["data_licence"] == "Made up, CC0."
    assert reader.prompt == fingerprint()
    assert 0 < reader.manifest["rounding"] < 0.01
    assert "run" not in reader.manifest
    card = (shelf / "tiny/README.md").read_text()
    assert "4 minutes" in card
    assert "Made up, CC0." in card


def test_scores_stand_in_the_card_with_their_intervals(made: Path) -> None:
    manifest = {
        **json.loads((made / "adapter/manifest.json").read_text()),
        **{"licence": "Apache-2.0", "data_licence": "CC0", "rounding": 0.001},
        "files": {readers.WEIGHTS: {"bytes": 9_824_056}},
        "scores": {"both right": {"untouched": 0.0, "reader": 0.52, "interval": [0.44, 0.6], "n": 120}},
    }
    assert "| both right | 0.0 | 0.52 | 0.44 to 0.60 | 120 |" in BUNDLE["card"](manifest)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"base": {"name": "tiny", "sha256": "0" * 64}}, "not on the catalogue's"),
        ({"gate": {"passed": False}}, "did not pass the gate"),
        ({"library": {"serving": {"prompt": "0"}}}, "another prompt"),
        ({"settings_origin": {"data": "/home/me/desk"}}, "names a place of this machine: '/home/me/desk'"),
    ],
)
def test_what_must_not_ship_is_refused(
    tiny: Model, made: Path, tmp_path: Path, change: dict[str, Any], says: str
) -> None:
    adapter = tmp_path / "adapter"
    shutil.copytree(made / "adapter", adapter)
    manifest = json.loads((adapter / "manifest.json").read_text())
    (adapter / "manifest.json").write_text(json.dumps({**manifest, **change}))
    with pytest.raises(AdapterError, match=says):
        bundle(adapter, tmp_path / "readers")
    assert not (tmp_path / "readers/tiny").exists()


def test_every_bundled_reader_was_trained_under_the_prompt_that_asks_it() -> None:
    for reader in readers.bundled():
        reader.verify()
        assert reader.prompt == fingerprint(), (
            f"openbook/prompt.py renders otherwise than when the reader of {reader.name} was trained: "
            "train it again (scripts/bundle_reader.py)"
        )
        assert reader.manifest["gate"]["passed"] is True
        assert (reader.folder / readers.WEIGHTS).stat().st_size <= BUNDLE["LARGEST"]
        assert catalogue.get(reader.name).sha256 == reader.base_sha256


def test_passages_are_read_with_the_reader_and_all_else_is_asked_of_the_untouched_model(house: House) -> None:
    assert written(house, reads=True) != written(house, reads=False)
    assert house.generator(reads=True) is house.generator(reads=True)
    assert house.generator(reads=True) is not house.generator()


def test_the_reader_is_the_merged_model_and_the_untouched_one_is_not_converted(
    shelf: Path, made: Path, tmp_path: Path
) -> None:
    steps: list[tuple[str, int, int]] = []
    reader = readers.find("tiny", home=shelf)
    assert reader is not None
    files = with_reader(reader, progress=lambda *step: steps.append(step))
    assert [step for step in steps if "prepare" in step[0]] == [("tiny: prepare reader", n, 2) for n in range(3)]
    assert not (home_of("tiny") / "manifest.json").exists()
    assert fetch.installed("tiny")
    assert files.original is None
    assert (files.name, files.context, files.licence) == ("tiny", 1024, "MIT")
    merge_gguf(made / "model.gguf", reader.folder, tmp_path / "merged.gguf")
    again = fetch.convert_into(tmp_path / "merged.gguf", tmp_path / "again", name="tiny")
    assert again.sha256 == files.sha256
    assert again.model.with_suffix(".bin").read_bytes() == files.model.with_suffix(".bin").read_bytes()


def test_what_was_downloaded_for_the_reader_is_converted_without_a_network_when_asked_for(
    shelf: Path, made: Path
) -> None:
    reader = readers.find("tiny", home=shelf)
    assert reader is not None
    with_reader(reader)
    files = fetch.ensure("tiny", offline=True)
    assert files.original is not None
    assert files.original.read_bytes() == (made / "model.gguf").read_bytes()
    assert with_reader(reader, offline=True).folder != files.folder


def test_offline_without_the_model_the_message_says_what_to_run(shelf: Path) -> None:
    reader = readers.find("tiny", home=shelf)
    assert reader is not None
    with pytest.raises(ModelError, match=r"offline.*openbook models pull tiny"):
        with_reader(reader, offline=True)
    assert not derive.here("tiny", reader.identity)


def test_answers_name_the_reader_where_it_wrote(house: House) -> None:
    answer = house.assistant("rag").ask("Hello", contexts=["Cats sleep 15 hours."])
    assert (answer.model, answer.adapter, answer.arm) == ("tiny", "reader (bundled)", "rag")
    assert "Cats sleep" in answer.prompt
    answer = house.assistant("base").ask("Hello")
    assert (answer.model, answer.adapter) == ("tiny", None)
    answer = house.assistant("extractive").ask("Hello", contexts=["Cats sleep 15 hours."])
    assert (answer.model, answer.adapter) == ("extractive", None)
    answer = house.assistant("rag").ask("Hello", contexts=[])
    assert (answer.abstained, answer.model, answer.adapter) == (True, "", None)


def test_a_reader_can_be_switched_off(shelf: Path, tmp_path: Path) -> None:
    off = Settings(models=Models(generator="tiny", reader="none"), answer=TINY.answer)
    assert reader_of(TINY, home=shelf) is not None
    assert reader_of(off, home=shelf) is None
    assert reader_of(Settings(models=Models(generator="extractive")), home=shelf) is None


def test_a_reader_of_other_weights_is_left_alone(shelf: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    manifest = json.loads((shelf / "tiny/manifest.json").read_text())
    manifest["base"]["sha256"] = "0" * 64
    (shelf / "tiny/manifest.json").write_text(json.dumps(manifest))
    assert reader_of(TINY, home=shelf) is None
    house = House(tmp_path / "desk", TINY, readers=shelf)
    assert house.generator(reads=True) is house.generator()
    house.close()


@pytest.mark.parametrize("name", readers.FILES)
def test_a_damaged_reader_is_told_before_anything_is_made_of_it(shelf: Path, name: str) -> None:
    with (shelf / "tiny" / name).open("ab") as stream:
        stream.write(b" ")
    reader = readers.find("tiny", home=shelf)
    assert reader is not None
    with pytest.raises(ModelError, match=r"reader of 'tiny' is damaged .* install openbook again"):
        with_reader(reader)
    assert not derive.here("tiny", reader.identity)


def test_a_manifest_cut_short_is_told(tmp_path: Path) -> None:
    (tmp_path / "tiny").mkdir()
    (tmp_path / "tiny/manifest.json").write_text('{"format": 1')
    with pytest.raises(ModelError, match="install openbook again"):
        readers.find("tiny", home=tmp_path)
    assert readers.find("another", home=tmp_path) is None


def test_a_prepared_model_that_lost_a_file_is_prepared_again(shelf: Path) -> None:
    reader = readers.find("tiny", home=shelf)
    assert reader is not None
    files = with_reader(reader)
    files.model.with_suffix(".bin").write_bytes(b"")
    assert not derive.here("tiny", reader.identity)
    assert with_reader(reader) == files
    assert files.model.with_suffix(".bin").stat().st_size > 0


def test_another_reader_gives_another_folder(shelf: Path) -> None:
    reader = readers.find("tiny", home=shelf)
    assert reader is not None
    first = with_reader(reader)
    config = shelf / "tiny/adapter_config.json"
    config.write_text(config.read_text().replace('"lora_alpha": 8', '"lora_alpha": 16'))
    manifest = json.loads((shelf / "tiny/manifest.json").read_text())
    manifest["files"]["adapter_config.json"]["sha256"] = hashlib.sha256(config.read_bytes()).hexdigest()
    (shelf / "tiny/manifest.json").write_text(json.dumps(manifest))
    other = readers.find("tiny", home=shelf)
    assert other is not None
    assert other.identity != reader.identity
    assert with_reader(other).folder != first.folder
    assert with_reader(reader) == first


def test_two_processes_at_once_prepare_it_once(shelf: Path, made: Path) -> None:
    children = [preparing(shelf, made) for _ in range(2)]
    told = [child.communicate(timeout=120) for child in children]
    assert [child.returncode for child in children] == [0, 0], told
    assert told[0][0].splitlines()[-1] == told[1][0].splitlines()[-1]
    assert sum("prepare reader 1" in out for out, _ in told) == 1
    assert all(out.splitlines()[-2] == "[]" for out, _ in told), "it needs the training packages"


def test_a_kill_in_the_middle_leaves_nothing_half_made(shelf: Path, made: Path) -> None:
    reader = readers.find("tiny", home=shelf)
    assert reader is not None
    child = preparing(shelf, made)
    assert child.stdout is not None
    while "prepare reader 1" not in child.stdout.readline():
        pass
    child.send_signal(signal.SIGKILL)
    child.communicate()
    assert not derive.here("tiny", reader.identity)
    assert with_reader(reader).model.exists()
    left = {path.name for path in (home_of("tiny").parent / "derived").iterdir()}
    assert left == {f"tiny-{reader.identity}", f".tiny-{reader.identity}.lock"}


def test_a_cache_that_cannot_be_written_says_so(shelf: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reader = readers.find("tiny", home=shelf)
    assert reader is not None
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("OPENBOOK_CACHE", str(tmp_path / "file/cache"))
    with pytest.raises(ModelError, match=r"cannot be written .*OPENBOOK_CACHE"):
        with_reader(reader)


def test_the_doctor_tells_of_a_reader_only_where_one_is_bundled(tiny: Model) -> None:
    topics = [one.topic for one in examine(None, TINY)]
    assert "generator" in topics
    assert "reader" not in topics


def home_of(name: str) -> Path:
    from openbook.files import cache_dir

    return cache_dir() / "models" / name


def preparing(shelf: Path, made: Path) -> subprocess.Popen[str]:
    """A process that prepares the tiny model's reader and says how far it is."""
    code = f"""
        from pathlib import Path
        from openbook import readers
        from openbook.assemble import with_reader
        from openbook.models import catalogue
        from tests.unit.test_bundle_reader import entry
        catalogue.CATALOGUE["tiny"] = entry(Path({str(made)!r}))
        reader = readers.find("tiny", home=Path({str(shelf)!r}))
        say = lambda step, done, total: print(step, done, flush=True)
        found = with_reader(reader, progress=say).sha256
        import sys
        print(sorted({{"torch", "transformers", "peft"}} & sys.modules.keys()))
        print(found)
    """
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
