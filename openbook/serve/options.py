"""Settings in, what a person needs to change them out: each with its meaning, bounds, and what is in force.

Knows which settings take effect at once, which need a restart, and which are the business of someone at this machine.
"""

from __future__ import annotations

import ast
import functools
import inspect
from typing import Any
from urllib.parse import urlsplit

from pydantic import BaseModel

from openbook import settings
from openbook.settings import Settings

LIVE = ("ingest", "retrieve", "answer", "finetune", "reading")
"""Sections whose settings are read whenever they are needed."""
LIVE_KEYS = frozenset(
    {
        "library.keep_versions",
        "serve.folders",
        "serve.web",
        "serve.max_upload_mb",
        "serve.requests_per_minute",
        "serve.concurrent",
        "serve.waiting",
        "serve.shutdown_seconds",
        "serve.keep_conversations",
    }
)
HERE_ONLY = frozenset(
    {
        "endpoint.url",
        "endpoint.api_key_env",
        "library.catalog_url",
        "library.qdrant_url",
        "library.qdrant_api_key_env",
        "finetune.own_probes",
        "serve.host",
        "serve.port",
        "serve.names",
        "serve.cors",
        "serve.folders",
        "serve.web",
        "serve.proxy_user_header",
        "serve.proxy_groups_header",
        "serve.trusted_proxies",
        "serve.login_scopes",
        "serve.oidc_issuer",
        "serve.oidc_client_id",
        "serve.oidc_client_secret_env",
        "serve.oidc_groups_claim",
        "serve.traces",
    }
)
"""They decide who gets in, what of this machine is read, or where its secrets go: no key over HTTP may set them."""
_BOUNDS = ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum")


def live(key: str) -> bool:
    """Whether a changed setting is in force at once."""
    return key in LIVE_KEYS or key.partition(".")[0] in LIVE


def here_only(key: str, value: object = None) -> bool:
    """Whether only someone at this machine may set it (so): places of the machine, addresses, and code.

    >>> here_only("retrieve.k", 5), here_only("finetune.metric", "mine:score"), here_only("models.generator", "/x.gguf")
    (False, True, True)
    """
    if key in HERE_ONLY:
        return True
    text = value if isinstance(value, str) else ""
    return (key == "finetune.metric" and ":" in text) or (key.startswith("models.") and ("/" in text or "\\" in text))


def shown(value: object) -> Any:
    """A setting's value without the password an address may hold.

    >>> shown("postgresql://desk:secret@db/openbook")
    'postgresql://desk:***@db/openbook'
    """
    if isinstance(value, tuple):
        return [shown(one) for one in value]
    if not isinstance(value, str) or "://" not in value:
        return value
    try:
        password = urlsplit(value).password
    except ValueError:
        return value.partition("://")[0] + "://***"
    return value.replace(f":{password}@", ":***@", 1) if password else value


def listed(written: Settings, in_force: Settings) -> list[dict[str, Any]]:
    """Every setting, as it is written in the file and as it is in force."""
    found = []
    for section, schema in _schemas().items():
        for name, one in schema.items():
            key = f"{section}.{name}"
            value, now = (getattr(getattr(which, section), name) for which in (written, in_force))
            found.append({**one, "key": key, "value": shown(value), "in_force": shown(now), "pending": value != now})
    return found


def names() -> frozenset[str]:
    """The names of all settings."""
    return frozenset(f"{section}.{name}" for section, schema in _schemas().items() for name in schema)


def applied(now: Settings, written: Settings) -> Settings:
    """What is in force after a change: `written` where it needs no restart, else as it was."""
    update: dict[str, Any] = {section: getattr(written, section) for section in LIVE}
    for key in LIVE_KEYS:
        section, name = key.split(".")
        before: BaseModel = update.get(section) or getattr(now, section)
        update[section] = before.model_copy(update={name: getattr(getattr(written, section), name)})
    return now.model_copy(update=update)


@functools.cache
def _schemas() -> dict[str, dict[str, dict[str, Any]]]:
    whole = Settings.model_json_schema()
    said = _docstrings()
    found: dict[str, dict[str, dict[str, Any]]] = {}
    for section, field in Settings.model_fields.items():
        kind = field.annotation
        if not (isinstance(kind, type) and issubclass(kind, BaseModel)):
            continue
        fields = whole["$defs"][kind.__name__]["properties"]
        found[section] = {
            name: {
                **_kind(fields[name]),
                "default": shown(one.get_default()),
                "description": said.get((kind.__name__, name), ""),
                "live": live(f"{section}.{name}"),
                "here_only": here_only(f"{section}.{name}"),
            }
            for name, one in kind.model_fields.items()
        }
    return found


def _kind(schema: dict[str, Any]) -> dict[str, Any]:
    """A field's JSON schema as one type with its choices and bounds; what may be null says so."""
    options = schema.get("anyOf", [schema])
    chosen = next((one for one in options if one.get("type") != "null"), schema)
    return {
        "type": chosen.get("type", "string"),
        "nullable": len(options) > 1,
        "choices": list(chosen["enum"]) if "enum" in chosen else [chosen["const"]] if "const" in chosen else [],
        **{bound: chosen.get(bound) for bound in _BOUNDS},
    }


def _docstrings() -> dict[tuple[str, str], str]:
    """(class, field) -> the string that stands under the field."""
    found: dict[tuple[str, str], str] = {}
    for node in ast.parse(inspect.getsource(settings)).body:
        if isinstance(node, ast.ClassDef):
            for field, after in zip(node.body, node.body[1:], strict=False):
                if (
                    isinstance(field, ast.AnnAssign)
                    and isinstance(field.target, ast.Name)
                    and isinstance(after, ast.Expr)
                    and isinstance(after.value, ast.Constant)
                    and isinstance(after.value.value, str)
                ):
                    found[node.name, field.target.id] = " ".join(after.value.value.split())
    return found
