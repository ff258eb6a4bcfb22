"""The type of an optimizer changed while it trains."""

from __future__ import annotations

import copy
import itertools
import weakref

import pytest

torch = pytest.importorskip("torch")

from torch.optim import (  # noqa: E402
    SGD,
    Adagrad,
    Adam,
    AdamW,
    NAdam,
    RMSprop,
    lr_scheduler,
)

from harness.steering import (  # noqa: E402  harness needs torch
    command,
    fill_gradients,
    names,
    one_group,
    through_a_file,
    train,
    two_groups,
    value,
)
from weavelet.integrations.optimizers import KNOWN  # noqa: E402
from weavelet.integrations.torch import bind  # noqa: E402
from weavelet.testing import local_session  # noqa: E402

PAIRS = list(itertools.permutations([kind.__name__ for kind in KNOWN], 2))


def made(name, **options):
    return one_group(getattr(torch.optim, name), **options)


@pytest.mark.parametrize(("old", "new"), PAIRS)
def test_any_type_becomes_any_other_and_trains_on(old, new):
    """Each pair, with a scheduler attached, there and back, through a checkpoint in between."""
    optimizer = made(old, lr=0.01)
    scheduler = lr_scheduler.ExponentialLR(optimizer, gamma=0.9)
    with local_session() as w:
        bind(w, optimizer=optimizer, scheduler=scheduler)
        train(optimizer, scheduler, steps=3)
        outcome = command(w, {"optimizer": new})
        assert outcome.kind == "applied", outcome.traceback
        assert type(optimizer).__name__ == new
        train(optimizer, scheduler, steps=2, start=3)
        optimizer.load_state_dict(through_a_file(optimizer.state_dict())[0])
        train(optimizer, scheduler, steps=1, start=5)
        assert command(w, {"optimizer": old}).kind == "applied"
        train(optimizer, scheduler, steps=2, start=6)
        assert optimizer.param_groups[0]["lr"] == pytest.approx(0.01 * 0.9**8, rel=1e-12)
        for param in optimizer.param_groups[0]["params"]:
            assert torch.isfinite(param).all()


def sizes(start, then, momentum=0.9):
    """How far each parameter moves at its first step after the switch, over the learning rate."""
    optimizer = one_group(start, lr=1e-3, **({"momentum": momentum} if start is SGD else {}))
    with local_session() as w:
        bind(w, optimizer=optimizer)
        train(optimizer, steps=40)
        if then is not start:
            command(w, {"optimizer": then.__name__, "lr": 1e-3})
        before = [p.detach().clone() for p in optimizer.param_groups[0]["params"]]
        train(optimizer, start=40)
        after = optimizer.param_groups[0]["params"]
    moved = [(new - old).abs().max() / 1e-3 for new, old in zip(after, before, strict=True)]
    return max(moved).item()


@pytest.mark.parametrize("then", [Adam, AdamW, NAdam])
def test_the_first_steps_of_an_adam_are_not_larger_than_those_of_a_fresh_one(then):
    """A fresh Adam moves by its learning rate; with momentum carried over it moves no further.

    Momentum put into a state of step 0 would be divided by 1 - 0.9 and move ten times as far.
    """
    assert sizes(SGD, then) < 3


def test_momentum_goes_where_exp_avg_is_and_back():
    """SGD's buffer is the sum of gradients that exp_avg is the mean of."""
    optimizer = one_group(SGD, lr=0.1, momentum=0.9)
    param = optimizer.param_groups[0]["params"][0]
    with local_session() as w:
        bind(w, optimizer=optimizer)
        train(optimizer, steps=30)
        buffer = optimizer.state[param]["momentum_buffer"].clone()
        outcome = command(w, {"optimizer": "Adam"})
        assert outcome.reason == "optimizer: momentum carried over for 4 of 4 parameters"
        state = optimizer.state[param]
        steps = state["step"].item()
        assert steps == 10
        mean = state["exp_avg"] / (1 - 0.9**steps)
        # Two roundings of float32.
        torch.testing.assert_close(mean, buffer * (1 - 0.9), rtol=3e-7, atol=0)
        square = state["exp_avg_sq"] / (1 - 0.999**steps)
        torch.testing.assert_close(square, mean**2, rtol=1e-5, atol=0)
        assert optimizer.param_groups[0]["betas"] == (0.9, 0.999)
        train(optimizer, start=30)
        mean = state["exp_avg"] / (1 - 0.9 ** (steps + 1))
        command(w, {"optimizer": "SGD"})
        again = optimizer.state[param]["momentum_buffer"]
        torch.testing.assert_close(again, mean / (1 - 0.9), rtol=1e-6, atol=0)


