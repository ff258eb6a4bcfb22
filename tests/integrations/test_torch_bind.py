"""The controls of an optimizer's settings: which there are, what they refuse, how they go back."""

from __future__ import annotations

import doctest
import gc
import importlib
import weakref

import pytest

torch = pytest.importorskip("torch")

from torch.optim import SGD, Adam, RMSprop, lr_scheduler  # noqa: E402

from harness.steering import (  # noqa: E402  harness needs torch
    command,
    fill_gradients,
    names,
    one_group,
    parameters,
    through_a_file,
    train,
    two_groups,
    value,
)
from weavelet.integrations.torch import bind  # noqa: E402
from weavelet.testing import local_session  # noqa: E402


@pytest.mark.parametrize("module", ["torch", "loaders", "scalars"])
def test_what_docstrings_show_is_so(module):
    """The examples in docstrings run and print what they say."""
    result = doctest.testmod(importlib.import_module(f"weavelet.integrations.{module}"))
    assert result.attempted
    assert not result.failed


@pytest.mark.parametrize(
    ("kind", "own"),
    [
        (SGD, {"momentum"}),
        (Adam, {"betas", "eps"}),
        (RMSprop, {"momentum", "eps"}),
        (torch.optim.LBFGS, set()),
    ],
)
def test_controls_are_those_that_the_optimizer_has(kind, own):
    """No control is there for what this type of optimizer has not."""
    with local_session() as w:
        bind(w, optimizer=one_group(kind), switch=False)
        decay = set() if kind is torch.optim.LBFGS else {"weight_decay"}
        assert names(w) == {"lr", "lr_scale", "grad_clip"} | decay | own


def test_groups_have_controls_of_their_own():
    """Several groups: each control once for all and once a group, by its name or index."""
    with local_session() as w:
        bind(w, optimizer=two_groups(SGD), switch=False)
        four = ("lr", "lr_scale", "weight_decay", "momentum")
        expected = {f"{name}{end}" for name in four for end in ("", ".0", ".head")}
        assert names(w) == expected | {"grad_clip"}


@pytest.mark.parametrize("label", ["not a slug", "x" * 41, 7, ""])
def test_a_group_whose_name_is_no_slug_goes_by_its_index(label):
    """A name that no control could carry is not an error."""
    optimizer = two_groups(SGD)
    optimizer.param_groups[0]["name"] = label
    with local_session() as w:
        bind(w, optimizer=optimizer)
        assert {"lr.0", "lr.head"} <= names(w)


def test_groups_of_one_name_go_by_their_indexes():
    """Two groups must not share a control."""
    optimizer = two_groups(SGD)
    optimizer.param_groups[0]["name"] = "head"
    with local_session() as w:
        bind(w, optimizer=optimizer)
        assert {"lr.0", "lr.1"} <= names(w)


def test_where_groups_differ_one_value_for_all_is_rejected():
    """The refusal shows the values and names the controls to use; a dry run is told the same."""
    optimizer = two_groups(SGD)
    with local_session() as w:
        bind(w, optimizer=optimizer)
        outcome = command(w, {"lr": 0.5})
        assert outcome.kind == "rejected"
        assert "the groups differ (0: 0.1, head: 0.02); set lr.0, lr.head instead" in outcome.reason
        w.push({"lr": 0.5}, dry_run=True)
        w.poll(1)
        assert w.outcomes[-1].kind == "rejected"
        assert [group["lr"] for group in optimizer.param_groups] == [0.1, 0.02]
        assert command(w, {"lr_scale": 0.5}).changes[0].new == 0.5
        assert [group["lr"] for group in optimizer.param_groups] == [0.05, 0.01]


def test_a_control_for_all_groups_sets_all_of_them():
    """Where the groups agree, one command is enough."""
    optimizer = two_groups(Adam, rates=(0.1, 0.1))
    with local_session() as w:
        bind(w, optimizer=optimizer)
        new = {"lr": 0.3, "weight_decay": 0.1, "betas": [0.8, 0.9], "eps": 1e-6}
        outcome = command(w, new)
        assert outcome.kind == "applied"
        assert {change.name: change.new for change in outcome.changes} == new
        for group in optimizer.param_groups:
            assert (group["lr"], group["weight_decay"]) == (0.3, 0.1)
            assert (group["betas"], group["eps"]) == ((0.8, 0.9), 1e-6)


