"""Commands about adapters: list, show, compare, promote, rollback, export, remove."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import click

from openbook.cli.common import err, example, json_option, opened, out, print_json, progress_bar, workspace_option

if TYPE_CHECKING:
    from rich.console import RenderableType

    from openbook.finetune.export import Form
    from openbook.finetune.registry import Adapter

_ref = click.argument("adapter", metavar="NAME[@VERSION]")
_force = click.option("--force", is_flag=True, help="Do it whatever stands against it.")


@click.group()
@example("openbook adapters list", "openbook adapters promote tone@2")
def adapters() -> None:
    """List, show, promote, export and remove fine-tuned adapters."""


@adapters.command("list")
@workspace_option
@json_option
@example("openbook adapters list")
def list_(workspace: Path | None, as_json: bool) -> None:
    """List all versions of all adapters."""
    from openbook.cli.show import table

    with opened(workspace) as ws:
        found = ws.house.adapters.list()
    if as_json:
        print_json([_row(one) for one in found])
        return
    rows = [
        (
            one.ref,
            "yes" if one.promoted else "",
            str(one.base.get("name", "")),
            one.method,
            str(one.metric.get("name", "")),
            _number(one.metric.get("before")),
            _number(one.metric.get("after")),
            one.created[:16].replace("T", " "),
        )
        for one in found
    ]
    columns = ("adapter", "promoted", "base", "method", "metric", "before", "after", "made")
    out().print(table(f"{len(rows)} adapters", columns, rows, right=(5, 6)))


@adapters.command()
@click.option("--name", default="reader", show_default=True, help="What it is called here.")
@workspace_option
@json_option
@example("openbook adapters add", "openbook compare --tuned reader --both reader")
def add(name: str, workspace: Path | None, as_json: bool) -> None:
    """Register the reader that Openbook carries for the model, to be compared or exported like your own."""
    with progress_bar() as progress, opened(workspace, progress=progress) as ws:
        added = ws.house.add_adapter(name, progress=progress)
    if as_json:
        print_json(_row(added))
        return
    out().print(f"registered {added.ref}", markup=False)


@adapters.command()
@_ref
@workspace_option
@json_option
@example("openbook adapters show tone")
def show(adapter: str, workspace: Path | None, as_json: bool) -> None:
    """Show one adapter, its scores and what stands against it; its files are verified."""
    with opened(workspace) as ws:
        found = ws.house.adapters.verify(adapter)
    if as_json:
        print_json({**_row(found), "folder": str(found.folder), "manifest": dict(found.manifest)})
        return
    out().print(summary(found))
    out().print(f"card: {found.folder / 'README.md'}")


@adapters.command()
@click.argument("left", metavar="NAME[@VERSION]")
@click.argument("right", metavar="NAME[@VERSION]")
@workspace_option
@json_option
@example("openbook adapters compare tone@1 tone@2")
def compare(left: str, right: str, workspace: Path | None, as_json: bool) -> None:
    """Show how two adapters differ in settings, data and scores."""
    from openbook.cli.show import table

    with opened(workspace) as ws:
        found = ws.house.adapters.compare(left, right)
    if as_json:
        print_json([{"field": field, "left": one, "right": other} for field, one, other in found])
        return
    rows = [(field, _number(one), _number(other)) for field, one, other in found]
    out().print(table(f"{len(rows)} differences", ("field", left, right), rows))


@adapters.command()
@_ref
@_force
@workspace_option
@example("openbook adapters promote tone@2")
def promote(adapter: str, force: bool, workspace: Path | None) -> None:
    """Make a version the one that the tuned arm uses; refused when it broke something."""
    with opened(workspace) as ws:
        err().print(f"{ws.house.adapters.promote(adapter, force=force).ref} is promoted")


@adapters.command()
@click.argument("name")
@workspace_option
@example("openbook adapters rollback tone")
def rollback(name: str, workspace: Path | None) -> None:
    """Promote the version that was promoted before."""
    with opened(workspace) as ws:
        err().print(f"{ws.house.adapters.rollback(name).ref} is promoted again")


@adapters.command()
@_ref
@_force
@workspace_option
@example("openbook adapters remove tone@1")
def remove(adapter: str, force: bool, workspace: Path | None) -> None:
    """Delete a version; a promoted one needs --force."""
    with opened(workspace) as ws:
        ws.house.adapters.remove(adapter, force=force)
    err().print(f"{adapter} is removed")


@adapters.command()
@_ref
@click.option(
    "--to",
    "form",
    type=click.Choice(["peft", "safetensors", "gguf", "ollama"]),
    required=True,
    help="peft for vLLM, safetensors merged, gguf for llama.cpp, ollama with a Modelfile.",
)
@click.option("--out", "target", type=click.Path(path_type=Path), required=True, metavar="PATH", help="Where to; new.")
@click.option("--base-name", default="", metavar="ORG/NAME", help="What others call the base model, for peft.")
@click.option("--vllm", metavar="URL", help="With --to peft: have the vLLM at this address load it.")
@workspace_option
@json_option
@example("openbook adapters export tone --to ollama --out tone-ollama")
def export(
    adapter: str,
    form: str,
    target: Path,
    base_name: str,
    vllm: str | None,
    workspace: Path | None,
    as_json: bool,
) -> None:
    """Write an adapter for other programs."""
    from openbook.errors import UsageError
    from openbook.finetune.export import export as write
    from openbook.finetune.export import load_into_vllm

    if vllm and form != "peft":
        raise UsageError(f"--vllm needs the adapter as it was trained; use --to peft instead of --to {form}")
    with progress_bar() as progress, opened(workspace, progress=progress) as ws:
        found = ws.house.adapters.verify(adapter)
        base = ws.house.base_files()
        made = write(found.folder, cast("Form", form), target, base=base, base_name=base_name, progress=progress)
    if vllm:
        load_into_vllm(vllm, found.name, str(target.resolve()))
    if as_json:
        print_json({"adapter": found.ref, "files": [str(path) for path in made.files], "notes": list(made.notes)})
        return
    for path in made.files:
        out().print(str(path), markup=False)
    for note in made.notes:
        err().print(note, markup=False)


def summary(adapter: Adapter) -> RenderableType:
    """One adapter as a table."""
    from openbook.cli.show import table

    manifest = adapter.manifest
    metric, gate = adapter.metric, manifest.get("gate") or {}
    rows: list[tuple[str, str]] = [
        ("base", str(adapter.base.get("name"))),
        ("examples", str((manifest.get("data") or {}).get("examples"))),
        (
            f"{metric.get('name')} ({metric.get('on')}, n {metric.get('n')})",
            f"{_number(metric.get('before'))} before, {_number(metric.get('after'))} after",
        ),
        ("served as trained", f"{_number(gate.get('difference'))} nats apart, {gate.get('bound')} allowed"),
        ("took", f"{manifest.get('seconds')} s"),
    ]
    for name, probe in ((manifest.get("forgetting") or {}).get("probes") or {}).items():
        figures = f"{_number(probe['before'])} before, {_number(probe['after'])} after: {probe['verdict']}"
        rows.insert(-1, (f"broken? {name}", figures))
    rows += [("against it", obstacle) for obstacle in adapter.obstacles]
    return table(adapter.ref + (", promoted" if adapter.promoted else ""), ("about", "says"), rows)


def _row(adapter: Adapter) -> dict[str, Any]:
    return {
        "name": adapter.name,
        "version": adapter.version,
        "promoted": adapter.promoted,
        "base": adapter.base.get("name"),
        "method": adapter.method,
        "metric": dict(adapter.metric),
        "created": adapter.created,
        "obstacles": list(adapter.obstacles),
    }


def _number(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.3g}"
    return "" if value is None else str(value)
