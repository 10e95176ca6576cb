"""What `openbook finetune --retriever` does: train, show the figures, adopt a significant gain."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from openbook.cli.common import err, opened, out, print_json, progress_bar, unserved

if TYPE_CHECKING:
    from openbook.finetune.retriever.tune import Result
    from openbook.records import Migration


def tune(
    kind: Literal["embedder", "reranker"],
    *,
    questions: Sequence[Path],
    from_library: bool,
    name: str,
    base: str,
    settings: Mapping[str, object],
    force: bool,
    workspace: Path | None,
    as_json: bool,
) -> None:
    """Run the command; Ctrl-C or a kill at any moment leaves what serves as it was."""
    unserved(workspace)  # said now, not when it is to be adopted
    with opened(workspace) as ws, progress_bar() as progress:
        result, migration = ws.tune_retriever(
            kind,
            questions,
            from_library=from_library,
            name=name or "tuned",
            base=base,
            settings=settings,
            force=force,
            progress=progress,
        )
        root = ws.root
    adopted = result.gained or force
    if as_json:
        print_json(_as_json(result, migration, adopted=adopted))
        return
    _show(result, migration, root, adopted=adopted)


def _show(result: Result, migration: Migration | None, root: Path, *, adopted: bool) -> None:
    from openbook.finetune.retriever.measure import table

    data, batch = result.manifest["data"], result.manifest["batch"]
    out().print(table(result.changes), markup=False)
    out().print(result.verdict, markup=False)
    for note in (*data.get("question_notes", ()), *result.notes):
        err().print(note, markup=False)
    err().print(
        f"{data['train']} questions on {data['train_documents']} documents learned from, {data['held_out']} on "
        f"{data['held_out_documents']} others measured with, over {data['chunks']} chunks"
    )
    if batch["left_out"]:
        reasons = ", ".join(f"{count} {why}" for why, count in batch["left_out"].items())
        err().print(f"of {batch['pairs']} passages of others in a batch not taken for wrong answers: {reasons}")
    place = result.folder.relative_to(root).as_posix()
    if not adopted:
        err().print(
            f"the old {result.kind} stays; the trained one is in {place}: take it anyway by setting "
            f'models.{result.kind} = "{place}"' + (" and: openbook migrate" if result.kind == "embedder" else ""),
            markup=False,
        )
        return
    err().print(f'models.{result.kind} = "{place}" is in force now', markup=False)
    if migration is not None:
        for note in migration.notes:
            err().print(note, markup=False)
        err().print(
            f"{migration.chunks} chunks have vectors of it; the old ones are kept for: openbook migrate --roll-back"
        )


def _as_json(result: Result, migration: Migration | None, *, adopted: bool) -> dict[str, object]:
    return {
        "kind": result.kind,
        "folder": str(result.folder),
        "verdict": result.verdict,
        "gained": result.gained,
        "adopted": adopted,
        "scores": result.manifest["scores"],
        "data": result.manifest["data"],
        "negatives": result.manifest["negatives"],
        "batch": result.manifest["batch"],
        "training": result.manifest["training"],
        "seconds": result.manifest["seconds"],
        "notes": list(result.notes),
        "migrated_chunks": migration.chunks if migration is not None else None,
    }
