"""Lightning's adapter: the contract, and what is Lightning's own."""

from __future__ import annotations

import pytest

from harness.contract import PRELUDE, Contract

pytest.importorskip("lightning")

FIT = (
    PRELUDE
    + """
import logging
import warnings

from lightning.pytorch import Callback, LightningModule, Trainer

from weavelet.integrations.lightning import WeaveletCallback, WeaveletModule

logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)


class Net(LightningModule):
    def __init__(self):
        super().__init__()
        self.net = network()

    def training_step(self, batch, index):
        x, y = batch
        loss = torch.nn.functional.mse_loss(self.net(x), y)
        self.log("train/loss", loss)
        return loss

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=LR)


class End(Callback):
    def on_train_end(self, trainer, module):
        say(ended=steps.taken)


def loader():
    return torch.utils.data.DataLoader(examples(), batch_size=16)


def trainer(*callbacks, **options):
    quiet = {
        "accelerator": "cpu",
        "devices": 1,
        "default_root_dir": FOLDER,
        "enable_checkpointing": False,
        "enable_model_summary": False,
        "enable_progress_bar": False,
        "logger": False,
        "max_epochs": -1,
    }
    if WORLD > 1:
        quiet |= {"devices": WORLD, "strategy": "ddp"}
    return Trainer(callbacks=list(callbacks), **(quiet | options))
"""
)


class TestCallback(Contract):
    """A callback, with two batches to a step."""

    script = (
        FIT
        + """
callback = WeaveletCallback(controls=[probe])
trainer(callback, End(), accumulate_grad_batches=2).fit(Net(), loader(), ckpt_path=RESUME)
"""
    )


class TestModule(Contract):
    """A module that steers itself."""

    script = (
        FIT
        + """
class Steered(WeaveletModule, Net):
    set_gain = Probe.set_gain
    count = Probe.count
    value = 1.0
    counted = 0


trainer(End()).fit(Steered(), loader(), ckpt_path=RESUME)
"""
    )
