"""The four streams: what they keep, for how long, how much, and how safely. Pure."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from typing import Any, TypeAlias

from weavelet.wire import subjects

EPOCH = "weavelet_epoch"

Config: TypeAlias = Mapping[str, Any]

_MIB = 1024 * 1024
_SECOND = 1_000_000_000  # JetStream counts nanoseconds
_DAY = 24 * 3600 * _SECOND

_COMMON: dict[str, Any] = {
    "retention": "limits",
    "storage": "file",
    "allow_direct": True,
    # How long a write that nobody confirmed can be repeated without being stored twice.
    "duplicate_window": 3600 * _SECOND,
}

_CONFIGS: tuple[dict[str, Any], ...] = (
    {
        "name": subjects.OUTCOME,
        "subjects": [subjects.ALL_OUTCOMES],
        "max_age": 90 * _DAY,
        "max_bytes": 1024 * _MIB,
        "discard": "old",
    },
    {
        "name": subjects.REPORT,
        "subjects": [subjects.ALL_REPORTS],
        "max_age": 30 * _DAY,
        "max_bytes": 2048 * _MIB,
        "max_msgs_per_subject": 20_000,
        "discard": "old",
        "duplicate_window": 30 * _SECOND,
        # Stored before it is on the disk: a power cut may cost the last seconds of telemetry.
        "persist_mode": "async",
    },
    {
        "name": subjects.EXTERNAL,
        "subjects": [subjects.ALL_EXTERNAL],
        "max_age": 7 * _DAY,
        "max_bytes": 64 * _MIB,
        "discard": "old",
    },
    {
        # The last to be created: it holds the epoch, whose presence says that all are there.
        "name": subjects.CONTROL,
        "subjects": [subjects.ALL_CONTROL],
        "max_age": 90 * _DAY,
        "max_bytes": 256 * _MIB,
        # A full log refuses commands: it must never lose one that was accepted.
        "discard": "new",
    },
)


def wanted() -> tuple[Config, ...]:
    """The configurations of all streams, in the order in which they are to be created."""
    return tuple({**_COMMON, **config} for config in _CONFIGS)


def to_create(config: Config, replicas: int) -> dict[str, Any]:
    """`config` for a stream that does not exist yet; the control log gets the store's epoch."""
    created = {**config, "num_replicas": replicas}
    if config["name"] == subjects.CONTROL:
        created["metadata"] = {EPOCH: secrets.token_hex(8)}
    return created


def to_update(config: Config, current: Config) -> dict[str, Any] | None:
    """What an existing stream is to become, None if it is as it should be.

    Replicas, placement and metadata stay as they are.
    """
    updated = {**current, **config}
    return None if updated == current else updated


def epoch_of(info: Mapping[str, Any]) -> str | None:
    """The store's epoch from the control stream's info, None if it says none."""
    try:
        epoch = info["config"]["metadata"][EPOCH]
    except (LookupError, TypeError):
        return None
    return str(epoch)
