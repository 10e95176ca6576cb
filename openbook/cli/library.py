"""Commands about what is stored: init, sync, documents, versions, rollback, backup, restore."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from openbook.cli.common import (
    copied,
    err,
    example,
    json_option,
    out,
    print_json,
    progress_bar,
    reached,
    workspace_option,
)


@click.command()
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path), default=".")
@click.option("--model", metavar="NAME", help="The language model; see: openbook models list")
@click.option("--embedder", metavar="NAME", help="The embedder; change it later with: openbook migrate")
@json_option
@example("openbook init desk", "openbook init desk --model qwen3-1.7b")
def init(folder: Path, model: str | None, embedder: str | None, as_json: bool) -> None:
    """Make a workspace in FOLDER (default: here)."""
    from openbook.workspace import Workspace

    with Workspace.init(folder, model=model, embedder=embedder) as made:
        if as_json:
            print_json({"workspace": str(made.root)})
        else:
            out().print(f"workspace made in {made.root}\nnext: openbook sync FOLDER", markup=False)


@click.command()
@click.argument("targets", nargs=-1, required=True, metavar="PATH|URL...")
@click.option("--acl", "acl", multiple=True, metavar="GROUP", help="Only this group may see these documents.")
@click.option("--dry-run", is_flag=True, help="Say what would change; change nothing.")
@click.option("--allow-mass-delete", is_flag=True, help="Remove documents even when most of a source is gone.")
@click.option("--watch", is_flag=True, help="Stay and follow changes on disk until Ctrl-C.")
@workspace_option
@json_option
@example("openbook sync ~/handbook", "openbook sync contracts/ --acl legal", "openbook sync 'notes/**/*.md' --dry-run")
def sync(
    targets: tuple[str, ...],
    acl: tuple[str, ...],
    dry_run: bool,
    allow_mass_delete: bool,
    watch: bool,
    workspace: Path | None,
    as_json: bool,
) -> None:
    """Bring files, folders, globs or web pages into the library; only what changed is read again."""
    from openbook.cli.show import sync_text
    from openbook.errors import UsageError
    from openbook.records import SyncReport
    from openbook.wire import sync_json

    if watch and (dry_run or allow_mass_delete):
        raise UsageError("--watch cannot be combined with --dry-run or --allow-mass-delete")

    def show(report: SyncReport) -> None:
        if as_json:
            print_json(sync_json(report))
        else:
            out().print(sync_text(report), end="")

    if watch:
        with reached(workspace) as ws:
            err().print("watching; Ctrl-C ends", style="dim")
            for report in ws.watch(targets, acl=acl):
                show(report)
        return
    with progress_bar() as progress, reached(workspace, progress=progress) as ws:
        report = ws.sync(targets, acl=acl, dry_run=dry_run, allow_mass_delete=allow_mass_delete, progress=progress)
        show(report)
        if not dry_run and not ws.optimize(timeout=1.0):
            err().print("building the search graph for faster searches; Ctrl-C is safe", style="dim")
            ws.optimize()
    if report.failed and not (report.added or report.changed or report.renamed or report.removed or report.unchanged):
        raise click.exceptions.Exit(1)


@click.group(invoke_without_command=True)
@workspace_option
@json_option
@click.pass_context
@example("openbook documents", "openbook documents show 'handbook/Holiday List.md' --text")
def documents(context: click.Context, workspace: Path | None, as_json: bool) -> None:
    """List stored documents, or show one."""
    if context.invoked_subcommand is not None:
        context.obj = (workspace, as_json)
        return
    from openbook.cli.show import table
    from openbook.wire import document_json

    with reached(workspace, brief=True) as ws:
        stored = ws.documents()
    if as_json:
        print_json([document_json(info) for info in stored])
        return
    rows = [
        (info.name, info.format, info.pages, info.chunks, f"{info.bytes:,}", ", ".join(info.acl), info.synced_at[:19])
        for info in stored
    ]
    columns = ("document", "format", "pages", "chunks", "bytes", "visible to", "synced (UTC)")
    out().print(table(f"{len(stored)} documents", columns, rows, right=(2, 3, 4)))


@documents.command()
@click.argument("document")
@click.option("--text", "text_only", is_flag=True, help="Print the text alone, as citations count it.")
@workspace_option
@json_option
@click.pass_context
@example("openbook documents show 'handbook/Holiday List.md' --text")
def show(context: click.Context, document: str, text_only: bool, workspace: Path | None, as_json: bool) -> None:
    """Show one document: its text as citations count it, and its metadata."""
    from openbook.wire import document_json

    outer_workspace, outer_json = context.obj or (None, False)
    with reached(workspace or outer_workspace, brief=True) as ws:
        found = ws.document(document)
        info = next(one for one in ws.documents() if one.name == document)
    if as_json or outer_json:
        print_json({**document_json(info), "text": found.text})
        return
    if not text_only:
        for name, value in document_json(info).items():
            if value not in ("", None, []):
                out().print(f"{name}: {value}", markup=False)
        out().print()
    click.echo(found.text, nl=sys.stdout.isatty())


@click.command()
@workspace_option
@json_option
@example("openbook versions")
def versions(workspace: Path | None, as_json: bool) -> None:
    """List the library's versions that can still be rolled back to."""
    from openbook.cli.show import table
    from openbook.wire import version_json

    with reached(workspace, brief=True) as ws:
        known = ws.versions()
    if as_json:
        print_json([version_json(one) for one in known])
        return
    rows = [(one.version, one.committed_at[:19], one.documents, one.chunks, one.note) for one in known]
    out().print(table("", ("version", "committed (UTC)", "documents", "chunks", "note"), rows, right=(0, 2, 3)))


@click.command()
@click.argument("version", type=click.IntRange(min=0))
@workspace_option
@json_option
@example("openbook rollback 7")
def rollback(version: int, workspace: Path | None, as_json: bool) -> None:
    """Make the library what it was at VERSION, as a new version; the next sync brings back what is on disk."""
    with reached(workspace, brief=True) as ws:
        made = ws.roll_back(version)
    if as_json:
        print_json({"library_version": made, "content_of": version})
    else:
        out().print(f"version {made} now holds what version {version} held")


@click.command()
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@workspace_option
@json_option
@example("openbook backup desk-2026-11-22.tar.gz")
def backup(file: Path, workspace: Path | None, as_json: bool) -> None:
    """Write settings, library and what the server keeps to FILE (.tar.gz), as they are at one moment."""
    from openbook.backup import write

    with copied(workspace) as ws:
        size = write(ws, file)
    if as_json:
        print_json({"file": str(file), "bytes": size})
    else:
        out().print(f"{file}: {size / 1e6:.1f} MB", markup=False)


@click.command()
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--workspace", "folder", required=True, type=click.Path(file_okay=False, path_type=Path), metavar="DIR")
@json_option
@example("openbook restore desk-2026-11-22.tar.gz --workspace desk2")
def restore(file: Path, folder: Path, as_json: bool) -> None:
    """Make a workspace in a new folder from a backup FILE."""
    from openbook.backup import read

    documents_count = read(file, folder)
    if as_json:
        print_json({"workspace": str(folder.resolve()), "documents": documents_count})
    else:
        out().print(f"{folder}: {documents_count} documents", markup=False)
