"""A rate set by hand is a factor on the schedule, whatever the scheduler."""

from __future__ import annotations

import copy
import inspect
import math
import pickle

import pytest

torch = pytest.importorskip("torch")

from torch.optim import SGD, Adam, lr_scheduler, swa_utils  # noqa: E402

from harness.steering import (  # noqa: E402  harness needs torch
    command,
    fill_gradients,
    one_group,
    through_a_file,
    two_groups,
    value,
)
from weavelet.integrations.torch import bind  # noqa: E402
from weavelet.testing import local_session  # noqa: E402

# torch warns so by itself when it puts a ChainedScheduler into a SequentialLR.
pytestmark = pytest.mark.filterwarnings("ignore:Detected call of `lr_scheduler.step")

STEPS, SET_AT, SAVED_AT = 14, 4, 8
LOSSES = [1.0, 0.9, 0.9, 0.9, 0.9, 0.8, 0.9, 0.9, 0.9, 0.9, 0.7, 0.9, 0.9, 0.9, 0.9]


class Half:
    """A schedule that can be saved, unlike a lambda."""

    def __call__(self, step):
        return 0.5 if step == 6 else 0.97


def warmed_up(optimizer):
    parts = [
        lr_scheduler.LinearLR(optimizer, start_factor=0.25, total_iters=5),
        lr_scheduler.CosineAnnealingLR(optimizer, T_max=8, eta_min=0.001),
    ]
    return lr_scheduler.SequentialLR(optimizer, parts, milestones=[5])


def nested(optimizer):
    parts = [
        lr_scheduler.ChainedScheduler(
            [
                lr_scheduler.ConstantLR(optimizer, factor=0.5, total_iters=3),
                lr_scheduler.ExponentialLR(optimizer, gamma=0.9),
            ]
        ),
        lr_scheduler.CosineAnnealingWarmRestarts(optimizer, T_0=3, eta_min=0.002),
    ]
    return lr_scheduler.SequentialLR(optimizer, parts, milestones=[6])


SETUPS = {
    "LambdaLR": lambda o: lr_scheduler.LambdaLR(o, [lambda s: 1 / (s + 1), lambda s: 0.9**s]),
    "MultiplicativeLR": lambda o: lr_scheduler.MultiplicativeLR(o, Half()),
    "StepLR": lambda o: lr_scheduler.StepLR(o, step_size=3, gamma=0.3),
    "MultiStepLR": lambda o: lr_scheduler.MultiStepLR(o, milestones=[2, 6, 9], gamma=0.3),
    "ConstantLR": lambda o: lr_scheduler.ConstantLR(o, factor=0.3, total_iters=7),
    "LinearLR": lambda o: lr_scheduler.LinearLR(o, start_factor=0.1, total_iters=9),
    "ExponentialLR": lambda o: lr_scheduler.ExponentialLR(o, gamma=0.87),
    "PolynomialLR": lambda o: lr_scheduler.PolynomialLR(o, total_iters=20, power=1.7),
    "CosineAnnealingLR": lambda o: lr_scheduler.CosineAnnealingLR(o, T_max=9, eta_min=0.005),
    "CosineAnnealingWarmRestarts": lambda o: lr_scheduler.CosineAnnealingWarmRestarts(
        o, T_0=3, T_mult=2, eta_min=0.005
    ),
    "ReduceLROnPlateau": lambda o: lr_scheduler.ReduceLROnPlateau(
        o, factor=0.3, patience=1, min_lr=[0.02, 0.001]
    ),
    "CyclicLR": lambda o: lr_scheduler.CyclicLR(
        o, base_lr=[0.01, 0.002], max_lr=[0.1, 0.3], step_size_up=3, mode="triangular2"
    ),
    "OneCycleLR": lambda o: lr_scheduler.OneCycleLR(o, max_lr=[0.1, 0.3], total_steps=20),
    "SWALR": lambda o: swa_utils.SWALR(o, swa_lr=[0.05, 0.001], anneal_epochs=6),
    "SequentialLR": warmed_up,
    "ChainedScheduler": lambda o: lr_scheduler.ChainedScheduler(
        [lr_scheduler.ExponentialLR(o, 0.9), lr_scheduler.StepLR(o, 4, 0.5)]
    ),
    "OneCycleLR, three phases": lambda o: lr_scheduler.OneCycleLR(
        o, max_lr=0.1, total_steps=20, three_phase=True, anneal_strategy="linear"
    ),
    "CyclicLR, exponential": lambda o: lr_scheduler.CyclicLR(
        o, 0.01, 0.1, step_size_up=3, mode="exp_range", gamma=0.9
    ),
    "CosineAnnealingLR, beyond its end": lambda o: lr_scheduler.CosineAnnealingLR(o, T_max=6),
    "SequentialLR of ChainedScheduler": nested,
    "two side by side": lambda o: [
        lr_scheduler.LinearLR(o, start_factor=0.1, total_iters=5),
        lr_scheduler.ExponentialLR(o, gamma=0.9),
    ],
}


