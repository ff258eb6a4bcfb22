"""What was changed by hand, done again: the same changes at the same steps, without any server.

weavelet up
python examples/05_record_and_replay.py                       # steer it while it trains:
weavelet set 05_record_and_replay lr=0.05 batch_size=32
weavelet stop 05_record_and_replay                            # it says how many steps it made
weavelet export 05_record_and_replay --output steered.jsonl
python examples/05_record_and_replay.py --steps STEPS --replay steered.jsonl
"""

from __future__ import annotations

import argparse
import hashlib
from typing import Annotated

import torch
from sklearn.datasets import load_digits

import weavelet


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--steps", type=int, default=100_000)
    parser.add_argument("--replay", help="a file of `weavelet export`")
    arguments = parser.parse_args()

    torch.manual_seed(0)
    torch.set_num_threads(1)
    digits = load_digits()
    images = torch.tensor(digits.data, dtype=torch.float32) / 16
    labels = torch.tensor(digits.target)
    model = torch.nn.Sequential(torch.nn.Linear(64, 64), torch.nn.ReLU(), torch.nn.Linear(64, 10))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    settings = optimizer.param_groups[0]
    batch_size = 64
    steps = 0

    with weavelet.session("trainer-0", replay=arguments.replay) as w:

        @w.handler("lr", get=lambda: settings["lr"])
        def set_lr(value: Annotated[float, weavelet.Meta(gt=0, le=1)]) -> None:
            """Learning rate."""
            settings["lr"] = value

        @w.handler("momentum", get=lambda: settings["momentum"])
        def set_momentum(value: Annotated[float, weavelet.Meta(ge=0, lt=1)]) -> None:
            """Momentum of SGD."""
            settings["momentum"] = value

        @w.handler("batch_size", get=lambda: batch_size, unit="images", danger=True)
        def set_batch_size(value: Annotated[int, weavelet.Meta(ge=1, le=1024)]) -> None:
            """Images a step."""
            nonlocal batch_size
            batch_size = value

        for step in range(arguments.steps):
            for change in w.poll(step):
                print(f"step {step}: {change.name} {change.old} -> {change.new}", flush=True)
            batch = torch.randint(0, 1500, (batch_size,))
            loss = torch.nn.functional.cross_entropy(model(images[batch]), labels[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            w.report(step, loss=loss)
            steps = step + 1

    parameters = b"".join(each.detach().numpy().tobytes() for each in model.parameters())
    print(f"{steps} steps, parameters {hashlib.sha256(parameters).hexdigest()}")


if __name__ == "__main__":
    main()
