"""The command line against a real `weavelet up` and a real trainer."""

from __future__ import annotations

import json
import signal
import socket
import threading
import time

import pytest

from harness.commands import Shell
from harness.trainers import LOOP, is_alive, training
from weavelet.client import Client
from weavelet.exceptions import CommandError

SCRIPT = (
    LOOP
    + """
with weavelet.session("trainer-0", run="train", job="job-1") as w:
    declare(w)

    @w.handler("fuse", danger=True, unit="kg", doc="Burns.")
    def set_fuse(value: int) -> None:
        state["fuse"] = value

    train(w)
"""
)


@pytest.fixture(scope="module")
def shell(tmp_path_factory):
    """A home with a server in it."""
    shell = Shell(tmp_path_factory.mktemp("home"))
    shell("up", "--detach", "--port", 0)
    yield shell
    shell("down")


@pytest.fixture(scope="module")
def client(shell):
    """The public client of that server."""
    environment = pytest.MonkeyPatch()
    environment.setenv("WEAVELET_HOME", str(shell.home))
    with Client() as client:
        yield client
    environment.undo()


@pytest.fixture(scope="module")
def train(shell, client):
    """The shell, with a trainer that runs and has registered its controls."""
    with training(SCRIPT, WEAVELET_HOME=str(shell.home)):
        wait_for(client, "train", lambda replica: len(replica.controls) == 4 and replica.step)
        yield shell


def wait_for(client, run, condition, seconds=30.0):
    """Wait until the only replica of a run meets a condition."""
    until = time.monotonic() + seconds
    for _ in client.watch([run]):
        replicas = [replica for job in client.jobs([run]) for replica in job.replicas]
        if any(condition(replica) for replica in replicas):
            return
        assert time.monotonic() < until, replicas


def replica_of(train):
    """The replica as `show --json` has it."""
    return train.json("show", "train")["job"]["replicas"][0]


def test_up_and_down(tmp_path):
    """A second up prints the first one's link; down ends it; then nothing runs."""
    shell = Shell(tmp_path)
    try:
        first = shell.json("up", "--detach", "--port", 0)
        second = shell.json("up")
        assert second == first
        assert first["link"] == f"{first['url']}/#token={first['link'].partition('=')[2]}"
        assert is_alive(first["pid"])
    finally:
        stopped = shell.json("down")
    assert stopped["stopped"] == first["pid"]
    assert not is_alive(first["pid"])
    assert shell.json("ls", code=3)["error"]["code"] == "unavailable"


def test_up_in_the_foreground_ends_with_ctrl_c(tmp_path):
    """It prints the link once it is up and leaves nothing behind."""
    shell = Shell(tmp_path)
    with shell.start("up", "--port", 0) as process:
        assert process.stdout.readline().startswith("Up: http://127.0.0.1:")
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 0
    assert not (tmp_path / "endpoint.json").exists()


