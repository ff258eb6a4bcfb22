"""A training script as anybody writes it. It knows nothing of weavelet, and can be steered.

    weavelet up
    weavelet run -- python examples/11_untouched.py
    weavelet run -- torchrun --nproc-per-node 2 examples/11_untouched.py

and in another terminal

    weavelet show 11_untouched
    weavelet set 11_untouched lr=0.01
"""

from __future__ import annotations

import argparse
import os

import torch
from torch import distributed
from torch.nn.parallel import DistributedDataParallel
from torch.optim.lr_scheduler import CosineAnnealingLR


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--steps", type=int, default=100_000)
    parser.add_argument("--learning-rate", type=float, default=0.1)
    arguments = parser.parse_args()

    ranks = int(os.environ.get("WORLD_SIZE", "1"))
    rank = 0
    if ranks > 1:
        distributed.init_process_group("gloo")
        rank = distributed.get_rank()

    torch.set_num_threads(1)
    torch.manual_seed(0)
    model: torch.nn.Module = torch.nn.Sequential(
        torch.nn.Linear(16, 32), torch.nn.Tanh(), torch.nn.Linear(32, 1)
    )
    if ranks > 1:
        model = DistributedDataParallel(model)
    optimizer = torch.optim.SGD(model.parameters(), lr=arguments.learning_rate)
    scheduler = CosineAnnealingLR(optimizer, T_max=10_000_000)
    data = torch.Generator().manual_seed(rank)

    for step in range(arguments.steps):
        inputs = torch.randn(32, 16, generator=data)
        targets = inputs.sin().sum(dim=1, keepdim=True)
        loss = torch.nn.functional.mse_loss(model(inputs), targets)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        scheduler.step()
        if step % 1000 == 0:
            print(f"rank {rank} step {step} loss {loss.item():.4f}", flush=True)

    if ranks > 1:
        distributed.destroy_process_group()
    print(f"rank {rank} is done")


if __name__ == "__main__":
    main()