def test_the_adams_share_their_state():
    """From Adam to AdamW training goes on as if the script had said AdamW with this state."""
    steered, script = one_group(Adam, lr=0.01), one_group(Adam, lr=0.01)
    with local_session() as w:
        bind(w, optimizer=steered)
        for optimizer in (steered, script):
            train(optimizer, steps=5)
        kept = copy.deepcopy(script.state_dict()["state"])
        means = [state["exp_avg"] for state in steered.state.values()]
        command(w, {"optimizer": "AdamW", "weight_decay": 0.1})
        now = [state["exp_avg"] for state in steered.state.values()]
        assert all(mean is before for mean, before in zip(now, means, strict=True))
        theirs = AdamW(script.param_groups[0]["params"], lr=0.01, weight_decay=0.1)
        theirs.load_state_dict({**theirs.state_dict(), "state": kept})
        train(steered, steps=3, start=5)
        train(theirs, steps=3, start=5)
    pairs = zip(steered.param_groups[0]["params"], theirs.param_groups[0]["params"], strict=True)
    assert all(torch.equal(*pair) for pair in pairs)


def test_references_stay_good():
    """The variable, the scheduler's, weak ones, groups, state, hooks and bound methods all hold."""
    optimizer = two_groups(SGD, momentum=0.9)
    scheduler = lr_scheduler.StepLR(optimizer, 2, gamma=0.5)
    weak, groups, state = weakref.ref(optimizer), optimizer.param_groups, optimizer.state
    first, called = groups[0], []
    optimizer.register_step_post_hook(lambda *_: called.append("post"))
    with local_session() as w:
        bind(w, optimizer=optimizer, scheduler=scheduler)
        step = optimizer.step
        train(optimizer, scheduler)
        command(w, {"optimizer": "Adam"})
        assert weak() is scheduler.optimizer is optimizer
        assert isinstance(optimizer, Adam)
        assert (optimizer.param_groups, optimizer.state) == (groups, state)
        assert optimizer.param_groups is groups
        assert optimizer.state is state
        assert groups[0] is first
        fill_gradients(optimizer, 1)
        step()
        scheduler.step()
        assert called == ["post", "post"]
        assert all("exp_avg" in kept for kept in state.values())
        assert [group["lr"] for group in groups] == [0.05, 0.01]
        later = lr_scheduler.ExponentialLR(optimizer, gamma=0.5)
        train(optimizer, later)


@pytest.mark.parametrize(("old", "new"), PAIRS)
@pytest.mark.parametrize("scheduled", [False, True])
def test_a_step_taken_before_bind_never_trains_the_old_way(old, new, scheduled):
    """The one reference that does not follow raises; Adam's and AdamW's are one function."""
    optimizer = made(old, lr=0.01)
    if scheduled:
        lr_scheduler.ExponentialLR(optimizer, gamma=0.9)
    stale = optimizer.step
    with local_session() as w:
        bind(w, optimizer=optimizer)
        train(optimizer)
        command(w, {"optimizer": new})
        fill_gradients(optimizer, 1)
        if {old, new} == {"Adam", "AdamW"}:
            stale()
        else:
            with pytest.raises((KeyError, TypeError)):
                stale()


def test_a_scheduler_made_after_bind_does_not_hold_on_to_the_old_type():
    """It wraps the step of the class that it finds; that is undone when the class changes."""
    optimizer = one_group(SGD, lr=0.1, momentum=0.9)
    with local_session() as w:
        bind(w, optimizer=optimizer)
        scheduler = lr_scheduler.ExponentialLR(optimizer, gamma=0.9)
        train(optimizer, scheduler)
        command(w, {"optimizer": "Adam"})
        train(optimizer, scheduler, start=1)
        assert all("exp_avg" in kept for kept in optimizer.state.values())


