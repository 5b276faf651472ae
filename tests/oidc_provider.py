"""A small OpenID Connect provider on this machine, which signs in whom the test says, unasked."""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, cast
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest

CLIENT_ID = "clsl"
CLIENT_SECRET = "the client's own secret"


class Provider:
    """Discovery, authorization with consent given, tokens signed with RS256, keys.

    Attributes:
        person: The claims of whoever signs in next.
        fault: What is wrong with the next token: ``key``, ``aud``, ``azp`` (another's audience,
            our party), ``nonce``, ``iss``, ``old``, ``none`` (unsigned), or nothing.
        tokens: How many were handed out.
    """

    def __init__(self) -> None:
        joserfc = pytest.importorskip("joserfc.jwk", reason="Authlib is not installed")
        self.person: dict[str, Any] = {"sub": "1", "name": "Ada"}
        self.fault = ""
        self.tokens = 0
        self.key = joserfc.RSAKey.generate_key(2048, {"kid": "one", "use": "sig", "alg": "RS256"})
        self.other = joserfc.RSAKey.generate_key(2048, {"kid": "one", "use": "sig", "alg": "RS256"})
        self.codes: dict[str, dict[str, str]] = {}
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
        cast(Any, self.server).provider = self
        self.issuer = f"http://localhost:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    @property
    def metadata_url(self) -> str:
        return f"{self.issuer}/.well-known/openid-configuration"

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()

    def secrets_toml(self, app_url: str) -> str:
        """The section of the secrets with which a program signs people in here."""
        return (
            "[auth]\n"
            f'redirect_uri = "{app_url}/oauth2callback"\n'
            f'cookie_secret = "{secrets.token_urlsafe(48)}"\n'
            f'client_id = "{CLIENT_ID}"\n'
            f'client_secret = "{CLIENT_SECRET}"\n'
            f'server_metadata_url = "{self.metadata_url}"\n'
        )

    def discovery(self) -> dict[str, Any]:
        return {
            "issuer": self.issuer,
            "authorization_endpoint": f"{self.issuer}/authorize",
            "token_endpoint": f"{self.issuer}/token",
            "jwks_uri": f"{self.issuer}/keys",
            "response_types_supported": ["code"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": ["RS256"],
            "code_challenge_methods_supported": ["S256"],
        }

    def authorize(self, query: dict[str, str]) -> str:
        """Give the consent; where the browser goes next."""
        assert query["client_id"] == CLIENT_ID
        assert "openid" in query["scope"].split()
        code = secrets.token_urlsafe(16)
        self.codes[code] = query
        back = urlencode({"code": code, "state": query["state"]})
        return f"{query['redirect_uri']}?{back}"

    def token(self, form: dict[str, str], authorization: str) -> dict[str, Any]:
        """Change a code, once, into an identity token."""
        asked = self.codes.pop(form["code"])
        given = base64.b64decode(authorization.removeprefix("Basic ")).decode()
        assert given.partition(":")[0] == CLIENT_ID
        assert form["redirect_uri"] == asked["redirect_uri"]
        digest = hashlib.sha256(form["code_verifier"].encode()).digest()
        assert base64.urlsafe_b64encode(digest).rstrip(b"=").decode() == asked["code_challenge"]
        self.tokens += 1
        return {
            "access_token": secrets.token_urlsafe(16),
            "token_type": "Bearer",
            "expires_in": 300,
            "id_token": self.id_token(asked["nonce"]),
        }

    def id_token(self, nonce: str) -> str:
        """An identity token of the person, with what the fault says."""
        from joserfc import jwt

        moment = int(time.time()) - (7200 if self.fault == "old" else 0)
        claims = {
            "iss": "http://localhost:1" if self.fault == "iss" else self.issuer,
            "aud": "another program" if self.fault in ("aud", "azp") else CLIENT_ID,
            "iat": moment,
            "exp": moment + 300,
            "nonce": "another" if self.fault == "nonce" else nonce,
            **self.person,
        }
        if self.fault == "azp":
            claims["azp"] = CLIENT_ID  # as if it were still for us
        if self.fault == "none":
            parts = ({"alg": "none"}, claims)
            encoded = (base64.urlsafe_b64encode(json.dumps(one).encode()) for one in parts)
            return b".".join([*(one.rstrip(b"=") for one in encoded), b""]).decode()
        key = self.other if self.fault == "key" else self.key
        return jwt.encode({"alg": "RS256", "kid": "one"}, claims, key)


class _Handler(BaseHTTPRequestHandler):
    @property
    def provider(self) -> Provider:
        return cast(Any, self.server).provider

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        query = {name: values[0] for name, values in parse_qs(parts.query).items()}
        if parts.path == "/.well-known/openid-configuration":
            self.answer(self.provider.discovery())
        elif parts.path == "/keys":
            self.answer({"keys": [self.provider.key.as_dict(private=False)]})
        elif parts.path == "/authorize":
            self.send_response(302)
            self.send_header("Location", self.provider.authorize(query))
            self.end_headers()
        else:
            self.send_error(404)

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        form = {name: values[0] for name, values in parse_qs(body).items()}
        self.answer(self.provider.token(form, self.headers.get("Authorization", "")))

    def answer(self, document: dict[str, Any]) -> None:
        body = json.dumps(document).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""
