"""An http(s) address in, its bytes in a file out; fetches that one page and nothing it points to."""

from __future__ import annotations

import ipaddress
import mimetypes
import socket
from collections.abc import Iterable
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING
from urllib.parse import urlsplit, urlunsplit

from openbook import provenance
from openbook.errors import ReadError

if TYPE_CHECKING:
    import requests

MAX_REDIRECTS = 5
TIMEOUT = 30.0
"""Seconds to connect, and seconds without a byte."""
_PIECE = 1 << 16
_NAT64 = ipaddress.ip_network("64:ff9b::/96")
"""Addresses that stand for an IPv4 address (RFC 6052)."""


def canonical(address: str) -> str:
    """An address as it is stored: scheme and host in lower case, a path, no fragment.

    >>> canonical("HTTPS://Example.org#top")
    'https://example.org/'
    """
    parts = urlsplit(address.strip())
    return urlunsplit((parts.scheme.lower(), parts.netloc.lower(), parts.path or "/", parts.query, ""))


def fetch(address: str, folder: Path, *, max_bytes: int, public_only: bool = False) -> Path:
    """Fetch a page into a new file in `folder`, its extension that of its content type.

    Text in a declared character set is stored as UTF-8. With `public_only` no connection is made, at no redirect, to an
    address of this machine or of a private network. Raises ReadError when the server is away, answers with an error,
    redirects more than five times, or sends more than `max_bytes`.
    """
    import requests

    with requests.Session() as session:
        if public_only:
            _guard(session)
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


def is_public(address: str) -> bool:
    """Whether an IP address is one that everybody can reach; false for what is no address.

    >>> is_public("192.168.1.1"), is_public("::ffff:127.0.0.1"), is_public("1.1.1.1")
    (False, False, True)
    """
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return False
    if isinstance(found, ipaddress.IPv6Address):
        inner = found.ipv4_mapped or found.sixtofour
        if found in _NAT64:
            inner = ipaddress.IPv4Address(int(found) & 0xFFFFFFFF)
        if inner is not None:
            return is_public(str(inner))
    return found.is_global and not found.is_multicast


def _guard(session: requests.Session) -> None:
    """Have every connection of a session look where it leads: before it is made, and once it stands.

    Looking at the name beforehand alone would not do: it may mean another address a moment later.
    """
    from requests.adapters import HTTPAdapter
    from urllib3.connection import HTTPConnection, HTTPSConnection
    from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

    def foreign() -> ReadError:
        return ReadError(
            "it is not on the public network, or redirects to what is not; sync it from the command line instead"
        )

    def look(connection: HTTPConnection) -> None:
        """Before: what answers, what does not, and what there is no name for must not be told apart."""
        try:
            found = socket.getaddrinfo(connection.host, connection.port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError):
            raise foreign() from None
        if not all(is_public(str(one[4][0])) for one in found):
            raise foreign()

    def checked(sock: socket.socket) -> socket.socket:
        """After: by then the name may have meant another address."""
        if not is_public(str(sock.getpeername()[0])):
            sock.close()
            raise foreign()
        return sock

    class Plain(HTTPConnection):
        def _new_conn(self) -> socket.socket:
            look(self)
            return checked(super()._new_conn())

    class Secure(HTTPSConnection):
        def _new_conn(self) -> socket.socket:
            look(self)
            return checked(super()._new_conn())

    class PlainPool(HTTPConnectionPool):
        ConnectionCls = Plain

    class SecurePool(HTTPSConnectionPool):
        ConnectionCls = Secure

    adapter = HTTPAdapter()
    adapter.poolmanager.pool_classes_by_scheme = {"http": PlainPool, "https": SecurePool}
    session.mount("http://", adapter)
    session.mount("https://", adapter)
    session.trust_env = False  # a proxy would connect in its place


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
