"""Where the NATS server is, asked afresh before every connection."""

from __future__ import annotations

import os

from weavelet import settings
from weavelet.wire.bus import Server


def find_server(url: str | None) -> Server | None:
    """The session's own choice, WEAVELET_NATS_URL, else what `weavelet up` wrote; None as yet."""
    creds = os.environ.get("WEAVELET_CREDS") or None
    chosen = url or os.environ.get("WEAVELET_NATS_URL")
    if chosen:
        return Server(chosen, creds)
    endpoint = settings.find_endpoint(settings.home())
    return None if endpoint is None else Server(endpoint.nats_url, creds)
