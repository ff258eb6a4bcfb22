"""Rules that steer while you sleep: pause when the loss is no number, halve the rate on a plateau.

This file is the rules, and with the word `train` a training that they catch.

weavelet up --rules examples/12_rules.py
python examples/12_rules.py train
weavelet log 12_rules
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator

import weavelet
from weavelet.weaver.remedies import pause_on_bad_loss, scale_lr_on_plateau
from weavelet.weaver.rules import Fleet, Order, Set, rule

bad = pause_on_bad_loss("loss")
plateau = scale_lr_on_plateau("loss", control="lr", factor=0.5, patience=2000)


@rule(every=1.0)
def calm_down(fleet: Fleet) -> Iterator[Order]:
    """Halve the learning rate where the gradient is large, once for each rate."""
    for job in fleet.jobs:
        for replica in job.replicas:
            lr, norm = replica.controls.get("lr"), replica.metrics.get("grad_norm", 0.0)
            if isinstance(lr, float) and isinstance(norm, float) and norm > 100:
                yield Set(job, {"lr": lr / 2}, {"lr": lr}, key=f"{lr!r}")


def main() -> None:
    lr, weight = 1.1, 1.0
    with weavelet.session("trainer-0", run="12_rules") as w:

        @w.handler("lr", get=lambda: lr)
        def set_lr(value: float) -> None:
            nonlocal lr
            lr = value

        step = 0
        while True:
            for change in w.poll(step):
                print(f"step {step}: {change.name} {change.old} -> {change.new}", flush=True)
            # Gradient descent on the square of the weight: above a rate of 1 it runs away.
            weight -= lr * 2 * weight
            w.report(step, loss=weight * weight if abs(weight) < 1e150 else float("nan"))
            step += 1
            time.sleep(0.005)


if __name__ == "__main__" and sys.argv[1:] == ["train"]:
    main()
