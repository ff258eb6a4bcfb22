"""Which jobs of the fleet are underway, and which changed last. Pure.

Of all jobs that there ever were few are underway; what is done over and over is done for these.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator

from weavelet.weaver.lives import Job


class Roll:
    """The jobs that the passing of time may change, by run, and all that changed by when they did.

    Whatever is heard of a job puts it back among those underway.
    """

    def __init__(self) -> None:
        self._underway: dict[str, dict[str, Job]] = {}
        self._changed: OrderedDict[tuple[str, str], Job] = OrderedDict()

    def wake(self, job: Job) -> None:
        """A job is underway."""
        self._underway.setdefault(job.run, {})[job.name] = job

    def touch(self, job: Job, version: int) -> None:
        """A job, or one of its replicas, changed; it is underway."""
        job.touched = version
        key = (job.run, job.name)
        self._changed[key] = job
        self._changed.move_to_end(key)
        self.wake(job)

    def rest(self, job: Job) -> None:
        """A job is over: nothing changes of it as long as nothing is heard."""
        jobs = self._underway.get(job.run, {})
        jobs.pop(job.name, None)
        if not jobs:
            self._underway.pop(job.run, None)

    def forget(self, job: Job) -> None:
        """There is no such job any more."""
        self.rest(job)
        self._changed.pop((job.run, job.name), None)

    def clear(self) -> None:
        """There is no job any more."""
        self._underway.clear()
        self._changed.clear()

    def runs(self) -> list[str]:
        """The runs that have to be looked at."""
        return list(self._underway)

    def of(self, run: str) -> list[Job]:
        """The jobs of a run that are underway."""
        return list(self._underway.get(run, {}).values())

    def jobs(self) -> list[Job]:
        """All jobs that are underway."""
        return [job for jobs in self._underway.values() for job in jobs.values()]

    def since(self, version: int) -> Iterator[Job]:
        """The jobs that changed after a version, the last one first."""
        for job in reversed(self._changed.values()):
            if job.touched <= version:
                return
            yield job
