"""Exit codes and error output of the command line, without a server."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib import import_module
from inspect import signature

import pytest

from weavelet.client import cli


@pytest.fixture(autouse=True)
def nothing_runs(tmp_path, monkeypatch):
    """A home in which nothing runs."""
    monkeypatch.setenv("WEAVELET_HOME", str(tmp_path))
    monkeypatch.delenv("WEAVELET_URL", raising=False)
    return tmp_path


@pytest.mark.parametrize(
    "arguments",
    [
        ["ls"],
        ["show", "train"],
        ["set", "train", "lr=1"],
        ["act", "train", "save"],
        ["pause", "train", "--for", "10m"],
        ["stop", "train"],
        ["watch", "train"],
        ["log", "train"],
        ["rm", "train", "--yes"],
    ],
)
def test_nothing_running_is_exit_code_3(arguments, capsys):
    """Every verb that needs a server says on one line how to start one."""
    assert cli.run(arguments) == 3
    out, err = capsys.readouterr()
    assert out == ""
    assert "`weavelet up`" in err


def test_errors_under_json_are_json_on_stdout(capsys):
    """A program reads success and failure from the same place."""
    assert cli.run(["ls", "--json"]) == 3
    out, err = capsys.readouterr()
    assert err == ""
    error = json.loads(out)["error"]
    assert error["code"] == "unavailable"
    assert error["known"] == []


@pytest.mark.parametrize(
    "arguments",
    [
        ["sett"],
        ["set"],
        ["set", "train"],
        ["set", "train", "lr"],
        ["set", "train", "lr=1", "--at-step", "soon"],
        ["set", "train", "lr=1", "--deadline", "soon"],
        ["set", "train", "lr=1", "--expect", "lr"],
        ["pause", "train", "--for", "-1m"],
        ["ls", "--no-such-option"],
        ["watch"],
    ],
)
def test_a_wrong_command_line_is_exit_code_2(arguments, capsys):
    """The line that is wrong is refused before anything is asked of a server."""
    assert cli.run(arguments) == 2
    assert capsys.readouterr().err.startswith("weavelet: ")


def test_usage_errors_under_json_have_a_code(capsys):
    """Also a command line that cannot be parsed is answered in JSON."""
    assert cli.run(["set", "--json"]) == 2
    assert json.loads(capsys.readouterr().out)["error"]["code"] == "usage"


def test_interruption_is_exit_code_130(monkeypatch):
    """Ctrl-C ends without a traceback."""

    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(cli, "_dispatch", interrupted)
    assert cli.run(["ls"]) == 130


def test_a_missing_extra_is_named():
    """Without the packages of the extra, one line says what to install."""
    code = (
        "import sys; sys.modules['aiohttp'] = None\n"
        "from weavelet.client import cli; sys.exit(cli.run(['ls']))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 1
    assert "torchloom-weavelet[weaver]" in done.stderr
    assert "Traceback" not in done.stderr


def test_help_imports_no_verb():
    """`weavelet --help` is quick: neither verbs nor what they need are loaded."""
    code = (
        "import sys\n"
        "from weavelet.client import cli\n"
        "assert cli.run(['--help']) == 0\n"
        "heavy = {'aiohttp', 'jsonschema', 'nats', 'torch', 'weavelet.client.client'}\n"
        "found = heavy & set(sys.modules)\n"
        "assert not found, found\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "set " in done.stdout


def test_doctor_finds_everything_that_is_needed(capsys):
    """Nothing running is a warning, not a failure."""
    assert cli.run(["doctor", "--json"]) == 0
    checks = {check["name"]: check for check in json.loads(capsys.readouterr().out)["checks"]}
    assert checks["nats-server"]["verdict"] == "ok"
    assert checks["up"]["verdict"] == "warn"


def test_doctor_fails_without_a_nats_server(monkeypatch, capsys):
    """What is needed and missing is FAIL, says what to do, and is exit code 1."""
    monkeypatch.setenv("WEAVELET_NATS_SERVER", "/nonexistent/nats-server")
    assert cli.run(["doctor"]) == 1
    out = capsys.readouterr().out
    assert "FAIL  nats-server" in out
    assert "WEAVELET_NATS_SERVER" in out


def test_doctor_fails_where_a_named_weaver_does_not_answer(monkeypatch, capsys):
    """An address that was asked for must work."""
    monkeypatch.setenv("WEAVELET_URL", "http://127.0.0.1:9")
    assert cli.run(["doctor"]) == 1
    assert "FAIL  weaver" in capsys.readouterr().out


def test_down_where_nothing_is_up_is_fine(capsys):
    """What was asked for is so."""
    assert cli.run(["down"]) == 0
    assert "Nothing is up" in capsys.readouterr().out


def test_verbs_that_answer_can_answer_in_json():
    """All but those whose output is a file, or that of another programme."""
    without = {
        verb
        for verb in cli._VERB_HELP
        if "json" not in signature(getattr(import_module(f"{cli._VERBS}.{verb}"), verb)).parameters
    }
    assert without == {"demo", "docs", "export", "run"}
