"""The fleet as a watching client knows it: a snapshot with every later update folded in."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import chain

from msgspec.structs import replace

from weavelet.weaver import protocol

ENDED = ("exited", "crashed")
"""The states of a replica whose process is no more."""


class Fleet:
    """Feed it what `Client.watch` yields; read `jobs`, `devices` and `rules` at any time."""

    def __init__(self) -> None:
        self._jobs: dict[tuple[str, str], protocol.JobView] = {}
        self._rows: dict[tuple[str, str], dict[str, list[protocol.ReplicaView]]] = {}
        self.devices: list[protocol.DeviceView] = []
        self.rules: list[protocol.RuleView] = []

    def update(self, message: protocol.ServerMessage) -> None:
        """Fold one message in; those that say nothing about jobs and replicas are ignored."""
        match message:
            case protocol.Snapshot():
                self._jobs.clear()
                self._rows.clear()
                self.devices, self.rules = message.devices, message.rules
                for job in message.jobs:
                    self._jobs[job.run, job.job] = job
                    self._place(job.replicas)
            case protocol.StatusUpdate():
                for run, name in message.removed:
                    self._jobs.pop((run, name), None)
                    self._rows.pop((run, name), None)
                for job in message.jobs:
                    self._jobs[job.run, job.job] = job
                self._place(message.replicas)
                if message.devices is not None:
                    self.devices = message.devices
                if message.rules is not None:
                    self.rules = message.rules

    def _place(self, replicas: Iterable[protocol.ReplicaView]) -> None:
        # A replica whose place another incarnation claims comes as several rows, all together.
        fresh: dict[tuple[str, str, str], list[protocol.ReplicaView]] = {}
        for row in replicas:
            fresh.setdefault((row.run, row.job, row.replica), []).append(row)
        for (run, job, replica), rows in fresh.items():
            self._rows.setdefault((run, job), {})[replica] = rows

    @property
    def jobs(self) -> list[protocol.JobView]:
        """Every job with its replicas, by run, then by age."""
        jobs = [
            replace(job, replicas=in_order(chain(*self._rows.get(key, {}).values())))
            for key, job in self._jobs.items()
        ]
        return sorted(jobs, key=lambda job: (job.run, job.begun))


def in_order(replicas: Iterable[protocol.ReplicaView]) -> list[protocol.ReplicaView]:
    """By rank where there is one, then by name."""
    return sorted(
        replicas,
        key=lambda replica: (replica.rank is None, replica.rank or 0, replica.replica),
    )
