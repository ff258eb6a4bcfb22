"""The registry: what is accepted, what is applied, and what is said about it."""

from __future__ import annotations

import dataclasses
import enum
import json
import subprocess
import sys
import time
from typing import Annotated, Any, Literal

import msgspec
import pytest
from msgspec import Meta

from weavelet.controls import Change, Registry

Rate = Annotated[float, Meta(gt=0, le=1)]


class Knobs:
    """Things to be set, and a registry that sets them."""

    def __init__(self):
        self.registry = Registry()
        self.now = {}
        self.calls = []

    def add(self, name, declared=float, *, start=None, read=True, **options):
        """Register a control of this type; with `read` it has a get."""
        self.now[name] = start

        def set_value(value):
            self.calls.append((name, value))
            self.now[name] = value

        get = (lambda: self.now[name]) if read else None
        self.registry.handler(name, type=declared, get=get, **options)(set_value)


@pytest.fixture
def knobs():
    """A fresh registry with something to set."""
    return Knobs()


def test_a_set_says_from_what_to_what(knobs):
    """Each control that was set is reported with its old and its new value, in the order given."""
    knobs.add("lr", Rate, start=0.1)
    knobs.add("steps", int, start=5)
    verdict = knobs.registry.apply({"steps": 7, "lr": 0.01})
    assert verdict.kind == "applied"
    assert verdict.changes == (Change("steps", 5, 7), Change("lr", 0.1, 0.01))
    assert knobs.now == {"lr": 0.01, "steps": 7}
    assert knobs.calls == [("steps", 7), ("lr", 0.01)]


def test_the_new_value_is_what_get_then_says(knobs):
    """A handler that clamps is not reported as having done what it was asked."""
    now = [1.0]
    knobs.registry.handler("x", type=float, get=lambda: now[0])(
        lambda value: now.__setitem__(0, min(value, 2.0))
    )
    assert knobs.registry.apply({"x": 9}).changes == (Change("x", 1.0, 2.0),)


def test_without_get_the_last_applied_is_the_old_value(knobs):
    """A control without get starts unknown and then remembers what was applied."""
    knobs.add("lr", start=0.5, read=False)
    assert knobs.registry.values() == {}
    assert knobs.registry.apply({"lr": 1}).changes == (Change("lr", None, 1.0),)
    assert knobs.registry.apply({"lr": 2}).changes == (Change("lr", 1.0, 2.0),)
    assert knobs.registry.values() == {"lr": 2.0}


@pytest.mark.parametrize(
    ("declared", "text", "value"),
    [
        (float, "0.001", 0.001),
        (float, "1e-3", 0.001),
        (int, "12", 12),
        (bool, "true", True),
        (bool, "1", True),
        (bool, "0", False),
        (int | None, "null", None),
        (int | str, "12", "12"),
        (Literal["a", "b"], "a", "a"),
    ],
)
def test_text_is_read_by_lax_rules(knobs, declared, text, value):
    """What an operator types arrives in the handler as the declared type."""
    knobs.add("x", declared)
    assert knobs.registry.apply({"x": text}).kind == "applied"
    assert knobs.now["x"] == value
    assert type(knobs.now["x"]) is type(value)


@pytest.mark.parametrize(
    ("declared", "value", "reason"),
    [
        (Rate, "banana", "x: expected float > 0 and <= 1, got 'banana'"),
        (Rate, 2, "x: expected float > 0 and <= 1, got 2"),
        (Rate, float("nan"), "x: expected float > 0 and <= 1, got nan"),
        (Rate, float("inf"), "x: expected float > 0 and <= 1, got inf"),
        (float, True, "x: expected float, got True"),
        (int, 1.5, "x: expected int, got 1.5"),
        (bool, "yes", "x: expected bool, got 'yes'"),
        (Literal["a", "b"], "c", "x: expected one of 'a', 'b', got 'c'"),
        (list[int], [1, 2, "q"], "x: expected int at $[2], got 'q'"),
        (tuple[int, float], [1], "x: expected list of (int, float), got [1]"),
        (dict[str, Rate], {"a": 7}, "x: expected float > 0 and <= 1 at $['a'], got 7"),
        (int | None, "q", "x: expected int or null, got 'q'"),
        (Annotated[str, Meta(max_length=2)], "abc", "x: expected str of length <= 2, got 'abc'"),
    ],
)
def test_a_value_that_does_not_fit_is_refused(knobs, declared, value, reason):
    """The reason says what was expected, what was got, and where."""
    knobs.add("x", declared)
    verdict = knobs.registry.apply({"x": value})
    assert verdict.kind == "rejected"
    assert verdict.reason == reason
    assert knobs.calls == []