@pytest.mark.parametrize(
    "wrong",
    [
        {"lr": -1},
        {"lr": "nan"},
        {"lr": "inf"},
        {"momentum": 1},
        {"weight_decay": "much"},
        {"grad_clip": -1},
    ],
)
def test_values_out_of_bounds_are_rejected(wrong):
    """What no optimizer takes does not reach it."""
    optimizer = one_group(SGD, lr=0.1)
    before = str(optimizer)
    with local_session() as w:
        bind(w, optimizer=optimizer)
        assert command(w, wrong).kind == "rejected"
    assert str(optimizer) == before


def failing(w):
    """A control that fails, to see others set back."""

    @w.handler("boom", get=lambda: 0)
    def boom(value: int):
        msg = "boom"
        raise RuntimeError(msg)


ROUNDS = [
    {"lr": 0.3},
    {"lr_scale": 0.7},
    {"lr_scale": 0.7, "lr": 0.3},
    {"lr": 0.3, "lr_scale": 0.7},
    {"lr": 0.0, "lr_scale": 1.0, "momentum": 0.1},
    {"weight_decay": 0.3, "grad_clip": 1.0, "momentum": 0.5},
    {"optimizer": "Adam", "lr": 0.01},
    {"lr": 0.01, "optimizer": "RMSprop", "weight_decay": 0.2},
]


@pytest.mark.parametrize("start", [{}, {"lr": 0.3}, {"lr_scale": 0.7}, {"lr": 0.1, "grad_clip": 2}])
@pytest.mark.parametrize("values", ROUNDS)
def test_a_command_that_fails_leaves_everything_as_it_was(values, start):
    """Set back means to the last bit, in the groups, the state and the training that follows."""
    results = []
    for failed in (False, True):
        optimizer = one_group(SGD, lr=0.1, momentum=0.9, nesterov=True)
        scheduler = lr_scheduler.ExponentialLR(optimizer, gamma=0.9)
        with local_session() as w:
            bind(w, optimizer=optimizer, scheduler=scheduler)
            failing(w)
            train(optimizer, scheduler, steps=3)
            if start:
                assert command(w, start).kind == "applied"
            if failed:
                outcome = command(w, {**values, "boom": 1})
                assert outcome.kind == "failed"
                assert "could not set back" not in outcome.reason.replace(
                    "could not set back: boom", ""
                )
            state = optimizer.state_dict()
            train(optimizer, scheduler, steps=2, start=3)
        results.append((state, [p.detach() for p in optimizer.param_groups[0]["params"]]))
    assert results[0][0]["param_groups"] == results[1][0]["param_groups"]
    for index, kept in results[0][0]["state"].items():
        assert kept.keys() == results[1][0]["state"][index].keys()
    assert all(torch.equal(*pair) for pair in zip(results[0][1], results[1][1], strict=True))


def test_momentum_can_be_turned_on_where_rmsprop_had_none():
    """RMSprop makes its buffers only at the first step; they are made when they are needed."""
    optimizer = one_group(RMSprop, lr=0.01)
    with local_session() as w:
        bind(w, optimizer=optimizer)
        train(optimizer, steps=2)
        assert command(w, {"momentum": 0.5}).kind == "applied"
        train(optimizer, steps=2, start=2)
        buffers = [kept["momentum_buffer"] for kept in optimizer.state.values()]
        assert all(buffer.abs().sum() > 0 for buffer in buffers)


def norm(optimizer):
    """The norm of all gradients together."""
    params = [p for group in optimizer.param_groups for p in group["params"]]
    return torch.nn.utils.get_total_norm([p.grad for p in params]).item()


def test_gradients_are_clipped_in_the_step():
    """The norm is at most the limit from the next step on; 0 and None take the limit away."""
    optimizer = two_groups(SGD)
    with local_session() as w:
        bind(w, optimizer=optimizer)
        for off in (0, None):
            assert command(w, {"grad_clip": 0.5}).changes[0].new == 0.5
            train(optimizer)
            assert norm(optimizer) == pytest.approx(0.5, rel=1e-5)
            assert command(w, {"grad_clip": off}).changes[0].new is None
            train(optimizer)
            assert norm(optimizer) > 1


def test_clipping_is_that_of_torch():
    """The parameters are those of a loop with clip_grad_norm_ before the step."""
    ends = []
    for steered in (False, True):
        optimizer = one_group(SGD, lr=0.1, momentum=0.9)
        params = optimizer.param_groups[0]["params"]
        with local_session() as w:
            if steered:
                bind(w, optimizer=optimizer)
                command(w, {"grad_clip": 0.3})
            for step in range(4):
                fill_gradients(optimizer, step)
                if not steered:
                    torch.nn.utils.clip_grad_norm_(params, 0.3)
                optimizer.step()
        ends.append([p.detach() for p in params])
    assert all(torch.equal(*pair) for pair in zip(*ends, strict=True))


