"""A page that a run or a comparison wrote in, the same page over HTTP out, under its own policy."""

from __future__ import annotations

import base64
import hashlib
import html
import re
from pathlib import Path

from fastapi.responses import HTMLResponse

_OWN = re.compile(r'<meta http-equiv="Content-Security-Policy" content="([^"]*)">')
_INLINE = re.compile(r"<(script|style)\b[^>]*>(.*?)</\1>", re.S)


def kept_page(file: Path) -> HTMLResponse:
    """The page, which may run the scripts and styles that stand in it and no others, and be framed by our own."""
    text = file.read_text(encoding="utf-8")
    return HTMLResponse(text, headers={"Content-Security-Policy": policy(text), "X-Frame-Options": "SAMEORIGIN"})


def policy(text: str) -> str:
    """The page's own policy, or one of the hashes of what stands in it.

    >>> policy("<style>p{}</style>").split("; ")[:2]
    ["default-src 'none'", "style-src 'sha256-gG2yISYereRMiG2lMXrbiUgi0Ubw9p7QCeWcroOvy9Y='"]
    """
    own = _OWN.search(text)
    if own is not None:
        return f"{html.unescape(own[1])}; frame-ancestors 'self'"
    hashes: dict[str, list[str]] = {"script": [], "style": []}
    for kind, inner in _INLINE.findall(text):
        digest = base64.b64encode(hashlib.sha256(inner.encode()).digest()).decode()
        hashes[kind].append(f"'sha256-{digest}'")
    said = [f"{kind}-src {' '.join(found)}" for kind, found in hashes.items() if found]
    rest = ("style-src-attr 'unsafe-inline'", "img-src data:", "base-uri 'none'", "frame-ancestors 'self'")
    return "; ".join(["default-src 'none'", *said, *rest])
