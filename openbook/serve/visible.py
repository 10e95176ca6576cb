"""A caller in, the documents that are there for it out; what it may not see is absent in every word and number."""

from __future__ import annotations

from openbook.records import DocumentInfo
from openbook.serve.access import Caller
from openbook.serve.errors import Refused
from openbook.serve.state import Server


def infos(server: Server, who: Caller) -> list[DocumentInfo]:
    """The documents a caller may see, by name."""
    return [info for info in server.infos() if who.sees(info)]


def find(server: Server, who: Caller, name: str) -> DocumentInfo:
    """One document of the caller's. Raises Refused 404, alike for what is hidden and what is not there."""
    found = server.info(name)
    if found is None or not who.sees(found):
        raise absent(name)
    return found


def absent(name: str) -> Refused:
    """What is said of a document that is not there for a caller."""
    return Refused(404, f"no document {name!r}", code="no_such_document", param="name")
