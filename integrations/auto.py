"""Steering of a training script that knows nothing of weavelet; `weavelet run` loads it.

A step is the outermost `optimizer.step()` outside of a backward pass, in the thread that steps
first. The session begins in the first one and ends with the process. Its safe point is the end of
each step: what is set there holds from the next step on, a pause holds there, and a stop leaves
from there by `SystemExit(0)`, so that `finally` blocks and what was registered with `atexit` run.
Where another thread than the main one steps, the main one gets a KeyboardInterrupt as well.

Each optimizer is bound as it appears, with its schedulers, as `weavelet.integrations.torch.bind`
does it but for its type: a script may hold `optimizer.step` in a variable. The learning rate of its
first group and its loss are reported at most 50 times a second. The loss is what `backward()` was
called on last, under AMP what a GradScaler was given.

Optimizers that are stepped inside a backward pass are reported, not steered: their safe point is
the next `backward()`. Everything is left alone where the script opens a session of its own, in
workers of a DataLoader, and in children forked from a process that has stepped.
"""

from __future__ import annotations

import _thread
import functools
import logging
import os
import sys
import threading
import time
import weakref
from collections.abc import Callable
from types import FrameType
from typing import Any

import weavelet
from weavelet.integrations.places import PROBATION, Place, Places
from weavelet.integrations.watching import watch, watch_calls

REPORT_SECONDS = 0.02
"""Between two reports at least."""

_IDLE = (
    "this optimizer no longer steps, while a new one does; that takes over its names once it is "
    f"gone, or after {PROBATION} steps"
)

_log = logging.getLogger("weavelet")
_installed: list[Steering] = []


def install(when_loaded: Callable[[str, Callable[[], None]], None]) -> None:
    """Steer whatever steps in this process, in which torch.optim has just been loaded.

    `when_loaded` calls a function when a module is loaded.
    """
    if _installed:
        return
    steering = Steering()
    try:
        steering.attach()
    except Exception:
        steering.detach()  # half of the hooks would be worse than none
        raise
    _installed.append(steering)
    os.register_at_fork(after_in_child=steering.become_inert)
    when_loaded("torch._dynamo.trace_rules", _stay_out_of_graphs)


def _guarded(hook: Callable[..., None]) -> Callable[..., None]:
    """A method of `Steering` that ends the steering where it would have failed the script."""

    @functools.wraps(hook)
    def guarded(steering: Steering, *args: Any) -> None:
        try:
            hook(steering, *args)
        except Exception:  # as in `Steering.before`
            steering._give_up()  # noqa: SLF001  it is one of its methods

    return guarded


