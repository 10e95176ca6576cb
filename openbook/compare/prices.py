"""A price sheet in, checked numbers out, each with where it comes from. Knows no measurement.

A user's own sheet is flat TOML; what it leaves out keeps the default, and `rows` says which is which:

    currency = "EUR"            machine_hour = 0.11
    source = "our invoice"      labour_hour = 62
    date = "2026-10-01"         questions_month = 20000
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from openbook.errors import UsageError

_CURRENCY = "USD"
_EXAMPLE = "example value, set your own"
_EC2 = (
    "Amazon EC2 m7g.large on demand, 2 vCPU, Linux, us-east-1: "
    "https://www.factualminds.com/blog/amazon-ec2-on-demand-pricing-instance-families-2026/"
)
_ENDPOINT = "gpt-4o-mini, standard tier: https://pecollective.com/tools/gpt-4o-mini-pricing"
_LABOUR = (
    "employer costs per hour worked, US private industry, USDL-25-1358: https://www.bls.gov/news.release/ecec.nr0.htm"
)

UNITS: Mapping[str, tuple[str, str, str]] = {
    "machine_hour": ("an hour of the machine that was measured", _EC2, "2026-06-17"),
    "training_hour": ("an hour of the machine that trains", _EC2, "2026-06-17"),
    "prompt_million": ("a million prompt tokens at the endpoint", _ENDPOINT, "2026-04"),
    "answer_million": ("a million answer tokens at the endpoint", _ENDPOINT, "2026-04"),
    "labour_hour": ("an hour of a person's work", _LABOUR, "2025-06"),
    "example_minutes": ("minutes to write or correct one training example", _EXAMPLE, ""),
    "review_minutes": ("minutes to accept or reject one made example", _EXAMPLE, ""),
    "case_minutes": ("minutes to write one case with its gold answer", _EXAMPLE, ""),
    "update_examples": ("training examples written for one update, where weights must learn it", _EXAMPLE, ""),
    "trainings": ("trainings until one is kept: settings tried, times seeds", _EXAMPLE, ""),
    "retrain_share": ("share of updates after which an arm that also searches is trained again", _EXAMPLE, ""),
    "redo_minutes": ("minutes a person needs for a question that was not answered acceptably", _EXAMPLE, ""),
    "wrong_answer": ("damage of one wrong answer, beside doing it again", _EXAMPLE, ""),
    "refusal": ("damage of one refusal or failure, beside doing it again", _EXAMPLE, ""),
    "hosting_month": ("a month of keeping a local model ready, beside the seconds it answers", _EXAMPLE, ""),
    "index_month": ("a month of keeping a library ready for searching", _EXAMPLE, ""),
    "questions_month": ("questions a month", _EXAMPLE, ""),
    "updates_month": ("updates a month", _EXAMPLE, ""),
    "months": ("months that totals cover", _EXAMPLE, ""),
}
"""Every number of the sheet: what one of it is, and source and date of its default."""


@dataclass(frozen=True, slots=True)
class Prices:
    """A price sheet; what each number is stands in UNITS. All are >= 0."""

    currency: str = _CURRENCY
    machine_hour: float = 0.0816
    training_hour: float | None = None
    """None is machine_hour."""
    prompt_million: float = 0.15
    answer_million: float = 0.60
    labour_hour: float = 45.65
    example_minutes: float = 5.0
    review_minutes: float = 0.5
    case_minutes: float = 4.0
    update_examples: float = 10.0
    trainings: float = 1.0
    retrain_share: float = 0.0
    redo_minutes: float = 3.0
    wrong_answer: float = 0.0
    refusal: float = 0.0
    hosting_month: float = 0.0
    index_month: float = 0.0
    questions_month: float = 1000.0
    updates_month: float = 1.0
    months: float = 12.0
    source: str = ""
    """Of the numbers that are `own`."""
    date: str = ""
    """When those were right."""
    own: frozenset[str] = field(default=frozenset())
    """Names of the numbers a user's sheet gave."""

    def value(self, name: str) -> float:
        """The number of UNITS by its name.

        >>> Prices().value("training_hour")
        0.0816
        """
        found = getattr(self, name)
        return self.machine_hour if found is None else float(found)

    def scaled(self, name: str, factor: float) -> Prices:
        """The sheet with one number multiplied; retrain_share stays a share."""
        value = self.value(name) * factor
        changed: dict[str, Any] = {name: min(1.0, value) if name == "retrain_share" else value}
        return replace(self, **changed)

    def rows(self) -> list[dict[str, Any]]:
        """The sheet for a page: name, value, unit, source, date."""
        return [
            {
                "name": name,
                "value": self.value(name),
                "unit": unit,
                "source": self.source if self._is_own(name) else source,
                "date": self.date if self._is_own(name) else date,
            }
            for name, (unit, source, date) in UNITS.items()
        ]

    def _is_own(self, name: str) -> bool:
        return name in self.own or (
            name == "training_hour" and self.training_hour is None and "machine_hour" in self.own
        )


def load(path: Path | None) -> Prices:
    """The sheet of a TOML file, or the defaults.

    Raises UsageError when it cannot be read, has an unknown name, or a number that is none, negative or, for months,
    zero.
    """
    if path is None:
        return Prices()
    import tomllib

    try:
        given = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise UsageError(f"the price sheet {str(path)!r} cannot be read ({reason}); name a TOML file") from None
    except ValueError as error:  # UnicodeDecodeError and TOMLDecodeError
        raise UsageError(f"the price sheet {str(path)!r} is no TOML ({error}); mend it") from None
    known = {one.name for one in fields(Prices)} - {"own"}
    for name, value in given.items():
        if name not in known:
            near = get_close_matches(name, sorted(known), n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"known are: {', '.join(sorted(known))}"
            raise UsageError(f"the price sheet {path.name!r} has the unknown name {name!r}; {hint}")
        given[name] = _checked(name, value, path)
    words = {"source": path.name, "date": "", **{name: given.pop(name) for name in ("source", "date") if name in given}}
    own = frozenset(given.keys() & UNITS.keys())
    if given.get("currency", _CURRENCY) != _CURRENCY:
        _refuse_mixed(given, own, path)
    return Prices(**given, **words, own=own)


def _checked(name: str, value: object, path: Path) -> str | float:
    where = f"the price sheet {path.name!r}"
    if name not in UNITS:
        text = str(value).strip()  # TOML dates come as dates
        if name == "currency" and not text:
            raise UsageError(f"{where} has an empty currency; write one, like 'EUR'")
        return text
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value) or value < 0:
        raise UsageError(f"{name} in {where} is {value!r}; write a number that is not below 0")
    if name == "months" and value == 0:
        raise UsageError(f"months in {where} is 0; write how many months the totals shall cover")
    if name == "retrain_share" and value > 1:
        raise UsageError(f"retrain_share in {where} is {value!r}; write a share from 0 to 1")
    return float(value)


_MONEY = ("machine_hour", "prompt_million", "answer_million", "labour_hour")


def _refuse_mixed(given: Mapping[str, Any], own: frozenset[str], path: Path) -> None:
    """Two currencies in one sum are worse than none."""
    left = [name for name in _MONEY if name not in own]
    if left:
        raise UsageError(
            f"the price sheet {path.name!r} is in {given['currency']!r} but leaves {', '.join(left)} at the default, "
            f"which is in {_CURRENCY}; give them too"
        )
