"""How long the tests may take, and the figures that they measured."""

from __future__ import annotations

import hypothesis
import pytest

# How long an example takes says more about the machine than about the code.
hypothesis.settings.register_profile("no-deadline", deadline=None)
hypothesis.settings.load_profile("no-deadline")

_FIGURES = pytest.StashKey[list[str]]()
_LONG_SECONDS = 4 * 3600


def pytest_addoption(parser):
    parser.addoption(
        "--full",
        action="store_true",
        help="fault and fuzz tests in the size of the published figures: hours, not minutes",
    )


def pytest_configure(config):
    config.stash[_FIGURES] = []


def pytest_collection_modifyitems(config, items):
    if config.getoption("--full"):
        for item in items:
            item.add_marker(pytest.mark.timeout(_LONG_SECONDS), append=False)


def pytest_terminal_summary(terminalreporter, config):
    if figures := config.stash[_FIGURES]:
        terminalreporter.section("figures")
        for line in figures:
            terminalreporter.line(line)


@pytest.fixture
def sized(request):
    """`sized(short, full)` is the first, with --full the second."""
    full = request.config.getoption("--full")
    return lambda short, long: long if full else short


@pytest.fixture
def figure(request):
    """`figure(text)` shows what was measured, after the tests."""
    lines = request.config.stash[_FIGURES]
    return lambda text: lines.append(f"{request.node.name}: {text}")
