"""The public names of the package."""

from __future__ import annotations

import types

import weavelet


def test_all_is_sorted():
    """`__all__` reads like an index."""
    assert list(weavelet.__all__) == sorted(weavelet.__all__)


def test_all_is_the_namespace():
    """Every public name is in `__all__`, and every name in `__all__` is there."""
    for name in weavelet.__all__:
        getattr(weavelet, name)
    here = {
        name
        for name, value in vars(weavelet).items()
        if not name.startswith("_")
        and name != "annotations"
        and not isinstance(value, types.ModuleType)
    }
    assert here - set(weavelet.__all__) == set()


def test_public_names_say_what_they_are():
    """Every public class and function has a docstring: its contract."""
    silent = [
        name
        for name in weavelet.__all__
        if isinstance(getattr(weavelet, name), type | types.FunctionType)
        and not (getattr(weavelet, name).__doc__ or "").strip()
    ]
    assert silent == []
