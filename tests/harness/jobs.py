"""Jobs of several ranks under torchrun, and an operator who steers them through a weaver."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from contextlib import contextmanager, suppress
from pathlib import Path

from harness.shell import Shell, up
from harness.trainers import children_of, end_all
from weavelet.client import Client
from weavelet.settings import read_endpoint

RANKED = Path(__file__).with_name("ranked.py")
SECONDS = 90.0
RUN = "ranked"


class Jobs:
    """Starts jobs in folders of their own, on one weaver."""

    def __init__(self, shell, client, folder):
        self.shell = shell
        self.client = client
        self._folder = folder
        self._count = 0

    @contextmanager
    def start(self, *options, ranks=4, restarts=0, run=RUN, script=RANKED):
        """A job under torchrun; it is ended with the block."""
        self._count += 1
        folder = self._folder / f"job-{self._count}"
        folder.mkdir()
        place = [folder] if script == RANKED else []
        job = Job(self, folder, [script, *place, *options], ranks, restarts, run)
        try:
            yield job
        finally:
            job.close()


class Job:
    """One job under torchrun: commands to it, and what its ranks came to."""

    def __init__(self, jobs, folder, command, ranks, restarts, run):
        self.name = f"{folder.parent.name}-{folder.name}".replace(".", "-")
        self.folder = folder
        self.ranks = ranks
        self._client = jobs.client
        self._run = run
        launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
        launcher += [f"--nproc-per-node={ranks}", f"--max-restarts={restarts}"]
        environment = {
            **jobs.shell.environment,
            "WEAVELET_JOB": self.name,
            "OMP_NUM_THREADS": "1",
        }
        if restarts:
            # Else a restarted life may fail to start up, as gloo meets keys of the dead one.
            environment["TORCH_DISABLE_SHARE_RDZV_TCP_STORE"] = "1"
        self._output = (folder / "output.txt").open("w+")
        self.process = subprocess.Popen(
            [*launcher, *map(str, command)],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=self._output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    def rows(self, run=None):
        """The job's replicas as the weaver lists them, by name."""
        listed = self._client.jobs([run or self._run])
        found = [each for each in listed if each.job == self.name]
        return {row.replica: row for each in found for row in each.replicas}

    def until(self, condition, what, run=None):
        """Wait until the replicas meet a condition."""
        end = time.monotonic() + SECONDS
        while time.monotonic() < end:
            rows = self.rows(run)
            if condition(rows):
                return rows
            assert self.process.poll() is None, self.output()
            time.sleep(0.05)
        raise AssertionError(f"no {what} within {SECONDS} s: {rows}\n{self.output()}")

    def until_training(self, *, step=1, controls=3, run=None):
        """Wait until all ranks can be steered and have come to a step."""
        return self.until(
            lambda rows: (
                len(rows) == self.ranks
                and all(
                    (row.step or 0) >= step and len(row.controls) >= controls
                    for row in rows.values()
                )
            ),
            f"training of {self.ranks} ranks",
            run,
        )

    def set(self, run=None, /, **arguments):
        values = arguments.pop("values")
        return self._client.set(run or self._run, values, job=self.name, **arguments)

    def act(self, name, arguments=None, **more):
        return self._client.act(self._run, name, arguments, job=self.name, **more)

    def pause(self, **more):
        return self._client.pause(self._run, job=self.name, **more)

    def resume(self):
        return self._client.resume(self._run, job=self.name)

    def stop(self):
        return self._client.stop(self._run, job=self.name)

    def log(self):
        return self._client.log(self._run, self.name)

    def wait(self, seconds=SECONDS):
        """The exit code of the launcher."""
        code = self.process.wait(seconds)
        assert code == 0, self.output()
        return code

    def said(self):
        """What each rank wrote when it ended."""
        return [
            json.loads((self.folder / f"rank-{rank}.json").read_text())
            for rank in range(self.ranks)
        ]

    def output(self):
        """What the launcher and its ranks printed, the end of it, and what they logged."""
        logs = [path.read_text()[-1000:] for path in sorted(self.folder.glob("*.log"))]
        return (self.folder / "output.txt").read_text()[-4000:] + "\n".join(logs)

    def logged(self, rank):
        """What one rank logged."""
        return (self.folder / f"rank-{rank}.log").read_text()

    def trainers(self):
        """Process ids of the ranks by rank."""
        found = {}
        for pid in children_of(self.process.pid):
            lines = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
            ranks = [line for line in lines if line.startswith(b"RANK=")]
            if ranks:
                found[int(ranks[0][5:])] = pid
        return found

    def close(self):
        if self.process.poll() is None:
            self.process.terminate()
            with suppress(subprocess.TimeoutExpired):
                self.process.wait(20)
        end_all(self.process)
        self._output.close()


@contextmanager
def operating(folder):
    """Jobs on a weaver of their own."""
    shell = Shell(folder / "home")
    with up(shell):
        endpoint = read_endpoint(shell.home)
        with Client(endpoint.http_url, endpoint.token) as client:
            yield Jobs(shell, client, folder)
