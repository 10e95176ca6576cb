"""Logging in at an OpenID Connect provider: an address to go to out, a name and groups back. Needs openbook[login].

Authorization code flow with PKCE (RFC 7636), state and nonce; the ID token's signature, issuer, audience, expiry and
nonce are checked against the provider's published keys (OpenID Connect Core 1.0, 3.1.3.7).
"""

from __future__ import annotations

import math
import os
import secrets
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from openbook.errors import ServeError
from openbook.extras import need
from openbook.serve.errors import Refused
from openbook.settings import Serve

_TIMEOUT = 10
_PATIENCE = 600.0
"""Seconds a person has for logging in."""
_KEPT, _FRESH = 3600.0, 1.0
"""Seconds the provider's addresses and keys are believed, and in which they are not asked for again."""
_MOST = 1000
"""Log-ins under way at once; the oldest are forgotten."""
_ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "ES256", "ES384", "EdDSA")


@dataclass(frozen=True, slots=True)
class Begun:
    """A log-in under way."""

    verifier: str
    nonce: str
    next: str
    redirect: str
    at: float


@dataclass(frozen=True, slots=True)
class Person:
    """Who the provider says it is."""

    id: str
    """"oidc:SUBJECT@ISSUER", which never changes hands."""
    name: str
    """What people call each other; anybody may have it."""
    groups: tuple[str, ...]
    next: str


class Provider:
    """One provider. Thread-safe; every method may wait for the network."""

    def __init__(self, settings: Serve) -> None:
        """Raises MissingExtra."""
        need("authlib", extra="login", purpose="logging in at a provider")
        self._settings = settings
        self._turn = threading.Lock()
        self._begun: dict[str, Begun] = {}
        self._facts: Mapping[str, Any] = {}
        self._keys: Any = None
        self._read = 0.0

    def begin(self, redirect: str, next_page: str) -> tuple[str, str]:
        """(the provider's address to send the browser to, the state it will come back with).

        Raises ServeError when the provider is away.
        """
        state, verifier, nonce = (secrets.token_urlsafe(32) for _ in range(3))
        with self._client(redirect) as client:
            address, _ = client.create_authorization_url(
                self._known()["authorization_endpoint"], state=state, code_verifier=verifier, nonce=nonce
            )
        with self._turn:
            now = time.monotonic()
            self._begun = {key: one for key, one in self._begun.items() if now - one.at < _PATIENCE}
            while len(self._begun) >= _MOST:
                del self._begun[next(iter(self._begun))]
            self._begun[state] = Begun(verifier, nonce, next_page, redirect, now)
        return str(address), state

    def end(self, state: str, code: str) -> Person:
        """Who came back. Raises Refused 403 for what was not begun here or is not proven, ServeError."""
        from authlib.integrations.base_client.errors import AuthlibBaseError
        from joserfc.errors import JoseError
        from joserfc.jwt import JWTClaimsRegistry

        with self._turn:
            begun = self._begun.pop(state, None)
        if begun is None or time.monotonic() - begun.at > _PATIENCE:
            raise _unproven("it was not begun here, or took too long")
        try:
            with self._client(begun.redirect) as client:
                token = client.fetch_token(
                    self._known()["token_endpoint"], code=code, code_verifier=begun.verifier, timeout=_TIMEOUT
                )
        except (AuthlibBaseError, OSError) as error:
            raise _unproven(f"the provider gave no token ({type(error).__name__})") from None
        try:
            proven = self._decoded(str(token.get("id_token", "")))
            JWTClaimsRegistry(
                leeway=60,
                iss={"essential": True, "value": self._known()["issuer"]},
                aud={"essential": True, "value": self._settings.oidc_client_id},
                exp={"essential": True},
                sub={"essential": True},
                azp={"value": self._settings.oidc_client_id},
                nonce={"essential": True, "value": begun.nonce},
            ).validate(proven.claims)
        except (JoseError, ValueError) as error:
            raise _unproven(f"the provider's token does not hold ({type(error).__name__})") from None
        return self._person(proven.claims, begun.next)

    def _decoded(self, token: str) -> Any:
        """The token, once its signature holds; for a key that is not known the provider is asked for its new ones."""
        from joserfc import jwt
        from joserfc.errors import InvalidKeyIdError

        try:
            return jwt.decode(token, self._keys, algorithms=list(_ALGORITHMS))
        except InvalidKeyIdError:
            with self._turn:
                if time.monotonic() - self._read < _FRESH:
                    raise
                self._read = -math.inf
            self._known()
            return jwt.decode(token, self._keys, algorithms=list(_ALGORITHMS))

    def _person(self, claims: Mapping[str, Any], next_page: str) -> Person:
        subject = str(claims["sub"])
        name = str(claims.get("email") if claims.get("email_verified") else claims.get("preferred_username") or subject)
        told = claims.get(self._settings.oidc_groups_claim, ())
        groups = told.split(",") if isinstance(told, str) else told if isinstance(told, list) else ()
        return Person(
            f"oidc:{subject}@{self._settings.oidc_issuer}", name, tuple(str(one) for one in groups), next_page
        )

    def _client(self, redirect: str) -> Any:
        from authlib.integrations.requests_client import OAuth2Session

        settings = self._settings
        secret = os.environ.get(settings.oidc_client_secret_env, "")
        return OAuth2Session(
            settings.oidc_client_id,
            secret or None,
            scope="openid profile email",
            redirect_uri=redirect,
            code_challenge_method="S256",
            token_endpoint_auth_method="client_secret_basic" if secret else "none",
        )

    def _known(self) -> Mapping[str, Any]:
        import requests
        from joserfc.jwk import KeySet

        with self._turn:
            if not self._facts or time.monotonic() - self._read > _KEPT:
                issuer = self._settings.oidc_issuer.rstrip("/")
                try:
                    facts = requests.get(f"{issuer}/.well-known/openid-configuration", timeout=_TIMEOUT).json()
                    if str(facts["issuer"]).rstrip("/") != issuer:
                        raise ServeError(f"the provider {issuer!r} calls itself {facts['issuer']!r}; mend oidc_issuer")
                    self._keys = KeySet.import_key_set(requests.get(facts["jwks_uri"], timeout=_TIMEOUT).json())
                except (requests.RequestException, ValueError, KeyError, TypeError) as error:
                    raise ServeError(
                        f"the login provider {issuer!r} does not answer as it should ({type(error).__name__}); "
                        "check serve.oidc_issuer, or log in with a key"
                    ) from None
                self._facts, self._read = facts, time.monotonic()
            return self._facts


def _unproven(why: str) -> Refused:
    return Refused(403, f"this log-in does not count: {why}; log in again", code="login_failed")
