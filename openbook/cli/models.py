"""Commands about models: list, show, pull."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from openbook.cli.common import example, json_option, out, print_json, progress_bar

if TYPE_CHECKING:
    from openbook.models.catalogue import Model


@click.group()
@example("openbook models list", "openbook models pull qwen3-1.7b")
def models() -> None:
    """List, show and download models."""


@models.command("list")
@json_option
@example("openbook models list")
def list_(as_json: bool) -> None:
    """List known models and which are here."""
    from openbook.cli.show import table
    from openbook.models.fetch import list_models

    known = [_row(model, installed) for model, installed in list_models()]
    if as_json:
        print_json(known)
        return
    rows = [
        (
            one["name"],
            one["kind"],
            f"{one['bytes'] / 1e6:,.0f} MB",
            one["licence"],
            "yes" if one["installed"] else "",
            one["good_for"] + ("; reads passages with its bundled reader" if "reader" in one else ""),
        )
        for one in known
    ]
    out().print(table("", ("name", "kind", "size", "licence", "here", "good for"), rows, right=(2,)))


@models.command()
@click.argument("name")
@json_option
@example("openbook models show smollm2-135m-instruct")
def show(name: str, as_json: bool) -> None:
    """Show one model: sources, licence, size, hash, context length."""
    from openbook.models.fetch import show as show_model

    model, installed = show_model(name)
    facts = _row(model, installed)
    if as_json:
        print_json(facts)
        return
    for key, value in facts.items():
        lines = value if isinstance(value, list) else [value]
        out().print(f"{key}: " + "\n  ".join(str(line) for line in lines), markup=False)


@models.command()
@click.argument("name")
@json_option
@example("openbook models pull smollm2-135m-instruct")
def pull(name: str, as_json: bool) -> None:
    """Download a model into the shared cache, verified; a broken download is taken up where it stopped.

    A bundled reader of the model is prepared too, so that everything works without a network afterwards.
    """
    from openbook.assemble import reader_of, with_reader
    from openbook.models.fetch import pull as pull_model
    from openbook.settings import Models, Settings

    with progress_bar() as progress:
        files = pull_model(name, progress=progress)
        if (reader := reader_of(Settings(models=Models(generator=name)))) is not None:
            with_reader(reader, progress=progress)
    if as_json:
        print_json({"name": files.name, "folder": str(files.folder), "sha256": files.sha256})
    else:
        out().print(f"{files.name}: {files.folder}", markup=False)


def _row(model: Model, installed: bool) -> dict[str, Any]:
    from openbook import readers

    facts = {
        "name": model.name,
        "kind": model.kind,
        "good_for": model.good_for,
        "licence": model.licence,
        "parameters": model.parameters or None,
        "bytes": model.bytes,
        "sha256": model.sha256,
        "context": model.context or None,
        "dimensions": model.dimensions or None,
        "sources": [str(source) for source in model.sources],
        "installed": installed,
        "reader": "bundled" if readers.find(model.name) is not None else None,
    }
    return {key: value for key, value in facts.items() if value is not None}
