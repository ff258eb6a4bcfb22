"""Controls for what a PyTorch loop has anyway: its optimizer, its scheduler and its loader."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from typing import Annotated, Any, Literal

from torch.optim import Optimizer

import weavelet
from weavelet.integrations.groups import GroupControls
from weavelet.integrations.loaders import BatchSampler, sampler_of
from weavelet.integrations.moments import Kind
from weavelet.integrations.optimizers import KNOWN, Switch
from weavelet.integrations.rates import RefusedError, schedule_only
from weavelet.integrations.scalars import AsyncScalars, Landed, is_on_device
from weavelet.integrations.schedulers import around_steps
from weavelet.integrations.work import OwnWork

__all__ = ["AsyncScalars", "BatchSampler", "Binding", "Landed", "bind", "is_on_device"]


Count = Annotated[int, weavelet.Meta(ge=1, le=2**31 - 1)]


def bind(
    w: weavelet.Weavelet,
    *,
    optimizer: Any = None,
    scheduler: Any = None,
    loader: Any = None,
    prefix: str = "",
    switch: bool | Iterable[Kind] | None = None,
) -> Binding:
    """Make an optimizer and a loader controllable.

    >>> import torch
    >>> from torch.optim.lr_scheduler import ExponentialLR
    >>> from weavelet.testing import local_session
    >>> optimizer = torch.optim.SGD(torch.nn.Linear(2, 1).parameters(), lr=0.5)
    >>> scheduler = ExponentialLR(optimizer, gamma=0.5)
    >>> with local_session() as w:
    ...     binding = bind(w, optimizer=optimizer, scheduler=scheduler)
    ...     entry = w.push(lr=0.125)
    ...     w.poll(0)
    ...     optimizer.step()
    ...     scheduler.step()
    ...     optimizer.param_groups[0]["lr"], scheduler.get_last_lr()
    (Change(name='lr', old=0.5, new=0.125),)
    (0.0625, [0.25])

    Of these controls those exist that the optimizer has. With several groups each exists once more
    per group, such as `lr.head` or `lr.0`, named by the group's `"name"` or else its index; where
    the groups differ, the one for all of them is rejected and names these.

    * `lr`, the rate in use, and `lr_scale`, the factor between it and the schedule. Setting `lr`
      sets the factor, which stays: the scheduler sees only its own numbers, in `step()`, in
      `get_last_lr()` and in its state. Where the schedule says 0, `lr` is refused; set `lr_scale`.
      A rate that the loop itself writes, without a scheduler, is the loop's next time it does so.
    * `weight_decay` and `eps`; `momentum` or `betas`. A momentum or first beta that the scheduler
      cycles (OneCycleLR, CyclicLR) stays as it is set, and the schedule counts on underneath; None
      gives it back.
    * `grad_clip`, the greatest norm that all gradients together may have, None or 0 for no limit.
      It acts in `optimizer.step()`, also where that runs a closure or a GradScaler has scaled. The
      norm is over the gradients that this process holds (of a DTensor, over all).
    * `optimizer`, its type. Settings and running means carry over as far as they mean the same;
      the learning rate stays as it is, so set `lr` in the same command. The object stays, too, and
      everything that refers to it; only a bound method taken before `bind()`, such as
      `step = optimizer.step`, does not follow: it raises an error at its next use.
    * `batch_size`, where the loader has a `BatchSampler` of this module. The outcome says which
      batch is the first.

    What is set lies in the optimizer's `param_groups` and travels in its `state_dict()`, before or
    after `bind()`. A scheduler made later has to be bound, too. Binding again, with the same
    prefix, replaces. Nothing here keeps the optimizer alive: once it is gone, its controls reject.

    Args:
        w: The session.
        optimizer: A `torch.optim.Optimizer`, or what Accelerate or Lightning make of one.
        scheduler: Its scheduler or schedulers.
        loader: A DataLoader, or the `BatchSampler` itself.
        prefix: Put before the names, for a second optimizer: `"generator."`.
        switch: True for an `optimizer` control, or the types that it offers; False for none. By
            default it is there wherever the optimizer can be switched.

    Raises:
        TypeError: an argument is not what it should be.
        ValueError: the scheduler is another optimizer's, the loader's batch size cannot change, or
            `switch` was asked for and cannot be; the text says what to write instead.
    """
    sampler = None if loader is None else sampler_of(loader)
    schedulers = [_inner_scheduler(each) for each in _listed(scheduler)]
    inner = None if optimizer is None else _inner_optimizer(optimizer)
    _check_schedulers(schedulers, inner)
    # On the session itself: a table here would hold the session for ever.
    bindings = vars(w).setdefault("_torch_bindings", {})
    earlier = bindings.pop(prefix, None)
    if earlier is not None:
        earlier.close()
    binding = Binding(w, prefix)
    try:
        if inner is not None:
            binding.add_optimizer(inner, schedulers, switch)
            if not any(each.measures for each in bindings.values()):
                binding.measure(inner)
        if sampler is not None:
            binding.add_sampler(sampler)
    except BaseException:
        binding.close()
        raise
    bindings[prefix] = binding
    return binding


class Binding:
    """What `bind()` has attached to one session; made by it."""

    def __init__(self, w: weavelet.Weavelet, prefix: str) -> None:
        self._w = w
        self._prefix = prefix
        self._undo: list[Callable[[], object]] = []
        self.closed = False
        """Whether its controls reject what they are told."""
        self.hindrance: Callable[[], str] = str
        """Says why they reject it for now; "" while they do not."""
        self.measures = False
        """Whether it tells the session how long a step takes on its own."""

    def close(self) -> None:
        """Take the hooks away. What has been set stays, until a scheduler steps."""
        self.closed = True
        self._let_go()

    def add_optimizer(
        self,
        optimizer: Optimizer,
        schedulers: Sequence[Any],
        switch: bool | Iterable[Kind] | None,
    ) -> None:
        """Declare an optimizer's controls; as in `bind`."""
        gone = weakref.finalize(optimizer, self._optimizer_gone)
        gone.atexit = False
        self._undo.append(gone.detach)
        switcher = _switcher(optimizer, schedulers, switch)
        if switcher is not None:
            self._undo.append(switcher.close)
        for each in schedulers:
            self._undo.append(around_steps(each, _schedule_only))
        controls = GroupControls(self._w, optimizer, schedulers, self._prefix, self._check)
        self._undo.append(controls.close)
        controls.declare()
        if switcher is not None:
            self._add_switch(switcher, controls)

    def measure(self, optimizer: Optimizer) -> None:
        """Tell the session how long each step takes before the ranks wait for each other."""
        self.measures = True
        self._undo.append(OwnWork(self._w, optimizer).close)

    def add_sampler(self, sampler: BatchSampler) -> None:
        """Declare a loader's batch size."""

        def get() -> int:
            self._check()
            return sampler.batch_size

        @self._w.handler(f"{self._prefix}batch_size", type=Count, get=get)
        def set_batch_size(value: int) -> str:
            """Samples in a batch, from the next batch that is drawn."""
            sampler.batch_size = value
            epoch, batch = sampler.next_batch()
            return f"from batch {batch} of epoch {epoch} on, both counted from 0"

    def _add_switch(self, switcher: Switch, controls: GroupControls) -> None:
        name = f"{self._prefix}optimizer"
        controls.before_step(switcher.stepped)

        def get() -> str:
            self._check()
            return switcher.name

        @self._w.handler(name, type=Literal[switcher.names], get=get, danger=True)
        def set_optimizer(value: str) -> str:
            """Type of the optimizer. The learning rate stays: set `lr` in the same command."""
            try:
                said = switcher.set(value)
            except RefusedError as exc:
                raise weavelet.ControlError(name, str(exc)) from exc
            controls.declare()
            return said

    def _optimizer_gone(self) -> None:
        if self.measures:
            self._w._worked(None)  # noqa: SLF001  no user should
        self.measures = False
        self._let_go()

    def _let_go(self) -> None:
        while self._undo:
            self._undo.pop()()

    def _check(self) -> None:
        why = "its binding was closed; call bind() again" if self.closed else self.hindrance()
        if why:
            raise ValueError(why)


