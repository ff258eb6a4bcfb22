"""Lightning: a module that can be steered wherever it is fitted, with a control of its own.

weavelet up
python examples/08_lightning.py
weavelet set 08_lightning lr=0.02 dropout=0.3
weavelet act 08_lightning checkpoint
weavelet stop 08_lightning

Any other module is steered by a callback: `Trainer(callbacks=[WeaveletCallback()])`.
"""

from __future__ import annotations

import argparse
from typing import Annotated

import torch
from lightning.pytorch import LightningModule, Trainer, seed_everything
from sklearn.datasets import load_digits
from torch.utils.data import DataLoader, TensorDataset

import weavelet
from weavelet.integrations.lightning import WeaveletModule


class Digits(WeaveletModule, LightningModule):
    """A small network for images of 8 x 8 pixels."""

    def __init__(self) -> None:
        super().__init__()
        self.drop = torch.nn.Dropout(0.1)
        self.net = torch.nn.Sequential(
            torch.nn.Linear(64, 64), torch.nn.ReLU(), self.drop, torch.nn.Linear(64, 10)
        )

    @weavelet.handler("dropout", get=lambda self: self.drop.p)
    def set_dropout(self, value: Annotated[float, weavelet.Meta(ge=0, lt=1)]) -> None:
        """Share of the inner units that are left out."""
        self.drop.p = value

    def training_step(self, batch: list[torch.Tensor], index: int) -> torch.Tensor:
        images, labels = batch
        return torch.nn.functional.cross_entropy(self.net(images), labels)

    def validation_step(self, batch: list[torch.Tensor], index: int) -> None:
        images, labels = batch
        self.log("accuracy", (self.net(images).argmax(1) == labels).float().mean())

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--steps", type=int, default=20_000)
    arguments = parser.parse_args()

    seed_everything(0)
    digits = load_digits()
    images = torch.tensor(digits.data, dtype=torch.float32) / 16
    data = TensorDataset(images, torch.tensor(digits.target))
    known = DataLoader(torch.utils.data.Subset(data, range(1500)), batch_size=50, shuffle=True)
    held_out = DataLoader(torch.utils.data.Subset(data, range(1500, len(data))), batch_size=297)

    trainer = Trainer(
        accelerator="cpu", devices=1, max_epochs=-1, max_steps=arguments.steps, logger=False
    )
    trainer.fit(Digits(), known, held_out)
    print(f"{trainer.global_step} steps, accuracy {trainer.callback_metrics['accuracy']:.3f}")


if __name__ == "__main__":
    main()
