"""Checked by mypy, never run: decorating keeps a function's type."""

from __future__ import annotations

from collections.abc import Callable

from typing_extensions import assert_type

from weavelet.controls import Registry, Verdict, action, handler

registry = Registry()


@registry.handler("lr")
def set_lr(value: float) -> None: ...


@registry.action()
def save(path: str, keep: int = 3) -> str:
    return path


assert_type(set_lr(0.1), None)
assert_type(save("a", keep=1), str)
assert_type(registry.apply({"lr": 0.1}), Verdict)
set_lr("fast")  # type: ignore[arg-type]
save(3)  # type: ignore[arg-type]


class Trainer:
    @handler("lr", get=lambda self: 0.1, unit="1/step")
    def set_lr(self, value: float) -> None: ...

    @handler
    def depth(self, value: int) -> None: ...

    @action
    def save(self, path: str) -> str:
        return path

    @action("reset", danger=True)
    def forget(self) -> None: ...


trainer = Trainer()
assert_type(trainer.set_lr(0.1), None)
assert_type(trainer.save("a"), str)
bound: Callable[[int], None] = trainer.depth
trainer.depth("deep")  # type: ignore[arg-type]
trainer.forget(1)  # type: ignore[call-arg]
handler(3)  # type: ignore[call-overload]
