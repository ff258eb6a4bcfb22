"""`weavelet demo` trains for real, shows it, and leaves nothing behind."""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from harness.commands import SECONDS, Shell
from harness.trainers import children_of, is_alive

LINE = re.compile(r"(trainer-\d) step (\d+) loss \d\S* accuracy [01]\S* lr 0.01")
HOME = re.compile(r"export WEAVELET_HOME=(\S+)")

pytest.importorskip("torch")
pytest.importorskip("sklearn")


@pytest.fixture
def shell(tmp_path, monkeypatch):
    """A shell with a temporary folder of its own."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    return Shell(tmp_path / "unused")


def test_headless_demo_trains_to_the_end_and_cleans_up(shell, tmp_path):
    """Every replica reports real accuracy up to its last step; the temporary home is gone."""
    shown = shell("demo", "--headless", "--steps", 150)
    told = [match.groups() for match in LINE.finditer(shown)]
    assert sorted(told) == [
        (f"trainer-{number}", step) for number in (0, 1) for step in ("100", "150")
    ]
    assert "#token=" in shown
    assert "weavelet set demo" in shown
    assert list(tmp_path.iterdir()) == []


def test_a_program_that_is_not_on_the_path_says_where_it_is(shell):
    """Run by its path, as from an environment that is not activated, it prints a PATH to export."""
    scripts = sysconfig.get_path("scripts")
    command = [f"{scripts}/weavelet", "demo", "--headless", "--steps", "1", "--replicas", "1"]

    def told(path):
        environment = {**shell.environment, "PATH": path}
        return subprocess.run(
            command, env=environment, capture_output=True, text=True, timeout=SECONDS, check=True
        ).stdout

    assert f"    export PATH={shlex.quote(scripts)}:$PATH\n" in told(os.defpath)
    assert "PATH=" not in told(f"{scripts}{os.pathsep}{os.defpath}").replace("export WEAVELET", "")


def test_ctrl_c_ends_the_demo_and_all_that_it_started(shell, tmp_path):
    """Exit code 130; server, trainers and the temporary home are gone."""
    with shell.start("demo", "--headless", "--steps", 100_000) as demo:
        lines = iter(demo.stdout.readline, "")
        home = next(match[1] for match in map(HOME.search, lines) if match)
        assert any(LINE.match(line) for line in lines)
        started = children_of(demo.pid)
        assert len(started) == 3
        demo.send_signal(signal.SIGINT)
        assert demo.wait(30) == 130
        assert "Traceback" not in demo.stderr.read()
    assert not Path(home).exists()
    assert list(tmp_path.iterdir()) == []
    assert not any(map(is_alive, started))


def test_the_commands_that_it_prints_work(shell):
    """As printed and in that order: each is carried out, and the stop is a good end."""
    with shell.start("demo", "--steps", 100_000, "--replicas", 1) as demo:
        printed = []
        for line in iter(demo.stdout.readline, ""):
            printed.append(line.strip())
            if LINE.match(line):
                break
        (home,) = (match[1] for match in map(HOME.match, printed) if match)
        commands = [line.split()[1:] for line in printed if line.startswith("weavelet ")]
        operator = Shell(Path(home))
        said = {command[0]: operator(*command) for command in commands}
        assert demo.wait(30) == 0
    assert re.search(r"applied at step \d+  lr 0.01 -> 0.1  momentum 0 -> 0.5", said["set"])
    assert re.search(r"applied at step \d+  result .*accuracy", said["act"])
    assert said.keys() == {"ls", "set", "act", "pause", "log", "stop"}
    assert list(said)[-1] == "stop"


def test_at_a_terminal_there_are_progress_bars(shell):
    """Each replica has a bar that reaches its end."""
    code, shown = shell.at_terminal("demo", "--steps", 60, "--replicas", 1)
    assert code == 0
    assert "60/60" in shown
    assert "accuracy" in shown


def test_without_the_extra_one_line_says_what_to_install():
    """No traceback; the extra by its name."""
    code = (
        "import sys; sys.modules['sklearn'] = None\n"
        "from weavelet.client import cli; sys.exit(cli.run(['demo']))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1
    assert "torchloom-weavelet[demo]" in done.stderr