def schedulers_of(setup, optimizer):
    made = SETUPS[setup](optimizer)
    return made if isinstance(made, list) else [made]


def step_all(schedulers, step):
    for scheduler in schedulers:
        if isinstance(scheduler, lr_scheduler.ReduceLROnPlateau):
            scheduler.step(LOSSES[step])
        else:
            scheduler.step()


def settings(optimizer, key="lr"):
    return [float(group[key]) for group in optimizer.param_groups]


def own_numbers(schedulers):
    """What the schedulers say, with all that they keep of themselves."""
    return [
        {key: value for key, value in each.state_dict().items() if not callable(value)}
        for each in schedulers
    ]


def untouched(setup, kind, **options):
    """Rates and schedulers' states by step where nothing is set."""
    optimizer = two_groups(kind, **options)
    schedulers = schedulers_of(setup, optimizer)
    seen = []
    for step in range(STEPS):
        seen.append((settings(optimizer), copy.deepcopy(own_numbers(schedulers))))
        fill_gradients(optimizer, step)
        optimizer.step()
        step_all(schedulers, step)
    return seen


def test_every_scheduler_of_torch_is_tried():
    """A scheduler that torch adds fails this test until it is tried below."""
    known = {
        name
        for module in (lr_scheduler, swa_utils)
        for name, found in vars(module).items()
        if inspect.isclass(found) and issubclass(found, lr_scheduler.LRScheduler)
    }
    assert known - {"LRScheduler", "_LRScheduler"} <= SETUPS.keys()


@pytest.mark.parametrize("resume", ["", "bind, load", "load, bind"])
@pytest.mark.parametrize("kind", [SGD, Adam])
@pytest.mark.parametrize("setup", SETUPS)
def test_rates_are_the_factor_times_the_schedule(setup, kind, resume):
    """After `lr` at a step, rates are the factor times the untouched schedule's, also resumed.

    The schedulers' own numbers stay those of a run in which nothing was set, to the last bit.
    """
    plain = untouched(setup, kind)
    wished = [0.037, 0.0041]
    factors = [new / old for new, old in zip(wished, plain[SET_AT][0], strict=True)]
    optimizer = two_groups(kind)
    schedulers = schedulers_of(setup, optimizer)
    with local_session() as w:
        bind(w, optimizer=optimizer, scheduler=schedulers)
        for step in range(STEPS):
            if step == SET_AT:
                outcome = command(w, {"lr.0": wished[0], "lr.head": wished[1]}, step)
                assert outcome.kind == "applied", outcome.reason
                assert settings(optimizer) == wished
            if step == SAVED_AT and resume:
                optimizer, schedulers = resumed(w, setup, kind, optimizer, schedulers, resume)
            rates, own = plain[step]
            assert own_numbers(schedulers) == own
            if step >= SET_AT:
                # x / s * s is x to within one unit in the last place.
                expected = [rate * factor for rate, factor in zip(rates, factors, strict=True)]
                assert settings(optimizer) == pytest.approx(expected, rel=2.3e-16, abs=0)
            else:
                assert settings(optimizer) == rates
            fill_gradients(optimizer, step)
            optimizer.step()
            step_all(schedulers, step)


def resumed(w, setup, kind, optimizer, schedulers, order):
    """New objects with the state of the old, as after a restart."""
    states = through_a_file(optimizer.state_dict(), own_numbers(schedulers))
    optimizer = two_groups(kind)
    schedulers = schedulers_of(setup, optimizer)
    if order == "bind, load":
        bind(w, optimizer=optimizer, scheduler=schedulers)
    for scheduler, state in zip(schedulers, states[1], strict=True):
        mine = {key: value for key, value in scheduler.state_dict().items() if callable(value)}
        scheduler.load_state_dict({**mine, **state})
    optimizer.load_state_dict(states[0])
    if order == "load, bind":
        bind(w, optimizer=optimizer, scheduler=schedulers)
    return optimizer, schedulers


