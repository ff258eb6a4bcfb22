"""Numbers on a GPU brought to the host without waiting for them."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, Protocol, TypeAlias

import torch
from torch import Tensor

Scalar: TypeAlias = bool | int | float | str

_BYTES = 8
_TENSORS_EACH = 8


class Landed(NamedTuple):
    """One submission whose numbers are on the host. `at` is `time.monotonic()` when it was made."""

    step: int
    metrics: dict[str, Any]
    at: float


class Copy(Protocol):
    """A copy under way. `landed` never waits; `values` is for afterwards."""

    def landed(self) -> bool: ...
    def values(self) -> list[Scalar]: ...


class _Pending(NamedTuple):
    step: int
    metrics: dict[str, Any]
    names: tuple[str, ...]
    copy: Copy | None
    at: float


class AsyncScalars:
    """Takes metrics of which some are tensors on a GPU, and gives them back once all are numbers.

    They come out in the order in which they went in. Neither `submit` nor `drain` waits for the
    GPU. At most `limit` submissions wait; what does not fit is refused and counted in `dropped`,
    never lost in silence. Thread-safe.

    >>> scalars = AsyncScalars()
    >>> scalars.submit(7, {"loss": torch.tensor(0.5), "phase": "warm-up"})
    True
    >>> [(landed.step, landed.metrics) for landed in scalars.drain()]
    [(7, {'loss': 0.5, 'phase': 'warm-up'})]

    Args:
        limit: Submissions that may wait. Eight tensors for each find room, in 64 bytes of host
            memory.
        start: Begins to copy the tensors of one submission, None where there is no room.
        is_remote: Whether a value must be copied rather than read. Default: a CUDA tensor.
    """

    def __init__(
        self,
        limit: int = 1024,
        *,
        start: Callable[[list[Tensor]], Copy | None] | None = None,
        is_remote: Callable[[Any], bool] | None = None,
    ) -> None:
        self._limit = limit
        self._is_remote = is_on_device if is_remote is None else is_remote
        self._start = PinnedRing(limit * _TENSORS_EACH).start if start is None else start
        self._pending: deque[_Pending] = deque()
        self._lock = threading.Lock()
        self.dropped = 0
        """Submissions refused because too much was waiting."""

    def __len__(self) -> int:
        return len(self._pending)

    def submit(self, step: int, metrics: Mapping[str, Any], at: float | None = None) -> bool:
        """Begin to bring metrics over; False if there is no room for them.

        Tensors on the host are read at once; so the caller may overwrite any tensor afterwards.

        Raises:
            ValueError: a tensor has more than one element, or is complex.
        """
        taken = dict(metrics)
        names = tuple(key for key, value in metrics.items() if self._is_remote(value))
        for key, value in metrics.items():
            if isinstance(value, Tensor):
                _check(key, value)
                if key not in names:
                    taken[key] = value.item()
        moment = time.monotonic() if at is None else at
        with self._lock:
            copy = None
            full = len(self._pending) >= self._limit
            if names and not full:
                copy = self._start([metrics[key].detach() for key in names])
                full = copy is None
            if full:
                self.dropped += 1
                return False
            self._pending.append(_Pending(step, taken, names, copy, moment))
        return True

    def drain(self) -> list[Landed]:
        """What has landed and is not behind something that has not, oldest first."""
        landed = []
        with self._lock:
            while self._pending:
                step, metrics, names, copy, at = self._pending[0]
                if copy is not None:
                    if not copy.landed():
                        break
                    metrics.update(zip(names, copy.values(), strict=True))
                self._pending.popleft()
                landed.append(Landed(step, metrics, at))
        return landed


def is_on_device(value: Any) -> bool:
    """Whether reading a value would wait for a GPU."""
    return isinstance(value, Tensor) and value.is_cuda


def _check(name: str, tensor: Tensor) -> None:
    if tensor.numel() != 1 or tensor.is_complex():
        msg = (
            f"{name}: expected a tensor of one real element, got {tuple(tensor.shape)} of "
            f"{tensor.dtype}; report its mean or its norm"
        )
        raise ValueError(msg)


class PinnedRing:
    """Starts copies from GPUs into host memory that is pinned once, at the first use.

    Pinning memory, or a copy into memory that is not pinned, would wait for the GPU. Each device
    copies on a stream of its own, so that the training stream never queues behind another copy.
    What is copied is a snapshot, since the caller may write on.
    """

    def __init__(self, slots: int) -> None:
        self._slots = slots
        self._used = 0
        self._next = 0
        self._ring: Tensor | None = None
        self._streams: dict[torch.device, torch.cuda.Stream] = {}

    def start(self, tensors: list[Tensor]) -> Copy | None:
        """Begin to copy; None where there is no room, or a CUDA graph is being captured."""
        if self._used + len(tensors) > self._slots or torch.cuda.is_current_stream_capturing():
            return None
        copies = [(tensor.clone(), self._slot(tensor.dtype)) for tensor in tensors]
        events = []
        for device in {tensor.device for tensor in tensors}:
            stream = self._stream(device)
            stream.wait_stream(torch.cuda.current_stream(device))
            with torch.cuda.stream(stream):
                for snapshot, slot in copies:
                    if snapshot.device == device:
                        slot.copy_(snapshot.reshape(()), non_blocking=True)
                        snapshot.record_stream(stream)
                events.append(stream.record_event())
        return Flight([slot for _, slot in copies], events, self._release)

    def _slot(self, dtype: torch.dtype) -> Tensor:
        if self._ring is None:
            self._ring = torch.empty(self._slots * _BYTES, dtype=torch.uint8, pin_memory=True)
        begin = self._next * _BYTES
        self._next = (self._next + 1) % self._slots
        self._used += 1
        return self._ring[begin : begin + dtype.itemsize].view(dtype).reshape(())

    def _stream(self, device: torch.device) -> torch.cuda.Stream:
        if device not in self._streams:
            self._streams[device] = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
        return self._streams[device]

    def _release(self, slots: int) -> None:
        # Submissions leave in the order in which they came, so the used slots stay contiguous.
        self._used -= slots


class Flight:
    """The tensors of one submission on their way to the host."""

    def __init__(
        self, slots: list[Tensor], events: list[torch.cuda.Event], release: Callable[[int], None]
    ) -> None:
        self._slots = slots
        self._events = events
        self._release = release

    def landed(self) -> bool:
        """Whether all are on the host; does not wait."""
        return all(event.query() for event in self._events)  # type: ignore[no-untyped-call]

    def values(self) -> list[Scalar]:
        """The numbers; their place in the ring is free afterwards."""
        values: list[Scalar] = [slot.item() for slot in self._slots]
        self._release(len(values))
        return values
