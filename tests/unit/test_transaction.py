"""All or nothing: what happens when a handler raises."""

from __future__ import annotations

import asyncio
import gc
import weakref

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weavelet.controls import Change, Registry
from weavelet.exceptions import ControlError, StopTraining
from weavelet.transaction import MAX_TRACEBACK


class Store:
    """A registry whose handlers write into a dict and raise when told to."""

    def __init__(self, names, *, read=True):
        self.registry = Registry()
        self.now = dict.fromkeys(names, 0)
        self.raises = {}
        for name in names:
            get = (lambda name=name: self.now[name]) if read else None
            self.registry.handler(name, type=int, get=get)(self._setter(name))

    def _setter(self, name):
        def set_value(value):
            when, error = self.raises.get(name, ("never", None))
            if when == "before":
                raise error
            self.now[name] = value
            if when == "after":
                raise error

        return set_value


@pytest.mark.parametrize("read", [True, False])
def test_what_was_set_is_set_back(read):
    """If one handler raises, those before it get their old values, and it does too."""
    store = Store("abc", read=read)
    store.registry.apply({"a": 1, "b": 2, "c": 3})
    store.raises["b"] = ("before", RuntimeError("halfway"))
    verdict = store.registry.apply({"a": 10, "b": 20, "c": 30})
    assert verdict.kind == "failed"
    assert verdict.changes == ()
    assert verdict.reason.startswith("b: RuntimeError: halfway; set back: a")
    assert store.now == {"a": 1, "b": 2, "c": 3}


def test_a_handler_may_refuse():
    """ControlError is a refusal: rejected, those before set back, never a step to quarantine."""
    store = Store(["a", "b"])
    store.raises["b"] = ("before", ControlError("b", "expected less than the schedule allows"))
    for _ in range(5):
        verdict = store.registry.apply({"a": 1, "b": 2})
        assert verdict.kind == "rejected"
        assert verdict.reason == "b: expected less than the schedule allows; set back: a"
        assert store.now == {"a": 0, "b": 0}
    store.raises.clear()
    assert store.registry.apply({"a": 1, "b": 2}).kind == "applied"


def test_what_a_handler_says_is_the_reason():
    """Text that handlers return is shown with the applied outcome, and nothing else is."""
    registry = Registry()
    registry.handler("size", type=int)(lambda value: f"from batch {value} on")
    registry.handler("quiet", type=int)(lambda value: value)
    assert registry.apply({"size": 3, "quiet": 1}).reason == "size: from batch 3 on"
    assert registry.apply({"quiet": 2}).reason is None


def test_the_one_that_raised_is_set_back_too():
    """A handler may have done half of its work before it raised."""
    store = Store("ab")

    def set_both(value: int):
        store.now["a"] = value
        if value:
            raise RuntimeError("halfway")
        store.now["b"] = value

    store.registry.handler("both", get=lambda: store.now["b"])(set_both)
    verdict = store.registry.apply({"both": 7})
    assert verdict.reason == "both: RuntimeError: halfway; set back: both"
    assert store.now == {"a": 0, "b": 0}


def test_what_cannot_be_set_back_is_said():
    """Without get and without an earlier value the new one stays, and the reason says so."""
    store = Store("ab", read=False)
    store.raises["b"] = ("before", RuntimeError("no"))
    verdict = store.registry.apply({"a": 1, "b": 1})
    assert "could not set back: b (no earlier value is known), a (no earlier" in verdict.reason
    assert store.registry.values() == {"a": 1}


def test_a_roll_back_that_fails_is_said():
    """A handler that raises when it is given its old value is named with its error."""
    store = Store("ab")

    def set_once(value: int):
        if store.now["a"]:
            raise OSError("once")
        store.now["a"] = value

    store.registry.handler("once", get=lambda: store.now["a"])(set_once)
    store.raises["b"] = ("before", RuntimeError("no"))
    verdict = store.registry.apply({"once": 1, "b": 1})
    assert verdict.reason == (
        "b: RuntimeError: no; could not set back: b (RuntimeError: no), once (OSError: once)"
    )


def test_roll_back_goes_backwards():
    """Handlers that depend on each other are set back last first."""
    order = []
    registry = Registry()
    for name in "abc":
        registry.handler(name, type=int, get=lambda: 0)(_logger(order, name))
    registry.handler("d", type=int)(_raiser(RuntimeError("no")))
    registry.apply({"a": 1, "b": 2, "c": 3, "d": 4})
    assert order == [("a", 1), ("b", 2), ("c", 3), ("c", 0), ("b", 0), ("a", 0)]


