"""The floors in pyproject.toml are those that are tested."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def floors():
    """The lower bounds of what runs without a framework: the core, the weaver and the tests."""
    tomllib = pytest.importorskip("tomllib")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    extras = project["optional-dependencies"]
    wanted = [*project["dependencies"], *extras["weaver"], *extras["test"]]
    matches = (re.match(r"([\w-]+)(?:\[.*\])?>=([\d.]+)", line) for line in wanted)
    return {match[1]: match[2] for match in matches if match}


def pins(name):
    """The pins of a constraints file."""
    lines = (ROOT / name).read_text("utf-8").splitlines()
    return dict(line.split("==") for line in lines if "==" in line)


def test_floors_are_what_is_tested():
    """What floors.txt installs is, package by package, the least that pyproject.toml allows."""
    tested = pins("floors.txt")
    for package, floor in floors().items():
        parts = floor.split(".")
        assert tested[package].split(".")[: len(parts)] == parts, package
