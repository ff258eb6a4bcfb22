"""The one place where the weaver decides who may speak to it. Deny by default.

In order: the Host must be allowed (a rebound name is not), the Origin must be the page's own, the
browser must not say that another site asks, and all but the public routes need a token. What a
viewer may do beyond looking is decided where messages are handled, by `Guard.role`.
"""

from __future__ import annotations

import hmac
import logging
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from aiohttp import hdrs, web
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.typedefs import Handler, Middleware

Role: TypeAlias = Literal["viewer", "operator"]

LOCAL_HOSTS = frozenset({"localhost", "127.0.0.1", "::1"})

_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Server": "weavelet",
}
POLICY = "Content-Security-Policy"
_NETLOC = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(?::([0-9]{1,5}))?")
_SAFE = frozenset({"GET", "HEAD"})


@dataclass(frozen=True)
class Guard:
    """Who is admitted: two tokens, and hosts (`name` or `name:port`) beyond the local ones.

    A host without a port may be asked for at any one; as the origin of a page, behind a proxy that
    hides it, at the default port of http or https only: another port is another's server.

    `public` are the routes, as (method, canonical path), that need no token.
    """

    operator_token: str
    viewer_token: str
    allow_hosts: Sequence[str] = ()
    public: frozenset[tuple[str, str]] = frozenset()

    def install(self, app: web.Application) -> None:
        """Stand before every route of `app` and put the security headers on every answer."""
        app.middlewares.append(self._middleware())
        app.on_response_prepare.append(_add_headers)

    def role_of(self, token: str) -> Role | None:
        """Whose token this is, None if nobody's."""
        given = token.encode("utf-8", "surrogatepass")  # a header's bytes need not be text
        # Both are compared whatever the first says, so that time tells nothing.
        operator = hmac.compare_digest(given, self.operator_token.encode())
        viewer = hmac.compare_digest(given, self.viewer_token.encode())
        return "operator" if operator else "viewer" if viewer else None

    def role(self, request: web.Request) -> Role | None:
        """The role that a request's token gives, None without a good one."""
        bearer = _bearer(request)
        return self.role_of(bearer or request.cookies.get(cookie_name(request), ""))

    def _middleware(self) -> Middleware:
        @web.middleware
        async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
            refusal = self._refusal(request)
            return refusal if refusal is not None else await handler(request)

        return middleware

    def _refusal(self, request: web.Request) -> web.Response | None:
        hosts = request.headers.getall(hdrs.HOST, [])
        if len(hosts) != 1 or not self._allows(hosts[0]):
            return _refuse(
                421,
                f"this host name is not allowed: {', '.join(hosts) or 'none given'}; "
                "reach the weaver as localhost, or start it with --allow-host",
            )
        origins = request.headers.getall(hdrs.ORIGIN, [])
        if not all(self._is_own(one, hosts[0], secure=request.secure) for one in origins):
            return _refuse(403, f"requests from {', '.join(origins)} are not accepted")
        if _is_foreign(request):
            return _refuse(403, "requests from another site are not accepted")
        return self._refuse_stranger(request, from_page=bool(origins))

    def _refuse_stranger(self, request: web.Request, *, from_page: bool) -> web.Response | None:
        resource = request.match_info.route.resource
        path = resource.canonical if resource else ""
        if (request.method, path) in self.public:
            return None
        if self.role(request) is None:
            return _refuse(401, "a token is needed: see the link that `weavelet up` prints")
        changes = request.method not in _SAFE or hdrs.UPGRADE in request.headers
        if changes and not from_page and not _bearer(request):
            # Only a browser has the cookie, and a browser says where such a request comes from.
            return _refuse(403, "a request with the cookie needs an Origin")
        return None

    def _allows(self, host: str) -> bool:
        name, port = _split(host)
        return name in LOCAL_HOSTS or self._is_added(name, port, port)

    def _is_added(self, name: str, port: int | None, default: int | None) -> bool:
        return name != "" and any(
            name == allowed and (default if given is None else given) == port
            for allowed, given in map(_split, self.allow_hosts)
        )

    def _is_own(self, origin: str, host: str, *, secure: bool) -> bool:
        scheme, _, netloc = origin.partition("://")
        name, port = _split(netloc)
        if scheme != "https" and (secure or scheme != "http"):
            return False
        default = 443 if scheme == "https" else 80
        own_name, own_port = _split(host)
        # Where a proxy speaks TLS for us, the name had to be allowed.
        direct = secure == (scheme == "https") or own_name not in LOCAL_HOSTS
        if direct and name and (name, port or default) == (own_name, own_port or default):
            return True
        return self._is_added(name, port or default, default)


def content_policy(nonce: str = "") -> str:
    """What an answer may load and run: its own files, and style elements that carry the nonce."""
    styles = f"'self' 'nonce-{nonce}'" if nonce else "'self'"
    return (
        f"default-src 'self'; script-src 'self'; style-src {styles}; img-src 'self' data:; "
        "object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
    )


def cookie_name(request: web.Request) -> str:
    """The cookie that holds the token, one for each port: browsers mix up those of one host."""
    _, port = _split(request.headers.get(hdrs.HOST, ""))
    return f"weavelet-{port or 80}"


def server_log(complain: Callable[[str, str], None]) -> logging.Logger:
    """A log for aiohttp in which strangers cannot write at will.

    What is no HTTP goes to `complain`, with where it came from and why; who leaves in the middle
    of an answer is nothing to tell; the rest is logged.
    """

    def passes(record: logging.LogRecord) -> bool:
        error = record.exc_info[1] if record.exc_info else None
        if not isinstance(error, (HttpProcessingError, ConnectionError)):
            return True
        if isinstance(error, ConnectionError):
            return False
        remote = record.args[0] if isinstance(record.args, tuple) and record.args else "unknown"
        complain(f"HTTP from {remote}", type(error).__name__)
        return False

    # Not getLogger's, which would keep the filter of every weaver of this process.
    log = logging.Logger("weavelet.http")  # noqa: LOG001  for that reason
    log.parent = logging.getLogger("weavelet")
    log.addFilter(passes)
    return log


def _split(netloc: str) -> tuple[str, int | None]:
    found = _NETLOC.fullmatch(netloc)
    if found is None:
        return "", None
    name, port = found.groups()
    return name.strip("[]").lower().rstrip("."), int(port) if port else None


def _is_foreign(request: web.Request) -> bool:
    site = request.headers.get("Sec-Fetch-Site", "none")
    if site in ("none", "same-origin"):
        return False
    # Following a link to the page from elsewhere is fine; fetching, framing or posting is not.
    followed = (
        request.method == "GET"
        and request.headers.get("Sec-Fetch-Mode") == "navigate"
        and request.headers.get("Sec-Fetch-Dest") == "document"
    )
    return not followed


def _bearer(request: web.Request) -> str:
    scheme, _, token = request.headers.get(hdrs.AUTHORIZATION, "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""


def _refuse(status: int, text: str) -> web.Response:
    return web.Response(status=status, text=f"{text.encode('ascii', 'replace').decode()}\n")


async def _add_headers(request: web.Request, response: web.StreamResponse) -> None:
    response.headers.update(_HEADERS)
    response.headers.setdefault(POLICY, content_policy())
    response.headers.setdefault(hdrs.CACHE_CONTROL, "no-store")
