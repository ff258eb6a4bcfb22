"""Asks the rules of `weavelet up --rules` in their turn, and puts their commands into the log.

A rule that is slow is switched off, but goes on in its thread: nothing but a restart ends that. One
that does not even let other threads run would hang the weaver; `watchdog` ends it then.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from weavelet.exceptions import CommandError
from weavelet.messages import ReportBatch
from weavelet.weaver import lives, rulebook, rules
from weavelet.weaver.ingest import Ingest, together
from weavelet.weaver.protocol import RuleView
from weavelet.weaver.rules import RECENT, Order, Rule
from weavelet.weaver.scribe import Scribe
from weavelet.weaver.watchdog import watch

log = logging.getLogger("weavelet.weaver")

SLOW_SECONDS = 10.0
_MOST_ORDERS = 100


@dataclass
class _Post:
    """A rule in service: why it was switched off, how often it fired, what it last failed at."""

    rule: Rule
    off: str | None = None
    fired: int = 0
    trouble: str = ""


class Umpire:
    """Runs rules on what `ingest` has read; `version` rises with every change of `views`."""

    def __init__(self, found: Sequence[Rule], ingest: Ingest, scribe: Scribe) -> None:
        self.version = 1
        self._ingest = ingest
        self._scribe = scribe
        self._posts = [_Post(rule) for rule in found]
        self._followed = {metric for rule in found for metric in rule.follow}
        self._samples: dict[tuple[str, str, str], tuple[str, dict[str, deque[Any]]]] = {}

    def views(self) -> list[RuleView]:
        """The rules as clients see them."""
        return [
            RuleView(
                name=post.rule.name,
                every=post.rule.every,
                doc=(post.rule.judge.__doc__ or "").strip().partition("\n")[0],
                off=post.off,
                fired=post.fired,
            )
            for post in self._posts
        ]

    def reported(self, run: str, job: str, batch: ReportBatch) -> None:
        """Keep the samples that a rule follows."""
        followed = self._followed & batch.columns.keys()
        if not followed:
            return
        who = (run, job, batch.replica)
        incarnation, series = self._samples.get(who, ("", {}))
        if incarnation != batch.incarnation:
            series = {metric: deque(maxlen=RECENT) for metric in self._followed}
            self._samples[who] = (batch.incarnation, series)
        for metric in followed:
            series[metric].extend(
                (step, float(value))
                for step, value in zip(batch.steps, batch.columns[metric], strict=False)
                if isinstance(value, (int, float))
            )

    async def run(self) -> None:
        """Ask the rules. Ends only by cancellation."""
        watching = watch() if self._posts else _for_ever()
        await together(watching, *(self._keep(post) for post in self._posts))

    async def _keep(self, post: _Post) -> None:
        while post.off is None:
            await asyncio.sleep(post.rule.every)
            await self._ingest.ready.wait()
            for order in await self._ask(post):
                await self._issue(post, order)
        await asyncio.Event().wait()

    async def _ask(self, post: _Post) -> list[Order]:
        fleet = self.fleet(time.monotonic())
        try:
            orders = await asyncio.wait_for(
                _in_thread(lambda: post.rule.orders(fleet)), SLOW_SECONDS
            )
        except asyncio.TimeoutError:
            self._switch_off(post, f"it took longer than {SLOW_SECONDS:g} s")
        except Exception as error:
            # The boundary to the user's code: whatever it raises ends the rule, not the weaver.
            self._switch_off(
                post, f"it raised {rulebook.describe(error)} ({rulebook.place(error)})"
            )
        else:
            if len(orders) <= _MOST_ORDERS:
                return orders
            self._switch_off(post, f"it returned {len(orders)} commands at once")
        return []

    def _switch_off(self, post: _Post, why: str) -> None:
        post.off = why
        self.version += 1
        log.warning("rule %s is switched off: %s", post.rule.name, why)

    async def _issue(self, post: _Post, order: Order) -> None:
        entry_id = post.rule.entry_id(order)
        run, job = order.job.run, order.job.name
        found = self._ingest.logs.get((run, job))
        if found is not None and entry_id in found.lives:
            return
        try:
            command = order.command()
            await self._scribe.submit(command, entry_id=entry_id, author=post.rule.author)
        except CommandError as error:
            # Often for long, such as while a job is frozen: said once.
            if post.trouble != error.text:
                post.trouble = error.text
                log.warning("a command of rule %s was refused: %s", post.rule.name, error.text)
            return
        post.fired += 1
        self.version += 1
        log.info("%s: %s of run %s (%s)", post.rule.author, type(order).__name__, run, entry_id)

    def fleet(self, now: float) -> rules.Fleet:
        """The live part of the fleet as rules see it."""
        fleet = self._ingest.fleet
        live = fleet.live(now)
        newest = {run: fleet.newest(run, now) for run in {job.run for job in live}}
        for run, name, replica in list(self._samples):
            job = fleet.runs.get(run, {}).get(name)
            if job is None or replica not in job.replicas:
                del self._samples[run, name, replica]
        return rules.Fleet(
            tuple(self._job(job, now, newest=job is newest[job.run]) for job in live)
        )

    def _job(self, job: lives.Job, now: float, *, newest: bool) -> rules.Job:
        return rules.Job(
            run=job.run,
            name=job.name,
            newest=newest,
            frozen_by=job.frozen_by,
            commanded_by=self._commanded_by(job),
            replicas=tuple(
                self._replica((job.run, job.name, name), replica.current, now)
                for name, replica in job.replicas.items()
            ),
        )

    def _commanded_by(self, job: lives.Job) -> frozenset[str]:
        found = self._ingest.logs.get((job.run, job.name))
        authors = found.authors if found else ()
        return frozenset(post.rule.name for post in self._posts if post.rule.author in authors)

    def _replica(
        self, who: tuple[str, str, str], life: lives.Incarnation, now: float
    ) -> rules.Replica:
        incarnation, series = self._samples.get(who, ("", {}))
        mine = series if incarnation == life.identity.incarnation else {}
        return rules.Replica(
            name=who[2],
            state=life.state_at(now),
            step=life.step,
            rate=life.beat.rate if life.beat else 0.0,
            rank=life.identity.rank,
            metrics=dict(life.metrics),
            controls={spec.name: spec.value for spec in life.controls if spec.kind == "control"},
            samples={metric: tuple(mine.get(metric, ())) for metric in self._followed},
        )


def _in_thread(call: Callable[[], list[Order]]) -> asyncio.Future[list[Order]]:
    """The result of `call`, made in a thread that nobody has to wait for."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[list[Order]] = loop.create_future()

    def tell(result: list[Order] | None, error: Exception | None) -> None:
        if future.done():
            return
        if error is not None:
            future.set_exception(error)
        else:
            future.set_result(result or [])

    def work() -> None:
        result, failure = None, None
        try:
            result = call()
        except Exception as error:  # told to whoever waits
            failure = error
        except BaseException as error:  # SystemExit, which would end this thread without a word
            failure = RuntimeError(rulebook.describe(error))
        with suppress(RuntimeError):  # the weaver has ended meanwhile
            loop.call_soon_threadsafe(tell, result, failure)

    threading.Thread(target=work, name="rule", daemon=True).start()
    return future


async def _for_ever() -> None:
    await asyncio.Event().wait()
