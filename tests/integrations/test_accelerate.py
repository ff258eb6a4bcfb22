"""Accelerate: the contract of all adapters, and what is Accelerate's own."""

from __future__ import annotations

import importlib
import sys

import pytest

import weavelet
from harness.contract import PRELUDE, Contract, accelerate_launch, living
from weavelet.testing import LocalSession, local_session

torch = pytest.importorskip("torch")
accelerate = pytest.importorskip("accelerate")

from accelerate.state import AcceleratorState, GradientState  # noqa: E402  where it is

from weavelet.integrations.accelerate import WeaveletTracker, steer  # noqa: E402  the same

SCRIPT = (
    PRELUDE
    + """
from accelerate import Accelerator

from weavelet.integrations.accelerate import WeaveletTracker, steer


def train(accelerator):
    net = network()
    optimizer = torch.optim.SGD(net.parameters(), lr=LR)
    scheduler = torch.optim.lr_scheduler.ConstantLR(optimizer, factor=1.0)
    loader = torch.utils.data.DataLoader(examples(), batch_size=8)
    net, optimizer, scheduler, loader = accelerator.prepare(net, optimizer, scheduler, loader)
    with steer(accelerator, optimizer, scheduler, checkpoints=FOLDER) as steering:
        if RESUME is not None:
            accelerator.load_state(RESUME)
        while True:
            for x, y in loader:
                steering.poll()
                with accelerator.accumulate(net):
                    loss = torch.nn.functional.mse_loss(net(x), y)
                    accelerator.backward(loss)
                    optimizer.step()
                    scheduler.step()
                    optimizer.zero_grad()
                rate = optimizer.param_groups[0]["lr"]
                accelerator.log({"loss": loss, "lr": rate}, step=steering.step)


accelerator = Accelerator(
    cpu=True, gradient_accumulation_steps=2, log_with=[WeaveletTracker(controls=[probe])]
)
accelerator.init_trackers("contract", config={"lr": LR})
train(accelerator)
say(ended=steps.taken)
accelerator.end_training()
"""
)


class TestAccelerate(Contract):
    """A loop of Accelerate that accumulates gradients over two batches, and its launcher."""

    script = SCRIPT
    launcher = accelerate_launch(2)


@pytest.fixture(autouse=True)
def _fresh():
    """Accelerators share their state; here each test has its own."""
    yield
    AcceleratorState._reset_state(reset_partial_state=True)
    GradientState._reset_state()


@pytest.fixture
def accelerator(request, tmp_path):
    """A real one; `indirect` parameters are further arguments."""
    options = getattr(request, "param", {})
    return accelerate.Accelerator(cpu=True, project_dir=str(tmp_path), **options)


ACCUMULATES = pytest.mark.parametrize(
    "accelerator", [{"gradient_accumulation_steps": 3}], indirect=True
)


class Loop:
    """A training loop; `commands` are given before the step of their number."""

    def __init__(self, accelerator, commands=None, *, batches=12, gamma=1.0):
        torch.manual_seed(0)
        self.accelerator = accelerator
        self.commands = commands or {}
        net = torch.nn.Linear(4, 1)
        optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
        scheduler = torch.optim.lr_scheduler.ExponentialLR(optimizer, gamma)
        loader = torch.utils.data.DataLoader(torch.randn(2 * batches, 4), batch_size=2)
        self.net, self.optimizer, self.scheduler, self.loader = accelerator.prepare(
            net, optimizer, scheduler, loader
        )
        self.rates = []
        self.taken = 0
        optimizer.register_step_pre_hook(self._see)

    def _see(self, optimizer, *_):
        self.rates.append(optimizer.param_groups[0]["lr"])
        self.taken += 1

    def train(self, steering, epochs=1, *, after=False, factor=lambda _: 1.0):
        for _ in range(epochs):
            for number, batch in enumerate(self.loader):
                if not after:
                    self.poll(steering)
                with self.accelerator.accumulate(self.net):
                    loss = self.net(batch).square().sum() * factor(number)
                    self.accelerator.backward(loss)
                    self.optimizer.step()
                    self.scheduler.step()
                    self.optimizer.zero_grad()
                self.accelerator.log({"loss": loss}, step=steering.step)
                if after:
                    self.poll(steering)

    def poll(self, steering):
        for command in self.commands.pop(steering.step, ()):
            command()
        steering.poll()


def local_tracker(**options):
    """A tracker whose session starts no process."""
    tracker = WeaveletTracker(**options)
    tracker._session = LocalSession(**options)
    return tracker


def told(w):
    return [(each.kind, each.step) for each in w.outcomes]


