"""Events outside, told to ranks that agree on the steps of all else."""

from __future__ import annotations

import asyncio
import socket

import pytest

pytest.importorskip("torch")

from harness.faults import holds
from harness.jobs import operating
from harness.nats import running_bus, within
from weavelet.messages import External
from weavelet.settings import read_endpoint
from weavelet.wire import envelope, subjects
from weavelet.wire.bus import Server

SCRIPT = """
import torch
import torch.distributed as dist
import weavelet

dist.init_process_group("gloo")
state = {"lr": 0.1}
with weavelet.session() as w:

    @w.handler("lr", get=lambda: state["lr"])
    def set_lr(value: float) -> None:
        state["lr"] = value

    @w.on_notice("host_draining")
    def drain(notice: weavelet.Notice) -> int:
        return dist.get_rank()

    step = 0
    while True:
        w.poll(step)
        dist.all_reduce(torch.ones(1))
        step += 1
dist.destroy_process_group()
"""


@pytest.fixture
def jobs(tmp_path):
    """A weaver, and jobs on it."""
    with operating(tmp_path) as jobs:
        yield jobs


def happens(jobs, kind):
    """An event on this host."""

    async def publish():
        endpoint = read_endpoint(jobs.shell.home)
        async with running_bus(lambda: Server(endpoint.nats_url)) as bus:
            await within(bus.wait_connected())
            external = External(source="slurm", kind=kind, host=socket.gethostname())
            await bus.store(subjects.external("slurm"), envelope.encode(external))

    asyncio.run(publish())


def told(job, kind):
    """What each rank made of a notice, by replica, once both have answered; else None."""
    for update in job.log():
        if update.entry.kind == "notice" and update.entry.body["kind"] == kind:
            found = {one.replica: (one.outcome, one.result) for one in update.outcomes}
            return found if len(found) == 2 else None
    return None


def test_each_rank_is_told_at_its_own_next_poll(jobs, tmp_path):
    """Also while all are paused; and what comes after it lands at one step on all, as ever."""
    script = tmp_path / "noticed.py"
    script.write_text(SCRIPT)
    with jobs.start(ranks=2, run="noticed", script=script) as job:
        job.until_training(controls=1)
        happens(jobs, "host_draining")
        found = holds(lambda: told(job, "host_draining"), 60, "a notice to both ranks")
        assert found == {"rank-0": ("applied", 0), "rank-1": ("applied", 1)}
        assert job.pause().ok
        happens(jobs, "something_else")
        found = holds(lambda: told(job, "something_else"), 60, "a notice to paused ranks")
        assert found == {"rank-0": ("skipped", None), "rank-1": ("skipped", None)}
        assert job.resume().ok
        result = job.set(values={"lr": 0.5})
        assert result.ok, result
        assert len({(one.step, one.config_hash) for one in result.outcomes}) == 1
