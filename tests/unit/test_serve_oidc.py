"""Logging in at an OpenID Connect provider: a real one on the loopback, which may lie in every way a token can."""

from __future__ import annotations

import base64
import hashlib
import json
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import httpx2
import pytest
import sqlalchemy as sa
from joserfc import jwt
from joserfc.jwk import RSAKey

from openbook.serve.access import COOKIE
from openbook.serve.store import CONVERSATIONS, open_store
from openbook.workspace import Workspace
from tests.serving import desk, running

CLIENT = "openbook-test"
SALARY = "98,000"
KEY, OTHER, NEW = (RSAKey.generate_key(2048, {"kid": kid}, private=True) for kid in ("one", "other", "two"))


@dataclass
class Provider:
    """Authorization code flow with PKCE; `claims` of the next token are changed by what a test says."""

    url: str = ""
    key: RSAKey = field(default_factory=lambda: KEY)
    signing: RSAKey | None = None
    """What tokens are signed with, if not with the key that is published."""
    claims: dict[str, Any] = field(default_factory=dict)
    begun: dict[str, dict[str, str]] = field(default_factory=dict)
    exchanged: list[str] = field(default_factory=list)

    def published(self) -> dict[str, Any]:
        return {"keys": [{**self.key.as_dict(private=False), "use": "sig", "alg": "RS256"}]}

    def facts(self) -> dict[str, Any]:
        return {
            "issuer": self.url,
            "authorization_endpoint": f"{self.url}/authorize",
            "token_endpoint": f"{self.url}/token",
            "jwks_uri": f"{self.url}/keys",
        }

    def authorize(self, asked: dict[str, str]) -> str:
        assert (asked["response_type"], asked["client_id"]) == ("code", CLIENT)
        assert asked["code_challenge_method"] == "S256"
        assert "openid" in asked["scope"].split()
        code = f"code-{len(self.begun)}"
        self.begun[code] = asked
        return f"{asked['redirect_uri']}?{urlencode({'code': code, 'state': asked['state']})}"

    def token(self, sent: dict[str, str]) -> tuple[int, dict[str, Any]]:
        asked = self.begun.pop(sent["code"], None)
        digest = hashlib.sha256(sent.get("code_verifier", "").encode()).digest()
        challenge = base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
        if asked is None or challenge != asked["code_challenge"] or sent["redirect_uri"] != asked["redirect_uri"]:
            return 400, {"error": "invalid_grant"}
        self.exchanged.append(sent["code"])
        now = int(time.time())
        claims = {"iss": self.url, "aud": CLIENT, "sub": "s-1", "nonce": asked["nonce"], "iat": now, "exp": now + 300}
        claims = {name: one for name, one in {**claims, **self.claims}.items() if one is not None}
        key = self.signing or self.key
        signed = jwt.encode({"alg": "RS256", "kid": key.kid}, claims, key)
        return 200, {"access_token": "opaque", "token_type": "Bearer", "id_token": signed}


