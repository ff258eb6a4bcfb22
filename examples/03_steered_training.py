"""The loop of 02_plain_training.py, visible and steerable.

weavelet up                                        # in one terminal
python examples/03_steered_training.py             # in another, before or after
weavelet set 03_steered_training lr=0.01           # in a third
"""

from __future__ import annotations

import argparse

import torch
from sklearn.datasets import load_digits

import weavelet


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--learning-rate", type=float, default=0.1)
    arguments = parser.parse_args()

    torch.manual_seed(0)
    digits = load_digits()
    images = torch.tensor(digits.data, dtype=torch.float32) / 16
    labels = torch.tensor(digits.target)
    model = torch.nn.Sequential(torch.nn.Linear(64, 64), torch.nn.ReLU(), torch.nn.Linear(64, 10))
    optimizer = torch.optim.SGD(model.parameters(), lr=arguments.learning_rate)

    with weavelet.session("trainer-0") as w:

        @w.handler("lr", get=lambda: optimizer.param_groups[0]["lr"])
        def set_lr(value: float) -> None:
            optimizer.param_groups[0]["lr"] = value

        for step in range(arguments.steps):
            w.poll(step)
            batch = torch.randint(0, 1500, (64,))
            loss = torch.nn.functional.cross_entropy(model(images[batch]), labels[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            w.report(step, loss=loss, lr=optimizer.param_groups[0]["lr"])
            if step % 100 == 0:
                print(f"step {step} loss {loss.item():.4f} lr {optimizer.param_groups[0]['lr']}")

    accuracy = (model(images[1500:]).argmax(1) == labels[1500:]).float().mean().item()
    print(f"accuracy {accuracy:.3f}")


if __name__ == "__main__":
    main()
