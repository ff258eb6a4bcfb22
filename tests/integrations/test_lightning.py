"""Lightning's adapter: the contract, and what is Lightning's own."""

from __future__ import annotations

import subprocess
import sys
from typing import ClassVar

import pytest

pytest.importorskip("lightning")

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint

import weavelet
from harness.contract import PRELUDE, Contract, living
from harness.trainers import clean_environment
from weavelet.integrations.lightning import WeaveletCallback, WeaveletModule
from weavelet.testing import local_session

pytestmark = [
    # What Lightning finds fault with in a small model is not what is tested.
    pytest.mark.filterwarnings("ignore:.*:UserWarning:lightning"),
    # Lightning's use of torch.
    pytest.mark.filterwarnings("ignore:.*treespec, LeafSpec:FutureWarning"),
]

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


@pytest.mark.timeout(900)
class TestModule:
    """A module that brings its controls along, without a callback; the parts that may differ."""

    script = (
        FIT
        + """
class Steered(WeaveletModule, Probe, Net):
    def __init__(self):
        Net.__init__(self)
        self.value, self.counted = 1.0, 0


trainer(End()).fit(Steered(), loader())
"""
    )
    environment: ClassVar = {}
    launcher = None
    test_stop = Contract.test_stop_ends_it_by_the_framework
    test_two_ranks = Contract.test_two_ranks_do_the_same_at_the_same_step


def test_lightnings_own_launcher_starts_ranks_of_one_job(weaver, tmp_path):
    """Without torchrun, too, the processes are ranks of one job and change at one step."""
    script = (
        FIT
        + """
RANK = int(os.environ.get("LOCAL_RANK", "0"))
trainer(WeaveletCallback(controls=[probe]), End(), devices=2, strategy="ddp").fit(Net(), loader())
"""
    )
    with living(weaver, script, tmp_path, job=None, ranks=2, launcher=()) as life:
        told = life.set(lr=0.05)
        event = {"rate": 0.05, "at": told.step}
        assert life.heard("rate", 0.05) == {0: event, 1: event}
        told = life.stop()
        assert life.ended() == {0: told.step, 1: told.step}


def test_ranks_that_do_not_agree_stop_together_all_the_same(weaver, tmp_path):
    """With agreement off Lightning's own reduction makes a stop of one rank a stop of all."""
    script = (
        FIT
        + """
callback = WeaveletCallback(controls=[probe], agreement="off")
trainer(callback, End()).fit(Net(), loader())
"""
    )
    options = {"job": "apart", "ranks": 2, "wanted": ("lr", "gain")}
    with living(weaver, script, tmp_path, **options) as life:
        # A rank that another's stop has ended may not have heard of it by itself.
        stopped = [each.outcome for each in life.ask_to_stop().outcomes]
        assert "applied" in stopped
        ended = life.ended()
        assert ended[0] == ended[1]


class Net(LightningModule):
    """Two optimizers or one, with what Lightning offers besides."""

    def __init__(self, *, scheduler=False):
        super().__init__()
        self.net = torch.nn.Linear(4, 1)
        self.scheduled = scheduler

    def loss(self, batch):
        x, y = batch
        return torch.nn.functional.mse_loss(self.net(x), y)

    def training_step(self, batch, index):
        loss = self.loss(batch)
        self.log("train/loss", loss)
        return loss

    def validation_step(self, batch, index):
        self.log("validation/loss", self.loss(batch))

    def configure_optimizers(self):
        optimizer = torch.optim.SGD(self.parameters(), lr=0.1)
        if not self.scheduled:
            return optimizer
        scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 0.5**step)
        return [optimizer], [{"scheduler": scheduler, "interval": "step"}]


class Adversaries(Net):
    """Two optimizers that step by hand, one after the other."""

    automatic_optimization = False

    def training_step(self, batch, index):
        for optimizer in self.optimizers():
            optimizer.zero_grad()
            self.manual_backward(self.loss(batch))
            optimizer.step()

    def configure_optimizers(self):
        return [torch.optim.SGD(self.parameters(), lr=lr) for lr in (0.1, 0.2)]


class At(Callback):
    """Calls a function when so many steps have been taken, before the adapter polls."""

    def __init__(self, **when):
        self.when = {int(name.removeprefix("step")): do for name, do in when.items()}
        self.ended = False

    def on_train_start(self, trainer, module):
        self.on_train_batch_end(trainer)

    def on_train_batch_end(self, trainer, *_):
        do = self.when.pop(trainer.global_step, None)
        if do is not None:
            do()

    def on_train_end(self, trainer, module):
        self.ended = True