def test_settings_come_back_with_their_type():
    """Nesterov and the like are there again; what was changed meanwhile is carried over."""
    optimizer = one_group(SGD, lr=0.1, momentum=0.8, nesterov=True, weight_decay=0.01)
    before = {k: v for k, v in optimizer.param_groups[0].items() if k != "params"}
    with local_session() as w:
        bind(w, optimizer=optimizer)
        train(optimizer)
        command(w, {"optimizer": "Adam"})
        group = optimizer.param_groups[0]
        assert (group["betas"], group["weight_decay"]) == ((0.8, 0.999), 0.01)
        assert "nesterov" not in group
        train(optimizer)
        command(w, {"optimizer": "SGD"})
        assert {k: v for k, v in optimizer.param_groups[0].items() if k != "params"} == before
        train(optimizer)
        command(w, {"optimizer": "Adam"})
        command(w, {"betas": [0.7, 0.99], "weight_decay": 0.5})
        train(optimizer)
        command(w, {"optimizer": "SGD"})
        assert (group["momentum"], group["weight_decay"]) == (0.7, 0.5)
        assert group["nesterov"] is True


def test_plain_sgd_does_not_come_back_with_momentum():
    """SGD without momentum becomes an Adam with the usual betas, and itself again."""
    optimizer = one_group(SGD, lr=0.1)
    with local_session() as w:
        bind(w, optimizer=optimizer)
        train(optimizer)
        command(w, {"optimizer": "AdamW"})
        assert optimizer.param_groups[0]["betas"] == (0.9, 0.999)
        train(optimizer)
        command(w, {"optimizer": "SGD"})
        assert optimizer.param_groups[0]["momentum"] == 0


def test_switched_and_back_before_a_step_is_as_if_nothing_had_been():
    """Nothing is converted twice, and a rate set in between stays."""
    optimizer = one_group(SGD, lr=0.1, momentum=0.9)
    with local_session() as w:
        bind(w, optimizer=optimizer)
        train(optimizer, steps=2)
        before = {p: kept["momentum_buffer"] for p, kept in optimizer.state.items()}
        command(w, {"optimizer": "RMSprop"})
        command(w, {"lr": 0.01})
        command(w, {"optimizer": "SGD"})
        for param, buffer in before.items():
            assert optimizer.state[param]["momentum_buffer"] is buffer
        assert optimizer.param_groups[0]["lr"] == 0.01


def test_controls_follow_the_type():
    """What the new type has can be set from then on; what it has not is rejected and says so."""
    optimizer = one_group(SGD, lr=0.1, momentum=0.9)
    with local_session() as w:
        bind(w, optimizer=optimizer)
        assert "betas" not in names(w)
        assert command(w, {"optimizer": "Adam", "lr": 0.001}).kind == "applied"
        assert command(w, {"betas": [0.8, 0.9]}).kind == "applied"
        outcome = command(w, {"momentum": 0.5})
        assert outcome.kind == "rejected"
        assert "Adam has none" in outcome.reason
        assert command(w, {"optimizer": "LBFGS"}).kind == "rejected"


