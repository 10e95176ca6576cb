"""What a caller is told when something cannot be done: one sentence, a status, a code; in OpenAI's error shape."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from openbook.errors import (
    AdapterError,
    EndpointError,
    LibraryBusy,
    OpenbookError,
    PromptTooLong,
    SourceVanished,
    UsageError,
)

_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    409: "conflict_error",
    413: "invalid_request_error",
    422: "invalid_request_error",
    429: "rate_limit_error",
}
_RPC = -32000
"""JSON-RPC's code for errors of a server's own."""
_STATUS: tuple[tuple[type[OpenbookError], int], ...] = (
    (PromptTooLong, 400),
    (UsageError, 400),
    (AdapterError, 404),
    (SourceVanished, 409),
    (LibraryBusy, 503),
    (EndpointError, 502),
)


class Refused(Exception):
    """A request that is answered with an error.

    Raise it anywhere while a request is served: Refused(404, "no document 'a.md'", code="no_such_document").
    """

    def __init__(
        self,
        status: int,
        message: str,
        *,
        code: str = "",
        param: str | None = None,
        headers: Mapping[str, str] = {},
    ) -> None:
        super().__init__(message)
        self.status, self.message, self.code, self.param = status, message, code, param
        self.headers = dict(headers)


BROKEN = Refused(500, "the server made a mistake, which its log describes; try again", code="internal_error")


def of(error: OpenbookError) -> Refused:
    """What an error of the rooms means over HTTP."""
    status = next((status for kind, status in _STATUS if isinstance(error, kind)), 500)
    return Refused(status, str(error), code=code_of(error))


def body(refused: Refused) -> dict[str, Any]:
    """OpenAI's shape, which the native API shares.

    >>> body(Refused(404, "no such job", code="no_such_job"))["error"]["type"]
    'not_found_error'
    """
    kind = _TYPES.get(refused.status, "invalid_request_error" if refused.status < 500 else "server_error")
    message, param = _sendable(refused.message), refused.param and _sendable(refused.param)
    return {"error": {"message": message, "type": kind, "param": param, "code": refused.code or None}}


def spoken(refused: Refused, path: str) -> dict[str, Any]:
    """The body of a refusal where it was asked for: MCP clients show only what is a JSON-RPC error.

    >>> spoken(Refused(403, "no", code="missing_scope"), "/mcp")["error"]["message"]
    'no'
    """
    told = body(refused)
    if path != "/mcp":
        return told
    error = {"code": _RPC, "message": told["error"].pop("message"), "data": {"status": refused.status, **told["error"]}}
    return {"jsonrpc": "2.0", "id": None, "error": error}


def _sendable(text: str) -> str:
    """Halves of characters replaced, which a request's JSON may hold and an answer's may not."""
    return text.encode("utf-8", "replace").decode("utf-8")


def code_of(error: OpenbookError | Refused) -> str:
    """What programs know an error by.

    >>> code_of(UsageError("no"))
    'usage_error'
    """
    if isinstance(error, Refused):
        return error.code
    name = type(error).__name__
    return "".join(f"_{char.lower()}" if char.isupper() else char for char in name).lstrip("_")
