"""Controls for the settings in an optimizer's param groups."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Sequence
from typing import Annotated, Any, NamedTuple

import torch
from torch.nn.utils import clip_grads_with_norm_, get_total_norm
from torch.optim import Optimizer, RMSprop

import weavelet
from weavelet.integrations.rates import (
    Group,
    Rates,
    RefusedError,
    pin_momentum,
    put,
    read_rate,
)
from weavelet.integrations.schedulers import cycling_momentum
from weavelet.integrations.watching import hide_frame
from weavelet.integrations.weak import Weak

CLIP = "weavelet_grad_clip"
"""In the first group's settings while gradients are clipped."""

MOST_GROUPS = 32
"""With more groups than this there are no controls for each."""

Positive = Annotated[float, weavelet.Meta(ge=0, le=sys.float_info.max)]
Share = Annotated[float, weavelet.Meta(ge=0, lt=1)]

_LABEL = re.compile(r"[A-Za-z0-9_-]{1,40}\Z")


class Setting(NamedTuple):
    """One value in each group. `instead` is what to set where this one is refused."""

    name: str
    type: Any
    doc: str
    read: Callable[[Group], Any]
    write: Callable[[int, Any], None]
    instead: str = ""


class GroupControls:
    """The controls of one optimizer's groups, and the hooks that they need.

    `check` raises ValueError while the controls are to reject what they are told.
    """

    _optimizer = Weak()

    def __init__(
        self,
        w: weavelet.Weavelet,
        optimizer: Optimizer,
        schedulers: Sequence[Any],
        prefix: str,
        check: Callable[[], None],
    ) -> None:
        self._w = w
        self._optimizer = optimizer
        self._prefix = prefix
        self._check = check
        self._cycled = any(cycling_momentum(schedulers))
        self._rates = Rates(optimizer, scheduled=bool(schedulers))
        self._declared: set[str] = set()
        self._groups = 0
        self._called_before: list[Callable[[], None]] = []
        self._hooks = (
            optimizer.register_step_pre_hook(self._before_step),
            optimizer.register_load_state_dict_post_hook(lambda _: self.declare()),
        )

    def declare(self) -> None:
        """Declare what the optimizer has and is not declared yet."""
        self._groups = len(self._optimizer.param_groups)
        labels = labels_of(self._optimizer.param_groups)
        for setting in self._settings():
            self._control(setting)
            if 1 < self._groups <= MOST_GROUPS:
                for index, label in enumerate(labels):
                    self._control(setting, f".{label}", index)
        if "grad_clip" not in self._declared:
            self._declare_clip()

    def before_step(self, function: Callable[[], None]) -> None:
        """Call a function before every step of the optimizer."""
        self._called_before.append(function)

    def close(self) -> None:
        """Take the hooks away."""
        for hook in self._hooks:
            hook.remove()

    def _settings(self) -> list[Setting]:
        """The settings that every group has now."""
        momentum: Any = Share | None if self._cycled else Share
        betas: Any = tuple[Share, Share] | None if self._cycled else tuple[Share, Share]
        possible = [
            Setting(
                "lr", Positive, "Learning rate in use.", _rate, self._rates.set_rate, "lr_scale"
            ),
            Setting(
                "lr_scale",
                Positive,
                "Learning rate over what the schedule says.",
                _factor,
                self._rates.set_factor,
            ),
            self._plain("weight_decay", "Weight decay."),
            Setting("momentum", momentum, "Momentum.", _momentum, self._set_momentum),
            Setting("betas", betas, "Decay of the running means.", _betas, self._set_betas),
            self._plain("eps", "Added to the denominator."),
        ]
        return [setting for setting in possible if self._all_have(setting)]

    def _all_have(self, setting: Setting) -> bool:
        try:
            for group in self._optimizer.param_groups:
                setting.read(group)
        except (KeyError, TypeError, ValueError):
            return False
        return True

    def _plain(self, key: str, doc: str) -> Setting:
        def read(group: Group) -> float:
            return float(group[key])

        def write(index: int, value: float) -> None:
            group = self._optimizer.param_groups[index]
            group[key] = put(group[key], value)

        return Setting(key, Positive, doc, read, write)

    def _set_momentum(self, index: int, value: float | None) -> None:
        group = self._optimizer.param_groups[index]
        if self._cycled:
            pin_momentum(group, value)
        elif value is not None:
            group["momentum"] = put(group["momentum"], value)
        if group["momentum"] and isinstance(self._optimizer, RMSprop):
            self._add_buffers(group)

    def _add_buffers(self, group: Group) -> None:
        """RMSprop makes these only at its first step, if it has a momentum then."""
        for param in group["params"]:
            state = self._optimizer.state.get(param)
            if state and "momentum_buffer" not in state:
                state["momentum_buffer"] = torch.zeros_like(param)

    def _set_betas(self, index: int, value: tuple[float, float] | None) -> None:
        group = self._optimizer.param_groups[index]
        if value is not None:
            group["betas"] = put(group["betas"], (_betas(group)[0], value[1]))
        if self._cycled:
            pin_momentum(group, None if value is None else value[0])
        elif value is not None:
            group["betas"] = put(group["betas"], value)

    def _control(self, setting: Setting, suffix: str = "", index: int | None = None) -> None:
        """Declare a setting of the group at `index`, or of all groups."""
        name = f"{self._prefix}{setting.name}{suffix}"
        if name in self._declared:
            return
        self._declared.add(name)

        def get() -> Any:
            self._check()
            values = [self._read(setting, group) for group in self._chosen(index)]
            if any(value != values[0] for value in values):
                raise ValueError(self._difference(setting.name, values))
            return values[0]

        @self._w.handler(name, type=setting.type, get=get, doc=setting.doc)
        def set_value(value: Any) -> None:
            self._check()
            chosen = range(len(self._optimizer.param_groups)) if index is None else [index]
            for each in chosen:
                try:
                    setting.write(each, value)
                except RefusedError as exc:
                    instead = f"{self._prefix}{setting.instead}{suffix}"
                    advice = f"; set {instead}, the factor" if setting.instead else ""
                    raise weavelet.ControlError(name, f"{exc}{advice}") from exc

    def _chosen(self, index: int | None) -> list[Group]:
        groups = self._optimizer.param_groups
        return groups if index is None else [groups[index]]

    def _read(self, setting: Setting, group: Group) -> Any:
        try:
            return setting.read(group)
        except KeyError:
            kind = type(self._optimizer).__name__
            msg = f"{kind} has none; it belongs to another type of optimizer"
            raise ValueError(msg) from None

    def _difference(self, name: str, values: Sequence[Any]) -> str:
        if len(values) > MOST_GROUPS:
            return f"its {len(values)} groups differ, and there are too many for one control each"
        labels = labels_of(self._optimizer.param_groups)
        shown = ", ".join(f"{label}: {value}" for label, value in zip(labels, values, strict=True))
        names = ", ".join(f"{self._prefix}{name}.{label}" for label in labels)
        return f"the groups differ ({shown}); set {names} instead"

    def _declare_clip(self) -> None:
        self._declared.add("grad_clip")

        def get() -> float | None:
            self._check()
            limit: float | None = self._optimizer.param_groups[0].get(CLIP)
            return limit

        @self._w.handler(f"{self._prefix}grad_clip", type=Positive | None, get=get)
        def set_grad_clip(value: float | None) -> None:
            """Greatest norm of all gradients together; 0 or nothing for no limit."""
            self._check()
            group = self._optimizer.param_groups[0]
            group.pop(CLIP, None)
            if value:
                group[CLIP] = value

    def _before_step(
        self, optimizer: Optimizer, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]] | None:
        for function in self._called_before:
            function()
        if len(optimizer.param_groups) != self._groups:
            self.declare()
        groups = optimizer.param_groups
        limit = groups[0].get(CLIP) if groups else None
        if limit is None:
            return None
        # A closure computes the gradients only later, inside the step.
        if len(args) > 1 and args[1] is not None:
            return (args[0], _clipping(args[1], optimizer, limit), *args[2:]), kwargs
        if kwargs.get("closure") is not None:
            return args, {**kwargs, "closure": _clipping(kwargs["closure"], optimizer, limit)}
        clip(optimizer, limit)
        return None