@pytest.mark.parametrize("order", ["bind, load", "load, bind"])
def test_the_type_survives_a_checkpoint(order):
    """A script that makes an SGD resumes as the Adam that it had become, to the same bits."""
    optimizer = one_group(SGD, lr=0.1, momentum=0.9)
    scheduler = lr_scheduler.ExponentialLR(optimizer, gamma=0.9)
    with local_session() as w:
        bind(w, optimizer=optimizer, scheduler=scheduler)
        native = optimizer.state_dict()
        train(optimizer, scheduler, steps=2)
        command(w, {"optimizer": "Adam", "lr": 0.01})
        train(optimizer, scheduler, steps=2, start=2)
    weights = [p.detach().clone() for p in optimizer.param_groups[0]["params"]]
    state, own = through_a_file(optimizer.state_dict(), scheduler.state_dict())
    again = one_group(SGD, lr=0.1, momentum=0.9)
    scheduler_again = lr_scheduler.ExponentialLR(again, gamma=0.9)
    with torch.no_grad():
        for param, weight in zip(again.param_groups[0]["params"], weights, strict=True):
            param.copy_(weight)
    with local_session() as w:
        if order == "bind, load":
            bind(w, optimizer=again, scheduler=scheduler_again)
        again.load_state_dict(state)
        scheduler_again.load_state_dict(own)
        if order == "load, bind":
            bind(w, optimizer=again, scheduler=scheduler_again)
        assert (type(again), value(w, "optimizer")) == (Adam, "Adam")
        assert value(w, "betas") == [0.9, 0.999]
        for one, its in ((optimizer, scheduler), (again, scheduler_again)):
            train(one, its, steps=3, start=4)
        theirs = again.param_groups[0]["params"]
        pairs = zip(optimizer.param_groups[0]["params"], theirs, strict=True)
        assert all(torch.equal(*pair) for pair in pairs)
        again.load_state_dict(native)
        assert type(again) is SGD
        train(again, scheduler_again)


def test_a_second_binding_still_knows_what_the_script_made():
    """Bound again while switched: back to the script's own type is back, in the checkpoint, too."""
    optimizer = one_group(SGD, lr=0.1)
    with local_session() as w:
        bind(w, optimizer=optimizer)
        command(w, {"optimizer": "Adam"})
        bind(w, optimizer=optimizer)
        command(w, {"optimizer": "RMSprop"})
        assert optimizer.param_groups[0]["weavelet_optimizer"] == "RMSprop"
        command(w, {"optimizer": "SGD"})
        assert "weavelet_optimizer" not in optimizer.param_groups[0]


@pytest.mark.parametrize(("old", "new"), [("SGD", "Adam"), ("Adam", "SGD"), ("SGD", "RMSprop")])
def test_a_scheduler_that_cycles_momentum_cycles_the_new_types(old, new):
    """OneCycleLR decides at its making which setting it writes; it is told."""
    optimizer = made(old, lr=0.01)
    scheduler = lr_scheduler.OneCycleLR(optimizer, max_lr=0.1, total_steps=10)
    with local_session() as w:
        bind(w, optimizer=optimizer, scheduler=scheduler)
        train(optimizer, scheduler, steps=2)
        assert command(w, {"optimizer": new}).kind == "applied"
        group = optimizer.param_groups[0]
        key = "betas" if new == "Adam" else "momentum"
        before = group[key]
        train(optimizer, scheduler, steps=1, start=2)
        assert group[key] != before
        assert ("momentum" in group) == (key == "momentum")


def test_a_type_without_momentum_is_refused_to_a_scheduler_that_cycles_it():
    """The scheduler would fail in its next step; the refusal names it."""
    optimizer = one_group(SGD, lr=0.01)
    scheduler = lr_scheduler.OneCycleLR(optimizer, max_lr=0.1, total_steps=10)
    with local_session() as w:
        bind(w, optimizer=optimizer, scheduler=scheduler)
        outcome = command(w, {"optimizer": "Adagrad"})
        assert outcome.kind != "applied"
        assert "OneCycleLR cycles the momentum, and Adagrad has none" in outcome.reason
        assert type(optimizer) is SGD


def test_groups_keep_their_own_settings():
    """Each group's rate and decay stay its own, and a type's own defaults fill the rest."""
    optimizer = two_groups(SGD, momentum=0.9)
    optimizer.param_groups[1]["weight_decay"] = 0.3
    with local_session() as w:
        bind(w, optimizer=optimizer)
        train(optimizer)
        command(w, {"optimizer": "AdamW"})
        first, second = optimizer.param_groups
        assert (first["lr"], second["lr"]) == (0.1, 0.02)
        assert (first["weight_decay"], second["weight_decay"]) == (0, 0.3)
        assert first["decoupled_weight_decay"] is True
        assert second["name"] == "head"


