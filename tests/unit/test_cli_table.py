"""Tables of the command line on a terminal of 80 columns."""

from __future__ import annotations

from io import StringIO

from rich.console import Console

from openbook.cli.show import table


def _shown(*rows: tuple[object, ...]) -> str:
    out = StringIO()
    Console(file=out, width=80).print(table("", ("document", "format", "chunks", "about"), rows, right=(2,)))
    return out.getvalue()


def test_short_words_stay_whole_beside_a_long_text() -> None:
    shown = _shown(("smollm2-135m-instruct", "generator", 1056, "the recommended step up on a laptop " * 4))
    assert "smollm2-135m-instruct" in shown
    assert "generator" in shown


def test_a_long_name_leaves_room_for_the_other_columns() -> None:
    shown = _shown(("handbook/Benefits and Perks/" + "a" * 60 + ".md", "md", 12, None))
    assert all(name in shown for name in ("format", "chunks", "about", " 12 "))
