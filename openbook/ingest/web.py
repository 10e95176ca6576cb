"""An http(s) address in, its bytes in a file out; fetches that one page and nothing it points to."""

from __future__ import annotations

import mimetypes
from collections.abc import Iterable
from pathlib import Path, PurePosixPath
from urllib.parse import urlsplit, urlunsplit

from openbook import provenance
from openbook.errors import ReadError

MAX_REDIRECTS = 5
TIMEOUT = 30.0
"""Seconds to connect, and seconds without a byte."""
_PIECE = 1 << 16


def canonical(address: str) -> str:
    """An address as it is stored: scheme and host in lower case, a path, no fragment.

    >>> canonical("HTTPS://Example.org#top")
    'https://example.org/'
    """
    parts = urlsplit(address.strip())
    return urlunsplit((parts.scheme.lower(), parts.netloc.lower(), parts.path or "/", parts.query, ""))


def fetch(address: str, folder: Path, *, max_bytes: int) -> Path:
    """Fetch a page into a new file in `folder`, its extension that of its content type.

    Text in a declared character set is stored as UTF-8. Raises ReadError when the server is away, answers with an
    error, redirects more than five times, or sends more than `max_bytes`.
    """
    import requests

    with requests.Session() as session:
        session.max_redirects = MAX_REDIRECTS
        session.headers["User-Agent"] = f"openbook/{provenance.version()}"
        try:
            with session.get(address, stream=True, timeout=TIMEOUT) as response:
                if response.status_code != requests.codes.ok:
                    raise ReadError(f"the server answered {response.status_code} {response.reason or ''}".rstrip())
                data = _body(response.iter_content(_PIECE), max_bytes)
                kind = response.headers.get("Content-Type", "")
        except requests.TooManyRedirects:
            raise ReadError(f"redirects more than {MAX_REDIRECTS} times") from None
        except requests.Timeout:
            raise ReadError(f"no answer within {TIMEOUT:g} seconds; try again later") from None
        except (requests.RequestException, ValueError) as error:
            raise ReadError(f"cannot be fetched ({type(error).__name__}); check the address and the network") from None
    media, _, charset = kind.lower().partition("charset=")
    media = media.split(";")[0].strip()
    suffix = mimetypes.guess_extension(media) if media != "application/octet-stream" else None
    path = folder / f"page-{len(list(folder.iterdir()))}{suffix or PurePosixPath(urlsplit(address).path).suffix}"
    path.write_bytes(_as_utf8(data, charset.strip(" \"';")) if media.startswith("text/") else data)
    return path


def _body(pieces: Iterable[bytes], max_bytes: int) -> bytes:
    data = bytearray()
    for piece in pieces:
        data += piece
        if len(data) > max_bytes:
            raise ReadError(f"larger than {max_bytes / 1e6:g} MB; raise ingest.max_file_mb to read it")
    return bytes(data)


def _as_utf8(data: bytes, charset: str) -> bytes:
    """Bytes in a declared character set as UTF-8 with a mark, which readers trust before what the page says itself."""
    if not charset or charset in ("utf-8", "utf8"):
        return data
    try:
        return data.decode(charset).encode("utf-8-sig")
    except (LookupError, UnicodeError):
        return data
