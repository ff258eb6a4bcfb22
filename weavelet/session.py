"""session() and the handle it gives."""

from __future__ import annotations

import functools
import inspect
import logging
import socket
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, TypeVar

from weavelet import checkpoint, identity, ledger, lifetime, settings
from weavelet.announce import Specs, bye_frame, controls_frame, hello_frame
from weavelet.channel.end import End
from weavelet.channel.frames import encode
from weavelet.channel.page import Page, Phase
from weavelet.channel.trainer import TrainerEnd
from weavelet.controls import Registry
from weavelet.declarations import error_text
from weavelet.exceptions import SessionError, StopTraining
from weavelet.grouping import Grouping
from weavelet.hotpath import (
    Look,
    Poll,
    Report,
    blind,
    make_poll,
    make_report,
    poll_nothing,
    report_nothing,
)
from weavelet.keystore import KeyStore
from weavelet.messages import Change, Hello, Identity, Recorded, Section
from weavelet.ranks import Group, Ranks
from weavelet.remote import Remote
from weavelet.replay import ReplayEnd
from weavelet.safepoint import SafePoint
from weavelet.spawn import Spawner

F = TypeVar("F", bound=Callable[..., Any])
T = TypeVar("T")
W = TypeVar("W", bound="Weavelet")

_log = logging.getLogger("weavelet")

_NO_RANK = (
    "it was made before the process group, and no launcher has set RANK, so that each rank is a "
    "job of its own; call session() after init_process_group(), or give WEAVELET_JOB to all ranks"
)

_NAME_CHARACTERS = 200
"""How much of a section's name is shown."""


def session(
    replica_id: str | None = None,
    *,
    run: str | None = None,
    job: str | None = None,
    url: str | None = None,
    controls: Iterable[object] = (),
    agreement: Literal["auto", "on", "off"] = "auto",
    replay: str | Path | None = None,
    adopt: Literal["job", "checkpoint", "none"] = "job",
    on_stop: Literal["raise", "flag"] = "raise",
    mode: Literal["online", "disabled"] | None = None,
) -> Weavelet:
    """Make this training process visible and steerable.

    Use the result in a `with` statement, as a decorator of the training function, or with
    `start()` and `stop()` inside a class. It needs no server: one may come later, go, and come
    back.

    Args:
        replica_id: Name of this process, stable over restarts. Default: WEAVELET_REPLICA, else
            `rank-{RANK}` under a launcher, else `{host}-{pid}`.
        run: Name of the programme. Default: WEAVELET_RUN, else the script's name.
        job: Name of this launch of it, the same on all ranks. Default: WEAVELET_JOB, else what the
            launcher calls it.
        url: NATS server to use. Default: WEAVELET_NATS_URL, else the `weavelet up` of this home.
        controls: Objects whose methods are marked with `@weavelet.handler` or `@weavelet.action`.
        agreement: "auto" lets the ranks of a torch.distributed job apply everything at the same
            step, from the first poll after its process group was made. "on" also looks for a group
            in each poll where no launcher says that there will be one; without it one that is made
            after the first poll is not seen. "off" lets each process decide for itself.
        replay: A file of `weavelet export`: what it says was applied for this replica is applied
            again at the same steps. There is no server then, and what is reported goes nowhere.
        adopt: Whether a late or restarted replica takes over the settings that the job's log says
            were applied ("job"), keeps what its checkpoint says ("checkpoint"), or starts as it is
            ("none").
        on_stop: "raise" lets poll() raise `StopTraining`; "flag" only sets `stop_requested`.
        mode: "disabled" turns everything into no-ops. Default: WEAVELET_MODE, else "online".

    Raises:
        ValueError: a name is not a slug, or an argument is not one of its choices.
        ReplayError: the file is damaged, or of another run, replica or version.
        TypeError: a marked method in `controls` cannot be a control.
    """
    return Weavelet(
        replica_id,
        run=run,
        job=job,
        url=url,
        controls=controls,
        agreement=agreement,
        replay=replay,
        adopt=adopt,
        on_stop=on_stop,
        mode=mode,
    )