@pytest.mark.parametrize("by_name", [False, True])
def test_gradients_made_in_a_closure_are_clipped(by_name):
    """A closure makes the gradients inside the step, as Lightning does; that is where they clip."""
    optimizer = one_group(SGD, lr=0.1)

    def closure():
        fill_gradients(optimizer, 0)
        return 4.0

    with local_session() as w:
        bind(w, optimizer=optimizer)
        command(w, {"grad_clip": 0.5})
        loss = optimizer.step(closure=closure) if by_name else optimizer.step(closure)
        assert loss == 4.0
        assert norm(optimizer) == pytest.approx(0.5, rel=1e-5)


@pytest.mark.parametrize("fused", [False, True])
def test_gradients_that_a_scaler_enlarged_are_clipped_by_their_true_size(fused):
    """A fused optimizer takes the GradScaler's factor out itself, after the hook has run."""
    ends = []
    for scaled in (False, True):
        optimizer = one_group(SGD, lr=0.1, fused=fused)
        params = optimizer.param_groups[0]["params"]
        scaler = torch.amp.GradScaler("cpu", init_scale=1024, enabled=scaled)
        with local_session() as w:
            bind(w, optimizer=optimizer)
            command(w, {"grad_clip": 0.5})
            scaler.scale(sum(param.square().sum() for param in params)).backward()
            scaler.step(optimizer)
        ends.append([p.detach() for p in params])
    for pair in zip(*ends, strict=True):
        # The limit has 1e-6 added to the norm that it is divided by, and here that is scaled.
        torch.testing.assert_close(*pair, rtol=1e-6, atol=1e-7)
    start = one_group(SGD).param_groups[0]["params"]
    moved = [(new - old).detach() for new, old in zip(ends[1], start, strict=True)]
    assert torch.nn.utils.get_total_norm(moved).item() == pytest.approx(0.05, rel=1e-5)


def test_what_is_set_travels_in_the_optimizers_own_checkpoint():
    """A plain state_dict of the optimizer resumes with the same settings, bound before or after."""
    optimizer = one_group(SGD, lr=0.1)
    new = {"lr": 0.03, "weight_decay": 0.1, "momentum": 0.5, "grad_clip": 2.0}
    with local_session() as w:
        bind(w, optimizer=optimizer)
        assert command(w, new).kind == "applied"
    (state,) = through_a_file(optimizer.state_dict())
    for order in ("bind, load", "load, bind"):
        again = one_group(SGD, lr=0.1)
        with local_session() as w:
            if order == "bind, load":
                bind(w, optimizer=again)
            again.load_state_dict(state)
            if order == "load, bind":
                bind(w, optimizer=again)
            assert {name: value(w, name) for name in new} == new
            assert value(w, "lr_scale") == pytest.approx(0.3, rel=1e-15)


def test_a_checkpoint_from_before_puts_its_own_settings():
    """A state that knows nothing of weavelet can be loaded, and its rate is the schedule's."""
    optimizer = one_group(SGD, lr=0.1)
    state = optimizer.state_dict()
    with local_session() as w:
        bind(w, optimizer=optimizer)
        command(w, {"lr_scale": 0.5})
        optimizer.load_state_dict(state)
        assert (value(w, "lr"), value(w, "lr_scale")) == (0.1, 1.0)
        assert not [key for key in optimizer.param_groups[0] if key.startswith("weavelet")]


def test_a_group_that_is_added_later_gets_its_controls():
    """Layers that are thawed later can be steered, too."""
    first, second = parameters()
    optimizer = SGD(first, lr=0.1)
    with local_session() as w:
        bind(w, optimizer=optimizer)
        optimizer.add_param_group({"params": second, "lr": 0.1})
        train(optimizer)
        assert command(w, {"lr.1": 0.5}).kind == "applied"
        assert optimizer.param_groups[1]["lr"] == 0.5
        assert command(w, {"lr": 0.5}).kind == "rejected"


def test_two_optimizers_have_a_prefix_each():
    """A prefix goes before every name, and into the advice."""
    generator, critic = two_groups(SGD), one_group(Adam, lr=0.1)
    with local_session() as w:
        bind(w, optimizer=generator, prefix="generator.")
        bind(w, optimizer=critic, prefix="critic.")
        assert command(w, {"critic.lr": 0.3, "generator.lr.head": 0.4}).kind == "applied"
        assert (critic.param_groups[0]["lr"], generator.param_groups[1]["lr"]) == (0.3, 0.4)
        assert "set generator.lr.0, generator.lr.head" in command(w, {"generator.lr": 1}).reason


