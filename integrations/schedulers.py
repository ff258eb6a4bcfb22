"""Learning rate schedulers seen from outside: their steps, and what they write."""

from __future__ import annotations

import functools
import weakref
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from typing import Any

from weavelet.integrations.watching import hide_frame


def around_steps(
    scheduler: Any, around: Callable[[Any], AbstractContextManager[None]]
) -> Callable[[], None]:
    """Run every `scheduler.step()` inside `around(scheduler)`; returns what ends that.

    It is the object's class that changes: an attribute would end up in its `state_dict()`. What is
    returned does not keep the scheduler, which holds its optimizer, alive.

    Raises:
        ValueError: its step was replaced on the object, which hides that of the class.
    """
    kind: Any = type(scheduler)
    if "step" in vars(scheduler):
        msg = f"the step of this {kind.__name__} was replaced on the object; bind before that"
        raise ValueError(msg)

    @functools.wraps(kind.step)
    def step(self: Any, *args: Any, **kwargs: Any) -> Any:
        try:
            with around(self):
                return kind.step(self, *args, **kwargs)
        except BaseException as error:  # it goes on up
            hide_frame(error)
            raise

    def reduce_ex(self: Any, protocol: Any) -> Any:
        function, arguments, *rest = super(hooked, self).__reduce_ex__(protocol)
        if arguments[:1] != (hooked,):
            return (function, arguments, *rest)
        # Pickle checks the class where it finds the usual function.
        return (object.__new__, (kind,), *rest)

    names = ("__module__", "__qualname__", "__doc__")
    body = {name: getattr(kind, name) for name in names}
    hooked: Any = type(kind.__name__, (kind,), {**body, "step": step, "__reduce_ex__": reduce_ex})
    scheduler.__class__ = hooked
    reference = weakref.ref(scheduler)

    def undo() -> None:
        found: Any = reference()
        if type(found) is hooked:
            found.__class__ = kind

    return undo


def flat(schedulers: Iterable[Any]) -> Iterator[Any]:
    """The schedulers and those inside them."""
    for scheduler in schedulers:
        yield scheduler
        yield from flat(getattr(scheduler, "_schedulers", ()))


def cycling_momentum(schedulers: Iterable[Any]) -> Iterator[Any]:
    """Those that write the momentum, too."""
    return (each for each in flat(schedulers) if getattr(each, "cycle_momentum", False))
