"""A training loop with a fixed work: `python looping.py STEP_SECONDS SECONDS`, JSON out.

Blocks of some steps take turns: plain, steered, plain. Out come the mean seconds of a step in each
block, and of what poll and report took in each steered one.
"""

from __future__ import annotations

import json
import sys
import time

from measure import Work, until

import weavelet

BLOCK_SECONDS = 0.2


def main(step_seconds: float, seconds: float) -> None:
    work = Work(step_seconds)
    clock = time.perf_counter
    length = max(2, round(BLOCK_SECONDS / step_seconds))
    blocks: dict[str, list[float]] = {"plain": [], "steered": [], "again": [], "calls": []}
    with weavelet.session("loops") as session:
        until(lambda: session.poll(0) or session._safe_point.position is not None)
        deadline = clock() + seconds
        while clock() < deadline:
            for name in ("plain", "steered", "again"):
                calls = 0.0
                began = clock()
                for step in range(length):
                    if name == "steered":
                        first = clock()
                        session.poll(step)
                        second = clock()
                        work()
                        third = clock()
                        session.report(step, loss=0.5, accuracy=0.25, lr=1e-3)
                        calls += second - first + clock() - third
                    else:
                        clock()
                        clock()
                        work()
                        clock()
                        clock()
                blocks[name].append((clock() - began) / length)
                if name == "steered":
                    blocks["calls"].append(calls / length)
    json.dump(blocks, sys.stdout)


if __name__ == "__main__":
    main(float(sys.argv[1]), float(sys.argv[2]))