class Steering:
    """What steers one process. Its methods are torch's hooks, and never fail the script."""

    def __init__(self) -> None:
        self._w: weavelet.Weavelet | None = None
        self._aside = False
        self._thread: int | None = None
        self._outer: FrameType | None = None
        self._step = 0
        self._places = Places()
        self._schedulers: weakref.WeakSet[Any] = weakref.WeakSet()
        self._new_schedulers = False
        self._loss: Any = None
        self._scaled = False
        self._report_at = 0.0
        self._due = True
        self._hidden: int | None = None
        self._undo: list[Callable[[], None]] = []
        self._attached: list[Callable[[], None]] = []
        self._backward: Callable[[], int] = _no_backward

    def attach(self) -> None:
        """Have torch call this from now on. Of torch itself much may be missing yet."""
        from torch.optim import lr_scheduler, optimizer  # noqa: PLC0415

        hooks = (
            optimizer.register_optimizer_step_pre_hook(self.before),
            optimizer.register_optimizer_step_post_hook(self.after),
        )
        self._attached += [hook.remove for hook in hooks]
        kinds = vars(lr_scheduler)
        # All others call LRScheduler's own.
        for name in ("LRScheduler", "ReduceLROnPlateau", "SequentialLR", "ChainedScheduler"):
            if "__init__" in vars(kinds[name]):
                self._attached.append(watch(kinds[name], "__init__", self.scheduler_appeared))

    def detach(self) -> None:
        """Let go of torch, and end the session."""
        w = self._w
        self._step_aside()
        while self._attached:
            self._attached.pop()()
        if w is not None:
            w.stop()

    # Called by torch.

    def before(self, optimizer: Any, args: Any, kwargs: Any) -> None:
        """An optimizer begins a step."""
        if self._aside:
            return
        try:
            if self._counts(optimizer):
                # A step that raised never came to `after`, so that only its frame can tell.
                self._outer = sys._getframe(1)  # noqa: SLF001  there is no other way to it
                self._begun(optimizer)
        except Exception:  # the boundary to a script that must not fail for want of us
            self._give_up()

    def _counts(self, optimizer: Any) -> bool:
        """Whether what begins is a step: the outermost one, in the thread that stepped first."""
        if self._w is None and not self._begin():
            return False
        if self._backward() != -1:
            self._step_in_backward(optimizer)
            return False
        if self._thread is None:
            self._thread = threading.get_ident()
        elif self._thread != threading.get_ident():
            return False
        return self._outer is None or not _is_running(self._outer)

    def _begun(self, optimizer: Any) -> None:
        place = self._places.of(optimizer)
        if place is None:
            place = self._places.take(optimizer, self._step)
            if place is not None:
                self._bind(place)
        else:
            place.stepped = self._step
        if self._step == 0:
            self._poll(0)

    def after(self, optimizer: Any, args: Any, kwargs: Any) -> None:
        """An optimizer has ended a step."""
        if self._outer is None or self._outer is not sys._getframe(1):  # noqa: SLF001  as before
            return
        self._outer = None
        self._hidden = None
        try:
            self._ended(optimizer)
        except Exception:  # as in `before`
            self._give_up()

    def _ended(self, optimizer: Any) -> None:
        if self._due:
            self._report(optimizer)
        now = time.monotonic()
        self._due = now >= self._report_at
        self._step += 1
        if self._new_schedulers:
            self._bind_again()
        self._poll(self._step)

    @_guarded
    def scheduler_appeared(self, scheduler: Any) -> None:
        """A learning rate scheduler is being made."""
        self._schedulers.add(scheduler)
        self._new_schedulers = True

    @_guarded
    def backward_called(self, tensor: Any) -> None:
        """`backward()` is about to run on a tensor, most likely."""
        if self._aside or self._backward() != -1:
            return
        if self._hidden is not None:
            self._thread = self._thread or threading.get_ident()
            if self._thread == threading.get_ident():
                self._poll(self._step)
        if self._due and not self._scaled:
            self._note_loss(tensor)
        self._scaled = False

    def become_inert(self) -> None:
        """In a forked child: the session is the parent's."""
        if self._w is not None:
            self._step_aside()

    # The session.

    def _begin(self) -> bool:
        if weavelet.current() is not None or _is_loading_data():
            self._aside = True
            return False
        import torch  # noqa: PLC0415  loaded long since
        from torch.amp.grad_scaler import GradScaler  # noqa: PLC0415  as before

        self._backward = torch._C._current_graph_task_id  # noqa: SLF001  no public way to it
        try:
            self._w = weavelet.session(_replica()).start()
        except (OSError, ValueError) as error:
            self._aside = True
            _log.warning("this script is not steered: %s", error)
            return False
        # Who asks for a session in the code gets this one's place.
        self._w._gives_way = True  # noqa: SLF001  for our own stand-in alone
        self._undo += [
            watch(torch.Tensor, "backward", self.backward_called),
            watch_calls(GradScaler, "scale", self._scale_called),
        ]
        return True

    def _give_up(self) -> None:
        _log.warning("this script is not steered any more", exc_info=True)
        self._step_aside()

    def _step_aside(self) -> None:
        self._aside = True
        self._outer = self._loss = None
        while self._undo:
            self._undo.pop()()

    def _poll(self, step: int) -> None:
        w = self._w
        if w is None or weavelet.current() is not w:
            self._step_aside()
            return
        try:
            w.poll(step)
        except weavelet.StopTraining:
            # Only the main thread can end the script, and it may wait for something else.
            if threading.current_thread() is not threading.main_thread():
                _thread.interrupt_main()
            # Nobody in the script knows it; this one ends it as the script itself would.
            raise SystemExit(0) from None

    # What is steered, and what is reported.

    def _bind(self, place: Place) -> None:
        from weavelet.integrations.torch import bind  # noqa: PLC0415  torch is loaded by now

        optimizer, schedulers = place.optimizer, self._schedulers_of(place.optimizer)
        place.schedulers = tuple(weakref.ref(each) for each in schedulers)
        try:
            binding = bind(
                self._w,  # type: ignore[arg-type]  # there is one, once an optimizer steps
                optimizer=optimizer,
                scheduler=schedulers,
                prefix=place.prefix,
                switch=False,
            )
        except (TypeError, ValueError) as error:
            _log.warning("%s is not steered: %s", type(optimizer).__name__, error)
        else:
            binding.hindrance = lambda: _IDLE if self._places.is_idle(place) else ""

    def _bind_again(self) -> None:
        self._new_schedulers = False
        for place in self._places:
            if place.optimizer is None:
                continue
            now = tuple(weakref.ref(each) for each in self._schedulers_of(place.optimizer))
            if place.schedulers != now:
                self._bind(place)

    def _schedulers_of(self, optimizer: Any) -> tuple[Any, ...]:
        mine = [one for one in self._schedulers if getattr(one, "optimizer", None) is optimizer]
        inside = {id(each) for one in mine for each in getattr(one, "_schedulers", ())}
        return tuple(sorted((one for one in mine if id(one) not in inside), key=id))

    def _note_loss(self, tensor: Any) -> None:
        if self._thread == threading.get_ident() and tensor.numel() == 1:
            self._loss = tensor.detach()

    @_guarded
    def _scale_called(self, given: Any) -> None:
        if self._due and callable(getattr(given, "detach", None)):
            self._note_loss(given)
            self._scaled = True

    def _report(self, optimizer: Any) -> None:
        self._report_at = time.monotonic() + REPORT_SECONDS
        place = self._places.of(optimizer)
        loss, self._loss = self._loss, None
        if place is None or self._w is None:
            return
        metrics = _rate(optimizer, place.prefix)
        if loss is not None:
            metrics[f"{place.prefix}loss"] = loss
        self._w.report(self._step, **metrics)

    def _step_in_backward(self, optimizer: Any) -> None:
        if self._hidden is None:
            if self._places.of(optimizer) is not None or self._step:
                return
            self._hidden = id(optimizer)
            _log.warning(
                "%s steps inside backward(): this run can be seen, paused and stopped, but what "
                "its optimizers are set to cannot be changed",
                type(optimizer).__name__,
            )
        elif self._hidden == id(optimizer) and self._w is not None:
            loss, self._loss = self._loss, None
            metrics = _rate(optimizer)
            self._w.report(self._step, **metrics, **({} if loss is None else {"loss": loss}))
            self._step += 1


