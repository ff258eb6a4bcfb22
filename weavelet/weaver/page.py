"""Serves the page out of `static/`, which the wheel's build fills from `ui/`.

`index.html` may hold `__CSP_NONCE__` wherever it needs the nonce of its answer's content security
policy; each answer has a fresh one. The source has it as

    <meta name="csp-nonce" content="__CSP_NONCE__">

and what must insert a style element at run time (Vuetify's theme) reads it there. Styles without
the nonce and inline scripts do not run. All else lies under `assets/`, with names that change with
their content.
"""

from __future__ import annotations

import secrets
from pathlib import Path

from aiohttp import hdrs, web

from weavelet.weaver.guard import POLICY, content_policy

STATIC = Path(__file__).parent / "static"
NONCE_PLACE = "__CSP_NONCE__"
_NO_PAGE = """\
This is the weaver of weavelet. Its page is not part of this installation;
the command line is: weavelet ls, weavelet watch RUN, weavelet --help.
"""


class Page:
    """The routes of the page in a folder, `static`."""

    def __init__(self, static: Path) -> None:
        self._static = static

    def install(self, app: web.Application) -> None:
        """Add the routes."""
        app.router.add_get("/", self._index)
        if (self._static / "assets").is_dir():
            app.router.add_static("/assets", self._static / "assets")
        app.on_response_prepare.append(_keep_assets)

    async def _index(self, request: web.Request) -> web.Response:
        try:
            source = (self._static / "index.html").read_text("utf-8")
        except FileNotFoundError:
            return web.Response(text=_NO_PAGE)
        nonce = secrets.token_urlsafe(18)
        # Without an ETag: an old page would meet a new policy.
        return web.Response(
            text=source.replace(NONCE_PLACE, nonce),
            content_type="text/html",
            headers={
                hdrs.CACHE_CONTROL: "no-cache",
                POLICY: content_policy(nonce),
            },
        )


async def _keep_assets(request: web.Request, response: web.StreamResponse) -> None:
    if request.path.startswith("/assets/") and response.status in (200, 206, 304):
        response.headers[hdrs.CACHE_CONTROL] = "public, max-age=31536000, immutable"