@ACCUMULATES
@pytest.mark.parametrize("after", [False, True])
def test_steps_are_optimizer_steps(accelerator, after):
    """Polled before or after the batch, a change at step n is there for the step after n others."""
    with local_session() as w:
        loop = Loop(accelerator, {2: [lambda: w.push(lr=0.05)]})
        with steer(accelerator, loop.optimizer, loop.scheduler, session=w) as steering:
            loop.train(steering, after=after)
            assert steering.step == loop.taken == 4
    assert told(w) == [("applied", 2)]
    assert loop.rates == [0.1, 0.1, 0.05, 0.05]


@ACCUMULATES
def test_between_two_batches_of_a_step_nothing_happens(accelerator):
    """What comes while gradients are accumulated waits for the next step."""
    with local_session() as w:
        loop = Loop(accelerator)
        with steer(accelerator, loop.optimizer, loop.scheduler, session=w) as steering:
            steering.poll()
            with accelerator.accumulate(loop.net):
                accelerator.backward(loop.net(torch.ones(1, 4)).sum())
            w.push(lr=0.05)
            assert steering.poll() == ()
            for _ in range(2):
                with accelerator.accumulate(loop.net):
                    accelerator.backward(loop.net(torch.ones(1, 4)).sum())
                    loop.optimizer.step()
            assert [change.new for change in steering.poll()] == [0.05]


def test_a_step_that_amp_skipped_is_none(accelerator):
    """It is polled, and not counted; the type of an optimizer cannot change under a scaler."""
    accelerator.scaler = torch.amp.GradScaler("cpu", init_scale=2.0)
    with local_session() as w:
        loop = Loop(accelerator, {3: [lambda: w.push(lr=0.05)], 4: [lambda: w.push(grad_clip=0.5)]})
        with steer(accelerator, loop.optimizer, loop.scheduler, session=w) as steering:
            loop.train(steering, factor=lambda number: float("inf") if number < 2 else 1.0)
            assert steering.step == loop.taken == 10
            assert "optimizer" not in {spec.name for spec in w._registry.specs()}
    assert told(w) == [("applied", 3), ("applied", 4)]
    assert loop.rates == [0.1] * 3 + [0.05] * 7


def test_a_rate_composes_with_the_schedule(accelerator):
    """Accelerate's scheduler goes on underneath a factor."""
    with local_session() as w:
        loop = Loop(accelerator, {2: [lambda: w.push(lr_scale=0.5)]}, batches=4, gamma=0.5)
        with steer(accelerator, loop.optimizer, loop.scheduler, session=w) as steering:
            loop.train(steering)
    assert loop.rates == [0.1, 0.05, 0.0125, 0.00625]


def test_stop_leaves_all_loops_and_ends_the_session(accelerator):
    """The block absorbs it, and what is behind the block runs."""
    tracker = local_tracker()
    w = tracker.tracker
    accelerator.log_with = [tracker]
    accelerator.init_trackers("loop")
    loop = Loop(accelerator, {5: [w.request_stop]}, batches=4)
    with steer(accelerator, loop.optimizer, loop.scheduler) as steering:
        loop.train(steering, epochs=10)
    assert loop.taken == 5
    assert w.stopped
    assert weavelet.current() is None
    accelerator.end_training()


def test_an_error_ends_the_session_and_goes_on_up(accelerator):
    """Nothing but the stop is absorbed."""
    accelerator.log_with = [local_tracker()]
    loop = Loop(accelerator, {2: [lambda: seen.append(weavelet.current()), lambda: 1 / 0]})
    seen = []

    def train(steering):
        with steering:
            loop.train(steering)

    steering = steer(accelerator, loop.optimizer, loop.scheduler)
    with pytest.raises(ZeroDivisionError):
        train(steering)
    assert seen == [steering.session]
    assert weavelet.current() is None


def test_a_session_around_it_is_used(accelerator):
    """The active session goes on after the block, which absorbs its stop."""
    with local_session() as w:
        loop = Loop(accelerator, {2: [w.request_stop]})
        with steer(accelerator, loop.optimizer) as steering:
            loop.train(steering)
        assert steering.session is weavelet.current() is w
        assert loop.taken == 2


def test_the_hooks_go_with_the_block(accelerator):
    """Steps after the block are not counted, and a second block counts its own."""
    with local_session() as w:
        loop = Loop(accelerator, batches=4)
        with steer(accelerator, loop.optimizer, loop.scheduler, session=w) as first:
            loop.train(first)
        with steer(accelerator, loop.optimizer, loop.scheduler, session=w) as second:
            loop.train(second)
        assert (first.step, second.step) == (4, 4)
        assert weavelet.current() is w


