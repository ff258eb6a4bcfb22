"""The operator's process: the public Python client and the command line."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from weavelet.client.client import Client
    from weavelet.client.result import Result

__all__ = ["Client", "Result"]


def __getattr__(name: str) -> Any:
    # Lazy, since `weavelet --help` lives in this package too and must not wait for aiohttp.
    if name in __all__:
        from weavelet.client import client  # noqa: PLC0415

        return getattr(client, name)
    msg = f"module {__name__!r} has no attribute {name!r}"
    raise AttributeError(msg)