class Handler(BaseHTTPRequestHandler):
    """The provider's doors."""

    provider: Provider

    def do_GET(self) -> None:
        asked = {name: one[0] for name, one in parse_qs(urlsplit(self.path).query).items()}
        match urlsplit(self.path).path:
            case "/.well-known/openid-configuration":
                self.say(200, self.provider.facts())
            case "/keys":
                self.say(200, self.provider.published())
            case "/authorize":
                self.send_response(302)
                self.send_header("Location", self.provider.authorize(asked))
                self.send_header("Content-Length", "0")
                self.end_headers()

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        self.say(*self.provider.token({name: one[0] for name, one in parse_qs(body).items()}))

    def say(self, status: int, told: dict[str, Any]) -> None:
        body = json.dumps(told).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Quiet."""


@dataclass
class Office:
    url: str
    workspace: Workspace
    provider: Provider

    def browser(self) -> httpx2.Client:
        return httpx2.Client(base_url=self.url, timeout=30, follow_redirects=False)

    def log_in(self, browser: httpx2.Client, to: str = "/library") -> httpx2.Response:
        """Through the provider and back; what the server says to that."""
        begun = browser.get("/login/oidc", params={"next": to})
        assert begun.status_code == 303, begun.text
        sent = httpx2.get(begun.headers["location"], follow_redirects=False)
        return browser.get(sent.headers["location"])


@pytest.fixture
def office(tmp_path: Path) -> Iterator[Office]:
    provider = Provider()
    httpd = ThreadingHTTPServer(("127.0.0.1", 0), type("Bound", (Handler,), {"provider": provider}))
    provider.url = f"http://127.0.0.1:{httpd.server_port}"
    thread = threading.Thread(target=httpd.serve_forever, args=(0.02,))
    thread.start()
    toml = (
        f'[serve]\noidc_issuer = "{provider.url}"\noidc_client_id = "{CLIENT}"\noidc_groups_claim = "roles"\n'
        'proxy_user_header = "X-User"\n'
    )
    workspace = desk(tmp_path / "desk", toml=toml)
    with running(workspace) as url:
        yield Office(url, workspace, provider)
    workspace.close()
    httpd.shutdown()
    thread.join()
    httpd.server_close()


def found(browser: httpx2.Client) -> httpx2.Response:
    token = browser.get("/").text.partition('name="csrf" content="')[2].partition('"')[0]
    return browser.post(
        "/api/search", json={"question": "senior engineer salary band"}, headers={"X-CSRF-Token": token}
    )


def test_who_comes_back_sees_what_their_groups_may_see(office: Office) -> None:
    with office.browser() as nobody:
        assert nobody.get("/api/documents").status_code == 401
    for roles, sees in ((["hr", "it"], True), ("hr", True), (["it"], False), (["*"], False), (None, False), (7, False)):
        office.provider.claims = {"roles": roles, "email": "ada@example.org", "email_verified": True}
        with office.browser() as browser:
            back = office.log_in(browser)
            assert (back.status_code, back.headers["location"]) == (303, "/library"), back.text
            assert "httponly" in back.headers["set-cookie"].lower()
            assert (SALARY in found(browser).text) is sees, roles
            assert browser.get("/api/keys").status_code == 403  # as serve.login_scopes says


@pytest.mark.parametrize(
    "claims",
    [
        {"nonce": "another"},
        {"nonce": None},
        {"aud": "another-client"},
        {"aud": None},
        {"aud": [CLIENT, "another"], "azp": "another"},
        {"iss": "https://evil.example.com"},
        {"iss": None},
        {"exp": 1_700_000_000},
        {"exp": None},
        {"sub": None},
        {"sub": ""},
    ],
    ids=repr,
)
def test_a_token_that_says_otherwise_logs_nobody_in(office: Office, claims: dict[str, Any]) -> None:
    office.provider.claims = claims
    with office.browser() as browser:
        back = office.log_in(browser)
        assert back.status_code == 401
        assert "does not count" in back.text
        assert COOKIE not in browser.cookies


def test_a_token_signed_by_anybody_else_logs_nobody_in(office: Office) -> None:
    posing = RSAKey.import_key({**OTHER.as_dict(private=True), "kid": "one"})
    for key in (OTHER, posing):
        office.provider.signing = key
        with office.browser() as browser:
            assert office.log_in(browser).status_code == 401
            assert COOKIE not in browser.cookies


def test_keys_that_the_provider_has_changed_meanwhile_are_asked_for(office: Office) -> None:
    with office.browser() as browser:
        assert office.log_in(browser).status_code == 303
    time.sleep(1.1)
    office.provider.key = NEW
    with office.browser() as browser:
        assert office.log_in(browser).status_code == 303


def test_a_log_in_ends_where_it_began_and_only_once(office: Office) -> None:
    with office.browser() as victim, office.browser() as thief:
        sent = httpx2.get(thief.get("/login/oidc").headers["location"], follow_redirects=False).headers["location"]
        assert "begun in another browser" in victim.get(sent).text  # else the victim would work in the thief's name
        assert COOKIE not in victim.cookies
        kept = dict(thief.cookies)
        assert thief.get(sent).status_code == 303
        with httpx2.Client(base_url=office.url, cookies=kept) as again:
            assert again.get(sent).status_code == 401
        assert len(office.provider.exchanged) == 1
        for path in ("/login/callback", "/login/callback?state=x&code=y", "/login/callback?error=access_denied"):
            assert thief.get(path).status_code == 401


@pytest.mark.parametrize("to", ["https://evil.example.com/", "//evil.example.com", "/\\evil.example.com", "/login"])
def test_after_a_log_in_nobody_is_led_elsewhere(office: Office, to: str) -> None:
    with office.browser() as browser:
        assert office.log_in(browser, to).headers["location"] == "/"


def test_people_of_different_origins_are_different_people(office: Office) -> None:
    """A proxy's user may be called whatever a provider's subject or name is, and the other way round."""
    names = ("s-1", f"s-1@{office.provider.url}", f"oidc:s-1@{office.provider.url}", "ada", "local", "open")
    office.provider.claims = {"preferred_username": "ada"}
    with office.browser() as browser:
        office.log_in(browser)
        token = browser.get("/").text.partition('name="csrf" content="')[2].partition('"')[0]
        asked = {"question": "How many vacation days?", "model": "extractive"}
        talk = browser.post("/api/ask", json=asked, headers={"X-CSRF-Token": token}).json()["conversation"]
        assert browser.get(f"/api/conversations/{talk}").status_code == 200
    for name in names:
        headers = {"X-User": name}
        assert httpx2.get(f"{office.url}/api/conversations", headers=headers).json() == {"conversations": []}
        assert httpx2.get(f"{office.url}/api/conversations/{talk}", headers=headers).status_code == 404
    with open_store(office.workspace.state / "server.db").connect() as db:
        assert set(db.execute(sa.select(CONVERSATIONS.c.owner)).scalars()) == {f"oidc:s-1@{office.provider.url}"}


def test_a_session_ends_when_its_provider_is_believed_no_longer_and_keeps_no_scope_that_was_taken(
    office: Office,
) -> None:
    settings = office.workspace.settings

    def now(**changes: Any) -> None:
        office.workspace.settings = settings.model_copy(update={"serve": settings.serve.model_copy(update=changes)})

    with office.browser() as browser:
        office.log_in(browser)
        assert browser.get("/api/documents").status_code == 200
        now(login_scopes=("ask",))
        assert browser.get("/api/documents").status_code == 403
        for issuer in ("", "https://other.example.org"):
            now(oidc_issuer=issuer)
            assert browser.get("/api/documents").status_code == 401