def _is_running(frame: FrameType) -> bool:
    """Whether a frame is one of those that led here."""
    above: FrameType | None = sys._getframe(2)  # noqa: SLF001  there is no other way to it
    while above is not None and above is not frame:
        above = above.f_back
    return above is not None


def _stay_out_of_graphs() -> None:
    """Let torch.compile run our hooks as they are instead of compiling them with the step."""
    rules: Any = sys.modules.get("torch._dynamo.trace_rules")
    try:
        for name in ("weavelet", "weavelet.integrations"):
            rules.add(name)
    except Exception as error:  # the script imports it, and goes on
        _log.warning("torch.compile may compile our hooks along with a step: %s", error)


def _rate(optimizer: Any, prefix: str = "") -> dict[str, Any]:
    """The learning rate as it is reported; an optimizer of the script's own may have none."""
    groups = optimizer.param_groups
    return {f"{prefix}lr": groups[0]["lr"]} if groups and "lr" in groups[0] else {}


def _no_backward() -> int:
    return -1


def _is_loading_data() -> bool:
    data = sys.modules.get("torch.utils.data")
    return data is not None and data.get_worker_info() is not None


def _replica() -> str | None:
    """The replica's name where only the process group knows its rank."""
    from torch import distributed  # noqa: PLC0415  torch is loaded by now

    if "RANK" in os.environ or "WEAVELET_REPLICA" in os.environ or not distributed.is_available():
        return None
    return f"rank-{distributed.get_rank()}" if distributed.is_initialized() else None