@pytest.mark.parametrize("setup", SETUPS)
def test_training_that_is_only_bound_is_the_same_to_the_last_bit(setup):
    """Binding changes neither parameters nor a checkpoint."""
    results = []
    for bound in (False, True):
        optimizer = two_groups(SGD, momentum=0.9)
        schedulers = schedulers_of(setup, optimizer)
        with local_session() as w:
            if bound:
                bind(w, optimizer=optimizer, scheduler=schedulers)
            for step in range(STEPS):
                w.poll(step)
                fill_gradients(optimizer, step)
                optimizer.step()
                step_all(schedulers, step)
        params = [p.detach() for group in optimizer.param_groups for p in group["params"]]
        results.append((params, optimizer.state_dict()["param_groups"], own_numbers(schedulers)))
    for mine, theirs in zip(results[0][0], results[1][0], strict=True):
        assert torch.equal(mine, theirs)
    assert results[0][1:] == results[1][1:]


def test_setting_the_same_factor_by_hand_trains_to_the_same_bits():
    """A factor of a half on the rate is the same training as a schedule of half the size."""
    ends = []
    for steered in (False, True):
        optimizer = one_group(SGD, lr=0.1 if steered else 0.05, momentum=0.9)
        scheduler = lr_scheduler.ExponentialLR(optimizer, gamma=0.5)
        with local_session() as w:
            bind(w, optimizer=optimizer, scheduler=scheduler)
            if steered:
                command(w, {"lr_scale": 0.5})
            for step in range(5):
                fill_gradients(optimizer, step)
                optimizer.step()
                scheduler.step()
        ends.append([p.detach() for p in optimizer.param_groups[0]["params"]])
    assert all(torch.equal(*pair) for pair in zip(*ends, strict=True))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("setup", ["ExponentialLR", "CosineAnnealingLR", "ReduceLROnPlateau"])
def test_a_rate_that_is_a_tensor_is_filled_in_place(setup, dtype):
    """Compiled and captured steps hold the tensor, so it stays the same object."""

    def tensors():
        return [torch.tensor(0.1, dtype=dtype), torch.tensor(0.02, dtype=dtype)]

    rates = tensors()
    plain = untouched(setup, SGD, rates=tensors())
    optimizer = two_groups(SGD, rates=rates)
    schedulers = schedulers_of(setup, optimizer)
    factors = [0.04 / plain[SET_AT][0][0], 0.01 / plain[SET_AT][0][1]]
    with local_session() as w:
        bind(w, optimizer=optimizer, scheduler=schedulers)
        for step in range(STEPS):
            assert own_numbers(schedulers) == plain[step][1]
            if step == SET_AT:
                assert command(w, {"lr.0": 0.04, "lr.head": 0.01}, step).kind == "applied"
            if step >= SET_AT:
                expected = [r * f for r, f in zip(plain[step][0], factors, strict=True)]
                # A rounding in the tensor's own precision.
                error = 1.3e-7 if dtype == torch.float32 else 2.3e-16
                assert settings(optimizer) == pytest.approx(expected, rel=error)
            fill_gradients(optimizer, step)
            optimizer.step()
            step_all(schedulers, step)
    assert all(
        group["lr"] is rate for group, rate in zip(optimizer.param_groups, rates, strict=True)
    )


def test_schedulers_inside_each_other_may_all_be_bound():
    """Also by two bindings: what is bound twice is scaled once."""
    optimizer = one_group(SGD, lr=0.1)
    scheduler = warmed_up(optimizer)
    plain = one_group(SGD, lr=0.1)
    plainly = warmed_up(plain)
    with local_session() as w:
        bind(w, optimizer=optimizer, scheduler=[scheduler, *scheduler._schedulers])
        bind(w, optimizer=optimizer, scheduler=scheduler, prefix="again.", switch=False)
        command(w, {"lr_scale": 0.5})
        for step in range(STEPS):
            assert settings(optimizer) == [0.5 * rate for rate in settings(plain)]
            for one, its in ((optimizer, scheduler), (plain, plainly)):
                fill_gradients(one, step)
                one.step()
                its.step()


def test_a_rate_stays_exact_while_the_schedule_stands_still():
    """Between two steps down of a StepLR the rate is the number that was commanded, to the bit."""
    optimizer = one_group(SGD, lr=0.1)
    scheduler = lr_scheduler.StepLR(optimizer, 3)
    assert 0.013 / 0.1 * 0.1 != 0.013
    with local_session() as w:
        bind(w, optimizer=optimizer, scheduler=scheduler)
        command(w, {"lr": 0.013})
        for step in range(2):
            fill_gradients(optimizer, step)
            optimizer.step()
            scheduler.step()
            assert settings(optimizer) == [0.013]