def loader():
    x = torch.randn(32, 4, generator=torch.Generator().manual_seed(1))
    return torch.utils.data.DataLoader(
        torch.utils.data.TensorDataset(x, x.sum(1, keepdim=True)), batch_size=4
    )


@pytest.fixture
def trainer(tmp_path):
    """Makes a quiet Trainer of 8 batches an epoch, one epoch."""

    def make(*callbacks, **options):
        quiet = {
            "accelerator": "cpu",
            "default_root_dir": tmp_path,
            "enable_checkpointing": False,
            "enable_model_summary": False,
            "enable_progress_bar": False,
            "logger": False,
            "max_epochs": 1,
        }
        return Trainer(callbacks=list(callbacks), **(quiet | options))

    return make


@pytest.fixture
def real(monkeypatch, tmp_path):
    """Sessions of this process are real, and there is no server."""
    monkeypatch.setenv("WEAVELET_HOME", str(tmp_path / "home"))


def outcomes(w):
    return [(outcome.kind, outcome.step, outcome.reason) for outcome in w.outcomes]


def test_each_optimizer_has_its_controls(trainer):
    """Of two optimizers each has a name; a step of either is a step."""
    with local_session() as w:
        at = At(step4=lambda: w.push({"optimizer1.lr": 0.05}))
        fit = trainer(at, WeaveletCallback())
        fit.fit(Adversaries(), loader())
        assert outcomes(w) == [("applied", 4, None)]
        rates = [(each.step, each.metrics["optimizer1.lr"]) for each in w.samples[:4]]
        assert rates == [(0, 0.2), (2, 0.2), (4, 0.05), (6, 0.05)]
        assert {each.metrics["optimizer0.lr"] for each in w.samples} == {0.1}
    assert fit.global_step == 16


def test_a_step_of_several_batches_is_polled_and_reported_once(trainer):
    """Under accumulation there is one report a step, with the loss that training_step returned."""
    with local_session() as w:
        trainer(WeaveletCallback(), accumulate_grad_batches=4).fit(Net(), loader())
        assert [each.step for each in w.samples if "loss" in each.metrics] == [0, 1]
        (last,) = [each for each in w.samples if each.step == 2]
        assert last.metrics["train/loss"] == pytest.approx(w.samples[1].metrics["loss"])


def test_a_schedule_goes_on_under_what_is_set(trainer):
    """What is set is a factor; Lightning's scheduler halves the rate at each step all the same."""
    with local_session() as w:
        at = At(step2=lambda: w.push(lr=0.05))
        trainer(at, WeaveletCallback()).fit(Net(scheduler=True), loader())
        rates = [each.metrics["lr"] for each in w.samples if "lr" in each.metrics]
    assert rates[:5] == pytest.approx([0.1, 0.05, 0.05, 0.025, 0.0125])


def test_mixed_precision_clipping_and_a_new_optimizer(trainer):
    """Under AMP the gradient's norm can be limited and the optimizer changed in the midst."""
    net = Net()
    with local_session() as w:
        at = At(
            step2=lambda: w.push(grad_clip=0.5),
            step3=lambda: w.push(optimizer="AdamW", lr=0.01),
        )
        fit = trainer(at, WeaveletCallback(), precision="bf16-mixed")
        fit.fit(net, loader())
        assert [kind for kind, *_ in outcomes(w)] == ["applied", "applied"]
    assert "exp_avg" in fit.optimizers[0].state[net.net.weight]
    assert fit.optimizers[0].param_groups[0]["lr"] == 0.01


def test_stop_saves_the_last_checkpoint_whatever_the_least_is(trainer, tmp_path):
    """min_steps and min_epochs do not hold it up; on_train_end and save_last happen."""
    saving = ModelCheckpoint(tmp_path, save_last=True, every_n_train_steps=100)
    with local_session() as w:
        at = At(step3=w.request_stop)
        callback = WeaveletCallback()
        fit = trainer(at, callback, saving, enable_checkpointing=True, min_steps=1000, min_epochs=3)
        fit.fit(Net(), loader())
        assert outcomes(w) == [("applied", 3, None)]
    assert at.ended
    assert fit.global_step == 3
    assert fit.min_steps == 1000
    saved = torch.load(tmp_path / "last.ckpt", weights_only=True)
    assert saved["callbacks"]["WeaveletCallback"]["step"] == 3