class Weavelet:
    """The trainer's handle on its session; made by `session()`.

    Copied, pickled, or carried into a forked worker it is inert: poll and report do nothing.
    """

    poll: Poll
    """``poll(step=None) -> tuple[Change, ...]``: the safe point.

    Call it once per optimizer step, always from the same thread. Changes, actions and pauses happen
    in here and nowhere else; it returns the changes made. `step` defaults to the one after the last
    poll's, from 0; ranks that are to apply changes at the same step have to give it. With nothing
    waiting it costs about as much as three empty method calls.

    Raises:
        StopTraining: the job was told to stop and `on_stop` is "raise".
        WrongThreadError: another thread polled first and something waits.
        TypeError, ValueError: `step` is not an int of at most 64 bits.
    """

    report: Report
    """``report(step=None, /, **metrics)``: numbers, flags and text out; never blocks, never raises.

    Takes int, float, bool, str and anything with `.item()`. May be called from any thread. What the
    sidecar does not take in time is dropped, oldest first, and counted.
    """

    def __init__(
        self,
        replica_id: str | None = None,
        *,
        run: str | None = None,
        job: str | None = None,
        url: str | None = None,
        controls: Iterable[object] = (),
        agreement: Literal["auto", "on", "off"] = "auto",
        replay: str | Path | None = None,
        adopt: Literal["job", "checkpoint", "none"] = "job",
        on_stop: Literal["raise", "flag"] = "raise",
        mode: Literal["online", "disabled"] | None = None,
    ) -> None:
        self._environ = environ = identity.environment()
        self.run = settings.run_name(run)
        self.job = settings.job_name(job, environ)
        self.replica_id = settings.replica_name(replica_id, environ)
        self.mode = settings.mode(mode)
        self._url = url
        self._agreement = _one_of("agreement", agreement, ("auto", "on", "off"))
        self._adopt = _one_of("adopt", adopt, ("job", "checkpoint", "none"))
        self._on_stop = _one_of("on_stop", on_stop, ("raise", "flag"))
        guessed = settings.rank_of(environ) is None and settings.job_is_local(environ)
        self._is_own_job = guessed and job is None
        self._replay = None if replay is None else Path(replay)
        self._recorded = self._read_replay(replica_id)
        self._registry = Registry()
        self._memory = checkpoint.Memory()
        self._step: int | None = None
        self._specs: Specs = ()
        self._page: Page | None = None
        self._end: End | None = None
        self._spawner: Spawner | None = None
        self._remote: Remote | None = None
        self._safe_point: SafePoint | None = None
        self._identity: Identity | None = None
        self._sections: list[Section] = []
        self._running = False
        self._gives_way = False
        self._returned = 0.0
        self.stopped = False
        """Whether the session ended because the job was told to stop."""
        self._rest()
        for owner in controls:
            self._registry.register(owner)

    # Life.

    def start(self: W) -> W:  # noqa: PYI019  typing.Self needs 3.11
        """Begin a new incarnation. Returns at once; the sidecar connects by itself.

        Raises:
            SessionError: it has been started already.
        """
        if self._running:
            msg = f"this session ({self.run}/{self.replica_id}) is running; stop() it first"
            raise SessionError(msg)
        self.stopped = False
        self._safe_point = None
        lifetime.make_way()
        if self.mode != "disabled":
            self._begin()
        self._running = True
        lifetime.enter(self)
        return self

    def stop(self, error: str | None = None) -> None:
        """Say goodbye and turn into a no-op. Does nothing unless started.

        Args:
            error: What ended training, if it was an error; shown beside the state.
        """
        lifetime.leave(self)
        self._running = False
        if self._page is None or self._end is None:
            return
        self.stopped = self.stop_requested
        self._step = self._polled_step()
        if self._safe_point is not None:
            self._safe_point.leave("it stopped training" if error is None else error)
        self._memory.end_life()
        if self._spawner is not None:
            self._spawner.stop()
        self._rest()
        if self._remote is not None:
            self._remote.finish()
        self._end.post(bye_frame(self.stopped, error), "bye")
        self._end.close()
        self._page.close_descriptor()
        self._page = self._end = self._spawner = None

    def __enter__(self: W) -> W:  # noqa: PYI019  as start
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool:
        mine = isinstance(error, StopTraining) and self.stop_requested
        if mine or error is None or (isinstance(error, SystemExit) and not error.code):
            self.stop()
        else:
            self.stop(error_text(error))
        return mine

    def __call__(self, function: F) -> F:
        """Decorate a training function: each call of it is one incarnation.

        Raises:
            TypeError: the function is a coroutine or a generator, which would poll after its end.
        """
        _check_plain_function(function)

        @functools.wraps(function)
        def inside(*args: Any, **kwargs: Any) -> Any:
            with self:
                return function(*args, **kwargs)

        return inside  # type: ignore[return-value]  # wraps keeps the signature, not the type

    # Controls.

    def handler(
        self,
        name: str | None = None,
        *,
        type: Any = None,
        get: Callable[[], Any] | None = None,
        unit: str = "",
        doc: str = "",
        danger: bool = False,
        idempotent: bool = False,
    ) -> Callable[[F], F]:
        """Declare a control: a function of one annotated parameter that sets a value.

        Args:
            name: What operators call it. Default: the function's name.
            type: Its type, instead of the parameter's annotation.
            get: Reads the current value; makes roll-back exact and shows what the value is.
            unit: For display, such as "s".
            doc: One sentence for display. Default: the function's docstring.
            danger: Whether operators are asked before they set it.
            idempotent: Whether a restarted replica may run again what a dead one had begun.

        Raises:
            TypeError: no annotation, more than one parameter, or a type that cannot be decoded.
            ValueError: the name is taken or is not a valid one.
        """
        decorate = self._registry.handler(
            name,
            type=type,
            get=get,
            unit=unit,
            doc=doc,
            danger=danger,
            idempotent=idempotent,
            scope=_scope(),
        )
        return self._registering(decorate)

    def action(
        self,
        name: str | None = None,
        *,
        doc: str = "",
        danger: bool = False,
        idempotent: bool = False,
    ) -> Callable[[F], F]:
        """Declare an action: a function run at the safe point, whose result is sent back.

        Raises:
            TypeError: a parameter without annotation, or of a type that cannot be decoded.
            ValueError: the name is taken or is not a valid one.
        """
        decorate = self._registry.action(
            name, doc=doc, danger=danger, idempotent=idempotent, scope=_scope()
        )
        return self._registering(decorate)

    def on_notice(self, kind: str) -> Callable[[F], F]:
        """Declare what to do when something happens outside, such as "device_failed".

        The function is called at the next safe point with the notice: its `kind`, and its `detail`
        with `host` and `device` where they are known. The kind "replica_failed" tells of other
        replicas of this job: `detail["replicas"]` failed. What it returns is shown as the result.

        Raises:
            TypeError: the function does not take one argument, or is a coroutine or a generator.
            ValueError: the kind is not 1 to 64 of A-Z a-z 0-9 _ -.
        """
        return self._registering(self._registry.on_notice(kind))

    def docs(self) -> str:
        """The page "Controls" as Markdown: all that is registered, with type, bounds and value."""
        return self._registry.page()

    def register(self, owner: object, *, strict: bool = True) -> None:
        """Declare all methods of `owner` marked with `@weavelet.handler` or `@weavelet.action`.

        Args:
            owner: An object, a module, or one marked function.
            strict: Whether it is an error if there are none.

        Raises:
            TypeError: there are none, or one of them cannot be a control.
            ValueError: a name is taken or is not a valid one.
        """
        self._registry.register(owner, strict=strict)
        self._ring()

    @contextmanager
    def section(self, name: str, timeout: float | None = None) -> Iterator[None]:
        """Declare a long phase, such as a checkpoint, so that no poll in it is not a hang.

        Args:
            name: Shown while inside.
            timeout: Seconds after which it counts as stalled all the same.
        """
        shown = str(name).encode("utf-8", "replace").decode()[:_NAME_CHARACTERS]
        self._sections.append(Section(shown, None if timeout is None else float(timeout)))
        self._show_section()
        try:
            yield
        finally:
            self._sections.pop()
            self._show_section()

    # State.

    def state_dict(self) -> dict[str, Any]:
        """What belongs into the checkpoint that is written now, as plain data.

        The value of every control that can be read, and which entries of the job's log were
        decided, so that a life resumed from it applies none of them twice.
        """
        if self._page is not None and self._safe_point is not None:
            self._safe_point.remember()
        state = self._memory.write(self.run, self.job, self._polled_step(), self._registry.values())
        return dict(state)

    def load_state_dict(
        self, state: Mapping[str, Any], *, strict: bool = True
    ) -> tuple[Change, ...]:
        """Set every control that differs to its value in `state`, all or none.

        Call it when the controls are registered, before or after the start. With adopt="job", what
        the job's log says was applied after the checkpoint wins; it is adopted at the first polls.

        Args:
            state: What `state_dict()` returned.
            strict: Whether a control that is not registered here is an error, or left out.

        Raises:
            ControlError: a control is not registered, refuses its value, or fails; none is set.
            ValueError: `state` is something else.
            WrongThreadError, SessionError: another thread polls, or a handler called it.
        """
        loaded = checkpoint.read(state)
        if self._page is not None and self._safe_point is not None:
            self._safe_point.check_caller("load_state_dict()")
        values = self._memory.values(loaded, log_wins=self._adopt == "job")
        changes = checkpoint.restore(self._registry, values, strict=strict)
        self._memory.hold(loaded, self.run, self.job)
        if self._safe_point is not None:
            self._safe_point.recall()
            self._safe_point.announce_again()
        self._ring()
        return changes

    @property
    def stop_requested(self) -> bool:
        """Whether the job was told to stop."""
        return self._safe_point is not None and self._safe_point.stop_requested

    @property
    def incarnation(self) -> str:
        """This life of the replica as 16 hex digits; empty before the first start."""
        return "" if self._identity is None else self._identity.incarnation

    @property
    def sidecar_pid(self) -> int | None:
        """Process id of the live sidecar, None without one."""
        return None if self._spawner is None else self._spawner.pid

    def __repr__(self) -> str:
        state = "running" if self._page is not None else self.mode
        return f"<weavelet {self.run}/{self.job}/{self.replica_id} {state}>"

    def __reduce__(self) -> tuple[Callable[..., Weavelet], tuple[str, str, str]]:
        return _inert, (self.run, self.job, self.replica_id)

    # Inside.

    def _begin(self) -> None:
        if self._replay is None:
            identity.warn_about_hosts()
        try:
            page = Page.create()
        except OSError as error:
            _log.warning("cannot share a page with a sidecar: %s; training goes on unseen", error)
            return
        if self._replay is not None:
            due = ledger.schedule(self._recorded)
            self._connect(page, ReplayEnd(page, self._replay, due))
            return
        end = TrainerEnd(page)
        self._connect(page, end)
        # Bound to this life's end: a sidecar that comes after it is turned away by its end.
        self._spawner = Spawner(page, functools.partial(self._attach, end))
        self._spawner.start()

    def _connect(self, page: Page, end: End) -> None:
        """Bind poll and report to a page and to this end of a channel."""
        self._page, self._end = page, end
        self._identity = identity.new(self.run, self.job, self.replica_id, self._environ)
        self._specs = self._registry.specs()
        self._registry.state()
        self._safe_point = safe_point = SafePoint(
            self._identity,
            self._registry,
            end,
            page,
            self._memory,
            on_stop=self._on_stop,
            announce=self._announce,
        )
        page.words[Page.PHASE] = Phase.RUNNING

        self._remote = remote = Remote(end)

        def look(step: int) -> tuple[tuple[Change, ...], bool]:
            changes = safe_point.run(step)
            remote.collect()
            end.flush()
            self._returned = time.monotonic()
            return changes, safe_point.scheduled

        self.poll = self._make_poll(page, look, safe_point)
        self.report = make_report(page, end, remote.read)

    def _make_poll(self, page: Page, look: Look, safe_point: SafePoint) -> Poll:
        if self._agreement == "off" or self._replay is not None:
            return make_poll(page, look)

        def bind(poll: Poll) -> None:
            self.poll = poll

        def prefix() -> str:
            return f"{lifetime.place_of(self)}/"

        def join(group: Group, store: KeyStore) -> Ranks:
            ranks = safe_point.join(group, store)
            if self._is_own_job:
                _log.warning("this session does not agree on steps with other ranks: %s", _NO_RANK)
                ranks.leave(_NO_RANK)
            return ranks

        return Grouping(page, look, join, bind, prefix).poll(self._agreement)

    def _rest(self) -> None:
        self.poll = poll_nothing
        self.report = report_nothing

    def _become_inert(self) -> None:
        """In a forked child: do nothing, and let go of the descriptors."""
        bound = (self.poll, self.report)
        self._rest()
        if self._safe_point is not None:
            self._safe_point.become_inert()
        self.mode = "disabled"
        if self._end is not None:
            self._end.close_in_child()
        if self._page is not None:
            # Also a poll that was put into a variable must leave the parent's page alone.
            blind(self._page, *bound)
            self._page.close_descriptor()
        self._page = self._end = self._spawner = None

    def _attach(self, end: TrainerEnd, ours: socket.socket) -> None:
        """Greet a sidecar. Also called from the watching thread, so no user code may run here."""
        mine, safe_point = self._identity, self._safe_point
        if mine is None or safe_point is None:
            ours.close()
            return
        hello = Hello(
            identity=mine,
            controls=self._specs,
            position=safe_point.position,
            adopt=self._adopt,
            url=self._url,
            interactive=hasattr(sys, "ps1") or "ipykernel" in sys.modules,
            state=self._registry.stated,
            whole_log=self._agreement != "off",
            notices=self._registry.notices.kinds,
        )
        end.attach(ours, hello_frame(hello))
        # By a copy: the trainer may leave the section at this moment.
        for section in self._sections[-1:]:
            end.post(encode(section), "section")
        if hello.position is not None:
            # A replacement: the values that it was greeted with may be old by now.
            safe_point.announce_again()
            self._ring()

    def _announce(self) -> None:
        self._specs = self._registry.specs()
        if self._end is not None:
            notices = self._registry.notices.kinds
            frame = controls_frame(self._specs, self._registry.stated, notices)
            self._end.post(frame, "controls")

    def _registering(self, decorate: Callable[[F], F]) -> Callable[[F], F]:
        def decorated(function: F) -> F:
            result = decorate(function)
            self._ring()
            return result

        return decorated

    def _ring(self) -> None:
        """Let the next poll look, which announces what has been registered."""
        if self._page is not None:
            self._page.ring()

    def _polled_step(self) -> int | None:
        """The step of the last poll of this life, or of the life before; None before the first."""
        if self._page is None:
            return self._step
        words = self._page.words
        return words[Page.STEP] if words[Page.LOOKS] else None

    def _read_replay(self, replica_id: str | None) -> list[Recorded]:
        if self._replay is None:
            return []
        return ledger.of_replica(
            self._replay,
            ledger.read(self._replay),
            self.run,
            self.replica_id,
            named=settings.replica_is_named(replica_id, self._environ),
        )

    def _show_section(self) -> None:
        if self._page is None or self._end is None:
            return
        inside = bool(self._sections)
        self._returned = time.monotonic()
        self._page.words[Page.PHASE] = Phase.IN_SECTION if inside else Phase.RUNNING
        section = self._sections[-1] if inside else Section(None)
        self._end.post(encode(section), "section")
        if self._safe_point is not None:
            self._safe_point.show_section(section)

    def _worked(self, since: float | None) -> None:
        """The step that runs has done what it does on its own; it began at `since`, None: unknown.

        What the safe point or a section took of that time is left out.
        """
        if self._page is not None:
            took = 0.0 if since is None else time.monotonic() - max(since, self._returned)
            self._page.words[Page.WORK] = round(took * 1e6)


def _inert(run: str, job: str, replica: str) -> Weavelet:
    return Weavelet(replica, run=run, job=job, mode="disabled")


def _one_of(name: str, value: T, choices: tuple[T, ...]) -> T:
    if value not in choices:
        msg = f"{name} must be one of {', '.join(map(repr, choices))}, got {value!r}"
        raise ValueError(msg)
    return value


def _scope() -> dict[str, Any]:
    """The names local to whoever called the method that called this."""
    return sys._getframe(2).f_locals  # noqa: SLF001  inspect's way reads source files


def _check_plain_function(function: Callable[..., Any]) -> None:
    name = getattr(function, "__qualname__", repr(function))
    for is_kind, kind in (
        (inspect.iscoroutinefunction, "a coroutine function"),
        (inspect.isasyncgenfunction, "an async generator"),
        (inspect.isgeneratorfunction, "a generator"),
    ):
        if is_kind(function):
            msg = (
                f"a session decorates plain functions, and {name} is {kind}; "
                "use `with weavelet.session():` inside it instead"
            )
            raise TypeError(msg)
