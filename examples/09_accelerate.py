"""A training loop of Accelerate that can be steered, on one process or on many.

weavelet up
accelerate launch examples/09_accelerate.py --folder /tmp/digits
weavelet set 09_accelerate lr_scale=0.5 grad_clip=1     # beside the schedule, at the same step
weavelet act 09_accelerate checkpoint                   # by accelerator.save_state()
weavelet stop 09_accelerate
accelerate launch examples/09_accelerate.py --resume /tmp/digits/step-812
"""

from __future__ import annotations

import argparse

import torch
from accelerate import Accelerator
from sklearn.datasets import load_digits
from torch.utils.data import DataLoader, TensorDataset

from weavelet.integrations.accelerate import WeaveletTracker, steer


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--epochs", type=int, default=100)
    parser.add_argument("--folder", default="checkpoints")
    parser.add_argument("--resume", help="a folder that the action `checkpoint` returned")
    arguments = parser.parse_args()

    accelerator = Accelerator(cpu=True, gradient_accumulation_steps=2, log_with=WeaveletTracker())
    accelerator.init_trackers("digits", config={"epochs": arguments.epochs})
    torch.manual_seed(0)
    digits = load_digits()
    images = torch.tensor(digits.data, dtype=torch.float32) / 16
    labels = torch.tensor(digits.target)
    loader = DataLoader(TensorDataset(images, labels), batch_size=32, shuffle=True)
    model = torch.nn.Sequential(torch.nn.Linear(64, 64), torch.nn.ReLU(), torch.nn.Linear(64, 10))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    scheduler = torch.optim.lr_scheduler.ExponentialLR(optimizer, gamma=0.9999)
    model, optimizer, scheduler, loader = accelerator.prepare(model, optimizer, scheduler, loader)

    with steer(accelerator, optimizer, scheduler, checkpoints=arguments.folder) as steering:
        if arguments.resume:
            accelerator.load_state(arguments.resume)
            accelerator.print(f"resumed at step {steering.step}")
        for _ in range(arguments.epochs):
            for batch, targets in loader:
                steering.poll()  # changes happen here, once for each optimizer step
                with accelerator.accumulate(model):
                    loss = torch.nn.functional.cross_entropy(model(batch), targets)
                    accelerator.backward(loss)
                    optimizer.step()
                    scheduler.step()
                    optimizer.zero_grad()
                accelerator.log({"loss": loss}, step=steering.step)

    rate = optimizer.param_groups[0]["lr"]
    accelerator.print(f"{steering.step} steps, lr {rate:.4g}, stopped {steering.session.stopped}")
    accelerator.end_training()


if __name__ == "__main__":
    main()