def test_a_tensor_rate_survives_a_checkpoint():
    """What is set beside a tensor is saved beside it."""
    optimizer = one_group(Adam, lr=torch.tensor(0.25), foreach=False)
    scheduler = lr_scheduler.ExponentialLR(optimizer, gamma=0.5)
    with local_session() as w:
        bind(w, optimizer=optimizer, scheduler=scheduler)
        command(w, {"lr_scale": 0.5})
        state, own = through_a_file(optimizer.state_dict(), scheduler.state_dict())
        again = one_group(Adam, lr=torch.tensor(0.25), foreach=False)
        scheduler = lr_scheduler.ExponentialLR(again, gamma=0.5)
        bind(w, optimizer=again, scheduler=scheduler)
        again.load_state_dict(state)
        scheduler.load_state_dict(own)
        fill_gradients(again, 0)
        again.step()
        scheduler.step()
        assert (value(w, "lr"), value(w, "lr_scale")) == (0.0625, 0.5)


def test_where_the_schedule_says_zero_lr_is_refused():
    """No factor makes anything of 0; the refusal names lr_scale, which works and lasts."""
    optimizer = one_group(SGD, lr=0.1)
    scheduler = lr_scheduler.LambdaLR(optimizer, lambda step: step / 4)
    with local_session() as w:
        bind(w, optimizer=optimizer, scheduler=scheduler)
        outcome = command(w, {"lr": 0.05})
        assert outcome.kind != "applied"
        assert "the schedule says 0 at this step" in outcome.reason
        assert "set lr_scale" in outcome.reason
        assert settings(optimizer) == [0.0]
        assert command(w, {"lr_scale": 2.0}).kind == "applied"
        fill_gradients(optimizer, 0)
        optimizer.step()
        scheduler.step()
        assert settings(optimizer) == [0.05]


def test_as_good_as_zero_is_zero():
    """At the end of a cosine a rounding error is left, and a factor over it would explode later."""
    optimizer = one_group(SGD, lr=0.1)
    scheduler = lr_scheduler.LambdaLR(optimizer, lambda step: 1e-17 if step == 0 else 1.0)
    with local_session() as w:
        bind(w, optimizer=optimizer, scheduler=scheduler)
        assert "set lr_scale" in command(w, {"lr": 0.05}).reason


def test_a_rate_of_zero_can_be_undone():
    """Zero by hand freezes; the schedule goes on underneath and is not lost."""
    optimizer = one_group(SGD, lr=0.8)
    scheduler = lr_scheduler.ExponentialLR(optimizer, gamma=0.5)
    with local_session() as w:
        bind(w, optimizer=optimizer, scheduler=scheduler)
        for step, (new, shown) in enumerate([(0.0, 0.0), (None, 0.0), (0.2, 0.2), (None, 0.1)]):
            if new is not None:
                assert command(w, {"lr": new}, step).kind == "applied"
            assert settings(optimizer) == [shown]
            fill_gradients(optimizer, step)
            optimizer.step()
            scheduler.step()


def test_without_a_scheduler_a_rate_is_what_it_is_set_to():
    """No schedule: `lr` holds, from zero, too."""
    optimizer = one_group(SGD, lr=0.0)
    with local_session() as w:
        bind(w, optimizer=optimizer)
        assert command(w, {"lr": 0.1}).kind == "applied"
        fill_gradients(optimizer, 0)
        optimizer.step()
        assert settings(optimizer) == [0.1]
        assert command(w, {"lr": 0.0}).kind == "applied"
        assert (value(w, "lr"), value(w, "lr_scale")) == (0.0, 1.0)


def test_a_rate_that_the_loop_writes_counts_as_it_is():
    """Between two steps the loop may write a rate; the scheduler gets it without the factor."""
    optimizer = one_group(SGD, lr=0.8)
    scheduler = lr_scheduler.ExponentialLR(optimizer, gamma=0.5)
    with local_session() as w:
        bind(w, optimizer=optimizer, scheduler=scheduler)
        command(w, {"lr_scale": 0.5})
        optimizer.param_groups[0]["lr"] = 0.1
        assert value(w, "lr") == 0.1
        fill_gradients(optimizer, 0)
        optimizer.step()
        scheduler.step()
        assert (settings(optimizer), scheduler.get_last_lr()) == ([0.05], [0.1])


