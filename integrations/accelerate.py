"""Accelerate: its loop steered at every optimizer step, and what it logs reported."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, final

from torch.optim import Optimizer
from torch.utils.hooks import RemovableHandle

import weavelet
from weavelet.integrations.distributed import on_any_rank
from weavelet.integrations.torch import Binding, bind

try:
    from accelerate import Accelerator
    from accelerate.optimizer import AcceleratedOptimizer
    from accelerate.tracking import GeneralTracker
except ImportError as error:
    msg = (
        "weavelet.integrations.accelerate needs Accelerate, which cannot be imported here: "
        "pip install 'torchloom-weavelet[accelerate]'"
    )
    raise ImportError(msg, name=error.name) from error

__all__ = ["Steering", "WeaveletTracker", "steer"]

_KEPT = "_weavelet_steering"


class WeaveletTracker(GeneralTracker):  # type: ignore[misc]  # which mypy does not read
    """Reports what `accelerator.log()` is given; `steer()` polls, on every rank, in its session.

    >>> from accelerate import Accelerator
    >>> accelerator = Accelerator(log_with=[WeaveletTracker(run="digits", mode="disabled")])
    >>> accelerator.init_trackers("digits", config={"lr": 0.1})
    >>> accelerator.log({"loss": 0.5}, step=0)
    >>> accelerator.end_training()

    Accelerate starts trackers and logs on the main process alone, since what is logged is about the
    whole run. So the reports are those of rank 0, while each rank has a session, which `steer()`
    starts where it does not run yet.

    Args:
        replica_id: As in `weavelet.session`.
        options: The other arguments of `weavelet.session`.
    """

    name = "weavelet"
    requires_logging_directory = False
    main_process_only = False

    def __init__(self, replica_id: str | None = None, **options: Any) -> None:
        super().__init__()
        self._replica_id = replica_id
        self._options = options
        self._session: weavelet.Weavelet | None = None

    @property
    def tracker(self) -> weavelet.Weavelet:
        """The session; made when it is first asked for, so that the rank is known by then."""
        if self._session is None:
            self._session = weavelet.session(self._replica_id, **self._options)
        return self._session

    def start(self) -> None:
        """Start the session, unless it runs."""
        if weavelet.current() is not self.tracker:
            self.tracker.start()

    def store_init_configuration(self, values: Mapping[str, Any]) -> None:
        """Report the configuration once, each value as `config/{name}`."""
        self.tracker.report(None, **dict(_flat({"config": values})))

    def log(self, values: Mapping[str, Any], step: int | None = None, **_: Any) -> None:
        """Report values; those of a mapping in it as `{name}/{name}`.

        `step` defaults to that of the last poll.
        """
        self.tracker.report(step, **dict(_flat(values)))

    def finish(self) -> None:
        """Stop the session, unless the loop that `steer()` steered has ended it."""
        if self._session is not None:
            self._session.stop()


def steer(
    accelerator: Accelerator,
    optimizer: Optimizer,
    scheduler: Any = None,
    *,
    session: weavelet.Weavelet | None = None,
    checkpoints: str | os.PathLike[str] | None = None,
) -> Steering:
    """Make a training loop of Accelerate steerable, on every rank.

    Use the result in a `with` statement around the loop, and call its `poll()` for every batch::

        with steer(accelerator, optimizer, scheduler) as steering:
            for batch in loader:
                steering.poll()
                with accelerator.accumulate(model):
                    ...
                accelerator.log({"loss": loss}, step=steering.step)

    The controls are those of `weavelet.integrations.torch.bind`, and a second optimizer is given to
    it: `bind(steering.session, optimizer=..., prefix="generator.")`. The action `checkpoint` calls
    `accelerator.save_state()` and returns the folder. The ranks save together: address all of them.

    The values of all controls and the step are in every `save_state()`, and `load_state()` brings
    them back. Accelerate loads a checkpoint only where the same objects are registered: one from
    before weavelet has to be loaded before this is called.

    Args:
        accelerator: The accelerator.
        optimizer: What `accelerator.prepare()` made of the optimizer; its steps are counted.
        scheduler: What it made of the scheduler or schedulers.
        session: A session that you start and stop. Default: that of the accelerator's
            `WeaveletTracker`, which the `with` block starts and stops; else the active one; else a
            new one.
        checkpoints: Folder in which `checkpoint` makes a folder for each. Default: `checkpoints` in
            the accelerator's project folder, else here. Automatic names come from Accelerate.

    Raises:
        TypeError, ValueError: as `weavelet.integrations.torch.bind`.
    """
    steering = Steering(accelerator, session)
    steering.bind(optimizer, scheduler)
    steering.offer_checkpoint(Path(checkpoints or _default_folder(accelerator)))
    _keep_in_checkpoints(accelerator, steering)
    return steering


@final
class Steering:
    """One steered loop; made by `steer()`. Its `with` block absorbs the stop."""

    def __init__(self, accelerator: Accelerator, session: weavelet.Weavelet | None) -> None:
        tracked = None if session else _tracked(accelerator)
        given = session or (None if tracked else weavelet.current())
        self.session = given or tracked or weavelet.session()
        """The session of this rank."""
        self.step = 0
        """Optimizer steps done. What AMP skipped is none."""
        self._accelerator = accelerator
        self._binding: Binding | None = None
        self._counting: RemovableHandle | None = None
        self._runs_session = given is None
        self._stopped = False

    def poll(self) -> tuple[weavelet.Change, ...]:
        """The safe point, as `Weavelet.poll`; between two batches of one step it does nothing.

        Call it on every rank for every batch, before or after the step, outside `accumulate()`.

        Raises:
            StopTraining: the job was told to stop; the `with` block absorbs it on every rank.
        """
        if not self._accelerator.sync_gradients:
            return ()
        return self._poll_apart() if self._is_apart() else self.session.poll(self.step)

    def __enter__(self) -> Steering:
        if self._runs_session and weavelet.current() is not self.session:
            self.session.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool:
        self.close()
        stopped = self._stopped or self.session.stop_requested
        mine = isinstance(error, weavelet.StopTraining) and stopped
        if self._runs_session and mine:
            self.session.stop()
        elif self._runs_session:
            self.session.__exit__(kind, error, traceback)
        return mine

    def close(self) -> None:
        """Take the hooks off the optimizer. What has been set stays."""
        if self._counting is not None:
            self._counting.remove()
        if self._binding is not None:
            self._binding.close()

    def bind(self, optimizer: Any, scheduler: Any) -> None:
        """Declare the controls of an optimizer, and count its steps."""
        inner = optimizer.optimizer if isinstance(optimizer, AcceleratedOptimizer) else optimizer
        # Under a GradScaler, Accelerate keeps the step that the optimizer had when prepared.
        switch = False if getattr(optimizer, "scaler", None) is not None else None
        self._binding = bind(self.session, optimizer=inner, scheduler=scheduler, switch=switch)
        self._counting = inner.register_step_post_hook(self._count)

    def offer_checkpoint(self, folder: Path) -> None:
        """Declare the action `checkpoint`, unless there is one."""

        def checkpoint() -> str:
            """Save the whole state by `accelerator.save_state()`; returns the folder."""
            accelerator = self._accelerator
            named = accelerator.project_configuration.automatic_checkpoint_naming
            target = None if named else str(folder / f"step-{self.step}")
            with self.session.section("checkpoint"):
                return str(accelerator.save_state(target))

        with suppress(ValueError):  # an action of that name of the user's own stays
            self.session.action()(checkpoint)

    def state_dict(self) -> dict[str, Any]:
        """What `accelerator.save_state()` keeps of this."""
        return {"step": self.step, "session": self.session.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a checkpoint; controls that are not registered any more are left out.

        Raises:
            ControlError, ValueError: as `Weavelet.load_state_dict`.
        """
        self.step = state["step"]
        self.session.load_state_dict(state["session"], strict=False)

    def _is_apart(self) -> bool:
        """Whether each rank hears of a stop at a step of its own, at which it would leave alone."""
        w, ranks = self.session, self._accelerator.num_processes
        return ranks > 1 and (w._agreement, w._on_stop) == ("off", "raise")  # noqa: SLF001  of any

    def _poll_apart(self) -> tuple[weavelet.Change, ...]:
        changes: tuple[weavelet.Change, ...] = ()
        with suppress(weavelet.StopTraining):
            changes = self.session.poll(self.step)
        self._stopped = on_any_rank(self.session.stop_requested, self._accelerator.device)
        if self._stopped:
            msg = "a rank was told to stop"
            raise weavelet.StopTraining(msg)
        return changes

    def _count(self, *_: Any) -> None:
        self.step += 1


class _Current:
    """What an accelerator saves and loads: its last steering, always as one object."""

    def __init__(self, steering: Steering) -> None:
        self.steering = steering

    def state_dict(self) -> dict[str, Any]:
        return self.steering.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.steering.load_state_dict(state)


def _keep_in_checkpoints(accelerator: Accelerator, steering: Steering) -> None:
    # What is registered stays so, and Accelerate loads no checkpoint with fewer objects.
    kept = vars(accelerator).get(_KEPT)
    if kept is None:
        kept = vars(accelerator)[_KEPT] = _Current(steering)
        accelerator.register_for_checkpointing(kept)
    kept.steering = steering


def _tracked(accelerator: Accelerator) -> weavelet.Weavelet | None:
    for tracker in accelerator.log_with:
        if isinstance(tracker, WeaveletTracker):
            return tracker.tracker
    return None


def _default_folder(accelerator: Accelerator) -> Path:
    return Path(accelerator.project_dir or ".") / "checkpoints"


def _flat(values: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for name, value in values.items():
        if isinstance(value, Mapping):
            for inner, each in _flat(value):
                yield f"{name}/{inner}", each
        else:
            yield str(name), value