def labels_of(groups: Sequence[Group]) -> list[str]:
    """The names of the groups: their own where these are short slugs, else their indexes."""
    labels = []
    for index, group in enumerate(groups):
        name = group.get("name")
        labels.append(name if isinstance(name, str) and _LABEL.match(name) else str(index))
    return labels if len(set(labels)) == len(labels) else [str(i) for i in range(len(groups))]


def clip(optimizer: Optimizer, limit: float) -> None:
    """Scale all gradients down so that their norm is at most `limit`; waits for no GPU."""
    params = [p for group in optimizer.param_groups for p in group["params"] if p.grad is not None]
    if not params:
        return
    norm = get_total_norm([p.grad for p in params])
    scale = getattr(optimizer, "grad_scale", None)
    if scale is not None:
        # A GradScaler leaves it to a fused optimizer to take its factor out of the gradients.
        norm = norm / scale.to(norm.device)
    clip_grads_with_norm_(params, limit, norm)


def _clipping(closure: Callable[[], Any], optimizer: Optimizer, limit: float) -> Callable[[], Any]:
    def clipped() -> Any:
        try:
            loss = closure()
        except BaseException as error:  # it goes on up
            hide_frame(error)
            raise
        clip(optimizer, limit)
        return loss

    return clipped


def _rate(group: Group) -> float:
    return read_rate(group).shown


def _factor(group: Group) -> float:
    return read_rate(group).factor


def _momentum(group: Group) -> float:
    return float(group["momentum"])


def _betas(group: Group) -> list[float]:
    first, second = group["betas"]
    return [float(first), float(second)]