def test_a_scheduler_that_was_not_bound_still_shrinks_what_is_shown():
    """A forgotten scheduler that multiplies works on what is in use, and nothing is lost."""
    optimizer = one_group(SGD, lr=0.8)
    bound = lr_scheduler.ExponentialLR(optimizer, gamma=0.5)
    forgotten = lr_scheduler.ExponentialLR(optimizer, gamma=0.5)
    with local_session() as w:
        bind(w, optimizer=optimizer, scheduler=bound)
        command(w, {"lr_scale": 0.5})
        fill_gradients(optimizer, 0)
        optimizer.step()
        bound.step()
        forgotten.step()
        assert settings(optimizer) == [0.1]
        assert value(w, "lr_scale") == 0.5


@pytest.mark.parametrize("setup", ["OneCycleLR", "CyclicLR"])
@pytest.mark.parametrize("kind", [SGD, Adam])
def test_a_momentum_that_is_cycled_can_be_held_and_given_back(kind, setup):
    """It stays as set while the schedule counts on; None puts the schedule's own in its place."""
    name, options = ("betas", {}) if kind is Adam else ("momentum", {"momentum": 0.9})

    def momenta(optimizer):
        return [
            group["betas"][0] if kind is Adam else group["momentum"]
            for group in optimizer.param_groups
        ]

    plain, steered = two_groups(kind, **options), two_groups(kind, **options)
    plainly, scheduler = SETUPS[setup](plain), SETUPS[setup](steered)
    with local_session() as w:
        bind(w, optimizer=steered, scheduler=scheduler)
        for step in range(9):
            if step == 3:
                new = [0.6, 0.99] if kind is Adam else 0.6
                assert command(w, {name: new}, step).kind == "applied"
            if step == 5:
                states = through_a_file(steered.state_dict())
                steered.load_state_dict(states[0])
            if step == 7:
                assert command(w, {name: None}, step).kind == "applied"
            assert momenta(steered) == ([0.6, 0.6] if 3 <= step < 7 else momenta(plain))
            for optimizer, each in ((plain, plainly), (steered, scheduler)):
                fill_gradients(optimizer, step)
                optimizer.step()
                each.step()
        assert kind is SGD or steered.param_groups[0]["betas"][1] == 0.99


def test_a_step_that_raises_leaves_the_rate_in_use():
    """OneCycleLR raises beyond its end; what was set by hand is there again all the same."""
    optimizer = one_group(SGD, lr=0.1, momentum=0.9)
    scheduler = lr_scheduler.OneCycleLR(optimizer, max_lr=0.4, total_steps=2)
    with local_session() as w:
        bind(w, optimizer=optimizer, scheduler=scheduler)
        for step in range(2):
            fill_gradients(optimizer, step)
            optimizer.step()
            scheduler.step()
        command(w, {"lr_scale": 0.5})
        before = settings(optimizer)
        with pytest.raises(ValueError, match="total steps"):
            scheduler.step()
        assert settings(optimizer) == before


def test_a_bound_scheduler_can_be_copied_pickled_and_let_go():
    """Its class is changed on the object alone: neither a checkpoint nor a pickle knows of it."""
    optimizer = one_group(SGD, lr=0.1)
    scheduler = lr_scheduler.StepLR(optimizer, 3)
    before = scheduler.state_dict().keys()
    with local_session() as w:
        binding = bind(w, optimizer=optimizer, scheduler=scheduler)
        assert isinstance(scheduler, lr_scheduler.StepLR)
        assert repr(type(scheduler)) == repr(lr_scheduler.StepLR)
        assert scheduler.state_dict().keys() == before
        assert type(copy.copy(scheduler)) is lr_scheduler.StepLR
        scheduler.optimizer = None
        assert type(pickle.loads(pickle.dumps(scheduler))) is lr_scheduler.StepLR
        binding.close()
        assert type(scheduler) is lr_scheduler.StepLR


def test_factors_are_finite():
    """A factor that would make an infinite rate is refused and nothing changes."""
    optimizer = one_group(SGD, lr=10.0)
    with local_session() as w:
        bind(w, optimizer=optimizer)
        outcome = command(w, {"lr_scale": 1e308})
        assert outcome.kind != "applied"
        assert "not a finite number" in outcome.reason
        assert math.isfinite(settings(optimizer)[0])
