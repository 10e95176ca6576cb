"""What a comparison wrote down in, its report out: scores, prices and advice joined; asks no model.

The report and its page can be drawn again from rows.jsonl at any time, with other prices, another bar or contract.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any

from openbook.compare.schema import DIAGNOSTICS, FOUR, METRICS
from openbook.errors import CompareError, UsageError
from openbook.files import write_atomic
from openbook.metrics import Metric, load
from openbook.settings import STATE_DIR

if TYPE_CHECKING:
    from openbook.assemble import House
    from openbook.compare.formats import Contract
    from openbook.compare.options import Options
    from openbook.compare.schema import Report, Row
    from openbook.compare.store import Store
    from openbook.compare.style import StyleModel

_ASKING = (
    "cases",
    "conversations",
    "examples",
    "trained_on",
    "kinds",
    "arms",
    "tuned",
    "both",
    "judge",
    "skip",
    "retrain",
)
"""Options that only a run heeds."""


def check(options: Options) -> None:
    """Raise UsageError for options that contradict each other or name what does not exist."""
    unknown = [name for name in options.arms if name not in (*FOUR, *DIAGNOSTICS)]
    if unknown:
        raise UsageError(f"arm {unknown[0]!r} does not exist; use some of {', '.join((*FOUR, *DIAGNOSTICS))}")
    if options.primary and options.primary not in METRICS:
        raise UsageError(f"metric {options.primary!r} does not exist; use one of {', '.join(METRICS)}")
    if options.primary == "judge":
        raise UsageError("a judge agrees too badly with people to decide; choose another --primary")
    if options.labels and not options.judge:
        raise UsageError("--labels check a judge; add --judge")


def again(house: House, options: Options, name: str) -> Report:
    """Draw a report again from its rows, with these options' prices, bar, primary, contract and task; asks nothing.

    What the options leave open is as it was. Raises CompareError when there is no such comparison, or it never came to
    a report, UsageError for options that nobody would be asked by.
    """
    from openbook.compare.store import Store

    check(options)
    idle = [word for word in _ASKING if getattr(options, word)]
    if idle:
        raise UsageError(f"drawing a report again asks nothing, so --{idle[0].replace('_', '-')} does not go with it")
    folder = house.root / STATE_DIR / "reports" / name
    if not name or not (folder / "report.json").is_file():
        raise CompareError(
            f"{str(folder.parent)!r} has no finished comparison {name!r}; if it was stopped, give its command again"
        )
    with contextlib.closing(Store(folder)) as store:
        return write(house, options, folder, store)


def report(root: Path, name: str = "") -> Report:
    """A finished comparison as it stands on disk; "" is the newest. Raises CompareError when there is none."""
    from openbook.compare.schema import read_report

    home = root / STATE_DIR / "reports"
    folders = [home / name] if name else sorted(home.glob("*/"), reverse=True)
    for folder in folders:
        file = folder / "report.json"
        if file.is_file():
            return read_report(file.read_bytes(), origin=str(file))
    what = f"no finished comparison {name!r}" if name else "no finished comparison"
    raise CompareError(f"there is {what} in {str(home)!r}; make one with: openbook compare")


def write(house: House, options: Options, folder: Path, store: Store) -> Report:
    """Score the rows, reckon, advise, and write report.json and report.html into the comparison's folder."""
    from openbook.compare import advise, cases, claims, page, score
    from openbook.compare import report as building
    from openbook.compare.schema import report_json

    manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    options = replace(
        options,
        seed=manifest["seed"],
        task=options.task or manifest["task"],
        contract=options.contract or _file(house.root, manifest["contract"]),
        prices=options.prices or _file(house.root, manifest["prices"]),
    )
    bar = manifest["bar"] if options.bar is None else options.bar
    frozen = cases.read_frozen(folder)
    sections = {
        file.stem: json.loads(file.read_text(encoding="utf-8")) for file in sorted((folder / "sections").glob("*.json"))
    }
    missing = dict(manifest.get("missing", {}))
    style = _style(sections.pop("voices", None), options.seed, sections, missing)
    known = {name: told["identity"] for name, told in manifest["arms"].items()}
    judged = sections.get("judge") or {}
    primary = options.primary or manifest["primary"]
    rows = score.score_all(
        frozen.cases,
        store.rows(known),
        contract=_contract(options),
        task=task(house, options),
        style=style,
        bar=bar if primary == "behaviour" else score.BAR,
        judged={(case, arm): grade for case, arm, grade in judged.pop("scores", ())},
    )
    store.score(rows)
    notes = list(manifest.get("notes", ()))
    if options.primary and options.primary != manifest["primary"]:
        notes.append(f"the primary metric was changed from {manifest['primary']} after the answers were there")
    made = building.build(
        frozen.cases,
        rows,
        manifest=manifest,
        facts=frozen.facts,
        sections=sections,
        missing=missing,
        primary=primary,
        bar=bar,
        notes=notes,
    )
    made = _with_cost(house, options, made, rows, frozen.facts)
    made = replace(made, claims=claims.claims(made), advice=advise.advise(made))
    made = replace(made, verdict=advise.verdict(made))
    write_atomic(folder / "report.html", page.html(made, frozen.cases, rows))
    write_atomic(folder / "report.json", report_json(made))
    return made


