"""The type of an optimizer changed under way: the object stays, its class becomes another.

Whatever refers to the object, to its `param_groups`, its `state` or its hooks goes on referring to
what trains. What does not follow is a bound method, `step = optimizer.step`, taken before bind():
it stays the old type's and raises an error at its next use.
"""

from __future__ import annotations

import inspect
import weakref
from collections.abc import Iterable, Sequence
from typing import Any, TypeAlias

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

from weavelet.integrations.moments import ADAMS, Group, Kind, State, convert
from weavelet.integrations.rates import RefusedError
from weavelet.integrations.schedulers import cycling_momentum, flat
from weavelet.integrations.weak import Weak

TYPE = "weavelet_optimizer"
"""In the settings of each group while the type is not the one that the script made."""

KNOWN: tuple[Kind, ...] = (Adadelta, Adagrad, Adam, AdamW, NAdam, RAdam, RMSprop, SGD)
"""Without Adamax, whose step would train a RAdam if someone had kept it."""

Undo: TypeAlias = tuple[Kind, dict[Tensor, State]]

_SHARED = ("lr", "weight_decay", "maximize", "foreach", "differentiable", "capturable", "fused")
_FLAGS = ("foreach", "fused", "differentiable", "maximize")
_OWN = ("defaults", "state", "param_groups", "step")
_FUSED = ("_step_supports_amp_scaling", "_need_device_dtype_check_for_fused")
_INSTEAD = (
    "write a handler of your own that makes the new optimizer and its scheduler and assigns them "
    'to the variables your loop uses: @w.handler("optimizer")'
)
_NATIVE = "_weavelet_native"


class Switch:
    """Changes the type of one optimizer to another of `kinds`.

    Raises:
        ValueError: this optimizer cannot be switched; the text says why and what to write instead.
    """

    _optimizer = Weak()

    def __init__(
        self, optimizer: Optimizer, schedulers: Sequence[Any], kinds: Iterable[Kind] = KNOWN
    ) -> None:
        self._optimizer = optimizer
        # Weak, too: a scheduler holds its optimizer.
        self._schedulers = weakref.WeakSet(flat(schedulers))
        self._kinds = {kind.__name__: kind for kind in kinds}
        self._native: Kind = vars(optimizer).get(_NATIVE, type(optimizer))
        why = _obstacle(optimizer, self._kinds)
        if why:
            msg = f"this {type(optimizer).__name__} cannot be switched: {why}; {_INSTEAD}"
            raise ValueError(msg)
        self._left: dict[Kind, list[Group]] = {}
        self._entered: list[Group] = []
        self._undo: Undo | None = None
        vars(optimizer)[_NATIVE] = self._native
        self._loading = optimizer.register_load_state_dict_pre_hook(self._follow)
        self._direct_step()
        self._follow(optimizer, {"param_groups": optimizer.param_groups})

    @property
    def names(self) -> tuple[str, ...]:
        """The types to choose from."""
        return tuple(sorted(self._kinds))

    @property
    def name(self) -> str:
        """The type now."""
        return type(self._optimizer).__name__

    def set(self, name: str) -> str:
        """Make the optimizer one of another type; says in words what of its state went along.

        Raises:
            RefusedError: this type cannot take over; nothing has changed.
        """
        old, new = type(self._optimizer), self._kinds[name]
        if new is old:
            return ""
        self._check_momentum(new)
        settings = self._settings(old, new)
        fresh = self._make(new, settings)
        settings = [group | mine for group, mine in zip(fresh.param_groups, settings, strict=True)]
        before = dict(self._optimizer.state)
        if self._undo is not None and self._undo[0] is new:
            state = self._undo[1]
        else:
            state = self._converted(old, new, settings, fresh)
        self._become(fresh, settings)
        self._optimizer.state.clear()
        self._optimizer.state.update(state)
        self._undo = (old, before)
        return _summary(before, state)

    def stepped(self) -> None:
        """What was before the last switch is gone for good. To be called before every step."""
        self._undo = None

    def close(self) -> None:
        """Leave the optimizer as it is now."""
        self._loading.remove()
        self._undo = None

    def _settings(self, old: Kind, new: Kind) -> list[Group]:
        """What the groups of the new type are told.

        A setting that nobody touched since it was carried over comes back as it was before.
        """
        groups = self._optimizer.param_groups
        settings = []
        for index, group in enumerate(groups):
            entered, before = _at(self._entered, index), _at(self._left.get(new, []), index)
            carried = _carried(group, old, new)
            untouched = _carried(entered, old, new) if entered else {}
            back = {
                key: before[key]
                for key, value in carried.items()
                if key in before and key in untouched and untouched[key] == value
            }
            settings.append({**before, **carried, **back, "lr": group["lr"]})
        return settings

    def _make(self, new: Kind, settings: list[Group]) -> Optimizer:
        """A throw-away of the new type over the same parameters; its own checks run here."""
        groups = self._optimizer.param_groups
        asked: Any = [
            {"params": list(group["params"]), **mine}
            for group, mine in zip(groups, settings, strict=True)
        ]
        possible = inspect.signature(new).parameters
        flags = {key: groups[0][key] for key in _FLAGS if key in possible and key in groups[0]}
        try:
            return new(asked, **flags)
        except (TypeError, ValueError, RuntimeError) as exc:
            msg = f"{new.__name__} does not take these parameters: {exc}"
            raise RefusedError(msg) from exc

    def _converted(
        self, old: Kind, new: Kind, settings: list[Group], fresh: Optimizer
    ) -> dict[Tensor, State]:
        state: dict[Tensor, State] = {}
        for group, after in zip(self._optimizer.param_groups, settings, strict=True):
            for param in group["params"]:
                kept = self._optimizer.state.get(param, {})
                made = convert(old, kept, group, new, after, param) or fresh.state.get(param)
                if made:
                    state[param] = dict(made)
        return state

    def _become(self, fresh: Optimizer, settings: list[Group]) -> None:
        """Take over the class and the settings of `fresh`."""
        optimizer, new = self._optimizer, type(fresh)
        gone = optimizer.defaults.keys() - fresh.defaults.keys()
        self._left[type(optimizer)] = [
            {key: group[key] for key in optimizer.defaults if key in group}
            for group in optimizer.param_groups
        ]
        for group, mine in zip(optimizer.param_groups, settings, strict=True):
            for key in gone:
                group.pop(key, None)
            group.update({key: mine[key] for key in fresh.defaults})
            group.pop(TYPE, None)
            if new is not self._native:
                group[TYPE] = new.__name__
        self._entered = [
            {key: group[key] for key in fresh.defaults} for group in optimizer.param_groups
        ]
        for key in _FUSED:
            vars(optimizer).pop(key, None)
        for key, value in vars(fresh).items():
            if key not in _OWN and not key.startswith("_optimizer_"):
                setattr(optimizer, key, value)
        optimizer.defaults = fresh.defaults
        optimizer.__class__ = new
        for scheduler in self._schedulers:
            if hasattr(scheduler, "use_beta1"):
                scheduler.use_beta1 = "betas" in fresh.defaults
        self._direct_step()
        self._undo = None

    def _direct_step(self) -> None:
        """Where a scheduler has put its wrapper on the object, put one that asks for the class.

        The scheduler's own calls the step of the class that it found, for ever.
        """
        if "step" not in vars(self._optimizer):
            return
        reference = weakref.ref(self._optimizer)

        def step(*args: Any, **kwargs: Any) -> Any:
            optimizer: Any = reference()
            optimizer._opt_called = True  # noqa: SLF001  what schedulers look for
            return type(optimizer).step(optimizer, *args, **kwargs)

        step._wrapped_by_lr_sched = True  # type: ignore[attr-defined]  # noqa: SLF001  the same
        self._optimizer.step = step  # type: ignore[method-assign]  # where theirs was

    def _check_momentum(self, new: Kind) -> None:
        cycling = next(cycling_momentum(self._schedulers), None)
        if cycling is None:
            return
        possible = inspect.signature(new).parameters
        if not {"momentum", "betas"} & possible.keys():
            name = type(cycling).__name__
            msg = f"{name} cycles the momentum, and {new.__name__} has none; choose another type"
            raise RefusedError(msg)

    def _follow(self, optimizer: Optimizer, state_dict: State) -> None:
        """Become the type that made a checkpoint, before its state is loaded."""
        groups = state_dict["param_groups"]
        name = groups[0].get(TYPE, self._native.__name__) if groups else self.name
        if name == self.name:
            return
        if name not in self._kinds:
            known = ", ".join(self.names)
            msg = (
                f"this state is that of {name}, to which the optimizer had been switched; known "
                f"here: {known}. Give the class to bind(switch=[...])"
            )
            raise ValueError(msg)
        new = self._kinds[name]
        fresh = self._make(new, [_only_known(group, new) for group in optimizer.param_groups])
        self._become(fresh, fresh.param_groups)


