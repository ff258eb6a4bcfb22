"""What a session gives to the user's checkpoint, and what it knows of one that was loaded."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

import msgspec

from weavelet.adoption import Past
from weavelet.controls import Registry
from weavelet.exceptions import ControlError
from weavelet.messages import AppliedSet, Change, Value
from weavelet.values import short

VERSION = 1

_log = logging.getLogger("weavelet")


class Checkpoint(msgspec.Struct, frozen=True, kw_only=True):
    """A state_dict, typed. `decided` names the entries of the job's log that had an outcome."""

    version: int
    run: str
    job: str
    step: int | None
    values: dict[str, Value]
    decided: dict[str, Past]


class Memory:
    """Which entries are decided: in this life, and in the one that a loaded checkpoint is of.

    `held` are those of the checkpoint: they are not applied again. `adopted` are the Sets that this
    life took over from the log.
    """

    def __init__(self) -> None:
        self.held: dict[str, Past] = {}
        self.decided: dict[str, Past] = {}
        self.adopted: list[AppliedSet] = []

    def end_life(self) -> None:
        """Forget all: the next life begins from the log, or from what it loads."""
        self.held, self.decided, self.adopted = {}, {}, []

    def write(self, run: str, job: str, step: int | None, values: dict[str, Value]) -> Any:
        """A state_dict."""
        decided = {**self.held, **self.decided}
        state = Checkpoint(
            version=VERSION, run=run, job=job, step=step, values=values, decided=decided
        )
        return _without_tuples(msgspec.to_builtins(state))

    def values(self, loaded: Checkpoint, *, log_wins: bool) -> dict[str, Value]:
        """The values to set for a checkpoint.

        Where the log wins, what it had this life adopt stays, unless the checkpoint knows of it.
        """
        values = dict(loaded.values)
        for one in self.adopted if log_wins else ():
            if one.entry not in loaded.decided:
                values.update(one.values)
        return values

    def hold(self, loaded: Checkpoint, run: str, job: str) -> None:
        """A checkpoint is loaded now; what it holds of this job is not applied again."""
        self.held = loaded.decided if (loaded.run, loaded.job) == (run, job) else {}


def _without_tuples(value: Any) -> Any:
    """As JSON, which has none, gives it back."""
    if isinstance(value, dict):
        return {name: _without_tuples(item) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_without_tuples(item) for item in value]
    return value


def read(state: object) -> Checkpoint:
    """What `state_dict()` returned, checked.

    Raises:
        ValueError: it is something else, or of another version of weavelet.
    """
    version = state.get("version") if isinstance(state, Mapping) else None
    if version is not None and version != VERSION:
        msg = f"a state_dict of version {short(version)}, but this weavelet reads {VERSION}"
        raise ValueError(msg)
    try:
        return msgspec.convert(state, Checkpoint)
    except msgspec.ValidationError as error:
        msg = f"expected what Weavelet.state_dict() returned, got {short(state)}: {error}"
        raise ValueError(msg) from None


def restore(registry: Registry, values: Mapping[str, Value], *, strict: bool) -> tuple[Change, ...]:
    """Set what differs from `values`, all or nothing.

    Raises:
        ControlError: a control is not registered (unless not strict), refuses its value, or fails.
    """
    known = registry.names()
    for name in values.keys() - known:
        if strict:
            text = (
                "the checkpoint holds a value for it, but it is not registered here; register it "
                "before loading, or load with strict=False"
            )
            raise ControlError(name, text)
        _log.warning("the checkpoint holds a value for %s, which is not registered here", name)
    current = registry.values()
    differing = {
        name: value
        for name, value in values.items()
        if name in known and (name not in current or not _same(current[name], value))
    }
    verdict = registry.apply(differing, by="loaded from a checkpoint")
    if verdict.kind == "applied":
        return verdict.changes
    name, _, text = (verdict.reason or verdict.kind).partition(": ")
    raise ControlError(name, text)


def _same(one: Value, other: Value) -> bool:
    # Not a bare ==: NaN is what it is.
    return bool(one == other) or msgspec.msgpack.encode(one) == msgspec.msgpack.encode(other)