def test_up_that_cannot_start_says_why(tmp_path):
    """In the background too, the reason reaches the terminal."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        said = Shell(tmp_path)("up", "--detach", "--port", port, code=1)
    assert f"port {port} is taken" in said


def test_listening_elsewhere_must_be_said_aloud(tmp_path):
    """Without TLS or --insecure, `up` does not leave this machine."""
    assert "--insecure" in Shell(tmp_path)("up", "--host", "0.0.0.0", code=1)


def test_doctor_is_content_with_what_runs(train):
    """All that is needed is there and answers."""
    checks = {check["name"]: check["verdict"] for check in train.json("doctor")["checks"]}
    assert {checks[name] for name in ("up", "weaver", "token", "NATS")} == {"ok"}


def test_ls_and_show_tell_what_there_is(train):
    """Runs, replicas, and for each control its type, unit, value and danger."""
    line = train("ls").splitlines()[1].split()
    assert line[:4] == ["train", "job-1", "trainer-0", "running"]
    shown = train("show", "train")
    rows = {line.split()[0]: line for line in shown.splitlines() if line}
    assert rows["lr"].split()[2:] == ["a", "number"]
    assert "kg" in rows["fuse"]
    assert "dangerous" in rows["fuse"]
    assert "Burns." in rows["fuse"]
    assert "times: an integer (optional)" in rows["evaluate"]


def test_set_answers_with_the_proof(train):
    """Step, old and new of every replica; exit code 0 because it is so."""
    answer = train.json("set", "train", "lr=0.5", "gain=2")
    assert answer["entry"]["kind"] == "set"
    assert answer["entry"]["addressed"] == ["trainer-0"]
    (outcome,) = answer["outcomes"]
    assert (outcome["replica"], outcome["outcome"], outcome["reason"]) == (
        "trainer-0",
        "applied",
        None,
    )
    assert isinstance(outcome["step"], int)
    assert {change["name"]: change["new"] for change in outcome["changes"]} == {
        "lr": 0.5,
        "gain": 2.0,
    }
    text = train("set", "train", "lr=0.25")
    assert text.startswith("trainer-0  applied at step ")
    assert text.endswith("  lr 0.5 -> 0.25\n")


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["set", "train", "lr=banana"], "invalid_value"),
        (["set", "train", "lrr=1"], "unknown_control"),
        (["set", "trian", "lr=1"], "unknown_run"),
        (["set", "train", "lr=1", "--job", "job-2"], "unknown_job"),
        (["set", "train", "lr=1", "--replica", "trainer-1"], "unknown_replica"),
        (["act", "train", "evaluat"], "unknown_control"),
        (["act", "train", "evaluate", "times=x"], "invalid_value"),
        (["rm", "train", "--yes"], "still_live"),
        (["rm", "train"], "refused"),
        (["set", "train", "fuse=1"], "refused"),
    ],
)
def test_what_cannot_be_done_is_exit_code_1(train, arguments, code):
    """Each refusal has its stable word, and nothing is changed."""
    before = train.json("log", "train")["entries"]
    assert train.json(*arguments, code=1)["error"]["code"] == code
    assert train.json("log", "train")["entries"] == before


def test_a_failing_handler_is_not_success(train):
    """The outcome says failed, with the traceback; what was done is undone; exit code 1."""
    train("set", "train", "lr=0.5")
    (outcome,) = train.json("set", "train", "lr=0.9", "gain=-1", code=1)["outcomes"]
    assert outcome["outcome"] == "failed"
    assert "no gain below zero" in outcome["traceback"]
    train("set", "train", "gain=1", "--expect", "lr=0.5")


def test_expectations_dry_runs_and_steps(train):
    """--expect guards, --dry-run touches nothing, --at-step is the step at which it happens."""
    train("set", "train", "lr=0.5")
    (refused,) = train.json("set", "train", "lr=1", "--expect", "lr=0.1", code=1)["outcomes"]
    assert refused["outcome"] == "rejected"
    (dry,) = train.json("set", "train", "lr=1", "--dry-run")["outcomes"]
    assert dry["outcome"] == "skipped"
    step = replica_of(train)["step"] + 2000
    (done,) = train.json("set", "train", "lr=1", "--expect", "lr=0.5", "--at-step", step)[
        "outcomes"
    ]
    assert (done["outcome"], done["step"]) == ("applied", step)


def test_without_waiting_it_is_only_accepted(train, client):
    """--no-wait ends at once with exit code 0; the log has the outcome later."""
    entry = train.json("set", "train", "lr=0.75", "--no-wait")["entry"]
    wait_for(client, "train", lambda _: state_of(client, entry["id"]) == "applied")


def state_of(client, entry):
    """Where an entry is, by the control log."""
    return next(each.state for each in client.log("train") if each.entry.id == entry)


def test_an_action_prints_its_result(train):
    """Arguments are typed by the action's schema."""
    (outcome,) = train.json("act", "train", "evaluate", "times=3")["outcomes"]
    assert outcome["result"] == {"accuracy": 0.5, "times": 3}
    assert '"times":1' in train("act", "train", "evaluate")


def test_pause_and_resume(train, client):
    """A paused replica is shown as paused until it is resumed."""
    assert train.json("pause", "train", "--for", "10m")["entry"]["body"]["lease"] == 600
    wait_for(client, "train", lambda replica: replica.state == "paused")
    train("resume", "train")
    wait_for(client, "train", lambda replica: replica.state == "running")


def test_a_frozen_run_refuses(train):
    """After freeze only stop and unfreeze are accepted; ls says so."""
    assert train("freeze", "train", "--reason", "night") == "freeze (night): applied\n"
    try:
        assert train.json("set", "train", "lr=1", code=1)["error"]["code"] == "frozen"
        assert "(frozen)" in train("ls")
    finally:
        train("unfreeze", "train")
    train("set", "train", "lr=1")


