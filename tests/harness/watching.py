"""What a connected client sees of a fleet, moment by moment."""

from __future__ import annotations

import threading
import time
from contextlib import contextmanager

from weavelet.exceptions import CommandError
from weavelet.weaver import protocol

DEADLINE_SECONDS = 30.0


class Watcher:
    """Keeps every row of every replica with the moment at which it came."""

    def __init__(self, client, runs=()):
        self.rows = []
        self._client = client
        self._runs = list(runs)
        self._news = threading.Condition()
        self._closed = False
        self._updates = None
        self._thread = threading.Thread(target=self._watch, name="watcher", daemon=True)
        self._thread.start()

    def _watch(self):
        while not self._closed:
            try:
                for update in self._client.watch(self._runs):
                    self._take(update)
            except CommandError:
                # The weaver is away; its absence is what some tests are about.
                time.sleep(0.02)

    def _take(self, update):
        now = time.monotonic()
        rows = []
        if isinstance(update, protocol.Snapshot):
            rows = [row for job in update.jobs for row in job.replicas]
        elif isinstance(update, protocol.StatusUpdate):
            rows = update.replicas
        with self._news:
            self.rows += [(now, row) for row in rows]
            self._news.notify_all()

    def until(self, condition, seconds=DEADLINE_SECONDS, since=0.0):
        """The first (moment, row) from `since` on that meets a condition."""
        deadline = time.monotonic() + seconds
        at = 0
        with self._news:
            while True:
                for moment, row in self.rows[at:]:
                    if moment >= since and condition(row):
                        return moment, row
                at = len(self.rows)
                left = deadline - time.monotonic()
                if left <= 0:
                    seen = [(row.replica, row.state, row.step) for _, row in self.rows[-5:]]
                    raise AssertionError(f"not seen within {seconds} s; the last were {seen}")
                self._news.wait(left)

    def state(self, state, *, replica=None, incarnation=None, seconds=DEADLINE_SECONDS, since=0.0):
        """The first moment from `since` on at which a replica was shown in a state."""
        return self.until(
            lambda row: (
                row.state == state
                and replica in (None, row.replica)
                and incarnation in (None, row.incarnation)
            ),
            seconds,
            since,
        )

    def states(self, since=0.0):
        """All states that were shown."""
        with self._news:
            return {row.state for moment, row in self.rows if moment >= since}

    def close(self):
        self._closed = True
        self._client.close()
        self._thread.join(10)


@contextmanager
def watching(stage, runs=()):
    """A watcher of a stage's weaver."""
    watcher = Watcher(stage.client(), runs)
    try:
        yield watcher
    finally:
        watcher.close()
