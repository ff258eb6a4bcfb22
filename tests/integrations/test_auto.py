"""Training that knows nothing of weavelet: what is a step, who is bound, what is reported."""

from __future__ import annotations

import gc
import sys
import threading
import traceback
import weakref
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

from torch.optim import LBFGS, SGD, Adam, lr_scheduler  # noqa: E402

import weavelet  # noqa: E402
from weavelet.channel.page import Page  # noqa: E402
from weavelet.integrations import auto, work  # noqa: E402
from weavelet.integrations.groups import CLIP  # noqa: E402
from weavelet.integrations.places import PROBATION, Places  # noqa: E402

INPUTS = torch.ones(8, 4)
WRONG = (AttributeError, TypeError, ZeroDivisionError)


@pytest.fixture
def steering(monkeypatch, tmp_path):
    """Hooks as `weavelet run` sets them, in this process; there is no server."""
    for name in ("WEAVELET_NATS_URL", "WEAVELET_MODE", "WEAVELET_REPLICA", "RANK"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("WEAVELET_HOME", str(tmp_path))
    monkeypatch.setattr(auto, "REPORT_SECONDS", 0.0)
    steering = auto.Steering()
    steering.attach()
    yield steering
    steering.detach()


@pytest.fixture
def said(steering, monkeypatch):
    """What is reported, as (step, metrics)."""
    reports = []
    begin = steering._begin

    def spied():
        begun = begin()
        if begun:
            monkeypatch.setattr(
                steering._w,
                "report",
                lambda step, **metrics: reports.append(
                    (step, {name: float(value) for name, value in metrics.items()})
                ),
            )
        return begun

    monkeypatch.setattr(steering, "_begin", spied)
    return reports


def network():
    return torch.nn.Linear(4, 1)


def loss_of(model):
    return model(INPUTS).square().mean()


def train(model, optimizer, steps=1):
    for _ in range(steps):
        optimizer.zero_grad()
        loss_of(model).backward()
        optimizer.step()


def sgd(lr=0.1):
    model = network()
    return model, SGD(model.parameters(), lr=lr)


def polled():
    """The step of the session's last poll."""
    return weavelet.current()._page.words[Page.STEP]


def controls():
    """The names in the table of controls."""
    rows = [line.split("|") for line in weavelet.current().docs().splitlines()]
    return {row[1].strip(" `") for row in rows if len(row) > 2 and "`" in row[1]}


def value(name="lr"):
    """What a control says that it is."""
    return weavelet.current()._registry.values()[name]


def refusal(name="lr"):
    """Why a control cannot be set now; None if it can."""
    verdict = weavelet.current()._registry.apply({name: 0.5}, dry_run=True)
    return verdict.reason if verdict.kind == "rejected" else None


def test_nothing_is_there_before_the_first_step(steering):
    """Building a model, an optimizer and a scheduler opens no session; the first step does."""
    model, optimizer = sgd()
    lr_scheduler.ConstantLR(optimizer)
    loss_of(model).backward()
    assert weavelet.current() is None
    optimizer.step()
    assert "lr" in controls()
    assert polled() == 1


def test_reports_the_rate_and_the_loss_of_each_step(said):
    """The learning rate that the step took, and what backward() was called on before it."""
    model, optimizer = sgd()
    train(model, optimizer)
    expected = []
    for lr in (0.5, 0.25):
        optimizer.param_groups[0]["lr"] = lr
        expected.append({"lr": lr, "loss": loss_of(model).item()})
        train(model, optimizer)
    # The first step begins the session, when its loss has gone by.
    assert said == [(0, {"lr": pytest.approx(0.1)}), (1, expected[0]), (2, expected[1])]


def test_accumulated_gradients_are_one_step(steering):
    """Several backward() to one step() count once."""
    model, optimizer = sgd()
    for _ in range(3):
        for _ in range(4):
            loss_of(model).backward()
        optimizer.step()
    assert polled() == 3


def test_amp_reports_the_unscaled_loss_and_skips_what_it_skips(said):
    """Under a GradScaler the loss is the scaler's input; a step that it leaves out is none."""
    model, optimizer = sgd()
    scaler = torch.amp.GradScaler("cpu")
    losses = []
    for factor in (1.0, float("inf"), 1.0):
        optimizer.zero_grad()
        loss = loss_of(model) * factor
        losses.append(loss.item())
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()
    assert polled() == 2
    assert said[-1] == (1, {"lr": pytest.approx(0.1), "loss": losses[-1]})


def test_a_closure_belongs_to_its_step(steering):
    """LBFGS evaluates the loss many times in one step."""
    model = network()
    optimizer = LBFGS(model.parameters())

    def closure():
        optimizer.zero_grad()
        loss = loss_of(model)
        loss.backward()
        return loss

    for _ in range(3):
        optimizer.step(closure)
    assert polled() == 3


class Outer(torch.optim.Optimizer):
    """Steps another optimizer inside its own step, as ZeroRedundancyOptimizer does."""

    def __init__(self, params):
        super().__init__(params, {"lr": 0.1})
        self.inner = SGD(self.param_groups[0]["params"], lr=0.1)

    def step(self, closure=None):
        self.inner.step()


def test_the_outermost_step_counts(steering):
    """An optimizer inside another one has neither steps nor controls of its own."""
    model = network()
    train(model, Outer(model.parameters()), 2 * PROBATION)
    assert polled() == 2 * PROBATION
    assert not [name for name in controls() if name.startswith("optimizer2")]


def test_a_step_that_raised_does_not_hide_the_next(steering):
    """After an exception inside step() the steps that follow count."""
    model, optimizer = sgd()
    train(model, optimizer)

    def fails():
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        optimizer.step(fails)
    train(model, optimizer, 2)
    assert polled() == 3


def test_two_optimizers_that_take_turns_have_names_of_their_own(steering):
    """Generator and discriminator: the second is `optimizer2`."""
    pairs = [sgd(), sgd()]
    for _ in range(PROBATION):
        for pair in pairs:
            train(*pair)
    assert {"lr", "optimizer2.lr"} <= controls()


def test_an_optimizer_after_another_takes_its_place(steering):
    """The next fold's optimizer is `lr` again after 32 steps, also where the script keeps both."""
    first = sgd()
    train(*first, PROBATION)
    model, optimizer = sgd(lr=0.25)
    train(model, optimizer, PROBATION + 1)
    assert "optimizer2.lr" not in controls()
    assert value() == 0.25


def test_the_place_of_one_that_is_gone_is_free_at_once(steering):
    """However short its phase, the next fold's optimizer is steered from its first step on."""
    for rate in (0.1, 0.2, 0.3):
        train(*sgd(lr=rate))
        gc.collect()
        assert "its optimizer is gone" in refusal()
        model, optimizer = sgd(lr=rate / 2)
        train(model, optimizer)
        assert value() == rate / 2
        del model, optimizer
    assert "optimizer2.lr" not in controls()


def test_one_that_no_longer_steps_rejects(steering):
    """Nothing is applied to an optimizer of the phase before, and to one that steps again it is."""
    first, second = sgd(), sgd()
    train(*first, 2)
    assert refusal() is None
    train(*second)
    assert "no longer steps" in refusal()
    train(*first)
    assert refusal() is None


def test_a_phase_that_is_over_leaves_nothing_behind(steering):
    """Neither optimizer nor model nor scheduler of it is kept alive."""
    model, optimizer = sgd()
    scheduler = lr_scheduler.ExponentialLR(optimizer, 0.5)
    train(model, optimizer, 3)
    scheduler.step()
    gone = [weakref.ref(each) for each in (model, model.weight, optimizer, scheduler)]
    del model, optimizer, scheduler
    gc.collect()
    assert [each() for each in gone] == [None] * 4


def test_schedulers_are_bound_as_they_appear(steering):
    """One made before the first step and one made later; those inside another are left to it."""
    model, optimizer = sgd(lr=1.0)
    parts = [lr_scheduler.ConstantLR(optimizer, 0.5), lr_scheduler.ExponentialLR(optimizer, 0.5)]
    sequence = lr_scheduler.SequentialLR(optimizer, parts, [2])

    def bound():
        (place,) = steering._places
        return {each() for each in place.schedulers}

    train(model, optimizer)
    sequence.step()
    assert bound() == {sequence}
    plateau = lr_scheduler.ReduceLROnPlateau(optimizer)
    train(model, optimizer)
    assert bound() == {sequence, plateau}


def test_other_threads_are_left_alone(steering):
    """Only the thread that stepped first polls."""
    train(*sgd(), 2)
    other = threading.Thread(target=train, args=(*sgd(), 5))
    other.start()
    other.join()
    assert polled() == 2


def test_steps_inside_backward_are_seen_and_that_is_said_once(said, caplog):
    """Such optimizers are reported, without controls; the safe point is the next backward()."""
    model = network()
    optimizers = {each: SGD([each], lr=0.1) for each in model.parameters()}
    for each in model.parameters():
        each.register_post_accumulate_grad_hook(lambda param: optimizers[param].step())
    for _ in range(3):
        loss_of(model).backward()
    assert [record.message for record in caplog.records if "inside backward()" in record.message]
    assert len(caplog.records) == 1
    assert controls() == set()
    assert polled() == 1
    assert said[-1][1].keys() == {"lr", "loss"}


def test_steps_aside_for_a_session_of_the_script(steering):
    """Where the script has its own session, before the first step or after, there is no other."""
    model, optimizer = sgd()
    train(model, optimizer)
    stand_in = weavelet.current()
    with weavelet.session("mine") as mine:
        assert weavelet.current() is mine
        train(model, optimizer, 3)
        assert weavelet.current() is mine
        assert mine.docs().count("lr") == 0
    train(model, optimizer)
    assert weavelet.current() is None
    assert stand_in._page is None


def test_a_script_that_opens_a_session_first_is_left_alone(steering):
    """No second session, no controls in the script's own."""
    with weavelet.session("mine") as mine:
        train(*sgd(), 2)
        assert weavelet.current() is mine
    assert steering._w is None


def test_tracebacks_are_the_scripts_own(steering):
    """An error in backward(), a step, a closure, a scheduler or a scaler shows no frame of ours."""
    model, optimizer = sgd()
    scaler = torch.amp.GradScaler("cpu")
    scheduler = lr_scheduler.LambdaLR(optimizer, lambda epoch: 1 / (1 - epoch))
    train(model, optimizer)

    def fails():
        raise ZeroDivisionError

    def fails_clipped():
        optimizer.param_groups[0][CLIP] = 1.0
        optimizer.step(fails)

    for wrong in (
        lambda: model(INPUTS).backward(),
        lambda: optimizer.step(fails),
        lambda: optimizer.step(closure=fails),
        fails_clipped,
        scheduler.step,
        lambda: scaler.scale(1),
        scaler.scale,
        lambda: lr_scheduler.ConstantLR(None),
    ):
        with pytest.raises((AssertionError, RuntimeError, ValueError, *WRONG)) as caught:
            wrong()
        files = {Path(frame.filename).parent for frame in traceback.extract_tb(caught.tb)}
        assert Path(auto.__file__).parent not in files


def test_a_stop_ends_the_script_as_if_it_had_ended_itself(steering, monkeypatch):
    """StopTraining becomes SystemExit(0), which `except Exception` lets pass."""
    model, optimizer = sgd()
    train(model, optimizer)

    def stopping(step):
        raise weavelet.StopTraining

    monkeypatch.setattr(weavelet.current(), "poll", stopping)
    with pytest.raises(SystemExit) as left:
        train(model, optimizer)
    assert left.value.code == 0


def test_a_stop_of_a_training_in_a_thread_interrupts_the_main_thread(steering, monkeypatch):
    """Who waits for that thread is told as by Ctrl-C; the thread ends by SystemExit."""
    left = []

    def stopping(step):
        raise weavelet.StopTraining

    def work():
        train(*sgd())
        monkeypatch.setattr(weavelet.current(), "poll", stopping)
        try:
            train(*sgd())
        except SystemExit as error:
            left.append(error.code)

    other = threading.Thread(target=work)
    other.start()
    with pytest.raises(KeyboardInterrupt):
        other.join(60)
    other.join(60)
    assert left == [0]


def test_a_name_that_cannot_be_does_not_stop_the_script(steering, monkeypatch, caplog):
    """A wrong WEAVELET_RUN is said, and training goes on."""
    monkeypatch.setenv("WEAVELET_RUN", "no slug")
    train(*sgd(), 2)
    assert weavelet.current() is None
    assert "WEAVELET_RUN" in caplog.text


class Bare(torch.optim.Optimizer):
    """One of a script's own, that knows no learning rate."""

    def __init__(self, parameters):
        super().__init__(parameters, {})

    def step(self, closure=None):
        """Do nothing."""


def test_an_optimizer_of_the_scripts_own_needs_no_rate_and_no_groups(said):
    """It steps as it would without us, and its loss is reported."""
    model = network()
    optimizer = Bare(model.parameters())
    train(model, optimizer, 3)
    assert [set(metrics) for _, metrics in said] == [set(), {"loss"}, {"loss"}]
    optimizer.param_groups = []
    train(model, optimizer, 2)
    assert polled() == 5


def test_what_fails_in_steering_ends_it_and_not_the_script(steering, monkeypatch, caplog):
    """The log says so once; the script goes on without being steered."""
    model, optimizer = sgd()
    train(model, optimizer)
    monkeypatch.setattr(steering._w, "report", lambda *step, **metrics: 1 / 0)
    train(model, optimizer, 3)
    assert caplog.text.count("not steered any more") == 1
    assert "ZeroDivisionError" in caplog.text
    assert optimizer.param_groups[0]["lr"] == 0.1


# What torch's compiler says of itself is not what is tested.
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
def test_a_compiled_step_is_steered_and_trains_the_same(steering):
    """torch.compile of model and step leaves the hooks alone: each step is polled, none differs."""
    auto._stay_out_of_graphs()
    torch._dynamo.reset()

    def trained(compiled):
        torch.manual_seed(0)
        model, optimizer = sgd()

        @compiled
        def step():
            optimizer.step()

        forward = compiled(model)
        for _ in range(3):
            optimizer.zero_grad()
            loss_of(forward).backward()
            step()
        return loss_of(model).item()

    assert trained(torch.compile(backend="eager")) == trained(lambda given: given)
    assert polled() == 6


@pytest.mark.parametrize("hook", ["backward", "scale", "scheduler", "begin"])
def test_no_hook_fails_the_script(steering, monkeypatch, caplog, hook):
    """Whatever goes wrong in any of them, the steering ends and the script goes on."""
    model, optimizer = sgd()
    if hook != "begin":
        train(model, optimizer)
    fault = {"backward": "_note_loss", "scale": "_note_loss", "begin": "_begin"}.get(hook)
    if fault:
        monkeypatch.setattr(steering, fault, lambda *given: 1 / 0)
    else:
        monkeypatch.setattr(steering._schedulers, "add", lambda given: 1 / 0)
    steering._due = True
    if hook == "scale":
        torch.amp.GradScaler("cpu").scale(loss_of(model))
    elif hook == "scheduler":
        lr_scheduler.ConstantLR(optimizer)
    train(model, optimizer, 2)
    assert caplog.text.count("not steered any more") == 1


def test_a_torch_that_compiles_otherwise_is_told_of(monkeypatch, caplog):
    """Where torch.compile cannot be asked to leave our hooks alone, the import goes on."""
    monkeypatch.setitem(sys.modules, "torch._dynamo.trace_rules", None)
    auto._stay_out_of_graphs()
    assert "torch.compile may compile our hooks" in caplog.text


def test_places_are_few():
    """However many optimizers step in turns, some are steered and the others left alone."""
    places = Places()
    optimizers = [sgd()[1] for _ in range(20)]
    for step in range(20 * 3 * PROBATION):
        optimizer = optimizers[step % 20]
        place = places.of(optimizer)
        if place is not None:
            place.stepped = step
        else:
            places.take(optimizer, step)
    assert [place.prefix for place in places] == ["", *(f"optimizer{n}." for n in range(2, 9))]


def test_own_work_is_from_one_step_to_the_first_gradient(steering, monkeypatch):
    """Of a step that is measured it is known, and no longer where no gradient comes any more."""
    monkeypatch.setattr(work, "_SECONDS", 0.0)
    model = network()
    optimizer = Adam(model.parameters())
    words = None
    for expected in (False, True, True):
        train(model, optimizer)
        words = words or weavelet.current()._page.words
        assert (words[Page.WORK] > 0) is expected
    for _ in range(3):
        optimizer.step()
    assert words[Page.WORK] == 0