def test_binding_again_replaces():
    """A notebook's cell run twice steers the new optimizer, and leaves the old one alone."""
    old, new = one_group(SGD, lr=0.1), one_group(SGD, lr=0.1)
    scheduler = lr_scheduler.ExponentialLR(old, gamma=0.5)
    with local_session() as w:
        first = bind(w, optimizer=old, scheduler=scheduler)
        bind(w, optimizer=new)
        assert first.closed
        assert type(scheduler) is lr_scheduler.ExponentialLR
        assert not old._optimizer_step_pre_hooks
        command(w, {"lr": 0.2})
        assert (old.param_groups[0]["lr"], new.param_groups[0]["lr"]) == (0.1, 0.2)


def test_a_closed_binding_rejects():
    """Its controls say what to do; the optimizer is as it was before bind()."""
    optimizer = one_group(SGD, lr=0.1)
    with local_session() as w:
        binding = bind(w, optimizer=optimizer)
        binding.close()
        binding.close()
        outcome = command(w, {"lr": 0.2})
        assert outcome.kind == "rejected"
        assert "its binding was closed; call bind() again" in outcome.reason
        assert not optimizer._optimizer_step_pre_hooks
        assert not optimizer._optimizer_load_state_dict_pre_hooks
        assert not optimizer._optimizer_load_state_dict_post_hooks


def test_wrappers_of_frameworks_are_looked_through():
    """An object that holds the optimizer, or the scheduler, stands for it."""

    class Wrapped:
        def __init__(self, **inner):
            vars(self).update(inner)

    optimizer = one_group(SGD, lr=0.1)
    scheduler = lr_scheduler.ExponentialLR(optimizer, gamma=0.5)
    with local_session() as w:
        bind(w, optimizer=Wrapped(optimizer=optimizer), scheduler=Wrapped(scheduler=scheduler))
        command(w, {"lr": 0.05})
        train(optimizer, scheduler)
        assert optimizer.param_groups[0]["lr"] == 0.025


@pytest.mark.parametrize(
    ("arguments", "error", "text"),
    [
        ({"optimizer": object()}, TypeError, "must be a torch.optim.Optimizer, got object"),
        ({"scheduler": object()}, TypeError, "must have step() and an optimizer, got object"),
        ({"optimizer": "mine", "scheduler": "other"}, ValueError, "belongs to another optimizer"),
        ({"scheduler": "other"}, ValueError, "belongs to another optimizer"),
        ({"loader": "plain"}, ValueError, "write `DataLoader(dataset, batch_sampler="),
    ],
)
def test_what_cannot_be_bound_is_refused_at_once(arguments, error, text):
    """The error says what was expected, and nothing is left attached."""
    mine = one_group(SGD, lr=0.1)
    other = lr_scheduler.ExponentialLR(one_group(SGD, lr=0.1), gamma=0.5)
    plain = torch.utils.data.DataLoader(range(4), batch_size=2)
    given = {"mine": mine, "other": other, "plain": plain}
    with local_session() as w:
        with pytest.raises(error) as raised:
            bind(w, **{key: given.get(one, one) for key, one in arguments.items()})
        assert text in str(raised.value)
        assert names(w) == set()
        assert not mine._optimizer_step_pre_hooks


def test_a_session_that_is_over_can_be_forgotten():
    """Binding does not keep a session alive once its optimizer is gone."""
    with local_session() as w:
        bind(w, optimizer=one_group(SGD, lr=0.1))
    session = weakref.ref(w)
    del w
    gc.collect()
    assert session() is None


@pytest.mark.parametrize("switched", [False, True])
def test_an_optimizer_that_is_dropped_goes_with_its_model(switched):
    """A session goes on without what was bound to it; the controls reject, another can be bound."""
    model = torch.nn.Linear(2, 1)
    optimizer = SGD(model.parameters(), lr=0.1, momentum=0.9)
    scheduler = lr_scheduler.OneCycleLR(optimizer, 0.1, total_steps=9)
    with local_session() as w:
        bind(w, optimizer=optimizer, scheduler=scheduler)
        model(torch.ones(1, 2)).sum().backward()
        train(optimizer, scheduler)
        command(w, {"lr": 0.2, **({"optimizer": "Adam"} if switched else {})})
        gone = [weakref.ref(each) for each in (optimizer, scheduler, model.weight)]
        del optimizer, scheduler, model
        gc.collect()
        assert [each() for each in gone] == [None] * 3
        outcome = command(w, {"lr": 0.3})
        assert (outcome.kind, "its optimizer is gone" in outcome.reason) == ("rejected", True)
        second = one_group(SGD, lr=0.1)
        assert bind(w, optimizer=second, prefix="second.").measures
        assert command(w, {"second.lr": 0.3}).kind == "applied"
