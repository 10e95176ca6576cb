"""What is to be trained, written down so that it can be taken up again: settings, data, model, where each came from.

A run folder .openbook/runs/ID/ holds one job (run.json) and all that comes of it but the adapter itself.
"""

from __future__ import annotations

import json
import tomllib
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from openbook.errors import SettingsError, TrainingError, UsageError
from openbook.files import sha256_of, write_atomic
from openbook.settings import Finetune, Reading, parse

_JOB, _DONE = "run.json", "result.json"
_FORMAT = 1
LESSONS: Mapping[str, object] = {"epochs": 1, "metric": "reading"}
"""What differs by default when lessons from the library are learned: each question is in them several times."""


@dataclass(frozen=True, slots=True)
class Job:
    """One training."""

    name: str
    """Of the adapter."""
    data: tuple[Path, ...]
    validation: tuple[Path, ...]
    """Empty: a share of the data is held out."""
    test: tuple[Path, ...]
    """Never seen by training nor by the choice of its best weights; may be empty."""
    settings: Finetune
    origin: Mapping[str, str]
    """Of each setting that is not the default: "lessons" (see LESSONS), "openbook.toml", "recipe" or "command line"."""
    mapping: Mapping[str, str] = field(default_factory=dict)
    """Column of the data -> what it is, for odd columns."""
    functions: Path = Path()
    """Where metric functions (module:function) are found."""
    model: str = ""
    parent: str = ""
    reading: Reading | None = None
    """How lessons are made from the library; None for examples alone."""
    questions: tuple[Path, ...] = ()
    """The user's own, for lessons."""
    lessons: tuple[Path, ...] = ()
    """As made (openbook.finetune.reading): to learn from, and held out; the data is the team's voice beside them."""
    library: Mapping[str, object] = field(default_factory=dict)
    """What the lessons were made from: library version, embedder, retrieval settings, counts."""


def job_of(
    name: str,
    data: Sequence[Path],
    *,
    workspace: Finetune,
    root: Path,
    model: str,
    recipe: Path | None = None,
    overrides: Mapping[str, object] | None = None,
    mapping: Mapping[str, str] | None = None,
    validation: Sequence[Path] = (),
    test: Sequence[Path] = (),
    reading: Reading = Reading(),  # noqa: B008  (frozen)
    from_library: bool = False,
    questions: Sequence[Path] = (),
) -> Job:
    """Join the settings of the workspace, a recipe file and the call; the latter win.

    `workspace` and `reading` are the sections [finetune] and [reading] of openbook.toml; `from_library`, here or in the
    recipe, makes lessons. Overrides of [reading] are called "reading.KEY".

    A recipe is TOML with name, data, validation, test, [finetune] and [map], and for lessons from the library
    from_library, questions and [reading]; its paths are relative to it.
    Raises UsageError without a name or data and for what does not go together, SettingsError for a wrong recipe.
    """
    told = _recipe(recipe) if recipe is not None else {}
    here = recipe.resolve().parent if recipe is not None else root
    given = dict(overrides or {})
    lessons = {key.partition(".")[2]: given.pop(key) for key in list(given) if key.startswith("reading.")}
    made = from_library or bool(told.get("from_library"))
    if not made and (lessons or questions or told.get("reading") or told.get("questions")):
        raise UsageError("questions and settings of [reading] go with lessons from the library; add --from-library")
    values = {**_set(reading), **told.get("reading", {}), **lessons}
    layers = {
        "lessons": LESSONS if made else {},
        "openbook.toml": _set(workspace),
        "recipe": told.get("finetune", {}),
        "command line": given,
    }
    merged: dict[str, object] = {}
    origin: dict[str, str] = {}
    for source, section in layers.items():
        merged |= section
        origin |= dict.fromkeys(section, source)
    settings = parse({"finetune": merged}, origin=str(recipe or "finetune")).finetune
    files = {
        key: tuple(Path(one) for one in some) or tuple(here / one for one in told.get(key, ()))
        for key, some in (("data", data), ("validation", validation), ("test", test), ("questions", questions))
    }
    if made and settings.method == "dpo":
        raise UsageError('lessons from the library are no preference pairs; set finetune.method to "lora"')
    if not files["data"] and not made:
        raise UsageError("no examples were given; name one or more files, or a recipe with --recipe FILE")
    wanted = name or str(told.get("name", ""))
    if not wanted:
        raise UsageError("the adapter has no name; give one with --name NAME")
    return Job(
        name=wanted,
        data=files["data"],
        validation=files["validation"],
        test=files["test"],
        settings=settings,
        origin=origin,
        mapping={**told.get("map", {}), **(mapping or {})},
        functions=here,
        model=model,
        reading=parse({"reading": values}, origin=str(recipe or "reading")).reading if made else None,
        questions=files["questions"],
    )


