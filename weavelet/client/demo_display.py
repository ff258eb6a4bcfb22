"""How `weavelet demo` shows what its trainers report: progress bars, or plain lines."""

from __future__ import annotations

from collections.abc import Iterator
from types import TracebackType
from typing import Any, Protocol

from weavelet.client.output import number
from weavelet.weaver import protocol

_SHOWN = ("loss", "accuracy", "lr")


class Display(Protocol):
    """A context manager that is told of every batch of samples."""

    def __enter__(self) -> object: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> object: ...

    def reported(self, batch: protocol.Metrics) -> None:
        """A replica reported."""


class _Latest:
    """The last value of each metric, per replica."""

    def __init__(self) -> None:
        self._values: dict[str, dict[str, Any]] = {}

    def samples(self, batch: protocol.Metrics) -> Iterator[tuple[int, dict[str, Any], set[str]]]:
        """Each sample: its step, all metrics as of then, and the names of those in it."""
        values = self._values.setdefault(batch.replica, {})
        for index, step in enumerate(batch.steps):
            fresh = {
                name: column[index]
                for name, column in batch.columns.items()
                if column[index] is not None
            }
            values.update(fresh)
            yield step, values, set(fresh)


def _text(values: dict[str, Any]) -> str:
    return " ".join(f"{name} {number(values[name])}" for name in _SHOWN if name in values)


class Lines:
    """One line a replica whenever it has measured its accuracy."""

    def __init__(self) -> None:
        self._latest = _Latest()

    def __enter__(self) -> Lines:  # noqa: PYI034  typing.Self is of Python 3.11
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        pass

    def reported(self, batch: protocol.Metrics) -> None:
        """Print `trainer-0 step 200 loss 0.31 accuracy 0.93 lr 0.01`."""
        for step, values, fresh in self._latest.samples(batch):
            if "accuracy" in fresh:
                print(f"{batch.replica} step {step} {_text(values)}", flush=True)


class Bars:
    """A progress bar a replica."""

    def __init__(self, replicas: list[str], steps: int) -> None:
        from rich.progress import (  # noqa: PLC0415  the headless demo has no need of it
            BarColumn,
            MofNCompleteColumn,
            Progress,
            TextColumn,
        )

        self._latest = _Latest()
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[values]}"),
        )
        self._tasks = {
            replica: self._progress.add_task(replica, total=steps, values="starting")
            for replica in replicas
        }

    def __enter__(self) -> Bars:  # noqa: PYI034  typing.Self is of Python 3.11
        self._progress.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._progress.stop()

    def reported(self, batch: protocol.Metrics) -> None:
        """Move the replica's bar."""
        for step, values, _ in self._latest.samples(batch):
            self._progress.update(self._tasks[batch.replica], completed=step, values=_text(values))