def _switcher(
    optimizer: Optimizer, schedulers: Sequence[Any], switch: bool | Iterable[Kind] | None
) -> Switch | None:
    if switch is False:
        return None
    kinds = KNOWN if switch is None or switch is True else tuple(switch)
    try:
        return Switch(optimizer, schedulers, kinds)
    except ValueError:
        if switch is None:
            return None
        raise


def _schedule_only(scheduler: Any) -> AbstractContextManager[None]:
    return schedule_only(_inner_optimizer(scheduler.optimizer))


def _listed(scheduler: Any) -> list[Any]:
    if scheduler is None:
        return []
    return list(scheduler) if isinstance(scheduler, (list, tuple)) else [scheduler]


def _inner_optimizer(given: Any) -> Optimizer:
    found = given
    while isinstance(getattr(found, "optimizer", None), Optimizer):
        found = found.optimizer
    if isinstance(found, Optimizer):
        return found
    msg = f"optimizer must be a torch.optim.Optimizer, got {type(given).__name__}"
    raise TypeError(msg)


def _inner_scheduler(given: Any) -> Any:
    found = given
    while not hasattr(found, "optimizer") and hasattr(found, "scheduler"):
        found = found.scheduler
    if callable(getattr(found, "step", None)) and hasattr(found, "optimizer"):
        return found
    msg = f"scheduler must have step() and an optimizer, got {type(given).__name__}"
    raise TypeError(msg)


def _check_schedulers(schedulers: Sequence[Any], optimizer: Optimizer | None) -> None:
    for each in schedulers:
        if optimizer is None or _inner_optimizer(each.optimizer) is not optimizer:
            msg = (
                f"this {type(each).__name__} belongs to another optimizer; give the two that "
                f"belong together, and each pair a prefix of its own"
            )
            raise ValueError(msg)
