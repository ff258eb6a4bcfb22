"""The functions that become controls and actions: their parameters, and the types of these."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from types import CodeType, FrameType
from typing import Any, NamedTuple, TypeAlias

Function: TypeAlias = Callable[..., object]

_SINGLE = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
_NAMED = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)


class Parameter(NamedTuple):
    """A parameter of an action. `default` is `inspect.Parameter.empty` where there is none."""

    name: str
    declared: Any
    default: Any


def title(function: Function) -> str:
    """How errors name a function."""
    bare = _bare(function)
    return getattr(bare, "__qualname__", None) or repr(bare)[:200]


def origin(function: Function) -> tuple[str, str]:
    """Where a function was defined: two with the same origin are two runs of one definition."""
    bare = _bare(function)
    return str(getattr(bare, "__module__", "")), title(function)


def first_paragraph(function: Function) -> str:
    """The first paragraph of the docstring in one line."""
    text = inspect.getdoc(_bare(function)) or ""
    return " ".join(text.partition("\n\n")[0].split())


def single_type(function: Function, scope: Mapping[str, Any], given: Any = None) -> Any:
    """The annotation of the one parameter of a control's function, unless a type is given.

    Raises:
        TypeError: it has not exactly one parameter, or that has no annotation to be had.
    """
    found = parameters_of(function)
    if len(found) != 1 or found[0].kind not in _SINGLE:
        msg = (
            f"{title(function)} must take the new value and nothing else, but its signature is "
            f"{_signature_text(function)}; write it as `def {_name(function)}(value: float)`."
        )
        raise TypeError(msg)
    return _annotation(function, found[0], scope) if given is None else given


def all_parameters(function: Function, scope: Mapping[str, Any]) -> tuple[Parameter, ...]:
    """The parameters of an action's function.

    Raises:
        TypeError: one has no annotation to be had, or cannot be given by name.
    """
    found = parameters_of(function)
    for parameter in found:
        if parameter.kind not in _NAMED:
            msg = (
                f"{title(function)}: parameter {str(parameter)!r} cannot be given by name; an "
                f"action takes named, annotated parameters only."
            )
            raise TypeError(msg)
    return tuple(
        Parameter(each.name, _annotation(function, each, scope), each.default) for each in found
    )


def check_plain_function(function: object) -> None:
    """Refuse what does not do its work when it is called.

    Raises:
        TypeError: not callable, a class, or a coroutine or generator function.
    """
    if not callable(function) or isinstance(function, type):
        msg = f"expected a function, got {str(function)[:200]}."
        raise TypeError(msg)
    bare = inspect.unwrap(_bare(function))
    tests = (
        inspect.iscoroutinefunction,
        inspect.isgeneratorfunction,
        inspect.isasyncgenfunction,
    )
    if any(test(candidate) for test in tests for candidate in (bare, _bare(function))):
        msg = (
            f"{title(function)} is a coroutine or generator function: calling it does nothing "
            f"yet. Use a plain function; it runs inside poll()."
        )
        raise TypeError(msg)


def parameters_of(function: Function) -> list[inspect.Parameter]:
    """The parameters, `self` of a bound method not counted.

    Raises:
        TypeError: Python knows no signature for it.
    """
    try:
        return list(inspect.signature(function).parameters.values())
    except ValueError:
        msg = f"{title(function)} has no signature that can be read; wrap it in a function."
        raise TypeError(msg) from None


def _annotation(function: Function, parameter: inspect.Parameter, scope: Mapping[str, Any]) -> Any:
    annotation = parameter.annotation
    if annotation is inspect.Parameter.empty:
        msg = (
            f"{title(function)}: parameter {parameter.name!r} has no annotation; write "
            f"`{parameter.name}: float`, or whatever its type is."
        )
        raise TypeError(msg)
    if not isinstance(annotation, str):
        return annotation
    module = getattr(inspect.unwrap(_bare(function)), "__globals__", {})
    try:
        return eval(annotation, module, scope)  # noqa: S307  the user's own source
    except Exception as exc:  # an annotation is an expression and may raise anything
        msg = (
            f"{title(function)}: the annotation {annotation!r} of {parameter.name!r} cannot be "
            f"evaluated ({type(exc).__name__}: {exc}); give the type as `type=...`, or define "
            f"it where the function can see it."
        )
        raise TypeError(msg) from None


def names_in_annotations(function: Function, frame: FrameType | None) -> dict[str, Any]:
    """What the names in the function's text annotations stand for where it is being defined.

    `frame` is the one that runs the class body or function around it. Only these names are kept,
    so that nothing else of the frame stays alive.
    """
    wanted: set[str] = set()
    for annotation in getattr(inspect.unwrap(_bare(function)), "__annotations__", {}).values():
        if isinstance(annotation, str):
            wanted.update(_names(annotation))
    found: dict[str, Any] = {}
    while frame is not None and wanted:
        local = frame.f_locals
        found.update({name: local[name] for name in wanted if name in local})
        wanted.difference_update(found)
        if frame.f_code.co_flags & inspect.CO_OPTIMIZED:
            break
        # A class body: what is around it may be a function, whose names it sees as well.
        frame = frame.f_back if frame.f_locals is not frame.f_globals else None
    return found


def _names(annotation: str) -> set[str]:
    try:
        code = compile(annotation, "<annotation>", "eval")
    except SyntaxError:
        return set()
    return _names_of_code(code)


def _names_of_code(code: CodeType) -> set[str]:
    inner = (const for const in code.co_consts if isinstance(const, CodeType))
    return set(code.co_names).union(*map(_names_of_code, inner))


def _bare(function: Function) -> Any:
    while isinstance(function, functools.partial):
        function = function.func
    if inspect.isroutine(function):
        return getattr(function, "__func__", function)
    return type(function).__call__ if not inspect.isclass(function) else function


def _name(function: Function) -> str:
    name = getattr(_bare(function), "__name__", "")
    return name if name.isidentifier() else "set_value"


def _signature_text(function: Function) -> str:
    return str(inspect.signature(function))[:200]