def test_a_reason_stays_short_however_large_the_value(knobs):
    """A megabyte of nonsense does not come back as a megabyte of reason."""
    knobs.add("lr", Rate)
    knobs.add("mode", Literal["a", "b"])
    knobs.add("rates", dict[str, list[int]])
    huge = "x" * 2**20
    verdict = knobs.registry.apply(
        {"lr": huge, "mode": huge, "rates": {huge: [huge] * 9}, huge: 1}, expect={huge: huge}
    )
    assert verdict.kind == "rejected"
    assert len(verdict.reason) < 2000
    assert len(knobs.registry.run(huge, {huge: huge}).reason) < 500


def test_a_large_value_is_applied_whole(knobs):
    """A value has no limit of its own."""
    knobs.add("prompt", str, start="")
    assert knobs.registry.apply({"prompt": "x" * 2**20}).kind == "applied"
    assert len(knobs.now["prompt"]) == 2**20


def test_all_problems_are_named_at_once(knobs):
    """The operator learns of everything that is wrong with a Set, not of one thing a try."""
    knobs.add("lr", Rate)
    knobs.add("steps", int)
    verdict = knobs.registry.apply({"lr": 3, "steps": "q", "nope": 1})
    assert "lr: expected float" in verdict.reason
    assert "steps: expected int, got 'q'" in verdict.reason
    assert "nope: unknown control; known here: lr, steps" in verdict.reason


def test_one_bad_value_leaves_all_untouched(knobs):
    """A Set is validated whole before the first handler runs."""
    knobs.add("lr", Rate, start=0.1)
    knobs.add("steps", int, start=5)
    assert knobs.registry.apply({"lr": 0.2, "steps": "q"}).kind == "rejected"
    assert knobs.calls == []
    assert knobs.now == {"lr": 0.1, "steps": 5}


@dataclasses.dataclass
class Point:
    """Somewhere."""

    x: int
    y: list[float] = dataclasses.field(default_factory=list)


class Circle(msgspec.Struct, tag=True):
    """Of a radius."""

    centre: Point
    radius: float = 1.0


class Square(msgspec.Struct, tag=True):
    """Of a side."""

    side: float


class Pair(msgspec.Struct, array_like=True):
    """Two numbers in a list."""

    a: int
    b: int = 0


class Colour(enum.Enum):
    """Enums are shown by name."""

    RED = "r"
    BLUE = "b"


@pytest.mark.parametrize(
    ("declared", "value", "reason"),
    [
        (Point, {"x": 1, "z": 2}, "unknown field 'z' (known: x, y)"),
        (list[Point], [{"x": 1}, {"x": 1, "z": 2}], "unknown field 'z' (known: x, y) at $[1]"),
        (
            Circle | Square,
            {"type": "Circle", "centre": {"x": 1, "z": 2}},
            "unknown field 'z' (known: x, y) at $.centre",
        ),
        (Circle | Square, {"type": "Square", "side": 2, "radius": 1}, "unknown field 'radius'"),
        (dict[str, Point | None], {"k": {"x": 1, "z": 0}}, "(known: x, y) at $['k']"),
        (Pair, [1, 2, 3], "3 items where a, b is expected"),
        (Point, {"y": []}, "object missing required field `x`"),
        (Point, {"x": 1, "y": [0, "q"]}, "expected float at $.y[1], got 'q'"),
    ],
)
def test_structures_are_refused_with_the_place(knobs, declared, value, reason):
    """Extra fields, which msgspec lets pass, are refused like wrong ones, wherever they are."""
    knobs.add("x", declared)
    verdict = knobs.registry.apply({"x": value})
    assert verdict.kind == "rejected"
    assert reason in verdict.reason
    assert knobs.calls == []


