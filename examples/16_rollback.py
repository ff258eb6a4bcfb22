"""Go back to a checkpoint in place, and branch: another run that begins where it was taken.

weavelet up
python examples/16_rollback.py
weavelet act 16_rollback save path=/tmp/good.pt
weavelet set 16_rollback lr=0.9                                 # it turns out badly:
weavelet act 16_rollback rollback path=/tmp/good.pt
python examples/16_rollback.py --run bolder --branch /tmp/good.pt
weavelet set bolder lr=0.5                                      # beside the other, on the page

Steps count on after going back, so that a step means one moment of the run; the log holds both
actions with their author, their path and the step. A branch is a run of its own, with its own log.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import torch
from sklearn.datasets import load_digits

import weavelet
from weavelet.integrations.torch import bind


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--steps", type=int, default=20_000)
    parser.add_argument("--run", default="16_rollback")
    parser.add_argument("--branch", help="a checkpoint to begin from")
    arguments = parser.parse_args()

    torch.manual_seed(0)
    torch.set_num_threads(1)
    digits = load_digits()
    images = torch.tensor(digits.data, dtype=torch.float32) / 16
    labels = torch.tensor(digits.target)
    model = torch.nn.Sequential(torch.nn.Linear(64, 32), torch.nn.ReLU(), torch.nn.Linear(32, 10))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    first = step = 0

    def restore(path: str) -> dict[str, Any]:
        saved: dict[str, Any] = torch.load(path)
        model.load_state_dict(saved["model"])
        optimizer.load_state_dict(saved["optimizer"])  # and with it what was set by hand
        return saved

    with weavelet.session("trainer-0", run=arguments.run) as w:
        bind(w, optimizer=optimizer)

        @w.action("save")
        def save(path: str) -> str:
            """Save what is needed to come back to this step."""
            state = {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "step": step}
            torch.save(state, Path(path).with_suffix(".new"))
            Path(path).with_suffix(".new").replace(path)
            return f"{path} at step {step}"

        @w.action("rollback", danger=True)
        def rollback(path: str) -> str:
            """Go on from a checkpoint; what was learned since is lost."""
            return f"back to step {restore(path)['step']}"

        if arguments.branch:
            first = restore(arguments.branch)["step"]
        for step in range(first, arguments.steps):
            w.poll(step)
            batch = torch.randint(0, 1500, (64,))
            loss = torch.nn.functional.cross_entropy(model(images[batch]), labels[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            w.report(step, loss=loss, lr=optimizer.param_groups[0]["lr"])

    print(f"{arguments.run}: steps {first} to {step}")


if __name__ == "__main__":
    main()
