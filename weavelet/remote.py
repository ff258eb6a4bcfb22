"""What report() is given besides plain values, and numbers on a GPU above all."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Protocol

from weavelet.channel.end import End
from weavelet.hotpath import plain
from weavelet.messages import Sample, Scalar

_LOOK_AGAIN = 0.001


class Landed(Protocol):
    """Metrics that have come to the host; `at` is when they were reported, monotonic."""

    @property
    def step(self) -> int: ...
    @property
    def metrics(self) -> dict[str, Any]: ...
    @property
    def at(self) -> float: ...


class Scalars(Protocol):
    """What `weavelet.integrations.torch.AsyncScalars` does."""

    def submit(self, step: int, metrics: Mapping[str, Any], at: float | None = None) -> bool: ...
    def drain(self) -> Iterable[Landed]: ...
    def __len__(self) -> int: ...


class Remote:
    """Reads metrics that are not plain yet. Numbers on a GPU are copied while it goes on.

    What is on its way becomes a sample, with the step and the time at which it was reported, as
    soon as it has landed and somebody reports, polls or stops. What finds no room is counted as
    dropped.
    """

    def __init__(
        self,
        end: End,
        scalars: Scalars | None = None,
        is_remote: Callable[[Any], bool] | None = None,
    ) -> None:
        self._end = end
        self._scalars = scalars
        self._is_remote = is_remote

    def read(self, step: int, at: float, metrics: dict[str, Any]) -> dict[str, Scalar] | None:
        """The metrics as plain values, None if they are on their way."""
        if not self._ready():
            return plain(metrics)
        remote = {name: value for name, value in metrics.items() if self._is_on_its_way(value)}
        here = plain({name: value for name, value in metrics.items() if name not in remote})
        if not remote:
            return here
        if self._scalars is not None and not self._scalars.submit(step, {**here, **remote}, at):
            self._end.lose()
        self.collect()
        return None

    def collect(self) -> None:
        """Make samples of what has landed."""
        if self._scalars is not None:
            for landed in self._scalars.drain():
                self._end.sample(Sample(landed.step, landed.at, plain(landed.metrics)))

    def finish(self, patience: float = 0.5) -> None:
        """Collect all that is on its way, for at most `patience` seconds: the session ends."""
        until = time.monotonic() + patience
        self.collect()
        while self._scalars and time.monotonic() < until:
            time.sleep(_LOOK_AGAIN)
            self.collect()

    def _ready(self) -> bool:
        if self._is_remote is None and "torch" in sys.modules:
            # Only where the user has loaded torch already; then it costs next to nothing.
            from weavelet.integrations import torch  # noqa: PLC0415

            self._scalars, self._is_remote = torch.AsyncScalars(), torch.is_on_device
        return self._is_remote is not None

    def _is_on_its_way(self, value: Any) -> bool:
        # Others than single real numbers are left to `plain`, which says what is wrong with them.
        if self._is_remote is None or not self._is_remote(value):
            return False
        return bool(value.numel() == 1 and not value.is_complex())
