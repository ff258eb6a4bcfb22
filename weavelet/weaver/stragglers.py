"""Which replica the others wait for, by how long a step takes each of them on its own. Pure."""

from __future__ import annotations

import statistics
from collections.abc import Mapping

STANDS_OUT = 1.5
"""Times the median of the others from which a replica is the slowest one."""
STAYS_OUT = 1.25
"""As long as it holds this, it stays so: at the edge the name must not come and go."""
LEAST_SECONDS = 0.001
"""Below this a difference in a step is taken for noise."""


def slowest(work: Mapping[str, float | None], before: str | None = None) -> str | None:
    """The replica that stands out, None where none does.

    `work` is in seconds a step by replica, None where that cannot be told; `before` is what was
    said last.
    """
    known = {name: seconds for name, seconds in work.items() if seconds is not None}
    if len(known) < 2:
        return None
    most = max(known, key=lambda name: known[name])
    others = statistics.median(seconds for name, seconds in known.items() if name != most)
    ratio = STAYS_OUT if most == before else STANDS_OUT
    stands_out = known[most] > max(others * ratio, others + LEAST_SECONDS)
    return most if stands_out else None
