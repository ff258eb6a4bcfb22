"""What is set by hand on an optimizer, beside what its scheduler writes there.

It is kept in the param groups, so that it travels in `optimizer.state_dict()`. The keys are there
only while something differs from the schedule. A learning rate is the schedule's number times a
factor; a momentum that a scheduler cycles is pinned.
"""

from __future__ import annotations

import math
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple, TypeAlias

import torch
from torch import Tensor
from torch.optim import Optimizer

from weavelet.integrations.weak import Weak

Group: TypeAlias = dict[str, Any]

FACTOR = "weavelet_lr_scale"
SCHEDULE = "weavelet_lr_schedule"
SHOWN = "weavelet_lr"
PINNED = "weavelet_momentum"
UNPINNED = "weavelet_momentum_schedule"

AS_GOOD_AS_ZERO = 1e-9
"""Share of its initial value below which a scheduled rate is too small to divide by."""

_MOST_PAST = 64


class Rate(NamedTuple):
    """What the schedule says, what it is multiplied with, and what the optimizer uses."""

    schedule: float
    factor: float
    shown: float


class RefusedError(Exception):
    """A value that cannot be set now; the text says what to set instead."""


def read_rate(group: Group) -> Rate:
    """The learning rate of a group; one that the loop has written since counts as it is."""
    shown = float(group["lr"])
    if FACTOR not in group:
        return Rate(shown, 1.0, shown)
    schedule, factor = float(group[SCHEDULE]), float(group[FACTOR])
    if shown != float(group[SHOWN]) and factor:
        schedule = shown / factor
    return Rate(schedule, factor, shown)


def write_rate(group: Group, rate: Rate) -> None:
    """Set the learning rate of a group, in place where it is a tensor."""
    lr = group["lr"]
    group["lr"] = put(lr, rate.shown)
    if rate.factor == 1 and rate.shown == rate.schedule:
        for key in (FACTOR, SCHEDULE, SHOWN):
            group.pop(key, None)
        return
    group[FACTOR] = rate.factor
    group[SCHEDULE] = _alike(lr, rate.schedule)
    group[SHOWN] = _alike(lr, rate.shown)


def put(old: Any, new: Any) -> Any:
    """The new value for a setting of a group: a tensor is filled and stays the same object."""
    if isinstance(old, (tuple, list)):
        return type(old)(put(*pair) for pair in zip(old, new, strict=True))
    if isinstance(old, Tensor):
        with torch.no_grad():
            old.fill_(new)
        return old
    return new


class Rates:
    """Sets learning rates of one optimizer by value or by factor.

    Setting back what held before restores it bit for bit, as long as the schedule stands still.
    """

    _optimizer = Weak()

    def __init__(self, optimizer: Optimizer, *, scheduled: bool) -> None:
        self._optimizer = optimizer
        self._scheduled = scheduled
        self._past: dict[int, list[Rate]] = {}

    def set_rate(self, index: int, value: float) -> None:
        """Make `value` the rate of a group now, by a factor that lasts.

        Raises:
            RefusedError: the schedule says 0, of which no factor makes anything else.
        """
        group = self._optimizer.param_groups[index]
        now = read_rate(group)
        if value == now.shown:
            return
        known = self._remembered(index, now, shown=value)
        if known is not None:
            self._move(index, now, known)
        elif now.schedule == 0 and not self._scheduled:
            self._move(index, now, Rate(value, 1.0, value))
        elif abs(now.schedule) <= AS_GOOD_AS_ZERO * _initial(group):
            msg = f"the schedule says {now.schedule:g} at this step, no factor makes that {value:g}"
            raise RefusedError(msg)
        else:
            self._move(index, now, Rate(now.schedule, value / now.schedule, value))

    def set_factor(self, index: int, factor: float) -> None:
        """Multiply what the schedule says by `factor` from now on."""
        now = read_rate(self._optimizer.param_groups[index])
        if factor == now.factor:
            return
        known = self._remembered(index, now, factor=factor)
        self._move(index, now, known or Rate(now.schedule, factor, now.schedule * factor))

    def _move(self, index: int, now: Rate, new: Rate) -> None:
        if not math.isfinite(new.shown):
            msg = f"{new.factor:g} times {new.schedule:g} is not a finite number"
            raise RefusedError(msg)
        past = self._past.setdefault(index, [])
        past.append(now)
        del past[:-_MOST_PAST]
        write_rate(self._optimizer.param_groups[index], new)

    def _remembered(self, index: int, now: Rate, **wanted: float) -> Rate | None:
        """The last rate that was like this while the schedule said what it says now.

        Neither x / s * s nor s * f / s give back x and f to the last bit.
        """
        schedules = {now.schedule} if self._scheduled else {now.schedule, 0.0}
        for rate in reversed(self._past.get(index, [])):
            wished = all(getattr(rate, key) == value for key, value in wanted.items())
            if wished and rate.schedule in schedules:
                return rate
        return None