def _logger(order, name):
    def set_value(value):
        order.append((name, value))

    return set_value


def _raiser(error):
    def set_value(value):
        raise error

    return set_value


def test_old_values_come_back_in_the_declared_type():
    """What a handler gets back is what it would have been given, not what get happens to hold."""
    seen = []
    now = {"x": [1, 2]}
    registry = Registry()

    def set_x(value: set[int]):
        seen.append(value)
        now["x"].clear()

    registry.handler("x", get=lambda: now["x"])(set_x)
    registry.handler("bad", type=int)(_raiser(RuntimeError("no")))
    registry.apply({"x": [3], "bad": 1})
    assert seen == [{3}, {1, 2}]


def test_an_old_value_outside_of_the_type_comes_back_as_it_was():
    """A start value that the bounds would refuse is still what has to be restored."""
    seen = []
    registry = Registry()
    registry.handler("x", type=int, get=lambda: None)(seen.append)
    registry.handler("bad", type=int)(_raiser(RuntimeError("no")))
    registry.apply({"x": 3, "bad": 1})
    assert seen == [3, None]


def test_a_get_that_fails_afterwards_fails_the_set():
    """Whose new value cannot be read back has not been shown to be applied."""
    store = Store("a")
    state = {"value": 0}

    def get():
        if state["value"] == 13:
            raise LookupError("gone")
        return state["value"]

    def set_value(value: int):
        state["value"] = value

    store.registry.handler("odd", get=get)(set_value)
    verdict = store.registry.apply({"a": 5, "odd": 13})
    assert verdict.kind == "failed"
    assert verdict.reason == "odd: get raised LookupError: gone; set back: odd, a"
    assert 'LookupError("gone")' in verdict.traceback
    assert (store.now["a"], state["value"]) == (0, 0)


@pytest.mark.parametrize("error", [KeyboardInterrupt(), SystemExit(3)])
def test_interrupts_set_back_and_go_on_up(error):
    """Ctrl-C in a handler leaves no half-made change behind, and is not swallowed."""
    store = Store("ab")
    store.raises["b"] = ("before", error)
    with pytest.raises(type(error)):
        store.registry.apply({"a": 1, "b": 1})
    assert store.now == {"a": 0, "b": 0}
    assert not store.registry.specs()[1].quarantined


def test_an_interrupt_during_roll_back_waits_for_its_end():
    """Ctrl-C while old values are given back does not keep the others from theirs."""
    store = Store("abc")
    store.raises["c"] = ("before", RuntimeError("no"))
    calls = []

    def interrupted(value: int):
        calls.append(value)
        if value == 0:
            raise KeyboardInterrupt

    store.registry.handler("mid", get=lambda: 0)(interrupted)
    with pytest.raises(KeyboardInterrupt):
        store.registry.apply({"a": 1, "mid": 1, "c": 1})
    assert calls == [1, 0]
    assert store.now == {"a": 0, "b": 0, "c": 0}


@pytest.mark.parametrize(
    "error", [StopTraining(), GeneratorExit(), asyncio.CancelledError(), RecursionError("deep")]
)
def test_nothing_else_escapes(error):
    """Whatever else a handler raises becomes a failed outcome."""
    store = Store("a")
    store.raises["a"] = ("before", error)
    verdict = store.registry.apply({"a": 1})
    assert verdict.kind == "failed"
    assert type(error).__name__ in verdict.reason


def test_hostile_exceptions_are_reported_all_the_same():
    """An exception that cannot be printed, or that prints a megabyte, ends as a short reason."""

    class MuteError(Exception):
        def __str__(self):
            raise RuntimeError("broken")

    registry = Registry()
    registry.handler("mute", type=int)(_raiser(MuteError()))
    registry.handler("loud", type=int)(_raiser(RuntimeError("x" * 2**20)))
    verdict = registry.apply({"mute": 1})
    assert verdict.reason.startswith("mute: MuteError: (its text cannot be had)")
    registry.handler("lines", type=int)(_raiser(RuntimeError("one\n\n  two")))
    assert registry.apply({"lines": 1}).reason.startswith("lines: RuntimeError: one two;")
    verdict = registry.apply({"loud": 1})
    assert len(verdict.reason) < 1000
    assert len(verdict.traceback) <= MAX_TRACEBACK