def test_a_tensor_rate_stays_the_same_tensor():
    """The switch leaves the learning rate's tensor where it is."""
    rate = torch.tensor(0.1)
    optimizer = one_group(SGD, lr=rate, foreach=False)
    with local_session() as w:
        bind(w, optimizer=optimizer)
        assert command(w, {"optimizer": "Adam", "lr": 0.01}).kind == "applied"
        train(optimizer)
        assert optimizer.param_groups[0]["lr"] is rate


def test_adagrads_accumulators_are_there():
    """Adagrad makes its state when it is made, not at its first step."""
    optimizer = one_group(SGD, lr=0.1)
    with local_session() as w:
        bind(w, optimizer=optimizer)
        command(w, {"optimizer": "Adagrad"})
        assert isinstance(optimizer, Adagrad)
        train(optimizer, steps=2)


def test_from_rmsprop_the_squares_go_along():
    """Adam's exp_avg_sq is what RMSprop had gathered, and its count goes on."""
    optimizer = one_group(RMSprop, lr=0.01)
    param = optimizer.param_groups[0]["params"][0]
    with local_session() as w:
        bind(w, optimizer=optimizer)
        train(optimizer, steps=7)
        square = optimizer.state[param]["square_avg"].clone()
        command(w, {"optimizer": "Adam"})
        state = optimizer.state[param]
        assert state["step"].item() == 7
        torch.testing.assert_close(state["exp_avg_sq"] / (1 - 0.999**7), square, rtol=1e-6, atol=0)


class Sign(torch.optim.Optimizer):
    """A type of the user's own."""

    def __init__(self, params, lr=0.1):
        super().__init__(params, {"lr": lr})

    @torch.no_grad()
    def step(self, closure=None):
        for group in self.param_groups:
            for param in group["params"]:
                param.sub_(group["lr"] * param.grad.sign())


def test_types_of_ones_own_can_be_offered():
    """The choice is the caller's; a state that nobody knows how to read starts afresh."""
    optimizer = one_group(SGD, lr=0.1, momentum=0.9)
    with local_session() as w:
        bind(w, optimizer=optimizer, switch=[SGD, Sign])
        train(optimizer)
        outcome = command(w, {"optimizer": "Sign"})
        assert outcome.reason == "optimizer: momentum carried over for 0 of 4 parameters"
        train(optimizer)
        assert command(w, {"optimizer": "Adam"}).kind == "rejected"
        state = through_a_file(optimizer.state_dict())[0]
    other = one_group(SGD, lr=0.1)
    with local_session() as w:
        bind(w, optimizer=other)
        with pytest.raises(ValueError, match=r"bind\(switch="):
            other.load_state_dict(state)


def replaced_step():
    optimizer = one_group(SGD, lr=0.1)
    optimizer.step = lambda closure=None: None
    return optimizer


class Slotted(SGD):
    """A type whose objects Python cannot turn into another's."""

    __slots__ = ("extra",)


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (lambda: one_group(torch.optim.LBFGS), "it is none of Adadelta"),
        (lambda: one_group(Sign), "it is none of"),
        (replaced_step, "its step was replaced on the object"),
        (lambda: one_group(Adam, capturable=True), "it is capturable"),
    ],
)
def test_what_cannot_be_switched_says_so_at_bind(make, why):
    """Asked for, it is an error that says what to write instead; else there is no such control."""
    with local_session() as w:
        with pytest.raises(ValueError) as raised:
            bind(w, optimizer=make(), switch=True)
        assert why in str(raised.value)
        assert "write a handler of your own" in str(raised.value)
        bind(w, optimizer=make())
        assert "optimizer" not in names(w)
        assert "lr" in names(w)


def test_a_type_of_another_layout_cannot_be_switched_to():
    """What Python itself refuses is found out at bind, not in the middle of training."""
    with local_session() as w, pytest.raises(ValueError, match="Python cannot make it a Slotted"):
        bind(w, optimizer=one_group(SGD, lr=0.1), switch=[SGD, Slotted])


def test_no_switch_where_none_is_wanted():
    """`switch=False` leaves the type alone."""
    with local_session() as w:
        bind(w, optimizer=one_group(SGD, lr=0.1), switch=False)
        assert "optimizer" not in names(w)