def new_run(runs: Path, job: Job, *, now: datetime | None = None) -> Path:
    """A folder for the job under `runs`, with run.json."""
    stamp = (now or datetime.now(UTC)).strftime("%Y%m%d-%H%M%S")
    folder = runs / f"{stamp}-{job.name}-{uuid.uuid4().hex[:6]}"
    folder.mkdir(parents=True)
    values = asdict(replace(job, settings=Finetune(), reading=None)) | {"settings": job.settings.model_dump()}
    values["reading"] = job.reading.model_dump() if job.reading is not None else None
    hashes = {str(path): sha256_of(path) for path in (*job.data, *job.validation, *job.test, *job.lessons)}
    write_atomic(folder / _JOB, json.dumps({"format": _FORMAT, **values, "hashes": hashes}, default=str, indent=1))
    return folder


def open_run(folder: Path) -> Job:
    """The job of a run folder. Raises TrainingError when it is damaged or its data changed since."""
    try:
        raw = json.loads((folder / _JOB).read_text(encoding="utf-8"))
        paths = {
            key: tuple(Path(one) for one in raw[key]) for key in ("data", "validation", "test", "questions", "lessons")
        }
        job = Job(
            name=raw["name"],
            settings=Finetune.model_validate(raw["settings"]),
            origin=raw["origin"],
            mapping=raw["mapping"],
            functions=Path(raw["functions"]),
            model=raw["model"],
            parent=raw["parent"],
            reading=None if raw["reading"] is None else Reading.model_validate(raw["reading"]),
            library=raw["library"],
            **paths,
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise TrainingError(f"the run {folder.name!r} cannot be taken up ({error}); train anew") from None
    for path, known in raw["hashes"].items():
        if not Path(path).is_file() or sha256_of(Path(path)) != known:
            raise TrainingError(f"{path!r} is not what the run {folder.name!r} began with; put it back, or train anew")
    return job


def unfinished(runs: Path, name: str = "") -> Path:
    """The newest run that did not end, of one adapter name or any. Raises UsageError when there is none."""
    found = [
        folder
        for folder in (sorted(runs.iterdir(), reverse=True) if runs.is_dir() else [])
        if (folder / _JOB).is_file()
        and not (folder / _DONE).exists()
        and (not name or json.loads((folder / _JOB).read_text(encoding="utf-8")).get("name") == name)
    ]
    if not found:
        raise UsageError(
            f"there is no unfinished training{f' of {name!r}' if name else ''}; start one without --resume"
        )
    return found[0]


def finish(folder: Path, result: Mapping[str, Any]) -> None:
    """Note that a run needs no taking up any more."""
    write_atomic(folder / _DONE, json.dumps(result, indent=1))


def _set(section: Finetune | Reading) -> dict[str, object]:
    """What stands in openbook.toml of a section."""
    return {key: value for key, value in section.model_dump().items() if key in section.model_fields_set}


def _recipe(path: Path) -> dict[str, Any]:
    try:
        raw = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise SettingsError(f"recipe {str(path)!r} cannot be read: {error}") from None
    known = {
        **{"name": str, "data": list, "validation": list, "test": list, "finetune": dict, "map": dict},
        **{"from_library": bool, "questions": list, "reading": dict},
    }
    for key, value in raw.items():
        if key not in known or not isinstance(value, known[key]):
            raise SettingsError(
                f"recipe {str(path)!r}: {key} = {value!r} is not understood; known are {', '.join(known)}"
            )
    return raw
