"""Optional packages: imported where they are used, missing ones named with their pip line."""

from __future__ import annotations

import importlib
from typing import Any

from openbook.errors import MissingExtra


def need(module: str, *, extra: str, purpose: str) -> Any:
    """Import an optional module, or raise MissingExtra with the exact pip line.

    >>> need("json", extra="ocr", purpose="reading scans").__name__
    'json'
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        if error.name is not None and error.name.split(".")[0] != module.split(".")[0]:
            raise
        raise MissingExtra(
            f"{purpose} needs an optional package; install it with: pip install 'openbook[{extra}]'"
        ) from None