def _at(groups: list[Group], index: int) -> Group:
    return groups[index] if index < len(groups) else {}


def _obstacle(optimizer: Optimizer, kinds: dict[str, Kind]) -> str:
    kind = type(optimizer)
    step = vars(optimizer).get("step")
    if kind not in kinds.values():
        return f"it is none of {', '.join(sorted(kinds))}"
    if step is not None and not hasattr(step, "_wrapped_by_lr_sched"):
        return "its step was replaced on the object, and that one would stay the old type's"
    if any(group.get("capturable") for group in optimizer.param_groups):
        return "it is capturable, and a captured graph would go on with the old type's steps"
    for other in kinds.values():
        try:
            optimizer.__class__ = other
        except TypeError:
            return f"Python cannot make it a {other.__name__}"
        finally:
            optimizer.__class__ = kind
    return ""


def _carried(group: Group, old: Kind, new: Kind) -> Group:
    """The settings of a group in the words of another type, as far as they mean the same."""
    possible = inspect.signature(new).parameters
    carried = {key: group[key] for key in _SHARED if key in group and key in possible}
    if old in ADAMS and new in ADAMS:
        same = ("eps", "amsgrad")
        carried |= {key: group[key] for key in same if key in group and key in possible}
    if "betas" in possible and "betas" in group:
        carried["betas"] = group["betas"]
    elif "betas" in possible and group.get("momentum"):
        default = possible["betas"].default
        second = default[1] if isinstance(default, tuple) else 0.999
        carried["betas"] = (group["momentum"], second)
    elif "momentum" in possible and "momentum" in group:
        carried["momentum"] = group["momentum"]
    elif "momentum" in possible and "betas" in group:
        carried["momentum"] = group["betas"][0]
    return carried


def _only_known(group: Group, new: Kind) -> Group:
    possible = inspect.signature(new).parameters
    return {key: value for key, value in group.items() if key in possible and key != "params"}


def _summary(before: dict[Tensor, State], state: dict[Tensor, State]) -> str:
    had = [param for param, kept in before.items() if kept]
    if not had:
        return ""
    kept = sum(1 for param in had if state.get(param))
    return f"momentum carried over for {kept} of {len(had)} parameters"
