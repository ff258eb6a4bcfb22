"""What was measured, and the table of it."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Figure:
    """One number; with `at_most`, also what it must hold."""

    name: str
    value: float
    unit: str
    at_most: float | None = None
    note: str = ""

    @property
    def holds(self) -> bool | None:
        """Whether it holds what it must; None where it is only there to compare."""
        return None if self.at_most is None else self.value <= self.at_most

    def row(self) -> tuple[str, ...]:
        """The cells of its line."""
        verdict = {None: "", True: "yes", False: "NO"}[self.holds]
        bound = "" if self.at_most is None else f"<= {_short(self.at_most)}"
        return self.name, _short(self.value), self.unit, bound, verdict, self.note


class Figures:
    """All figures of one run, in order."""

    def __init__(self) -> None:
        self.all: list[Figure] = []

    def add(
        self,
        name: str,
        value: float,
        unit: str,
        *,
        at_most: float | None = None,
        note: str = "",
    ) -> None:
        """Put a number into the table."""
        self.all.append(Figure(name, value, unit, at_most, note))

    def table(self) -> list[str]:
        """The lines of the table, and what it was measured on."""
        head = ("figure", "measured", "unit", "must hold", "holds", "")
        lines = _aligned([head, *(figure.row() for figure in self.all)])
        held = [figure.holds for figure in self.all if figure.holds is not None]
        return [*lines, "", f"{sum(held)} of {len(held)} hold, on {machine()}"]

    def as_data(self) -> list[dict[str, Any]]:
        """For JSON."""
        return [{**asdict(figure), "holds": figure.holds} for figure in self.all]


def machine() -> str:
    """Where, on what, and how busy it was."""
    load = " ".join(f"{value:.1f}" for value in os.getloadavg())
    return (
        f"{_processor()}, {os.cpu_count()} CPUs, {platform.system()} {platform.release()}, "
        f"Python {platform.python_version()}, load {load}"
    )


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def _short(value: float) -> str:
    return f"{value:.3g}" if abs(value) < 1000 else f"{value:,.0f}"


def _aligned(rows: Iterable[tuple[str, ...]]) -> list[str]:
    rows = list(rows)
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    numbers = (1, 3)
    return [
        "  ".join(
            cell.rjust(width) if at in numbers else cell.ljust(width)
            for at, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
