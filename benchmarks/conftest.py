"""`pytest benchmarks --benchmark`: measures, and prints a table at the end."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest
from figures import Figures

from harness.nats import connected_bus, running_nats
from harness.trainers import clean_environment

_figures = pytest.StashKey[Figures]()


def pytest_addoption(parser):
    parser.getgroup("weavelet").addoption(
        "--benchmark",
        action="store_true",
        help="run the benchmarks; best on a quiet machine, some minutes long",
    )


def pytest_configure(config):
    config.stash[_figures] = Figures()


def pytest_collection_modifyitems(config, items):
    skip = pytest.mark.skip(reason="measures; needs --benchmark")
    for item in items:
        if Path(__file__).parent not in item.path.parents:
            continue
        item.add_marker(pytest.mark.timeout(600))
        if not config.getoption("--benchmark"):
            item.add_marker(skip)


def pytest_terminal_summary(terminalreporter, config):
    figures = config.stash[_figures]
    if figures.all:
        terminalreporter.section("figures")
        for line in figures.table():
            terminalreporter.write_line(line)


def pytest_benchmark_update_json(config, benchmarks, output_json):
    output_json["figures"] = config.stash[_figures].as_data()


@pytest.fixture
def figures(pytestconfig):
    """The table of this run."""
    return pytestconfig.stash[_figures]


@pytest.fixture
def unreachable(monkeypatch, tmp_path):
    """Sessions of this process find no server, and belong to no launcher."""
    for name in ("WEAVELET_NATS_URL", "WEAVELET_MODE", "WEAVELET_SIDECAR_LOG", "RANK"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("WEAVELET_HOME", str(tmp_path / "home"))


@pytest.fixture
def nats(tmp_path):
    """A nats-server that syncs every message, as `weavelet up` starts it."""
    with running_nats(tmp_path / "nats") as server:
        yield server


@pytest.fixture
def environment(nats, tmp_path):
    """Of a process whose sidecar finds a server with streams."""

    async def make_streams():
        async with connected_bus(nats):
            pass

    asyncio.run(make_streams())
    here = Path(__file__).parent
    path = [str(here), str(here.parent / "tests"), os.environ.get("PYTHONPATH", "")]
    return {
        **clean_environment(),
        "PYTHONPATH": os.pathsep.join(path),
        "WEAVELET_HOME": str(tmp_path / "home"),
        "WEAVELET_NATS_URL": nats.url,
        "WEAVELET_RUN": "bench",
    }


@pytest.fixture
def looping():
    """The script of a loop to measure."""
    return Path(__file__).with_name("looping.py")
