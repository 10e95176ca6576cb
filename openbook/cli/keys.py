"""The command keys: who may use the server, and what they may see."""

from __future__ import annotations

import time
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from openbook.cli.common import err, example, json_option, out, print_json, workspace_option

if TYPE_CHECKING:
    from collections.abc import Iterator

    import sqlalchemy as sa

    from openbook.serve.keys import Key

SCOPES = ("ask", "search", "write", "train", "admin")


@click.group()
@example('openbook keys create "support desk" --scope ask --group staff', "openbook keys list")
def keys() -> None:
    """Make, list and revoke the keys of `openbook serve`."""


@keys.command()
@click.argument("name")
@click.option(
    "--scope",
    "scopes",
    multiple=True,
    type=click.Choice(SCOPES),
    default=("ask", "search"),
    show_default=True,
    help="What it may do; may be given more than once.",
)
@click.option("--group", "groups", multiple=True, metavar="GROUP", help="A group whose documents it sees.")
@click.option("--all-groups", is_flag=True, help="It sees every document.")
@click.option("--days", type=click.FloatRange(0, min_open=True), help="It expires after so many days; default: never.")
@workspace_option
@json_option
@example(
    'openbook keys create "support desk" --scope ask --group staff',
    "openbook keys create me --scope admin --all-groups --days 90",
)
def create(
    name: str,
    scopes: tuple[str, ...],
    groups: tuple[str, ...],
    all_groups: bool,
    days: float | None,
    workspace: Path | None,
    as_json: bool,
) -> None:
    """Make a key and print it, once. From the first key on, nobody is let in without one."""
    expires = None if days is None else time.time() + days * 86400
    with _store(workspace) as store:
        from openbook.serve import keys as made

        key, secret = made.create(store, name, scopes, groups, all_groups=all_groups, expires=expires)
    if as_json:
        print_json({**_row(key), "secret": secret})
        return
    out().print(secret, markup=False)
    err().print("this key is shown only now; keep it somewhere safe", style="dim")


@keys.command("list")
@workspace_option
@json_option
@example("openbook keys list")
def list_(workspace: Path | None, as_json: bool) -> None:
    """List the keys, without their secrets."""
    from openbook.cli.show import table

    with _store(workspace) as store:
        from openbook.serve import keys as made

        found = made.list_keys(store)
    if as_json:
        print_json([_row(one) for one in found])
        return
    rows = [
        (
            one.id,
            one.name,
            " ".join(one.scopes),
            "all" if one.all_groups else " ".join(one.groups),
            _day(one.created),
            _day(one.used),
            "revoked" if one.revoked else "expired" if not one.valid else _day(one.expires) or "never",
        )
        for one in found
    ]
    columns = ("id", "name", "scopes", "groups", "made", "used", "ends")
    out().print(table(f"{len(rows)} keys", columns, rows))


@keys.command()
@click.argument("key", metavar="ID")
@workspace_option
@example("openbook keys revoke 3f9a1c0b7d2e")
def revoke(key: str, workspace: Path | None) -> None:
    """Make a key useless at once, in a running server too."""
    from openbook.errors import OpenbookError

    with _store(workspace) as store:
        from openbook.serve import keys as made

        if not made.revoke(store, key):
            raise OpenbookError(f"there is no key {key!r}; see: openbook keys list")
    out().print(f"revoked {key}", markup=False)


@contextmanager
def _store(workspace: Path | None) -> Iterator[sa.Engine]:
    from openbook.extras import need
    from openbook.settings import FILE_NAME, STATE_DIR, load
    from openbook.workspace import Workspace

    need("argon2", extra="serve", purpose="keys")
    from openbook.serve.store import open_store

    root = (workspace if workspace is not None else Workspace.find()).resolve()
    load(root / FILE_NAME)
    store = open_store(root / STATE_DIR / "server.db")
    try:
        yield store
    finally:
        store.dispose()


def _row(key: Key) -> dict[str, Any]:
    from dataclasses import asdict

    return asdict(key)


def _day(seconds: float | None) -> str:
    return "" if seconds is None else datetime.fromtimestamp(seconds).strftime("%Y-%m-%d %H:%M")
