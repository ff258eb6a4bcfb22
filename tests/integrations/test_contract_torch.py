"""The adapters' contract, kept by a plain PyTorch loop."""

from __future__ import annotations

import pytest

from harness.contract import PRELUDE, Contract

pytest.importorskip("torch")

SCRIPT = (
    PRELUDE
    + """
import torch.distributed
from torch.nn.parallel import DistributedDataParallel

from weavelet.integrations.torch import bind


def batches():
    while True:
        yield from torch.utils.data.DataLoader(examples(), batch_size=16)


def train(w):
    net = network()
    optimizer = torch.optim.SGD(net.parameters(), lr=LR)
    step = 0
    bind(w, optimizer=optimizer)

    @w.action()
    def checkpoint() -> str:
        path = FOLDER / f"step-{step}.pt"
        if RANK == 0:
            parts = {"net": net, "optimizer": optimizer, "weavelet": w}
            state = {name: part.state_dict() for name, part in parts.items()}
            torch.save(state | {"step": step}, path)
        return str(path)

    if RESUME is not None:
        saved = torch.load(RESUME, weights_only=True)
        step = saved["step"]
        net.load_state_dict(saved["net"])
        optimizer.load_state_dict(saved["optimizer"])
        w.load_state_dict(saved["weavelet"])
    model = DistributedDataParallel(net) if WORLD > 1 else net
    for x, y in batches():
        w.poll(step)
        loss = torch.nn.functional.mse_loss(model(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        w.report(step, loss=loss, lr=optimizer.param_groups[0]["lr"])
        step += 1


if WORLD > 1:
    torch.distributed.init_process_group("gloo")
with weavelet.session(controls=[probe]) as w:
    train(w)
say(ended=steps.taken)
if WORLD > 1:
    torch.distributed.destroy_process_group()
"""
)


class TestTorch(Contract):
    """A loop that polls, reports and saves by itself."""

    script = SCRIPT