def _style(
    voices: Mapping[str, Sequence[str]] | None, seed: int, sections: dict[str, Any], missing: dict[str, str]
) -> StyleModel | None:
    from openbook.compare import style

    if voices is None:
        return None
    try:
        model = style.fit(voices["team"], voices["base"], seed)
    except CompareError as error:
        missing["style"] = str(error)
        return None
    sections["style"] = {"auc": model.auc, "low": model.low, "high": model.high, "n": model.n}
    if model.auc < style.TELLS:
        missing["style"] = (
            f"the classifier tells the team from the base model with AUC {model.auc:.2f}, less than {style.TELLS}; give"
            " more --examples, or there is no voice to tell"
        )
    return model


def _contract(options: Options) -> Contract | None:
    from openbook.compare.formats import Contract

    return Contract.read(options.contract) if options.contract is not None else None


def task(house: House, options: Options) -> Metric:
    """What scores a reply to a conversation. Raises SettingsError."""
    return load(options.task or "token_f1", house.root)


def _with_cost(house: House, options: Options, report: Report, rows: Sequence[Row], facts: Mapping[str, Any]) -> Report:
    """The report with its section "cost" and each arm's price."""
    from openbook.assemble import ENDPOINT
    from openbook.compare import cost, prices, spent

    fresh = report.sections.get("freshness") or {}
    edited = [one for one in fresh.get("edits", ()) if one.get("sync_seconds")]
    updates = {arm: fmean(one["sync_seconds"] for one in edited) for arm in spent.SEARCHING} if edited else {}
    away = house.settings.models.generator == ENDPOINT
    found = spent.measured(
        report.arms,
        rows,
        primary=report.primary,
        bar=report.bar,
        trainings=report.manifest["trainings"],
        library=report.sections.get("library") or {},
        updates=updates,
        cases_written=int(facts.get("given", 0)),
        cases_reviewed=_reviewed(facts.get("accepted") or {}),
        **({"endpoints": [arm.name for arm in report.arms]} if away else {}),
    )
    section = cost.cost(found, prices.load(options.prices))
    arms = tuple(replace(arm, cost=cost.of_arm(section, arm.name)) for arm in report.arms)
    return replace(report, arms=arms, sections={**report.sections, "cost": section})


def _reviewed(accepted: Mapping[str, Any]) -> int:
    return int(accepted.get("accepted", 0)) + len(accepted.get("rejected", ()))


def _file(root: Path, place: str) -> Path | None:
    return root / place if place else None