def _initial(group: Group) -> float:
    return abs(float(group.get("initial_lr", 0.0)))


def _alike(lr: Any, value: float) -> Any:
    return torch.full_like(lr, value) if isinstance(lr, Tensor) else value


def scheduled_momentum(group: Group) -> float:
    """The momentum of a group as its scheduler has it."""
    return float(group[UNPINNED]) if UNPINNED in group else momentum(group)


def momentum(group: Group) -> float:
    """The momentum of a group, which for the Adams is the first beta."""
    return float(group["betas"][0] if "betas" in group else group["momentum"])


def pin_momentum(group: Group, value: float | None) -> None:
    """Hold the momentum of a group; None, or what the scheduler says, gives it back to it."""
    scheduled = scheduled_momentum(group)
    if value is None or value == scheduled:
        _put_momentum(group, scheduled)
        group.pop(PINNED, None)
        group.pop(UNPINNED, None)
        return
    _put_momentum(group, value)
    group[PINNED], group[UNPINNED] = value, scheduled


def _put_momentum(group: Group, value: float) -> None:
    if "betas" in group:
        first, *others = group["betas"]
        group["betas"] = (put(first, value), *others)
    elif "momentum" in group:
        group["momentum"] = put(group["momentum"], value)


_bare: weakref.WeakSet[Optimizer] = weakref.WeakSet()


@contextmanager
def schedule_only(optimizer: Optimizer) -> Iterator[None]:
    """Inside, the groups hold what the scheduler wrote last; afterwards what makes of it is back.

    One inside another does nothing: schedulers step each other.
    """
    if optimizer in _bare:
        yield
        return
    _bare.add(optimizer)
    for group in optimizer.param_groups:
        _uncover(group)
    try:
        yield
    finally:
        _bare.discard(optimizer)
        for group in optimizer.param_groups:
            _cover(group)


def _uncover(group: Group) -> None:
    if PINNED in group:
        _put_momentum(group, group[UNPINNED])
    if FACTOR not in group:
        return
    lr = group["lr"]
    if isinstance(lr, Tensor):
        _uncover_tensor(group, lr)
        return
    rate = read_rate(group)
    group["lr"] = group[SCHEDULE] = rate.schedule
    group[SHOWN] = rate.shown


def _cover(group: Group) -> None:
    if PINNED in group:
        group[UNPINNED] = momentum(group)
        _put_momentum(group, group[PINNED])
    if FACTOR not in group:
        return
    lr = group["lr"]
    if isinstance(lr, Tensor):
        _cover_tensor(group, lr)
        return
    if lr != float(group[SCHEDULE]):
        group[SCHEDULE], group[SHOWN] = lr, lr * group[FACTOR]
    group["lr"] = float(group[SHOWN])


# Reading a tensor on a device would wait for it, so these compute where the tensor is.


@torch.no_grad()
def _uncover_tensor(group: Group, lr: Tensor) -> None:
    shown, schedule = (torch.as_tensor(group[key]).to(lr) for key in (SHOWN, SCHEDULE))
    if group[FACTOR]:
        schedule = torch.where(lr == shown, schedule, lr / group[FACTOR])
    group[SHOWN], group[SCHEDULE] = lr.clone(), schedule
    lr.copy_(schedule)


@torch.no_grad()
def _cover_tensor(group: Group, lr: Tensor) -> None:
    shown, schedule = (torch.as_tensor(group[key]).to(lr) for key in (SHOWN, SCHEDULE))
    shown = torch.where(lr == schedule, shown, lr * group[FACTOR])
    group[SHOWN], group[SCHEDULE] = shown, lr.clone()
    lr.copy_(shown)