def test_structures_arrive_in_their_own_type(knobs):
    """A dataclass, an enum and a tagged struct reach the handler as what they are."""
    knobs.add("point", Point)
    knobs.add("colour", Colour, start=Colour.BLUE)
    knobs.add("shape", Circle | Square)
    knobs.add("ids", set[int], start=set())
    values = {
        "point": {"x": 1, "y": [2]},
        "colour": "r",
        "shape": {"type": "Square", "side": 3},
        "ids": [3, 1, 2],
    }
    verdict = knobs.registry.apply(values)
    assert verdict.kind == "applied"
    assert knobs.now == {
        "point": Point(1, [2.0]),
        "colour": Colour.RED,
        "shape": Square(3.0),
        "ids": {1, 2, 3},
    }
    assert verdict.changes[1] == Change("colour", "b", "r")
    assert verdict.changes[3] == Change("ids", [], [1, 2, 3])


def test_a_validator_of_the_users_may_raise_anything(knobs):
    """A __post_init__ that raises refuses the value; it does not end training."""

    @dataclasses.dataclass
    class Ratio:
        over: int

        def __post_init__(self):
            self.value = 1 / self.over

    knobs.add("ratio", Ratio)
    verdict = knobs.registry.apply({"ratio": {"over": 0}})
    assert verdict.kind == "rejected"
    assert "ZeroDivisionError" in verdict.reason


def test_an_integer_beyond_64_bits_is_refused(knobs):
    """What no message can carry is refused before it is applied."""
    knobs.add("n", int)
    assert "more than 64 bits" in knobs.registry.apply({"n": 2**63}).reason
    assert knobs.registry.apply({"n": 2**63 - 1}).kind == "applied"


def test_expect_holds_or_nothing_happens(knobs):
    """`expect` compares with the current value, in the control's type, and names it."""
    knobs.add("lr", Rate, start=0.1)
    knobs.add("other", float, read=False)
    refused = knobs.registry.apply({"lr": 0.2}, expect={"lr": 0.3})
    assert refused.kind == "rejected"
    assert refused.reason == "lr: expected to be 0.3, but it is 0.1"
    assert "not known" in knobs.registry.apply({"lr": 0.2}, expect={"other": 1}).reason
    assert "unknown control" in knobs.registry.apply({"lr": 0.2}, expect={"nope": 1}).reason
    assert knobs.calls == []
    assert knobs.registry.apply({"lr": 0.2}, expect={"lr": "0.1"}).kind == "applied"


def test_expecting_nan_finds_nan(knobs):
    """NaN is a value like any other to `expect`."""
    knobs.add("x", float, start=float("nan"))
    assert knobs.registry.apply({"x": 1}, expect={"x": "NaN"}).kind == "applied"


def test_a_dry_run_touches_nothing(knobs):
    """A dry run ends as skipped, with what would change, or as rejected."""
    knobs.add("lr", Rate, start=0.1)
    verdict = knobs.registry.apply({"lr": "0.2"}, dry_run=True)
    assert (verdict.kind, verdict.reason) == ("skipped", "dry run")
    assert verdict.changes == (Change("lr", 0.1, 0.2),)
    assert knobs.registry.apply({"lr": 2}, dry_run=True).kind == "rejected"
    assert knobs.registry.apply({"lr": 0.2}, expect={"lr": 1}, dry_run=True).kind == "rejected"
    assert knobs.calls == []


