"""An action with a result: evaluate now, and save a checkpoint, while training goes on.

weavelet up
python examples/04_action.py
weavelet act 04_action evaluate
weavelet act 04_action checkpoint path=/tmp/digits.pt
"""

from __future__ import annotations

import argparse

import torch
from sklearn.datasets import load_digits

import weavelet


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--steps", type=int, default=20_000)
    arguments = parser.parse_args()

    torch.manual_seed(0)
    digits = load_digits()
    images = torch.tensor(digits.data, dtype=torch.float32) / 16
    labels = torch.tensor(digits.target)
    model = torch.nn.Sequential(torch.nn.Linear(64, 64), torch.nn.ReLU(), torch.nn.Linear(64, 10))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)

    with weavelet.session("trainer-0") as w:

        @w.action("evaluate")
        def evaluate() -> dict[str, float]:
            """Accuracy on the images held out."""
            with torch.no_grad():
                right = model(images[1500:]).argmax(1) == labels[1500:]
            return {"accuracy": right.float().mean().item()}

        @w.action("checkpoint")
        def checkpoint(path: str) -> str:
            """Save the model's parameters to a file."""
            with w.section("checkpoint", timeout=60):
                torch.save(model.state_dict(), path)
            return path

        for step in range(arguments.steps):
            w.poll(step)
            batch = torch.randint(0, 1500, (64,))
            loss = torch.nn.functional.cross_entropy(model(images[batch]), labels[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            w.report(step, loss=loss)

    print(f"stopped by command: {w.stopped}")


if __name__ == "__main__":
    main()