def test_dangerous_controls_ask_at_a_terminal(train):
    """`y` sets it, anything else does not."""
    code, shown = train.at_terminal("set", "train", "fuse=1", typed="n\n")
    assert code == 1
    assert "fuse of train is marked dangerous. Set it? [y/N]" in shown
    code, shown = train.at_terminal("set", "train", "fuse=1", typed="y\n")
    assert (code, "applied at step" in shown) == (0, True)
    train("set", "train", "fuse=2", "--yes")


def test_the_log_reads_like_what_was_done(train):
    """Who, what, and what became of it."""
    train("set", "train", "gain=3")
    last = train("log", "train").splitlines()[-1]
    assert "set gain=3" in last
    assert "applied at step" in last
    assert "@" in last


def test_watch_prints_lines_until_ctrl_c(train):
    """Replicas as they go, entries as they come; the interruption is exit code 130."""
    with train.start("watch", "train") as process:
        assert "trainer-0  running  step" in process.stdout.readline()
        train("set", "train", "gain=4")
        lines = iter(process.stdout.readline, "")
        assert any("set gain=4" in line and "applied at step" in line for line in lines)
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 130
        assert process.stderr.read() == ""


def test_watch_json_is_one_message_a_line(train):
    """A program gets the snapshot first, then what changes."""
    with train.start("watch", "train", "--json") as process:
        assert json.loads(process.stdout.readline())["type"] == "snapshot"
        assert json.loads(process.stdout.readline())["type"] == "status_update"


def test_watch_at_a_terminal_is_a_table_and_ends_quietly(train):
    """Ctrl-C typed at the terminal ends the live table without a traceback."""
    code, shown = train.at_terminal("watch", "train", typed_after=("metrics", "\x03"))
    assert code == 130
    assert "trainer-0" in shown
    assert "Traceback" not in shown
    assert "Warning" not in shown


def test_the_public_client_steers_from_outside(train, client):
    """What a tuner in another process needs: see, set, act, and errors with their code."""
    (replica,) = client.job("train").replicas
    assert replica.state == "running"
    assert client.set("train", {"gain": 5.0}).ok
    assert client.set("train", {"lr": 0.125}, expect={"gain": 5.0}).ok
    result = client.act("train", "evaluate", {"times": 2})
    assert result.ok
    assert result.outcomes[0].result["times"] == 2
    assert not client.set("train", {"gain": -5.0}).ok
    with pytest.raises(CommandError) as caught:
        client.set("train", {"lr": "fast"})
    assert caught.value.code == "invalid_value"


def test_stop_ends_training_and_rm_forgets_it(shell, client):
    """The trainer leaves its loop and its process ends well; then the run can be forgotten."""
    script = SCRIPT.replace('run="train"', 'run="short"')
    with training(script, WEAVELET_HOME=str(shell.home)) as trainer:
        wait_for(client, "short", lambda replica: bool(replica.step))
        shell("stop", "short", "--reason", "enough")
        assert trainer.wait() == 0
    wait_for(client, "short", lambda replica: replica.state == "exited")
    assert shell.json("set", "short", "lr=1", code=1)["error"]["code"] == "not_live"
    assert shell("rm", "short", "--yes") == "Forgot short: 1 job.\n"
    assert shell.json("show", "short", code=1)["error"]["code"] == "unknown_run"


def test_a_lost_server_is_unknown_never_success(tmp_path, monkeypatch):
    """The server goes while a command waits: its outcome is not known; a watch goes on later."""
    shell = Shell(tmp_path)
    monkeypatch.setenv("WEAVELET_HOME", str(tmp_path))
    failures = []

    def command(client):
        step = client.job("train").replicas[0].step + 10**9
        try:
            client.set("train", {"lr": 0.5}, at_step=step)
        except CommandError as error:
            failures.append(error)

    try:
        shell("up", "--detach", "--port", 0)
        with training(SCRIPT, WEAVELET_HOME=str(tmp_path)), Client() as client:
            wait_for(client, "train", lambda replica: bool(replica.step))
            waiting = threading.Thread(target=command, args=(client,))
            with shell.start("watch", "train", "--json") as watch:
                messages = map(json.loads, iter(watch.stdout.readline, ""))
                assert next(messages)["type"] == "snapshot"
                waiting.start()
                assert any(message["type"] == "entry" for message in messages)
                shell("down")
                waiting.join(30)
                shell("up", "--detach", "--port", 0)
                assert any(message["type"] == "snapshot" for message in messages)
                watch.send_signal(signal.SIGINT)
                assert watch.wait(30) == 130
                assert "Traceback" not in watch.stderr.read()
    finally:
        shell("down")
    assert [error.code for error in failures] == ["unknown_outcome"]
