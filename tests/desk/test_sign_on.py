"""Single sign-on through a provider of the test's own: the account follows the address and the claimed role."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import parse_qs, urlsplit

import httpx
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from jwt.algorithms import RSAAlgorithm

from tests.desk.conftest import small_desk_shop
from tests.desk.desk_server import desk_server

pytestmark = pytest.mark.full  # a server


class Provider(BaseHTTPRequestHandler):
    """Vouches for whoever ``claims`` says, and takes a code once."""

    claims: ClassVar[dict[str, Any]] = {}
    token: ClassVar[dict[str, Any]] = {}  # what the token alone claims
    nonce, address = "", ""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)

    def log_message(self, *_: object) -> None:
        """Nothing."""

    def do_GET(self) -> None:
        path = urlsplit(self.path).path
        if path == "/authorize":
            asked = {name: values[0] for name, values in parse_qs(urlsplit(self.path).query).items()}
            assert asked["code_challenge_method"] == "S256"
            type(self).nonce = asked["nonce"]
            self.send_response(302)
            self.send_header("Location", f"{asked['redirect_uri']}?code=4711&state={asked['state']}")
            self.end_headers()
        elif path == "/keys":
            self._answer({"keys": [{**json.loads(RSAAlgorithm.to_jwk(self.key.public_key())), "kid": "k", "alg": "RS256"}]})
        elif path == "/userinfo":
            self._answer({"sub": "1", **self.claims})
        else:
            names = {"authorization_endpoint": "authorize", "token_endpoint": "token", "userinfo_endpoint": "userinfo"}
            self._answer({**{name: f"{self.address}/{at}" for name, at in names.items()}, "jwks_uri": f"{self.address}/keys"})

    def do_POST(self) -> None:
        sent = parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
        assert (sent["code"], sent["client_secret"], len(sent["code_verifier"][0])) == (["4711"], ["secret"], 64)
        claims = {"iss": self.address, "aud": "desk", "sub": "1", "exp": int(time.time()) + 600, "nonce": self.nonce}
        token = jwt.encode({**claims, **self.claims, **self.token}, self.key, algorithm="RS256", headers={"kid": "k"})
        self._answer({"access_token": "a", "token_type": "Bearer", "id_token": token})

    def _answer(self, document: object) -> None:
        content = json.dumps(document).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)


@contextmanager
def provider() -> Iterator[type[Provider]]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Provider) as server:
        Provider.address = f"http://127.0.0.1:{server.server_port}"
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield Provider
        server.shutdown()


def signed_in(address: str, after: str = "/models/") -> httpx.Response:
    with httpx.Client(base_url=address, follow_redirects=True, timeout=60) as browser:
        return browser.get("/oidc/authenticate/", params={"next": after})


def test_an_account_follows_what_the_provider_claims(tmp_path: Path) -> None:
    shop = small_desk_shop(tmp_path)
    own = {"oidc_client_id": "desk", "oidc_client_secret": "secret", "oidc_roles_claim": "groups"}
    with (
        provider() as known,
        desk_server(shop.settings, tmp_path / "log", oidc_issuer=known.address, **own) as (address, commands),
    ):
        assert "/oidc/authenticate/" in httpx.get(f"{address}/login/", timeout=60).text
        known.claims = {"email": "Anna@shop.example", "email_verified": True, "groups": ["staff", "approver", "viewer"]}
        page = signed_in(address)
        assert (page.status_code, page.url.path, "anna@shop.example" in page.text) == (200, "/models/", True)
        assert commands.accounts() == {"anna@shop.example": "approver"}
        known.claims = {"email": "anna@shop.example", "email_verified": True, "groups": ["staff"]}
        assert signed_in(address).status_code == 403
        for claim in ({"email_verified": False}, {}):
            known.claims = {"email": "berta@shop.example", "groups": ["admin"], **claim}
            assert signed_in(address).url.path == "/login/"
        assert commands.accounts() == {"anna@shop.example": ""}
        known.claims = {"email": "anna.lee@shop.example", "email_verified": True, "groups": ["marketer"]}
        page = signed_in(address, after="https://evil.example/")
        assert (page.url.host, page.url.path, "anna@shop.example" in page.text) == ("127.0.0.1", "/", True)
        known.claims = {"sub": "2", "email": "anna@shop.example", "email_verified": True, "groups": ["admin"]}
        assert "anna@shop.example-2" in signed_in(address).text
        assert commands.accounts() == {"anna@shop.example": "marketer", "anna@shop.example-2": "admin"}
        for token in ({"sub": "1"}, {"iss": "https://evil.example"}, {"aud": "another client"}):
            known.token = token
            assert signed_in(address).url.path == "/login/"
