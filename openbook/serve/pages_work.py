"""The pages of longer work: Library, Train, Compare. Frames only: their scripts speak to /api."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request
from fastapi.responses import HTMLResponse, PlainTextResponse

from openbook.serve import options, pages, training
from openbook.serve.access import Caller, needs
from openbook.serve.errors import Refused
from openbook.serve.state import Server, server_of

router = APIRouter(include_in_schema=False)
Here = Annotated[Server, Depends(server_of)]

_FIRST = ("epochs", "learning_rate", "max_tokens", "metric")
"""Settings of a training that are worth a look; the others stand behind a fold."""
_METRICS = {
    "token_f1": "words it shares with the wanted reply",
    "rouge_l": "longest run of words it shares with the wanted reply",
    "exact_match": "the wanted reply to the letter",
    "json": "the wanted fields of a JSON reply",
    "reading": "quotes and refusals of lessons from the library",
    "loss": "none, only the loss: quick",
}
_NOT_HERE = frozenset({"own_probes", "device", "dtype", "threads"})
"""Settings that are the business of whoever runs the machine."""


@router.get("/library", dependencies=[needs("search")])
def library_page(request: Request, server: Here) -> HTMLResponse:
    """Documents: bring them in, look at them, take them out, go back."""
    return pages.render(request, "library", most=int(server.workspace.settings.serve.max_upload_mb * 1e6))


@router.get("/train", dependencies=[needs("train")])
def train_page(request: Request, server: Here) -> HTMLResponse:
    """Examples, their check, training, adapters."""
    settings = _settings(server)
    return pages.render(
        request,
        "train",
        first=[settings[name] for name in _FIRST if name in settings],
        rest=[one for name, one in settings.items() if name not in _FIRST],
    )


@router.get("/compare", dependencies=[needs("train")])
def compare_page(request: Request) -> HTMLResponse:
    """Cases, a comparison's progress, reports."""
    return pages.render(request, "compare")


@router.get("/api/adapters/{name}/{version}/card")
def card(name: str, version: int, server: Here, who: Caller = needs("train")) -> PlainTextResponse:
    """The model card of an adapter's version, as Markdown."""
    adapter = training.visible(server, who, f"{name}@{version}")
    try:
        return PlainTextResponse((adapter.folder / "README.md").read_text(encoding="utf-8"))
    except OSError:
        raise Refused(404, f"{name}@{version} has no card any more", code="no_card") from None


def _settings(server: Server) -> dict[str, dict[str, Any]]:
    """The settings of a training by name, with what holds unless something else is chosen."""
    now = server.workspace.settings
    found = {
        one["key"].removeprefix("finetune."): {**one, "name": one["key"].removeprefix("finetune.")}
        for one in options.listed(now, now)
        if one["key"].startswith("finetune.") and one["key"].removeprefix("finetune.") not in _NOT_HERE
    }
    metric = found["metric"]
    names = {name: f"{name}: {said}" for name, said in _METRICS.items()}
    metric |= {"choices": list({**names, metric["value"]: ""}), "names": names}
    metric["description"] = "How a reply to an example that was kept aside is scored; the best check is kept."
    return found
