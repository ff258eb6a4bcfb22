"""The synchronous client, for notebooks and programs that steer a run from outside."""

from __future__ import annotations

import asyncio
import concurrent.futures
import threading
from collections.abc import (
    AsyncGenerator,
    Callable,
    Collection,
    Coroutine,
    Iterator,
    Mapping,
    Sequence,
)
from contextlib import aclosing, suppress
from types import TracebackType
from typing import Any, TypeVar

from weavelet.client import address
from weavelet.client.connection import Connection
from weavelet.client.result import Result, unanswered
from weavelet.exceptions import CommandError
from weavelet.weaver import protocol

T = TypeVar("T")
A = TypeVar("A", bound=protocol.ServerMessage)
Progress = Callable[[protocol.EntryUpdate], None]
Update = protocol.ServerMessage

_DEFAULT_DEADLINE = 60.0
_GRACE_SECONDS = 30.0
_CANCEL_SECONDS = 3.0
_CLOSED = "closed"
_BEAT = protocol.StatusUpdate()


class Client:
    """Speaks to a running weaver. A context manager; safe to use from several threads.

    Without arguments it finds the weaver by WEAVELET_URL and WEAVELET_TOKEN, else by the
    `weavelet up` of this home. The connection is made at the first call and made again when it
    was lost. Every method raises `CommandError`, with a stable word in `code`.
    """

    def __init__(self, url: str | None = None, token: str | None = None) -> None:
        self._url = url
        self._token = token
        self._connection: Connection | None = None
        # Held here, so that none is collected, and with it its connection, while the loop ends.
        self._watches: set[AsyncGenerator[Update, None]] = set()
        self._working: set[asyncio.Task[Any]] = set()
        self._opening = asyncio.Lock()
        self._gate = threading.Lock()
        self._closed = False
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(
            target=self._loop.run_forever, name="weavelet-client", daemon=True
        )
        self._thread.start()

    def __enter__(self) -> Client:  # noqa: PYI034  typing.Self is of Python 3.11
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection and end the client's thread. The client is then of no more use.

        What other threads do with it ends: a watch has no more updates, a call raises.
        """
        with self._gate:
            if self._closed:
                return
            self._closed = True
        asyncio.run_coroutine_threadsafe(self._close(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def snapshot(self, runs: Sequence[str] = ()) -> protocol.Snapshot:
        """The fleet as it is now, or some runs of it: jobs, devices and the weaver's rules."""
        return self._wait_for(self._snapshot(list(runs)))

    def jobs(self, runs: Sequence[str] = ()) -> list[protocol.JobView]:
        """Every job that the weaver knows, or those of some runs, with replicas and controls."""
        return self.snapshot(runs).jobs

    def job(self, run: str, job: str | None = None) -> protocol.JobView:
        """One job of a run; without `job` its newest live one, else its newest.

        Raises:
            CommandError: `unknown_run` or `unknown_job`.
        """
        jobs = self.jobs([run])
        if not jobs:
            known = sorted({other.run for other in self.jobs()})
            raise CommandError("unknown_run", f"There is no run {run!r}.", known=known)
        if job is None:
            return next((each for each in jobs if each.newest), jobs[-1])
        for each in jobs:
            if each.job == job:
                return each
        known = [each.job for each in jobs]
        raise CommandError("unknown_job", f"Run {run!r} has no job {job!r}.", known=known)

    def set(
        self,
        run: str,
        values: Mapping[str, Any],
        *,
        replicas: Sequence[str] = (),
        job: str | None = None,
        at_step: int | None = None,
        expect: Mapping[str, Any] | None = None,
        dry_run: bool = False,
        deadline: float | None = None,
        wait: bool = True,
    ) -> Result:
        """Set several controls, all or none, and say what became of it on every replica.

        `expect` names values that must hold for the change to be made; `at_step` is the step at
        which to apply it; `deadline` is in seconds. With `wait` False the answer says only that
        the command entered the log.
        """
        command = protocol.UpdateConfig(
            id="",
            run=run,
            job=job,
            replicas=list(replicas),
            deadline=deadline,
            at_step=at_step,
            values=dict(values),
            expect=dict(expect or {}),
            dry_run=dry_run,
        )
        return self.send(command, wait=wait)

    def act(
        self,
        run: str,
        name: str,
        arguments: Mapping[str, Any] | None = None,
        *,
        replicas: Sequence[str] = (),
        job: str | None = None,
        at_step: int | None = None,
        deadline: float | None = None,
        wait: bool = True,
    ) -> Result:
        """Run an action at the safe point; each outcome's `result` is what it returned."""
        command = protocol.Action(
            id="",
            run=run,
            job=job,
            replicas=list(replicas),
            deadline=deadline,
            at_step=at_step,
            name=name,
            arguments=dict(arguments or {}),
        )
        return self.send(command, wait=wait)

    def pause(
        self,
        run: str,
        *,
        lease: float | None = None,
        replicas: Sequence[str] = (),
        job: str | None = None,
    ) -> Result:
        """Hold at the safe point, for `lease` seconds or until resumed."""
        return self.send(
            protocol.Pause(id="", run=run, job=job, replicas=list(replicas), lease=lease)
        )

    def resume(self, run: str, *, replicas: Sequence[str] = (), job: str | None = None) -> Result:
        """End a pause."""
        return self.send(protocol.Resume(id="", run=run, job=job, replicas=list(replicas)))

    def stop(
        self,
        run: str,
        *,
        reason: str = "",
        replicas: Sequence[str] = (),
        job: str | None = None,
    ) -> Result:
        """End training at the next safe point."""
        return self.send(
            protocol.Stop(id="", run=run, job=job, replicas=list(replicas), reason=reason)
        )

    def freeze(self, run: str, *, reason: str = "", job: str | None = None) -> Result:
        """Have the job refuse everything but stop and unfreeze."""
        return self.send(protocol.Freeze(id="", run=run, job=job, reason=reason))

    def unfreeze(self, run: str, *, job: str | None = None) -> Result:
        """Have the job accept commands again."""
        return self.send(protocol.Unfreeze(id="", run=run, job=job))

    def log(self, run: str, job: str | None = None) -> list[protocol.EntryUpdate]:
        """The control log of a job, oldest first, each entry with its outcomes."""
        request = protocol.ReadLog(id="", run=run, job=job)
        return self._wait_for(self._ask_once(request, protocol.Log)).entries

    def remove(self, run: str, job: str | None = None) -> list[str]:
        """Forget a run, or one job of it, that lives no more; the jobs that were forgotten."""
        request = protocol.Remove(id="", run=run, job=job)
        return self._wait_for(self._ask_once(request, protocol.Removed)).jobs

    def watch(self, runs: Sequence[str] = (), *, metrics: bool = False) -> Iterator[Update]:
        """A snapshot of the fleet, then every change to it, until closed or disconnected.

        Each watch has a connection of its own. A consumer that cannot keep up gets coalesced
        updates and delays nobody.
        """
        updates = self._watch(protocol.Subscribe(id="", runs=list(runs), metrics=metrics))
        with self._gate:
            if self._closed:
                return
            self._watches.add(updates)
        try:
            while True:
                try:
                    update = self._wait_for(_next(updates))
                except CommandError as error:
                    if error.code == _CLOSED:
                        return
                    raise
                yield update
        finally:
            # A client that is closed meanwhile has ended it.
            with suppress(CommandError):
                self._wait_for(self._unwatch(updates))

    def send(
        self, command: protocol.Command, *, wait: bool = True, progress: Progress | None = None
    ) -> Result:
        """Send a command of `weavelet.weaver.protocol`; `progress` sees every stage of its life."""
        return self._wait_for(self._command(command, wait, progress))

    async def _command(
        self, command: protocol.Command, wait: bool, progress: Progress | None
    ) -> Result:
        connection = await self._connected()
        patience = _patience(command)
        update: protocol.EntryUpdate | None = None
        try:
            async with aclosing(connection.ask(command)) as answers:
                while True:
                    answer = await asyncio.wait_for(anext(answers), patience)
                    if not isinstance(answer, protocol.EntryUpdate):
                        continue
                    update = answer
                    if progress is not None:
                        progress(update)
                    if update.settled or not wait:
                        return Result.of(update)
        except asyncio.TimeoutError as error:
            raise unanswered(update, f"within {patience or 0:g} s") from error
        except CommandError as error:
            if error.code == "unavailable" and update is not None:
                raise unanswered(update, "before the connection was lost") from error
            raise

    async def _snapshot(self, runs: list[str]) -> protocol.Snapshot:
        # On a connection of its own: a subscription lasts as long as its connection.
        connection = await self._open()
        try:
            request = protocol.Subscribe(id="", runs=runs)
            return await connection.ask_once(request, protocol.Snapshot)
        finally:
            await connection.close()

    async def _watch(self, request: protocol.Subscribe) -> AsyncGenerator[Update, None]:
        connection = await self._open()
        try:
            async with aclosing(connection.ask(request)) as answers:
                async for update in answers:
                    if update != _BEAT:
                        yield update
        finally:
            await connection.close()

    async def _unwatch(self, updates: AsyncGenerator[Update, None]) -> None:
        await updates.aclose()
        self._watches.discard(updates)

    async def _ask_once(self, request: protocol.Request, answer: type[A]) -> A:
        return await (await self._connected()).ask_once(request, answer)

    async def _connected(self) -> Connection:
        async with self._opening:
            if self._connection is None or self._connection.closed:
                if self._connection is not None:
                    await self._connection.close()
                self._connection = await self._open()
            return self._connection

    async def _open(self) -> Connection:
        return await Connection.open(address.find(self._url, self._token))

    async def _close(self) -> None:
        for task in self._working:
            task.cancel()
        await _all(self._working)
        for updates in self._watches:
            await updates.aclose()
        self._watches.clear()
        if self._connection is not None:
            await self._connection.close()
        await _all(asyncio.all_tasks() - {asyncio.current_task()})

    def _wait_for(self, work: Coroutine[Any, Any, T]) -> T:
        ended = threading.Event()
        # What is begun before close() is known to it.
        with self._gate:
            if self._closed:
                work.close()
                raise _closed()
            future = asyncio.run_coroutine_threadsafe(self._work(work, ended), self._loop)
        try:
            return future.result()
        except concurrent.futures.CancelledError:
            raise _closed() from None
        except BaseException:
            # Ctrl-C lands here: what was begun is to be over before the caller cleans up.
            future.cancel()
            ended.wait(_CANCEL_SECONDS)
            raise

    async def _work(self, work: Coroutine[Any, Any, T], ended: threading.Event) -> T:
        task = asyncio.current_task()
        assert task is not None  # this is a coroutine of the loop's
        self._working.add(task)
        try:
            return await work
        finally:
            self._working.discard(task)
            ended.set()


def _closed() -> CommandError:
    return CommandError(_CLOSED, "This client was closed; make a new one.")


async def _all(tasks: Collection[asyncio.Task[Any]]) -> None:
    if tasks:
        await asyncio.wait(tasks, timeout=_CANCEL_SECONDS)


async def _next(updates: AsyncGenerator[Update, None]) -> Update:
    return await anext(updates)


def _patience(command: protocol.Command) -> float | None:
    # The weaver settles every entry shortly after its deadline; one for a later step has none.
    if command.deadline is None and command.at_step is not None:
        return None
    return (command.deadline or _DEFAULT_DEADLINE) + _GRACE_SECONDS
