"""Where the weaver is and with which token it is spoken to."""

from __future__ import annotations

import os
from collections.abc import Mapping
from urllib.parse import parse_qs, urlsplit, urlunsplit

import msgspec

from weavelet import settings
from weavelet.exceptions import CommandError


class Address(msgspec.Struct, frozen=True):
    """The weaver's http URL without a trailing slash, its token, and where both were found."""

    url: str
    token: str
    source: str

    @property
    def link(self) -> str:
        """What to open in a browser; the token travels in the fragment."""
        return link(self.url, self.token)


def link(url: str, token: str) -> str:
    """The address of the page with its token in the fragment, which no server sees or logs."""
    return f"{url}/#token={token}" if token else f"{url}/"


def find(
    url: str | None = None, token: str | None = None, environ: Mapping[str, str] = os.environ
) -> Address:
    """The weaver to speak to: the arguments, WEAVELET_URL and WEAVELET_TOKEN, else the home.

    A link as printed by `weavelet up`, with `#token=…`, is a valid URL.

    Raises:
        CommandError: `unavailable` if nothing runs here, `invalid_value` if the URL is none.
    """
    token = token or environ.get("WEAVELET_TOKEN") or None
    if url:
        return _given(url, token, "argument", environ)
    if variable := environ.get("WEAVELET_URL"):
        return _given(variable, token, "WEAVELET_URL", environ)
    folder = settings.home(environ)
    endpoint = settings.find_endpoint(folder)
    if endpoint is None:
        msg = (
            f"Nothing is running here: no server is up in {folder}. Start it with "
            "`weavelet up`, or name one elsewhere in WEAVELET_URL and WEAVELET_TOKEN."
        )
        raise CommandError("unavailable", msg, exit_code=3)
    return Address(
        endpoint.http_url.rstrip("/"), token or endpoint.token, str(folder / "endpoint.json")
    )


def _given(url: str, token: str | None, source: str, environ: Mapping[str, str]) -> Address:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.netloc:
        msg = f"{source}: expected a URL such as http://127.0.0.1:8080, got {url!r}."
        raise CommandError("invalid_value", msg, exit_code=2)
    base = urlunsplit((parts.scheme, parts.netloc, parts.path.rstrip("/"), "", ""))
    if token is None:
        token = parse_qs(parts.fragment).get("token", [None])[0] or _token_at(base, environ)
    return Address(base, token, source)


def _token_at(url: str, environ: Mapping[str, str]) -> str:
    endpoint = settings.read_endpoint(settings.home(environ))
    return endpoint.token if endpoint and endpoint.http_url.rstrip("/") == url else ""
