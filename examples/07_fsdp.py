"""As 06_ddp.py, with parameters that are spread over the ranks: FSDP.

weavelet up
torchrun --standalone --nproc-per-node=2 examples/07_fsdp.py
weavelet set 07_fsdp lr=0.01
weavelet act 07_fsdp norm                                       # an action may use collectives
"""

from __future__ import annotations

import argparse
from typing import Annotated

import torch
from sklearn.datasets import load_digits
from torch import distributed
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard

import weavelet


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--steps", type=int, default=2000)
    arguments = parser.parse_args()

    distributed.init_process_group("gloo")
    rank, ranks = distributed.get_rank(), distributed.get_world_size()
    torch.manual_seed(0)
    torch.set_num_threads(1)
    digits = load_digits()
    images = torch.tensor(digits.data, dtype=torch.float32)[rank::ranks] / 16
    labels = torch.tensor(digits.target)[rank::ranks]
    model = torch.nn.Sequential(torch.nn.Linear(64, 64), torch.nn.ReLU(), torch.nn.Linear(64, 10))
    fully_shard(model, mesh=init_device_mesh("cpu", (ranks,)))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    settings = optimizer.param_groups[0]

    with weavelet.session() as w:

        @w.handler("lr", get=lambda: settings["lr"])
        def set_lr(value: Annotated[float, weavelet.Meta(gt=0, le=1)]) -> None:
            """Learning rate."""
            settings["lr"] = value

        @w.action("norm")
        def norm() -> float:
            """Norm of all parameters; every rank takes part, as all run it at the same step."""
            shares = [each.to_local().pow(2).sum() for each in model.parameters()]
            total = torch.stack(shares).sum().detach()
            distributed.all_reduce(total)
            return float(total.sqrt())

        for step in range(arguments.steps):
            for change in w.poll(step):
                print(f"rank {rank}, step {step}: {change.name} {change.old} -> {change.new}")
            batch = torch.randint(0, len(images), (16,))
            loss = torch.nn.functional.cross_entropy(model(images[batch]), labels[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            w.report(step, loss=loss)

    print(f"rank {rank}: norm {norm():.6f}")
    distributed.destroy_process_group()


if __name__ == "__main__":
    main()
