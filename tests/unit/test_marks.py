"""Marks on methods: how controls of an object are found, named, typed and read."""

from __future__ import annotations

import gc
import operator
import types
import weakref
from typing import Annotated

import pytest
from msgspec import Meta

from weavelet.controls import Change, Registry, action, handler

Rate = Annotated[float, Meta(gt=0, le=1)]


class Trainer:
    """Controls and actions in one class."""

    def __init__(self):
        self.rate = 0.1
        self.depth = 1
        self.touched = False

    @property
    def trap(self):
        """Looking at an object for marks must not run its properties."""
        self.touched = True
        raise RuntimeError

    @handler("lr", get=lambda self: self.rate, unit="1/step", danger=True)
    def set_lr(self, value: Rate):
        """Learning rate."""
        self.rate = value

    @handler
    def set_depth(self, value: int):
        """Depth."""
        self.depth = value

    @action
    def save(self, path: str) -> str:
        """Save it."""
        return f"{self.rate} to {path}"

    @action("reset", idempotent=True)
    @staticmethod
    def forget():
        """Forget all."""
        return "done"

    @handler("seed", get=lambda: 7)
    @classmethod
    def set_seed(cls, value: int):
        """Seed."""


def registered(obj):
    """A registry with an object's controls."""
    registry = Registry()
    registry.register(obj)
    return registry


def test_an_objects_marked_methods_are_collected():
    """All forms of marks are found, in the order of definition, bound to the object."""
    trainer = Trainer()
    registry = registered(trainer)
    specs = registry.specs()
    assert [(spec.name, spec.kind) for spec in specs] == [
        ("lr", "control"),
        ("set_depth", "control"),
        ("save", "action"),
        ("reset", "action"),
        ("seed", "control"),
    ]
    assert (specs[0].unit, specs[0].danger, specs[0].value) == ("1/step", True, 0.1)
    assert specs[3].idempotent
    assert registry.apply({"lr": 0.5}).changes == (Change("lr", 0.1, 0.5),)
    assert registry.run("save", {"path": "x"}).result == "0.5 to x"
    assert registry.run("reset", {}).result == "done"
    assert registry.values() == {"lr": 0.5, "seed": 7}
    assert not trainer.touched


def test_marked_methods_stay_ordinary_methods():
    """A mark changes nothing in how the method is called."""
    trainer = Trainer()
    trainer.set_lr(0.9)
    assert (trainer.rate, Trainer.forget(), trainer.forget()) == (0.9, "done", "done")


def test_subclasses_inherit_marks_and_may_replace_them():
    """An inherited method is a control; one that is overridden is what the override says."""

    class Finer(Trainer):
        def set_depth(self, value: int):
            """Not marked any more."""

        @handler("rate")
        def set_lr(self, value: Rate):
            """By another name."""

    names = [spec.name for spec in registered(Finer()).specs()]
    assert names == ["rate", "save", "reset", "seed"]


def test_local_names_in_annotations_are_found_later():
    """A class inside a function may use that function's names, wherever it is registered."""
    bound = Meta(ge=3)

    class Local:
        limit = Meta(le=9)

        @handler
        def both(self, value: Annotated[int, bound, limit]):
            """Both come from around the method."""

    registry = registered(Local())
    assert registry.apply({"both": 2}).kind == "rejected"
    assert registry.apply({"both": 10}).kind == "rejected"
    assert registry.apply({"both": 5}).kind == "applied"


def test_a_mark_keeps_nothing_of_the_function_around_it():
    """Marking a method does not keep a model alive that happens to be in scope."""

    class Model:
        pass

    def define():
        model = Model()

        class Local:
            @handler
            def rate(self, value: Rate):
                """Use no name from around."""

        return Local, weakref.ref(model)

    local, model = define()
    gc.collect()
    assert model() is None
    assert registered(local()).specs()[0].name == "rate"


def test_get_may_be_an_attrgetter():
    """What has no signature is taken to want the object."""

    class Local:
        rate = 0.25

        @handler("lr", get=operator.attrgetter("rate"))
        def set_rate(self, value: Rate):
            """Set it."""

    assert registered(Local()).values() == {"lr": 0.25}


def test_a_marked_function_and_a_module_of_them_can_be_registered():
    """Marks also work outside of classes."""

    @handler("lr", get=lambda: 0.5)
    def set_lr(value: Rate):
        """Set it."""

    module = types.ModuleType("knobs")
    module.set_lr = set_lr
    module.other = 3
    assert registered(set_lr).values() == {"lr": 0.5}
    assert registered(module).values() == {"lr": 0.5}


def test_an_object_without_marks_is_refused():
    """What has nothing to offer is a mistake, unless said otherwise, and so is a class."""
    with pytest.raises(TypeError, match="no methods marked"):
        Registry().register(object())
    Registry().register(object(), strict=False)
    with pytest.raises(TypeError, match="give an instance"):
        Registry().register(Trainer)


def test_an_object_is_registered_whole_or_not_at_all():
    """One bad method leaves none of the others behind."""

    class Bad:
        @handler
        def good(self, value: int):
            """Fine."""

        @handler
        def bad(self, value):
            """Not fine."""

    registry = Registry()
    with pytest.raises(TypeError, match="no annotation"):
        registry.register(Bad())
    assert (registry.specs(), registry.version) == ((), 0)


def test_two_methods_of_one_name_are_a_duplicate():
    """Within one object a name can be given once."""

    class Twice:
        @handler("lr")
        def first(self, value: int):
            """One."""

        @handler("lr")
        def second(self, value: int):
            """Two."""

    with pytest.raises(ValueError, match="'lr' is a duplicate"):
        Registry().register(Twice())


def test_a_new_object_of_the_class_replaces_the_old():
    """In a notebook the object is made anew, and commands go to the new one."""
    first, second = Trainer(), Trainer()
    registry = registered(first)
    registry.register(second)
    registry.apply({"lr": 0.7})
    assert (first.rate, second.rate) == (0.1, 0.7)


def test_only_functions_can_be_marked():
    """A number in place of the name is refused where it stands."""
    with pytest.raises(TypeError, match="expected a name or a function, got 3"):
        handler(3)
