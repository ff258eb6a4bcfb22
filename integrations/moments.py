"""What optimizers remember of the gradient, carried from one type to another.

Of the state the running means of the gradient and of its square carry over. A mean square that the
old type did not keep is estimated as the square of the mean, and the new type starts as if it had
seen as many steps as its own first mean remembers, so that its first steps are of the size of fresh
ones.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias

import torch
from torch import Tensor
from torch.optim import (
    SGD,
    Adadelta,
    Adagrad,
    Adam,
    AdamW,
    NAdam,
    Optimizer,
    RAdam,
    RMSprop,
)

Group: TypeAlias = dict[str, Any]
State: TypeAlias = dict[str, Any]
Kind: TypeAlias = type[Optimizer]

ADAMS: tuple[Kind, ...] = (Adam, AdamW, NAdam, RAdam)
"""Types that keep the same means in the same way."""

_FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)


class Moments(NamedTuple):
    """Running means of the gradient and of its square, at full size, and the steps behind them."""

    mean: Tensor | None = None
    square: Tensor | None = None
    steps: float | None = None


# What each type keeps, read as moments.


def _read_sgd(state: State, group: Group) -> Moments:
    buffer, left = state.get("momentum_buffer"), 1 - float(group["dampening"])
    if buffer is None or not left:
        return Moments()
    return Moments(buffer * ((1 - float(group["momentum"])) / left))


def _read_adam(state: State, group: Group) -> Moments:
    steps = float(state["step"])
    if not steps:
        return Moments()
    first, second = (1 - float(beta) ** steps for beta in group["betas"])
    return Moments(state["exp_avg"] / first, state["exp_avg_sq"] / second, steps)


def _read_rmsprop(state: State, group: Group) -> Moments:
    square, steps = state["square_avg"], float(state["step"])
    buffer, mean = state.get("momentum_buffer"), None
    if buffer is not None and group["momentum"]:
        size = (square.sqrt() + group["eps"]) * (1 - float(group["momentum"]))
        mean = buffer * size
    return Moments(mean, square.clone(), steps)


def _read_adagrad(state: State, group: Group) -> Moments:
    steps = float(state["step"])
    if not steps:
        return Moments()
    square = (state["sum"] - group["initial_accumulator_value"]) / steps
    return Moments(None, square, steps)


def _read_adadelta(state: State, group: Group) -> Moments:
    return Moments(None, state["square_avg"].clone(), float(state["step"]))


# Moments as what each type keeps. Each is complete: no type adds to a state that is not empty.


def _write_sgd(moments: Moments, group: Group, param: Tensor) -> State:
    if moments.mean is None or not group["momentum"] or group["dampening"] >= 1:
        return {}
    left = (1 - group["dampening"]) / (1 - group["momentum"])
    return {"momentum_buffer": moments.mean * left}


def _write_adam(moments: Moments, group: Group, param: Tensor) -> State:
    mean, square = _both(moments, param)
    steps = _steps(moments, 1 / (1 - group["betas"][0]))
    first, second = (1 - float(beta) ** steps for beta in group["betas"])
    state = {
        "step": _count(steps, group, param),
        "exp_avg": mean * first,
        "exp_avg_sq": square * second,
    }
    if group.get("amsgrad"):
        state["max_exp_avg_sq"] = state["exp_avg_sq"].clone()
    return state


def _write_nadam(moments: Moments, group: Group, param: Tensor) -> State:
    state = _write_adam(moments, group, param)
    product, decay = 1.0, 0.96 ** group["momentum_decay"]
    for step in range(1, int(state["step"]) + 1):
        product *= group["betas"][0] * (1 - 0.5 * decay**step)
        if not product:
            break
    return {**state, "mu_product": _count(product, group, param)}


def _write_rmsprop(moments: Moments, group: Group, param: Tensor) -> State:
    mean, square = _both(moments, param)
    steps = _steps(moments, 1 / (1 - group["alpha"]))
    state = {"step": _count(steps, group, param), "square_avg": square.clone()}
    if group["momentum"] > 0:
        state["momentum_buffer"] = mean / (square.sqrt() + group["eps"]) / (1 - group["momentum"])
    if group["centered"]:
        state["grad_avg"] = torch.zeros_like(param)
    return state


def _write_adagrad(moments: Moments, group: Group, param: Tensor) -> State:
    _, square = _both(moments, param)
    steps = _steps(moments, 10)
    total = square * steps + group["initial_accumulator_value"]
    return {"step": _count(steps, group, param), "sum": total}


def _write_adadelta(moments: Moments, group: Group, param: Tensor) -> State:
    _, square = _both(moments, param)
    steps = _steps(moments, 1 / (1 - group["rho"]))
    return {
        "step": _count(steps, group, param),
        "square_avg": square.clone(),
        "acc_delta": torch.zeros_like(param),
    }


def _both(moments: Moments, param: Tensor) -> tuple[Tensor, Tensor]:
    mean, square, _ = moments
    if square is None:
        assert mean is not None
        square = mean.square()
    return torch.zeros_like(square) if mean is None else mean, square


def _steps(moments: Moments, otherwise: float) -> float:
    return float(max(1, round(otherwise if moments.steps is None else moments.steps)))


def _count(value: float, group: Group, param: Tensor) -> Tensor:
    on_device = group.get("fused") or group.get("capturable")
    device = param.device if on_device else torch.device("cpu")
    wide = torch.get_default_dtype() == torch.float64 and not group.get("fused")
    return torch.tensor(value, dtype=torch.float64 if wide else torch.float32, device=device)


_READ: dict[Kind, Callable[[State, Group], Moments]] = {
    Adadelta: _read_adadelta,
    Adagrad: _read_adagrad,
    Adam: _read_adam,
    AdamW: _read_adam,
    NAdam: _read_adam,
    RAdam: _read_adam,
    RMSprop: _read_rmsprop,
    SGD: _read_sgd,
}
_WRITE: dict[Kind, Callable[[Moments, Group, Tensor], State]] = {
    Adadelta: _write_adadelta,
    Adagrad: _write_adagrad,
    Adam: _write_adam,
    AdamW: _write_adam,
    NAdam: _write_nadam,
    RAdam: _write_adam,
    RMSprop: _write_rmsprop,
    SGD: _write_sgd,
}


@torch.no_grad()
def convert(old: Kind, state: State, before: Group, new: Kind, after: Group, p: Tensor) -> State:
    """The state of one parameter as another type keeps it; empty where nothing carries over."""
    if not state or old not in _READ or new not in _WRITE or p.dtype not in _FLOATS:
        return {}
    moments = _READ[old](state, before)
    if moments.mean is None and moments.square is None:
        return {}
    converted = _WRITE[new](moments, after, p)
    if old in ADAMS and new in ADAMS:
        # As they are: the way through Moments rounds.
        kept = ("exp_avg", "exp_avg_sq", "max_exp_avg_sq")
        converted.update({key: state[key] for key in kept if key in state and key in converted})
    return converted
