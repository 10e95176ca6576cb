"""A caller in, the ways of answering it may ask for out, by the ids that the native API, pages and clients use."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from openbook.assemble import EXTRACTIVE
from openbook.errors import OpenbookError
from openbook.records import Arm
from openbook.serve import reach
from openbook.serve.access import Caller
from openbook.serve.state import Server


@dataclass(frozen=True, slots=True)
class Way:
    """A way of answering."""

    id: str
    label: str
    arm: Arm
    adapter: str | None = None
    why: str = ""
    """Why it is not available; "" when it is."""

    def json(self) -> dict[str, Any]:
        """As the native API shows it."""
        return {**asdict(self), "available": not self.why}


def listed(server: Server, who: Caller) -> list[Way]:
    """The ways of answering a caller may ask for; each adapter under its bare name and under each of its versions.

    Adapters that learned what the caller may not know are not there.
    """
    none = server.house.settings.models.generator == EXTRACTIVE
    silent = "no language model is set; choose one in the settings (models.generator)" if none else ""
    found = [
        Way("rag", "Your documents", "rag"),
        Way("base", "The model alone", "base", why=silent),
        Way("extractive", "Quotes only", "extractive"),
    ]
    registry = server.house.adapters
    for name in registry.names():
        # A bare name may stand for a version that is hidden, while others under it are not.
        known = {name: registry.get(name), **{one.ref: one for one in registry.list() if one.name == name}}
        for ref in (ref for ref, one in known.items() if reach.may_ask(who, one)):
            why = silent or _refused(server, ref)
            found.append(Way(f"{ref}+rag", f"{ref} with your documents", "tuned+rag", ref, why))
            found.append(Way(ref, f"{ref} alone", "tuned", ref, why))
    return found


def _refused(server: Server, ref: str) -> str:
    try:
        server.house._adapter("tuned", ref)
    except OpenbookError as error:
        return str(error)
    return ""
