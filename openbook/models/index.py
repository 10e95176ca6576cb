"""The user's pip settings in, a ready HTTP session and index address out; downloads nothing itself.

Whoever could install Openbook here has told pip or uv how: which index, which certificates, which proxy. The same
settings bring the models.
"""

from __future__ import annotations

import configparser
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

import platformdirs

if TYPE_CHECKING:
    import requests

_INDEX = ("PIP_INDEX_URL", "UV_DEFAULT_INDEX", "UV_INDEX_URL")
_CERTIFICATES = ("PIP_CERT", "SSL_CERT_FILE")


def index_url() -> str:
    """The package index: of PIP_INDEX_URL, UV_DEFAULT_INDEX, UV_INDEX_URL or pip's files, else the public one."""
    from pypi_simple import PYPI_SIMPLE_ENDPOINT

    for name in _INDEX:
        # uv writes a named index as name=URL.
        value = os.environ.get(name, "").strip()
        if value:
            return value.split("=", 1)[1] if value.split("://")[0].count("=") else value
    return pip_option("index-url") or PYPI_SIMPLE_ENDPOINT


def session() -> requests.Session:
    """An HTTP session with the certificates, proxy and password that pip would use.

    Certificates: PIP_CERT, SSL_CERT_FILE, pip's `cert`; REQUESTS_CA_BUNDLE and HTTP(S)_PROXY hold as always.
    """
    import requests

    made = requests.Session()
    certificates = [os.environ.get(name, "") for name in _CERTIFICATES] + [pip_option("cert")]
    made.verify = next((path for path in certificates if path and Path(path).exists()), True)
    proxy = os.environ.get("PIP_PROXY") or pip_option("proxy")
    if proxy:
        made.proxies = {"http": proxy, "https": proxy}
    parts = urlsplit(index_url())
    if parts.username:
        user, password, host = unquote(parts.username), unquote(parts.password or ""), parts.hostname

        def only_there(request: requests.PreparedRequest) -> requests.PreparedRequest:
            if urlsplit(request.url or "").hostname == host:
                return requests.auth.HTTPBasicAuth(user, password)(request)
            return request

        made.auth = only_there
    return made


def pip_option(name: str) -> str:
    """An option of pip's configuration files, the most specific file first; "" when none sets it."""
    for path in reversed(_pip_files()):
        parser = configparser.RawConfigParser()
        try:
            parser.read(path, encoding="utf-8")
        except (configparser.Error, OSError, UnicodeDecodeError):
            continue
        for section in ("install", "global"):
            if parser.has_option(section, name):
                return parser.get(section, name).strip()
    return ""


def _pip_files() -> list[Path]:
    named = os.environ.get("PIP_CONFIG_FILE")
    if named == os.devnull:
        return []
    name = "pip.ini" if sys.platform == "win32" else "pip.conf"
    home = Path.home()
    files = [
        Path(platformdirs.site_config_dir("pip", appauthor=False)) / name,
        Path("/etc") / name,
        home / ("pip" if sys.platform == "win32" else ".pip") / name,
        Path(platformdirs.user_config_dir("pip", appauthor=False, roaming=True)) / name,
        home / ".config" / "pip" / name,
        Path(sys.prefix) / name,
    ]
    return [path for path in [*files, *([Path(named)] if named else [])] if path.is_file()]
