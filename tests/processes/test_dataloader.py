"""DataLoader workers: forked or spawned beside a session, they leave it alone."""

from __future__ import annotations

import asyncio
import os

import pytest

from harness.nats import asynchronous
from harness.operators import operating
from harness.trainers import LOOP, children_of, is_alive, is_sidecar, training

pytest.importorskip("torch")

SCRIPT = (
    LOOP
    + """
import os
import torch

class Numbers(torch.utils.data.Dataset):
    def __init__(self, w):
        self.w = w

    def __len__(self):
        return 64

    def __getitem__(self, index):
        # In a worker these must do nothing, and above all not reach the trainer's channel.
        inert = self.w.poll(10**6) == () and weavelet.poll(10**6) == ()
        self.w.report(10**6, leaked=1.0)
        weavelet.report(10**6, leaked=1.0)
        return index, inert and weavelet.current() is None

if __name__ == "__main__":
    with weavelet.session("trainer-0") as w:
        declare(w)
        loader = torch.utils.data.DataLoader(
            Numbers(w),
            batch_size=4,
            num_workers=2,
            persistent_workers=True,
            multiprocessing_context=sys.argv[1],
        )
        step = 0
        for epoch in range(int(sys.argv[2])):
            inert = True
            for batch, flags in loader:
                w.poll(step)
                w.report(step, loss=1.0)
                inert = inert and bool(flags.all())
                step += 1
            say(epoch=epoch, inert=inert)
"""
)


@pytest.fixture
def names(nats):
    return {"WEAVELET_NATS_URL": nats.url, "WEAVELET_RUN": "train", "WEAVELET_JOB": "job-1"}


@pytest.mark.parametrize("method", ["fork", "spawn"])
@asynchronous
async def test_a_session_does_nothing_in_a_worker(nats, names, tmp_path, method):
    """poll, report and current are inert in workers; the trainer's own samples are whole."""
    path = tmp_path / "script.py"
    path.write_text(SCRIPT)
    async with operating(nats) as operator:
        with training(path, method, "3", **names) as trainer:
            assert await asyncio.to_thread(trainer.wait) == 0
            assert [trainer.event("inert")["inert"] for _ in range(3)] == [True] * 3
            end = await operator.ended()
    assert end.state == "exited"
    assert operator.samples() == list(range(48))


@asynchronous
async def test_workers_that_outlive_their_trainer_hide_nothing(nats, names, tmp_path):
    """kill -9 of a trainer with live workers: `crashed` at once, and no sidecar stays."""
    path = tmp_path / "script.py"
    path.write_text(SCRIPT)
    async with operating(nats) as operator:
        with training(path, "fork", "1000000", **names) as trainer:
            await operator.registered("lr")
            await operator.state("running")
            children = children_of(trainer.pid)
            assert len(children) == 3
            sidecar = [pid for pid in children if is_sidecar(pid)]
            assert len(sidecar) == 1
            trainer.kill()
            end = await operator.ended(seconds=5)
            await operator.until(lambda: not any(is_alive(pid) for pid in sidecar), seconds=3)
            for pid in children:
                if is_alive(pid):
                    os.kill(pid, 9)
    assert end.state == "crashed"
