"""Controls and an action without any server: what an operator sends is queued by hand.

python examples/01_handlers.py
"""

from __future__ import annotations

from typing import Annotated, Literal

import weavelet
from weavelet.testing import local_session

settings = {"lr": 0.1, "schedule": "cosine"}

with local_session() as w:

    @w.handler("lr", get=lambda: settings["lr"])
    def set_lr(value: Annotated[float, weavelet.Meta(gt=0, le=1)]) -> None:
        """Learning rate."""
        settings["lr"] = value

    @w.handler("schedule", get=lambda: settings["schedule"])
    def set_schedule(value: Literal["cosine", "linear"]) -> None:
        settings["schedule"] = value

    @w.action("describe")
    def describe(digits: int = 2) -> dict[str, str]:
        return {"lr": f"{settings['lr']:.{digits}f}"}

    w.push(lr="0.01")  # text is converted: this is what `weavelet set RUN lr=0.01` sends
    w.push(lr="banana")  # refused, and nothing is touched
    w.push(lr=0.5, schedule="triangle")  # refused as a whole: all or nothing
    w.act("describe", digits=3)

    for step in range(3):
        for change in w.poll(step):
            print(f"step {step}: {change.name} {change.old} -> {change.new}")

    for outcome in w.outcomes:
        print(outcome.kind, outcome.reason or outcome.result or "")
