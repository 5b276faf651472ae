"""Who may prove who people are: the providers of the section ``[auth]`` of the secrets, checked.

Whatever is missing is said before anybody is sent to a provider, and nobody is let in meanwhile.
"""

from __future__ import annotations

import importlib
import json
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from http.client import HTTPException
from urllib.parse import urlsplit

from clsl_core.errors import ClslError

SECRETS = ".streamlit/secrets.toml"  # a file's name
DEFAULT = "default"
SECRET_LENGTH = 32
CALLBACK = "/oauth2callback"
PATIENCE = 10.0
"""Seconds for a provider to answer."""
MOST_BYTES = 1_000_000
NEEDED = ("issuer", "authorization_endpoint", "token_endpoint", "jwks_uri")
MORE = "see docs/how-to/sign-in.md"


class SetupError(ClslError):
    """People are to sign in, and cannot: whoever runs the program must do something."""


@dataclass(frozen=True, slots=True)
class Provider:
    """A provider that people can sign in with.

    Attributes:
        name: ``default``, or that of its section ``[auth.NAME]``.
        client_id: What the provider calls this program.
        metadata_url: Of its discovery document.
    """

    name: str
    client_id: str
    metadata_url: str


def providers(auth: Mapping[str, object] | None) -> list[Provider]:
    """The providers of the secrets' section ``[auth]``, in its order.

    Raises:
        SetupError: There is none, something is missing or unsafe, or Authlib is not installed.
    """
    if auth is None:
        raise SetupError(
            f"people must sign in here, but there is no section [auth] in {SECRETS}: restore it "
            f"({MORE}), or set CLSL_SIGN_IN=off to let everybody in without"
        )
    _check_common(auth)
    sections: dict[str, Mapping[str, object]] = {
        name: section
        for name, section in auth.items()
        if isinstance(section, Mapping) and name != "client_kwargs"
    }
    found = [_provider(name, section) for name, section in sections.items()]
    if not found or any(key in auth for key in ("client_id", "server_metadata_url")):
        found.insert(0, _provider(DEFAULT, auth))
    _check_authlib()
    return found


def check_reachable(provider: Provider, patience: float = PATIENCE) -> None:
    """See that a provider answers with what signing in takes.

    Raises:
        SetupError: It does not; the message says what was found.
    """
    where = f"the sign-in provider at {provider.metadata_url}"
    request = urllib.request.Request(  # noqa: S310 - https, or http on this machine: checked before
        provider.metadata_url, headers={"Accept": "application/json"}
    )
    try:
        with urllib.request.urlopen(request, timeout=patience) as answer:  # noqa: S310
            document = json.loads(answer.read(MOST_BYTES))
    except urllib.error.HTTPError as error:
        raise SetupError(
            f"{where} answers {error.code}: compare server_metadata_url in {SECRETS} with what "
            "the provider says"
        ) from error
    except (OSError, HTTPException) as error:
        reason = getattr(error, "reason", None) or type(error).__name__
        raise SetupError(
            f"{where} cannot be reached ({reason}): try again in a minute; if it stays so, whoever "
            f"runs the program looks at the network and at server_metadata_url in {SECRETS}"
        ) from error
    except ValueError as error:
        raise SetupError(
            f"{where} does not answer with JSON: server_metadata_url in {SECRETS} must be that of "
            "the discovery document, which ends in /.well-known/openid-configuration"
        ) from error
    missing = [one for one in NEEDED if not isinstance(document, dict) or not document.get(one)]
    if missing:
        raise SetupError(
            f"{where} does not name its {', '.join(missing)}: server_metadata_url in {SECRETS} "
            "must be that of the discovery document, which ends in "
            "/.well-known/openid-configuration"
        )


def _check_common(auth: Mapping[str, object]) -> None:
    redirect = _text(auth, "redirect_uri", "[auth]")
    if not redirect.endswith(CALLBACK):
        raise SetupError(
            f"redirect_uri in {SECRETS} is {redirect!r} and must end in {CALLBACK}; the provider "
            "must know the very same address"
        )
    _check_address("redirect_uri", redirect)
    if len(_text(auth, "cookie_secret", "[auth]")) < SECRET_LENGTH:
        raise SetupError(
            f"cookie_secret in {SECRETS} is too short to keep anybody from guessing it: it needs "
            f"{SECRET_LENGTH} characters of chance, as python3 -c "
            "'import secrets; print(secrets.token_urlsafe(48))' prints them"
        )


def _provider(name: str, section: Mapping[str, object]) -> Provider:
    where = "[auth]" if name == DEFAULT else f"[auth.{name}]"
    if "_" in name:
        raise SetupError(f"the provider {where} in {SECRETS} must have a name without underscores")
    client_id = _text(section, "client_id", where)
    _text(section, "client_secret", where)
    metadata_url = _text(section, "server_metadata_url", where)
    _check_address("server_metadata_url", metadata_url)
    return Provider(name, client_id, metadata_url)


def _text(section: Mapping[str, object], key: str, where: str) -> str:
    value = dict(section).get(key)
    if not isinstance(value, str) or not value.strip():
        raise SetupError(
            f"{where} in {SECRETS} has no {key}: nobody can sign in before it has ({MORE})"
        )
    return value


def _check_address(key: str, url: str) -> None:
    """https, or http on this machine."""
    try:
        parts = urlsplit(url)
        host, scheme = parts.hostname, parts.scheme
    except ValueError:
        host, scheme = None, ""
    local = host in ("localhost", "127.0.0.1", "::1")
    if not host or scheme not in ("http", "https") or (scheme == "http" and not local):
        raise SetupError(
            f"{key} in {SECRETS} is {url!r} and must begin with https:// (http:// only on "
            "localhost): others on the network could read along"
        )


def _check_authlib() -> None:
    try:
        importlib.import_module("authlib.integrations.starlette_client")
    except ImportError as error:
        raise SetupError(
            "people must sign in here, but the package Authlib is not installed: run pip install "
            "'clsl[oidc]', then start the program again"
        ) from error