def test_the_tracker_reports(accelerator):
    """What is logged, mappings in it and the configuration come as reports."""
    tracker = local_tracker()
    accelerator.log_with = [tracker]
    accelerator.init_trackers("loop", config={"lr": 0.1, "model": {"layers": 2}})
    accelerator.log({"loss": torch.tensor(0.5), "eval": {"accuracy": 1.0}}, step=7)
    assert accelerator.get_tracker("weavelet", unwrap=True) is tracker.tracker
    config, logged = tracker.tracker.samples
    accelerator.end_training()
    assert config.metrics == {"config/lr": 0.1, "config/model/layers": 2}
    assert (logged.step, logged.metrics) == (7, {"loss": 0.5, "eval/accuracy": 1.0})
    assert weavelet.current() is None


def test_checkpoint_saves_and_load_state_goes_on(accelerator, tmp_path):
    """The action's folder holds the step and the values; a second training begins with them."""
    with local_session() as w:
        commands = {2: [lambda: w.push(lr=0.05)], 3: [lambda: w.act("checkpoint")]}
        loop = Loop(accelerator, commands, batches=4)
        with steer(accelerator, loop.optimizer, loop.scheduler, session=w) as steering:
            loop.train(steering)
        saved = w.outcomes[-1].result
    assert saved == str(tmp_path / "checkpoints/step-3")
    again = accelerate.Accelerator(cpu=True)
    loop = Loop(again, batches=4)
    with local_session() as w, steer(again, loop.optimizer, loop.scheduler, session=w) as steering:
        again.load_state(saved)
        assert steering.step == 3
        loop.train(steering)
        assert steering.step == 7
    assert loop.rates == [0.05] * 4


def test_a_second_steer_leaves_checkpoints_as_they_are(accelerator, tmp_path):
    """What was saved in one block is loaded in the next, and saved there is loaded by a new one."""
    with local_session() as w:
        loop = Loop(accelerator, batches=4)
        with steer(accelerator, loop.optimizer, loop.scheduler, session=w) as first:
            loop.train(first)
            accelerator.save_state(tmp_path / "first")
        with steer(accelerator, loop.optimizer, loop.scheduler, session=w) as second:
            accelerator.load_state(tmp_path / "first")
            loop.train(second)
            accelerator.save_state(tmp_path / "second")
    assert (first.step, second.step) == (4, 8)
    again = accelerate.Accelerator(cpu=True)
    loop = Loop(again)
    with local_session() as w, steer(again, loop.optimizer, loop.scheduler, session=w) as third:
        again.load_state(tmp_path / "second")
    assert third.step == 8


def test_ranks_that_do_not_agree_stop_together_all_the_same(weaver, tmp_path):
    """With agreement off a stop of one rank is a stop of all, absorbed on each."""
    script = SCRIPT.replace("controls=[probe]", 'controls=[probe], agreement="off"')
    options = {"job": "apart", "ranks": 2, "launcher": accelerate_launch(2)}
    with living(weaver, script, tmp_path, **options) as life:
        assert "applied" in [each.outcome for each in life.ask_to_stop().outcomes]
        ended = life.ended()
    assert ended[0] == ended[1]


def test_checkpoints_with_automatic_names_are_accelerates(tmp_path):
    """Where Accelerate names checkpoints, it names these, and finds the last by itself."""
    names = accelerate.utils.ProjectConfiguration(str(tmp_path), automatic_checkpoint_naming=True)
    accelerator = accelerate.Accelerator(cpu=True, project_config=names)
    with local_session() as w:
        loop = Loop(accelerator, {1: [lambda: w.act("checkpoint")]}, batches=2)
        with steer(accelerator, loop.optimizer, loop.scheduler, session=w) as steering:
            loop.train(steering)
            assert steering.step == 2
            accelerator.load_state()
            assert steering.step == 1
    assert w.outcomes[-1].result == str(tmp_path / "checkpoints/checkpoint_0")


def test_an_action_of_ones_own_stays(accelerator):
    """A session that has its own `checkpoint` keeps it."""
    with local_session() as w:

        @w.action("checkpoint")
        def save() -> str:
            return "mine"

        loop = Loop(accelerator, {1: [lambda: w.act("checkpoint")]}, batches=2)
        with steer(accelerator, loop.optimizer) as steering:
            loop.train(steering)
        assert w.outcomes[-1].result == "mine"


def test_the_missing_extra_is_named(monkeypatch):
    """Without Accelerate the import says what to install."""
    name = "weavelet.integrations.accelerate"
    monkeypatch.setitem(sys.modules, "accelerate", None)
    monkeypatch.delitem(sys.modules, name)
    with pytest.raises(ImportError, match=r"pip install 'torchloom-weavelet\[accelerate\]'"):
        importlib.import_module(name)
