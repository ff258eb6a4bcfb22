"""What an import loads: modules are listed and nothing is timed."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

LIST = """
import json, sys
before = set(sys.modules)
{}
print(json.dumps(sorted(set(sys.modules) - before)))
"""

HEAVY = {
    "aiohttp",
    "asyncio",
    "concurrent.futures",
    "cyclopts",
    "email",
    "google.protobuf",
    "http.client",
    "importlib.metadata",
    "jsonschema",
    "multiprocessing",
    "nats",
    "numpy",
    "platformdirs",
    "prometheus_client",
    "psutil",
    "pynvml",
    "rich",
    "ssl",
    "torch",
    "unittest",
    "urllib.request",
}
OTHER_PROCESSES = {
    "weavelet.client",
    "weavelet.integrations",
    "weavelet.sidecar",
    "weavelet.weaver",
    "weavelet.wire",
}


def loaded(statement, cwd):
    """The modules that a fresh interpreter loads for `statement`."""
    done = subprocess.run(
        [sys.executable, "-c", LIST.format(statement)],
        cwd=cwd,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return set(json.loads(done.stdout.splitlines()[-1]))


@pytest.fixture(scope="module")
def trainer(tmp_path_factory):
    """What `import weavelet` loads."""
    return loaded("import weavelet", tmp_path_factory.mktemp("elsewhere"))


def test_trainer_loads_nothing_heavy(trainer):
    """`import weavelet` loads no bus, no web server, no event loop and no framework."""
    assert trainer & (HEAVY | OTHER_PROCESSES) == set()


def test_trainer_loads_one_library(trainer):
    """msgspec is the only library that `import weavelet` loads."""
    # msgspec in its turn loads typing_extensions where that is installed.
    outside = {name.split(".")[0] for name in trainer} - set(sys.stdlib_module_names)
    assert {name for name in outside if not name.startswith("__editable__")} <= {
        "weavelet",
        "msgspec",
        "typing_extensions",
    }


def test_command_line_starts_light(tmp_path):
    """The command line's entry point waits for no web server, no bus and no framework."""
    heavy = {"aiohttp", "google.protobuf", "nats", "numpy", "prometheus_client", "torch"}
    assert loaded("import weavelet.client.cli", tmp_path) & heavy == set()
