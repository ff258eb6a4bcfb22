"""Marks on functions and methods, for objects that are registered as a whole."""

from __future__ import annotations

import functools
import inspect
import sys
from collections.abc import Callable, Iterator, Mapping
from types import FrameType
from typing import Any, Literal, NamedTuple, TypeVar, overload

from weavelet.signatures import Function, names_in_annotations, parameters_of
from weavelet.values import short

F = TypeVar("F", bound=Function)

_MARK = "__weavelet_mark__"


class Mark(NamedTuple):
    """What `@weavelet.handler` or `@weavelet.action` was told, and the names its types use."""

    kind: Literal["control", "action"]
    name: str | None
    options: Mapping[str, Any]
    scope: Mapping[str, Any]


@overload
def handler(name: F) -> F: ...
@overload
def handler(
    name: str | None = None,
    *,
    type: Any = None,
    get: Callable[..., object] | None = None,
    unit: str = "",
    doc: str = "",
    danger: bool = False,
    idempotent: bool = False,
) -> Callable[[F], F]: ...
def handler(
    name: Any = None,
    *,
    type: Any = None,
    get: Callable[..., object] | None = None,
    unit: str = "",
    doc: str = "",
    danger: bool = False,
    idempotent: bool = False,
) -> Any:
    """Mark a method that sets a control; the session collects it from the object.

    The control's name is the method's where none is given. `get` reads the current value; it is
    given the object, as in `get=lambda self: self.lr`, or nothing where it takes nothing.
    """
    options = {
        "type": type,
        "get": get,
        "unit": unit,
        "doc": doc,
        "danger": danger,
        "idempotent": idempotent,
    }
    return _marker("control", name, options)


@overload
def action(name: F) -> F: ...
@overload
def action(
    name: str | None = None, *, doc: str = "", danger: bool = False, idempotent: bool = False
) -> Callable[[F], F]: ...
def action(
    name: Any = None, *, doc: str = "", danger: bool = False, idempotent: bool = False
) -> Any:
    """Mark a method as an action; the session collects it from the object.

    The action's name is the method's where none is given.
    """
    return _marker("action", name, {"doc": doc, "danger": danger, "idempotent": idempotent})


def _marker(kind: Literal["control", "action"], name: Any, options: Mapping[str, Any]) -> Any:
    if name is None or isinstance(name, str):

        def mark(function: F) -> F:
            return _mark(function, kind, name, options, sys._getframe(1))  # noqa: SLF001  documented

        return mark
    return _mark(name, kind, None, options, sys._getframe(2))  # noqa: SLF001  documented


def _mark(
    function: F,
    kind: Literal["control", "action"],
    name: str | None,
    options: Mapping[str, Any],
    frame: FrameType,
) -> F:
    target: Any = getattr(function, "__func__", function)
    if not callable(target):
        msg = f"expected a name or a function, got {short(target)}."
        raise TypeError(msg)
    setattr(target, _MARK, Mark(kind, name, options, names_in_annotations(target, frame)))
    return function


def marked(obj: object) -> Iterator[tuple[Function, Mark]]:
    """The marked functions of an object in the order of their definition, bound to it.

    `obj` may also be a module, or a marked function itself.
    """
    own = getattr(obj, _MARK, None)
    if isinstance(own, Mark) and callable(obj):
        yield obj, own
        return
    for name, member in _members(obj).items():
        mark = getattr(getattr(member, "__func__", member), _MARK, None)
        if isinstance(mark, Mark):
            yield getattr(obj, name), _bind(mark, obj)


def _members(obj: object) -> dict[str, Any]:
    if inspect.ismodule(obj):
        return dict(vars(obj))
    members: dict[str, Any] = {}
    for cls in reversed(type(obj).__mro__):
        members.update(vars(cls))
    return members


def _bind(mark: Mark, obj: object) -> Mark:
    get = mark.options.get("get")
    if not callable(get) or inspect.ismodule(obj) or not _takes_object(get):
        return mark
    return mark._replace(options={**mark.options, "get": functools.partial(get, obj)})


def _takes_object(get: Function) -> bool:
    try:
        return bool(parameters_of(get))
    except TypeError:
        # Some of C, such as operator.attrgetter, have no signature; they are of use with one.
        return True
