"""Launchers: whatever starts the ranks, they are one job, and keep the contract of two ranks."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from harness.contract import PRELUDE, Contract, accelerate_launch, torchrun
from harness.trainers import clean_environment, end_all

pytest.importorskip("torch")

SHOW = """
import json
import sys

import weavelet


def show(**more):
    w = weavelet.session(mode="disabled")
    # One write, newline and all: the ranks share a pipe.
    sys.stdout.write(json.dumps({"job": w.job, "replica": w.replica_id, **more}) + "\\n")
    sys.stdout.flush()
"""

SPAWN = (
    SHOW
    + """
import torch

from weavelet.testing import local_session


def work(rank, folder):
    with local_session() as early:
        group = {"init_method": f"file://{folder}/group", "rank": rank, "world_size": 2}
        torch.distributed.init_process_group("gloo", **group)

        @early.handler()
        def lr(value: float) -> None:
            raise SystemExit("never set")

        early.poll(0)
        early.push(lr=0.1)
        early.poll(1)
        show(early=[[each.kind, each.reason] for each in early.outcomes])
    torch.distributed.destroy_process_group()


if __name__ == "__main__":
    torch.multiprocessing.spawn(work, (sys.argv[1],), nprocs=2)
"""
)


def shown(script, folder, *launcher):
    """What the ranks of a script show."""
    path = folder / "show.py"
    path.write_text(script)
    process = subprocess.Popen(
        [sys.executable, *launcher, path, folder],
        env={**clean_environment(), "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        out, err = process.communicate(timeout=100)
    finally:
        end_all(process)
    assert process.returncode == 0, err
    rows = sorted(map(json.loads, out.splitlines()), key=lambda row: row["replica"])
    assert [row["replica"] for row in rows] == ["rank-0", "rank-1"], out
    return rows, err


def test_ranks_of_a_launcher_are_one_job(tmp_path):
    """Nothing names the job, and all ranks find the same name for it; each launch has its own."""
    pytest.importorskip("accelerate")
    jobs = set()
    for launcher in (torchrun(2), accelerate_launch(2)):
        rows, _ = shown(SHOW + "show()", tmp_path, *launcher)
        assert rows[0]["job"] == rows[1]["job"]
        jobs.add(rows[0]["job"])
    assert len(jobs) == 2


def test_spawned_ranks_are_one_job(tmp_path):
    """Without a launcher's variables, a session made after the process group knows its place.

    One made before it is a job of its own on each rank: it says so, and refuses commands.
    """
    rows, said = shown(SPAWN, tmp_path)
    assert rows[0]["job"] == rows[1]["job"]
    for row in rows:
        ((kind, reason),) = row["early"]
        assert kind == "rejected"
        assert "call session() after init_process_group()" in reason
    assert said.count("does not agree on steps with other ranks") == 2


class Spawned(Contract):
    """A plain loop in processes that torch.multiprocessing.spawn started."""

    launcher = ()
    script = (
        PRELUDE
        + """
import socket

from torch.nn.parallel import DistributedDataParallel

from weavelet.integrations.torch import bind


def batches():
    while True:
        yield from torch.utils.data.DataLoader(examples(), batch_size=16)


def train(w):
    net = network()
    optimizer = torch.optim.SGD(net.parameters(), lr=LR)
    model = DistributedDataParallel(net)
    bind(w, optimizer=optimizer)

    @w.action("checkpoint")
    def checkpoint() -> str:
        path = FOLDER / "net.pt"
        if RANK == 0:
            torch.save(net.state_dict(), path)
        return str(path)

    for step, (x, y) in enumerate(batches()):
        w.poll(step)
        loss = torch.nn.functional.mse_loss(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        w.report(step, loss=loss, lr=optimizer.param_groups[0]["lr"])


def work(rank, port):
    global RANK
    RANK = rank
    address = f"tcp://127.0.0.1:{port}"
    torch.distributed.init_process_group("gloo", address, rank=rank, world_size=2)
    with weavelet.session(controls=[probe]) as w:
        train(w)
    say(ended=steps.taken)
    torch.distributed.destroy_process_group()


if __name__ == "__main__":
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    torch.multiprocessing.spawn(work, (port,), nprocs=2)
"""
    )


def test_spawned_ranks_keep_the_contract(weaver, tmp_path):
    """Set, failure, pause, action, checkpoint and stop: both ranks do the same at the same step."""
    Spawned().test_two_ranks_do_the_same_at_the_same_step(weaver, tmp_path)