def test_the_traceback_is_the_users_and_bounded():
    """The traceback shows the handler's frames and not ours, within 8 KiB, its end included."""

    def dive(depth):
        if depth == 0:
            raise ValueError("bottom")
        return surface(depth - 1) if depth % 3 else dive(depth - 1)

    def surface(depth):
        return dive(depth)

    registry = Registry()
    registry.handler("deep", type=int)(dive)
    verdict = registry.apply({"deep": 300})
    assert len(verdict.traceback) <= MAX_TRACEBACK
    assert verdict.traceback.startswith("Traceback (most recent call last)")
    assert verdict.traceback.endswith("ValueError: bottom\n")
    assert "weavelet/transaction.py" not in verdict.traceback


def test_nothing_of_a_failure_is_kept_alive():
    """A verdict is text: the tensors in the frames that raised are free again."""

    class Tensor:
        pass

    seen = []

    def set_value(value: int):
        tensor = Tensor()
        seen.append(weakref.ref(tensor))
        raise RuntimeError("no")

    registry = Registry()
    registry.handler("x", get=lambda: 0)(set_value)
    verdict = registry.apply({"x": 1})
    gc.collect()
    assert verdict.kind == "failed"
    assert [reference() for reference in seen] == [None, None]


def test_a_handler_may_set_others():
    """A Set within a Set is carried out, and both tell the truth."""
    store = Store("ab")
    inner = []

    def set_all(value: int):
        inner.append(store.registry.apply({"a": value, "b": value}))

    store.registry.handler("all")(set_all)
    verdict = store.registry.apply({"all": 4})
    assert verdict.changes == (Change("all", None, 4),)
    assert inner[0].changes == (Change("a", 0, 4), Change("b", 0, 4))
    assert store.registry.values() == {"a": 4, "b": 4, "all": 4}


def test_a_handler_that_sets_itself_fails_cleanly():
    """Endless recursion through the registry is one failure, not the end of training."""
    registry = Registry()
    registry.handler("loop", get=lambda: 0)(_looper(registry))
    assert registry.apply({"loop": 1}).kind in {"applied", "failed"}
    registry.handler("fine", type=int)(lambda value: None)
    assert registry.apply({"fine": 1}).kind == "applied"


def _looper(registry):
    def set_value(value: int):
        if value:
            registry.apply({"loop": value})

    return set_value


def test_a_handler_may_register_others():
    """Registering while a Set is carried out disturbs neither."""
    store = Store("ab")

    def grow(value: int):
        store.registry.handler("new", type=int)(lambda value: None)

    store.registry.handler("grow")(grow)
    assert store.registry.apply({"a": 1, "grow": 1, "b": 1}).kind == "applied"
    assert store.registry.apply({"new": 1}).kind == "applied"


NAMES = "abcde"
raising = st.dictionaries(st.sampled_from(NAMES), st.sampled_from(["before", "after"]), max_size=3)
sets = st.lists(
    st.tuples(
        st.dictionaries(st.sampled_from(NAMES), st.integers(1, 9), min_size=1),
        raising,
        st.booleans(),
    ),
    max_size=12,
)


@given(sets, st.booleans())
def test_a_set_is_applied_whole_or_not_at_all(commands, read):
    """Whichever handlers raise, before or after their work: all new values, or all old ones."""
    store = Store(NAMES, read=read)
    store.registry.apply(dict.fromkeys(NAMES, 0))
    for values, raises, dry_run in commands:
        before = dict(store.now)
        errors = {name: (when, RuntimeError(name)) for name, when in raises.items()}
        quarantined = {spec.name for spec in store.registry.specs() if spec.quarantined}
        # The fault is gone when the old value is given back, as a full disk or a busy lock is.
        store.raises = _Fleeting(errors)
        verdict = store.registry.apply(values, dry_run=dry_run)
        if verdict.kind == "applied":
            assert store.now == {**before, **values}
            assert not raises.keys() & values.keys()
            assert verdict.changes == tuple(
                Change(name, before[name], new) for name, new in values.items()
            )
        else:
            assert store.now == before
            assert dry_run or raises.keys() & values.keys() or quarantined & values.keys()
            assert (verdict.kind == "failed") <= (verdict.traceback is not None)
        assert store.registry.values() == store.now


class _Fleeting(dict):
    def get(self, name, default=None):
        return self.pop(name, default)