def test_phases_without_polls_are_sections(trainer, tmp_path):
    """Validation and saving are declared; a sanity check reports nothing."""
    seen = []

    class Look(Net):
        def validation_step(self, batch, index):
            seen.append((self.trainer.sanity_checking, shown(w)))
            super().validation_step(batch, index)

        def on_save_checkpoint(self, checkpoint):
            seen.append(("saving", shown(w)))

    def shown(w):
        return w._sections[-1].name if w._sections else None

    with local_session() as w:
        at = At(step3=lambda: w.act("checkpoint"))
        fit = trainer(at, WeaveletCallback())
        fit.fit(Look(), loader(), loader())
        assert shown(w) is None
        assert w.outcomes[0].result == str(tmp_path / "checkpoints" / "step-3.ckpt")
        validated = [each.step for each in w.samples if "validation/loss" in each.metrics]
    assert set(seen) == {
        (True, "validation"),
        (False, "validation"),
        ("saving", "checkpoint"),
    }
    assert validated == [8]
    assert "save_checkpoint" not in vars(fit)


def test_each_fit_is_a_life_of_its_own(trainer, real):
    """The session begins with a fit and ends with it; validating and testing have none."""
    lives = []

    def look():
        lives.append(weavelet.current().incarnation)

    fit = trainer(At(step1=look, step9=look), WeaveletCallback(run="lightning"))
    net = Net()
    fit.validate(net, loader(), verbose=False)
    fit.fit(net, loader(), loader())
    assert weavelet.current() is None
    fit.fit_loop.max_epochs = 2
    fit.fit(net, loader(), loader())
    assert weavelet.current() is None
    assert len(set(lives)) == 2


def test_a_trial_run_is_steered(trainer):
    """fast_dev_run ends after its one batch, and what waits before it is applied."""
    with local_session() as w:
        at = At(step0=lambda: w.push(lr=0.05))
        trainer(at, WeaveletCallback(), fast_dev_run=True).fit(Net(), loader(), loader())
        assert outcomes(w) == [("applied", 0, None)]
        assert w.samples[0].metrics["lr"] == 0.05


def test_an_exception_ends_the_session(trainer, real):
    """It goes on up, and the session says why it ended."""
    sessions = []

    def fail():
        sessions.append(weavelet.current())
        raise RuntimeError("no more memory")

    with pytest.raises(RuntimeError, match="no more memory"):
        trainer(At(step2=fail), WeaveletCallback(run="lightning")).fit(Net(), loader())
    assert weavelet.current() is None
    assert sessions[0].sidecar_pid is None
    assert not sessions[0].stopped


class Steered(WeaveletModule, Net):
    """A module with a control and an action."""

    scale = 1.0

    @weavelet.handler(get=lambda self: self.scale)
    def set_scale(self, value: float) -> None:
        self.scale = value

    @weavelet.action
    def describe(self) -> str:
        return f"scaled by {self.scale}"


def test_a_module_steers_itself(trainer):
    """Its marked methods are there without a callback, at each fit."""
    with local_session() as w:

        def ask():
            w.push(set_scale=2.0)
            w.act("describe")

        fit, net = trainer(At(step1=ask, step9=ask)), Steered()
        fit.fit(net, loader())
        fit.fit_loop.max_epochs = 2
        fit.fit(net, loader())
        assert [outcome.kind for outcome in w.outcomes] == ["applied"] * 4
        assert w.outcomes[3].result == "scaled by 2.0"


def test_a_module_and_a_callback_share_one_session(trainer, real):
    """The callback's options hold, and it is the only one."""
    seen = []
    callback = WeaveletCallback(run="shared")
    at = At(step2=lambda: seen.append((weavelet.current(), weavelet.current().run)))
    fit = trainer(at, callback)
    fit.fit(Steered(), loader())
    assert [run for _, run in seen] == ["shared"]
    assert sum(isinstance(each, WeaveletCallback) for each in fit.callbacks) == 1


def test_the_wrong_order_of_classes_is_an_error():
    """A module that would not be steered says how to write it."""
    with pytest.raises(TypeError, match=r"class Wrong\(WeaveletModule, LightningModule\)"):
        type("Wrong", (LightningModule, WeaveletModule), {})


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (
            "import sys; sys.modules.update({'lightning': None, 'pytorch_lightning': None})",
            "",
        ),
        (
            "import pytorch_lightning",
            "assert issubclass(adapter.WeaveletCallback, pytorch_lightning.Callback)",
        ),
    ],
    ids=["missing", "the other name"],
)
def test_import(before, after):
    """Without Lightning the error says what to install; under its other name it is used as that."""
    code = f"{before}\nimport weavelet.integrations.lightning as adapter\n{after}"
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code],
        env=clean_environment(),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    if after:
        assert done.returncode == 0, done.stderr
    else:
        assert "ImportError" in done.stderr
        assert "pip install 'torchloom-weavelet[lightning]'" in done.stderr
