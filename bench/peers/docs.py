"""Write the latest measurements into docs/speed.md: bench/out/{peers,fresh,cold}.json in, the marked parts of it out.

python -m bench.peers.docs
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Mapping
from typing import Any

from bench.common import OUT
from bench.peers import cold, fresh, report
from bench.peers.corpus import ROOT
from openbook.files import write_atomic

PAGE = ROOT / "docs" / "speed.md"
PARTS: Mapping[str, Callable[[Mapping[str, Any]], str]] = {
    "peers": report.render,
    "fresh": fresh.render,
    "cold": cold.render,
}


def main() -> None:
    page = PAGE.read_text(encoding="utf-8")
    for name, render in PARTS.items():
        path = OUT / f"{name}.json"
        if path.exists():
            page = filled(page, name, part(json.loads(path.read_text(encoding="utf-8")), render))
        else:
            print(f"{path} is missing; that part of {PAGE} stays as it is", file=sys.stderr)
    write_atomic(PAGE, page)


def part(measured: Mapping[str, Any], render: Callable[[Mapping[str, Any]], str]) -> str:
    """A part of the page: date, machine and command, then the tables."""
    machine = measured["machine"]
    where = f"{machine['cpu']}, {machine['cores']} cores ({', '.join(machine['matrix'])}), Python {machine['python']}"
    command = re.sub(r"(?<=[ =])/\S*/", "", measured["command"])
    return f"Measured {measured['date']} on {where}, with `{command}`.\n\n{render(measured['results'])}"


def filled(page: str, name: str, text: str) -> str:
    """The page with what stands between the markers of `name` replaced.

    >>> print(filled("<!-- a -->old<!-- /a -->", "a", "new"))
    <!-- a -->
    new
    <!-- /a -->
    """
    begin, end = f"<!-- {name} -->", f"<!-- /{name} -->"
    before, found, rest = page.partition(begin)
    _, also_found, after = rest.partition(end)
    if not (found and also_found):
        raise SystemExit(f"{PAGE} has no part between {begin} and {end}")
    return f"{before}{begin}\n{text}\n{end}{after}"


if __name__ == "__main__":
    main()
