"""openbook.toml in, the same file with some settings changed out: comments, order and the user's own words stay.

Knows TOML and settings, not why a setting is changed; the reason is the caller's and stands beside each changed key.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from openbook import settings
from openbook.errors import SettingsError
from openbook.files import write_atomic

_OURS = "set by openbook: "
_EARLIER = re.compile(rf"(?:^# ?|; ){_OURS}.*")


def change(path: Path, changes: Mapping[str, object], *, why: str) -> settings.Settings:
    """Set some settings ("retrieve.k": 5; None takes the setting out) and return the new whole.

    `why` is one line; it replaces what an earlier change said beside the same key and leaves the user's own comment.
    The result is checked before the file is replaced in one step. Raises SettingsError, the file untouched, for an
    unknown key, a value out of range or a file that cannot be read.
    """
    import tomlkit
    from tomlkit.exceptions import TOMLKitError

    before = settings.load(path)
    text = path.read_bytes().decode("utf-8")
    wanted = tomllib.loads(text.replace("\r\n", "\n"))
    for key, value in changes.items():
        _put(wanted, key, value)
    checked = settings.parse(wanted, origin=str(path)) if changes else before
    try:
        document = tomlkit.parse(text)
        for key, value in changes.items():
            _write(document, key, value, why)
        changed = tomlkit.dumps(document)
    except TOMLKitError as error:
        raise SettingsError(f"{path} cannot be changed in place ({error}); set {_listed(changes)} by hand") from None
    if text.count("\n") == text.count("\r\n") > 0:
        changed = re.sub(r"(?<!\r)\n", "\r\n", changed)
    if _loaded(changed) != wanted:
        raise SettingsError(f"{path} is written in a way that cannot be changed in place; set {_listed(changes)}")
    if changed != text:
        write_atomic(path, changed)
    return checked


def _put(raw: dict[str, Any], key: str, value: object) -> None:
    section, name = _parts(key)
    table = raw.setdefault(section, {}) if section else raw
    if not isinstance(table, dict):
        raise SettingsError(f"setting {section!r} = {table!r} is no section; remove it")
    if value is None:
        table.pop(name, None)
    else:
        table[name] = list(value) if isinstance(value, tuple) else value


def _write(document: Any, key: str, value: object, why: str) -> None:
    import tomlkit
    from tomlkit.items import InlineTable

    section, name = _parts(key)
    if section and section not in document:
        document[section] = tomlkit.table()
    table = document[section] if section else document
    if value is None:
        table.pop(name, None)
        return
    item = tomlkit.item(list(value) if isinstance(value, tuple) else value)
    inline = isinstance(table, InlineTable)
    # Inside { ... } a comment would swallow the rest of the line, so it goes behind the whole.
    told = table if inline else item
    old = table if inline else table.item(name) if name in table and hasattr(table, "item") else None
    comment = _comment(old.trivia.comment if old is not None else "", why)
    table[name] = item
    told.trivia.comment_ws, told.trivia.comment = "  ", comment


def _comment(before: str, why: str) -> str:
    own = _EARLIER.sub("", before).rstrip()
    said = _OURS + " ".join("".join(char if char.isprintable() else " " for char in why).split())
    return f"{own}; {said}" if own not in ("", "#") else f"# {said}"


def _parts(key: str) -> tuple[str, str]:
    section, _, name = key.rpartition(".")
    return section, name


def _loaded(text: str) -> dict[str, Any] | None:
    try:
        return tomllib.loads(text.replace("\r\n", "\n"))
    except tomllib.TOMLDecodeError:
        return None


def _listed(changes: Mapping[str, object]) -> str:
    return ", ".join(f"{key} = {value!r}" for key, value in changes.items())