def test_a_get_that_raises_refuses_the_set(knobs):
    """Without the old value nothing is touched, and the reason says whose get it was."""
    knobs.add("lr", Rate, start=0.1)
    knobs.registry.handler("broken", type=int, get=lambda: 1 // 0)(lambda value: None)
    verdict = knobs.registry.apply({"lr": 0.2, "broken": 1})
    assert verdict.kind == "rejected"
    assert verdict.reason.startswith("broken: get raised ZeroDivisionError")
    assert "1 // 0" in verdict.traceback
    assert knobs.calls == []
    assert knobs.registry.values() == {"lr": 0.1}
    assert [spec.value for spec in knobs.registry.specs()] == [0.1, None]


def test_get_may_return_what_other_libraries_count_with(knobs):
    """Arrays and scalars of other libraries are read as numbers and lists."""

    class Tensor:
        def __init__(self, data):
            self.data = data

        def tolist(self):
            return self.data

    class Kelvin(float):
        pass

    knobs.add("lr", Rate, start=Tensor(0.5))
    knobs.add("betas", list[float], start=Tensor([0.5, 1]))
    knobs.add("heat", float, start=Kelvin(3))
    assert knobs.registry.values() == {"lr": 0.5, "betas": [0.5, 1.0], "heat": 3.0}
    assert knobs.registry.apply({"lr": 1}).changes == (Change("lr", 0.5, 1.0),)


def test_what_get_returns_must_be_sendable(knobs):
    """An object that no message can carry is not mistaken for a value."""
    knobs.add("lr", Rate, start=object())
    verdict = knobs.registry.apply({"lr": 0.2})
    assert verdict.kind == "rejected"
    assert "lr: what get returns cannot be sent" in verdict.reason
    assert knobs.registry.values() == {}


def test_values_are_in_the_declared_type(knobs):
    """1 and 1.0 of a float control are one value, also in the hash over ranks."""
    knobs.add("lr", float, start=1)
    first = knobs.registry.state()
    knobs.now["lr"] = 1.0
    assert knobs.registry.state() == first
    knobs.now["lr"] = 1.5
    assert knobs.registry.state() != first


STATE = """
import sys
from weavelet.controls import Registry
r = Registry()
now = {"names": {"a", "b", "c", "delta"}, "rates": {"x": 1.0, "y": float("nan")}, "n": 3}
types = {"names": set[str], "rates": dict[str, float], "n": int}
for name in sys.argv[1:]:
    r.handler(name, type=types[name], get=lambda name=name: now[name])(lambda value: None)
print(r.state())
"""


def test_the_state_is_the_same_in_every_process():
    """The hash depends neither on hash seeds nor on the order of registration."""
    states = set()
    for seed, names in (("1", ["names", "rates", "n"]), ("2", ["n", "names", "rates"])):
        command = [sys.executable, "-c", STATE, *names]
        done = subprocess.run(
            command, capture_output=True, text=True, check=True, env={"PYTHONHASHSEED": seed}
        )
        states.add(done.stdout)
    assert len(states) == 1
    assert len(states.pop().strip()) == 12


def test_three_failures_in_a_row_quarantine(knobs):
    """A control that fails thrice is refused until its handler is registered again."""
    fail = [True]

    def set_lr(value: float):
        if fail[0]:
            raise RuntimeError("no")

    knobs.registry.handler("lr")(set_lr)
    before = knobs.registry.version
    for _ in range(2):
        assert knobs.registry.apply({"lr": 1}).kind == "failed"
    assert knobs.registry.version == before
    assert "quarantined" in knobs.registry.apply({"lr": 1}).reason
    assert knobs.registry.version == before + 1
    assert knobs.registry.specs()[0].quarantined
    fail[0] = False
    refused = knobs.registry.apply({"lr": 1})
    assert refused.kind == "rejected"
    assert "register its handler again" in refused.reason
    assert "RuntimeError: no" in refused.reason
    assert knobs.registry.apply({"lr": 1}, dry_run=True).kind == "rejected"
    knobs.registry.handler("lr")(set_lr)
    assert not knobs.registry.specs()[0].quarantined
    assert knobs.registry.apply({"lr": 1}).kind == "applied"


def test_success_and_refusal_do_not_count_towards_quarantine(knobs):
    """Only failures of the handler count, and a success starts the count anew."""

    @knobs.registry.handler("lr", type=float)
    def set_lr(value):
        if value < 0:
            raise RuntimeError("no")

    for value in (-1, -1, "q", 1, -1, -1, "q", "q"):
        knobs.registry.apply({"lr": value})
    assert knobs.registry.apply({"lr": 1}).kind == "applied"


def test_registering_the_same_function_again_replaces_it(knobs):
    """Running a notebook cell twice is no error; another function under the name is one."""

    def define(log):
        @knobs.registry.handler("lr")
        def set_lr(value: float):
            log.append(value)

    first, second = [], []
    define(first)
    version = knobs.registry.version
    define(second)
    assert knobs.registry.version > version
    knobs.registry.apply({"lr": 1})
    assert (first, second) == ([], [1.0])
    with pytest.raises(ValueError, match="'lr' is a duplicate"):
        knobs.add("lr")
    with pytest.raises(ValueError, match="'lr' is a duplicate"):
        knobs.registry.action("lr")(lambda: None)


def test_actions_take_named_arguments_and_return_results(knobs):
    """An action's arguments are decoded by its annotations, its result is plain data."""

    @knobs.registry.action(scope=locals())
    def save(path: str, keep: int = 3, colour: Colour = Colour.RED) -> dict[str, Any]:
        return {"path": path, "keep": keep, "colour": colour, "at": Point(1)}

    verdict = knobs.registry.run("save", {"path": "a", "keep": "5"})
    assert verdict.kind == "applied"
    assert verdict.result == {"path": "a", "keep": 5, "colour": "r", "at": {"x": 1, "y": []}}
    assert list(verdict.result) == ["path", "keep", "colour", "at"]


def test_wrong_arguments_of_actions_are_refused(knobs):
    """Wrong, unknown and missing arguments are all named, and the action does not run."""
    ran = []

    @knobs.registry.action()
    def save(path: str, keep: int = 3):
        ran.append(path)

    verdict = knobs.registry.run("save", {"keep": "q", "nope": 1})
    assert verdict.kind == "rejected"
    assert "keep: expected int, got 'q'" in verdict.reason
    assert "unknown argument 'nope' (known: path, keep)" in verdict.reason
    assert "argument 'path' is missing" in verdict.reason
    assert "known here: save" in knobs.registry.run("sav", {}).reason
    assert ran == []


def test_an_action_that_raises_has_failed(knobs):
    """Whatever an action raises becomes an outcome; an interrupt goes on up."""

    class Odd(BaseException):
        pass

    @knobs.registry.action()
    def explode(how: int):
        raise (ValueError("bang"), Odd("odd"), KeyboardInterrupt(), SystemExit(3))[how]

    verdict = knobs.registry.run("explode", {"how": 0})
    assert (verdict.kind, verdict.reason) == ("failed", "explode: ValueError: bang")
    assert "raise (ValueError" in verdict.traceback
    assert "weavelet" not in verdict.traceback
    assert knobs.registry.run("explode", {"how": 1}).kind == "failed"
    with pytest.raises(KeyboardInterrupt):
        knobs.registry.run("explode", {"how": 2})
    with pytest.raises(SystemExit):
        knobs.registry.run("explode", {"how": 3})


def test_a_result_that_cannot_be_sent_leaves_the_action_applied(knobs):
    """The action has run, and saying otherwise would be a lie; the reason tells of the result."""
    knobs.registry.action("make")(lambda: sys)
    verdict = knobs.registry.run("make", {})
    assert verdict.kind == "applied"
    assert "make: it ran, but its result cannot be sent" in verdict.reason
    assert "<module 'sys' (built-in)>" in verdict.reason


def test_controls_and_actions_are_not_mixed_up(knobs):
    """Setting an action and running a control are refused with a word of what it is."""
    knobs.add("lr")
    knobs.registry.action("save")(lambda: None)
    assert knobs.registry.apply({"save": 1}).reason.startswith("save: an action")
    assert knobs.registry.run("lr", {}).reason.startswith("lr: a control")


def test_specs_say_everything_a_form_needs(knobs):
    """The spec carries the schema with unit, danger, description and the current value."""
    knobs.add("lr", Rate, start=0.1, unit="1/step", danger=True, doc="The rate.", idempotent=True)
    (spec,) = knobs.registry.specs()
    assert json.loads(spec.schema) == {
        "type": "number",
        "exclusiveMinimum": 0,
        "maximum": 1,
        "description": "The rate.",
        "x-danger": True,
        "x-unit": "1/step",
    }
    assert (spec.name, spec.kind, spec.value) == ("lr", "control", 0.1)
    assert (spec.unit, spec.doc, spec.danger, spec.idempotent) == (
        "1/step",
        "The rate.",
        True,
        True,
    )


def test_the_docstring_is_the_doc(knobs):
    """Without `doc` the first paragraph of the docstring describes the control."""

    @knobs.registry.handler()
    def lr(value: float):
        """The learning rate
        of all groups.

        Not this.
        """

    assert knobs.registry.specs()[0].doc == "The learning rate of all groups."


def test_ten_controls_are_set_within_a_fraction_of_a_millisecond(knobs):
    """Applying a Set costs little beside the handlers' own time."""
    for at in range(10):
        knobs.add(f"c{at}", Rate, start=0.5)
    values = {f"c{at}": 0.25 for at in range(10)}
    best = min(_seconds(lambda: knobs.registry.apply(values)) for _ in range(200))
    assert best < 200e-6


def test_a_hundred_registrations_are_quick():
    """Start-up does not notice how many controls there are."""

    def set_value(value: Rate):
        pass

    def register():
        registry = Registry()
        for at in range(100):
            registry.handler(f"c{at}")(set_value)

    assert min(_seconds(register) for _ in range(5)) < 20e-3


def _seconds(work):
    began = time.perf_counter()
    work()
    return time.perf_counter() - began
