"""An optimizer that is referred to and not kept: with it the whole model would stay."""

from __future__ import annotations

import weakref

from torch.optim import Optimizer


class Weak:
    """An attribute that holds an optimizer for as long as others do.

    Raises:
        ValueError: it is read when the optimizer is gone.
    """

    def __set_name__(self, owner: type, name: str) -> None:
        self._key = f"{name}_reference"

    def __set__(self, owner: object, optimizer: Optimizer) -> None:
        vars(owner)[self._key] = weakref.ref(optimizer)

    def __get__(self, owner: object, kind: type | None = None) -> Optimizer:
        optimizer: Optimizer | None = vars(owner)[self._key]()
        if optimizer is None:
            msg = "its optimizer is gone; bind the one that steps now"
            raise ValueError(msg)
        return optimizer
