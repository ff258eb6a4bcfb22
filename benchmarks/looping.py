"""A training loop with a fixed work: `python looping.py SECONDS STEPS`, JSON out.

Steps take turns: plain, steered, plain. `calls` is what poll and report took in each steered one.
"""

from __future__ import annotations

import json
import sys
import time

from measure import Work, until

import weavelet


def main(seconds: float, steps: int) -> None:
    work = Work(seconds)
    clock = time.perf_counter
    times: dict[str, list[float]] = {"plain": [], "steered": [], "again": [], "calls": []}
    with weavelet.session("loops") as session:
        until(lambda: session.poll(0) or session._safe_point.position is not None)
        for step in range(steps):
            for name in ("plain", "steered", "again"):
                began = clock()
                if name == "steered":
                    session.poll(step)
                    polled = clock()
                    work()
                    worked = clock()
                    session.report(step, loss=0.5, accuracy=0.25, lr=1e-3)
                    ended = clock()
                    times["calls"].append(polled - began + ended - worked)
                else:
                    clock()
                    work()
                    clock()
                    ended = clock()
                times[name].append(ended - began)
    json.dump(times, sys.stdout)


if __name__ == "__main__":
    main(float(sys.argv[1]), int(sys.argv[2]))
