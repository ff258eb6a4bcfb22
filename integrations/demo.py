"""The training of `weavelet demo`: a small network learns to read handwritten digits.

    python -m weavelet.integrations.demo --replica trainer-0 --steps 3000

A plain PyTorch loop; what weavelet adds are the lines with `w`.
"""

from __future__ import annotations

import argparse
import time
from typing import Annotated

import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import Tensor, nn

import weavelet

REPORT_EVERY = 10
TEST_EVERY = 100


def load_data(seed: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """1,797 real digits of 8 x 8 pixels: images to train on and to test on, then their labels."""
    digits = load_digits()
    parts = train_test_split(
        digits.data, digits.target, test_size=0.25, stratify=digits.target, random_state=seed
    )
    train_x, test_x, train_y, test_y = (torch.from_numpy(part) for part in parts)
    return train_x.float() / 16, test_x.float() / 16, train_y.long(), test_y.long()


def train(replica: str, steps: int, pause: float, seed: int) -> None:
    """Train for `steps` steps, `pause` seconds apart so that there is time to watch."""
    torch.manual_seed(seed)
    torch.set_num_threads(1)
    train_x, test_x, train_y, test_y = load_data(seed)
    model = nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    settings = optimizer.param_groups[0]
    batch_size = 32

    with weavelet.session(replica, run="demo") as w:

        @w.handler("lr", get=lambda: settings["lr"])
        def set_lr(value: Annotated[float, weavelet.Meta(gt=0, le=1)]) -> None:
            """Learning rate."""
            settings["lr"] = value

        @w.handler("momentum", get=lambda: settings["momentum"])
        def set_momentum(value: Annotated[float, weavelet.Meta(ge=0, lt=1)]) -> None:
            """Momentum of SGD."""
            settings["momentum"] = value

        @w.handler("batch_size", get=lambda: batch_size, unit="images")
        def set_batch_size(value: Annotated[int, weavelet.Meta(ge=1, le=1024)]) -> None:
            """Images a step."""
            nonlocal batch_size
            batch_size = value

        @w.action("evaluate")
        def evaluate() -> dict[str, float]:
            """Loss and accuracy on the images that are never trained on."""
            with torch.no_grad():
                scores = model(test_x)
            hits = (scores.argmax(dim=1) == test_y).float()
            loss = nn.functional.cross_entropy(scores, test_y)
            return {"loss": loss.item(), "accuracy": hits.mean().item()}

        for step in range(1, steps + 1):
            w.poll(step)
            batch = torch.randint(len(train_x), (batch_size,))
            loss = nn.functional.cross_entropy(model(train_x[batch]), train_y[batch])
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            if step % REPORT_EVERY == 0:
                w.report(step, loss=loss.item(), lr=settings["lr"])
            if step % TEST_EVERY == 0 or step == steps:
                w.report(step, accuracy=evaluate()["accuracy"])
            time.sleep(pause)


def main() -> None:
    """Read the command line and train."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--replica", default="trainer-0")
    parser.add_argument("--steps", type=int, default=3000)
    parser.add_argument("--pause", type=float, default=0.015, help="seconds after each step")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    train(arguments.replica, arguments.steps, arguments.pause, arguments.seed)


if __name__ == "__main__":
    main()
