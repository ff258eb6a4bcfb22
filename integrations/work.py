"""How long a step takes on its own, before the ranks of a job wait for each other."""

from __future__ import annotations

import time
import weakref
from typing import Any

from torch import Tensor
from torch.optim import Optimizer

import weavelet


class OwnWork:
    """From the end of one step to the first gradient of the next: data, forward and so on.

    DDP and the like begin to wait for other ranks only with the gradients. The session leaves out
    what it took itself. On a GPU it is the host's time: what it took to launch all that.
    """

    def __init__(self, w: weavelet.Weavelet, optimizer: Optimizer) -> None:
        self._w = w
        self._began: float | None = None
        this = weakref.WeakMethod(self._came)

        def came(gradient: Tensor) -> None:
            told = this()
            if told is not None:
                told()

        self._hooks: list[Any] = [optimizer.register_step_post_hook(self._stepped)]
        params = [one for group in optimizer.param_groups for one in group["params"]]
        # The last layer's gradients come first.
        last = next((one for one in reversed(params) if one.requires_grad), None)
        if last is not None:
            self._hooks.append(last.register_hook(came))

    def close(self) -> None:
        """Measure no more."""
        while self._hooks:
            self._hooks.pop().remove()

    def _stepped(self, optimizer: Optimizer, args: Any, kwargs: Any) -> None:
        if self._began is not None:
            self._w._worked(None)  # noqa: SLF001  no user should
        self._began = time.monotonic()

    def _came(self) -> None:
        began, self._began = self._began, None
        if began is not None:
            self._w._worked(began)  # noqa: SLF001  no user should
