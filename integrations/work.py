"""How long a step takes on its own, before the ranks of a job wait for each other."""

from __future__ import annotations

import time
import weakref
from collections.abc import Callable
from typing import Any

from torch import Tensor
from torch.optim import Optimizer

import weavelet

_SECONDS = 0.1
"""Between two measured steps: a hook of a gradient costs more than all the rest."""


class OwnWork:
    """From the end of one step to the first gradient of the next: data, forward and so on.

    DDP and the like begin to wait for other ranks only with the gradients. The session leaves out
    what it took itself. On a GPU it is the host's time: what it took to launch all that.
    Neither the optimizer nor its parameters are kept alive.
    """

    def __init__(self, w: weavelet.Weavelet, optimizer: Optimizer) -> None:
        self._w = w
        self._began: float | None = None
        self._next = 0.0
        self._hook: Any = None
        params = [one for group in optimizer.param_groups for one in group["params"]]
        # The last layer's gradients come first.
        last = next((one for one in reversed(params) if one.requires_grad), None)
        self._last = _nothing if last is None else weakref.ref(last)
        self._steps = optimizer.register_step_post_hook(self._stepped)

    def close(self) -> None:
        """Measure no more."""
        self._steps.remove()
        self._let_go()

    def _let_go(self) -> None:
        if self._hook is not None:
            self._hook.remove()
            self._hook = None

    def _stepped(self, optimizer: Optimizer, args: Any, kwargs: Any) -> None:
        now = time.monotonic()
        if self._hook is not None:
            self._let_go()
            if self._began is not None:
                self._w._worked(None)  # noqa: SLF001  no user should
            return
        last = self._last()
        if now >= self._next and last is not None and last.requires_grad:
            self._next = now + _SECONDS
            self._hook = last.register_hook(_caller(weakref.WeakMethod(self._came)))
            self._began = now

    def _came(self) -> None:
        began, self._began = self._began, None
        if began is not None:
            self._w._worked(began)  # noqa: SLF001  no user should


def _nothing() -> None:
    """Stands for a reference."""


def _caller(method: Callable[[], Callable[[], None] | None]) -> Callable[[Tensor], None]:
    """A hook that does not keep what it calls alive."""

    def came(gradient: Tensor) -> None:
        call = method()
        if call is not None:
            call()

    return came
