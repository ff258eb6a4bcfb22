"""Controls that can be trusted: operators against each other, restarts, records. All real."""

from __future__ import annotations

import json
import re
import subprocess

import pytest

from harness.shell import WEAVELET, Shell, up
from harness.trainers import LOOP, training
from weavelet.client import Client
from weavelet.exceptions import CommandError
from weavelet.messages import RecordedSet
from weavelet.settings import read_endpoint

RESUMING = (
    LOOP
    + """
import pathlib
from typing import Annotated

path = pathlib.Path(sys.argv[1])
w = weavelet.session(*sys.argv[2:])
declare(w)

@w.handler("size", unit="images", danger=True)
def set_size(value: Annotated[float, weavelet.Meta(ge=1)]) -> None:
    print(end="")

@w.action("checkpoint")
def checkpoint() -> int:
    path.write_text(json.dumps(w.state_dict()))
    return len(w.state_dict()["decided"])

with w:
    say(started=w.incarnation)
    first = 0
    if path.exists():
        saved = json.loads(path.read_text())
        first = saved["step"] + 1
        for change in w.load_state_dict(saved):
            say(loaded=change.name, old=change.old, new=change.new)
    for step in range(first, 10**9):
        for change in w.poll(step):
            say(step=step, change=change.name, old=change.old, new=change.new)
        w.report(step, lr=state["lr"])
        time.sleep(0.001)
"""
)


@pytest.fixture(scope="module")
def shell(tmp_path_factory):
    """A shell whose home has a running server, for all tests."""
    shell = Shell(tmp_path_factory.mktemp("controls") / "home")
    with up(shell):
        yield shell


@pytest.fixture
def run(request):
    """A run of the test's own."""
    return request.node.name[-40:]


@pytest.fixture
def train(shell, run, tmp_path):
    """A function that starts a life of one replica of one job; it resumes from its checkpoint."""

    def started():
        return training(
            RESUMING,
            str(tmp_path / "state.json"),
            "trainer-0",
            WEAVELET_HOME=str(shell.home),
            WEAVELET_RUN=run,
            WEAVELET_JOB="j1",
        )

    return started


@pytest.fixture
def client(shell):
    """A client of the shell's server."""
    endpoint = read_endpoint(shell.home)
    with Client(endpoint.http_url, endpoint.token) as client:
        yield client


def ready(shell, run, incarnation=None):
    """Wait for the replica, or for this life of it, and its controls."""
    return shell.until_listed(
        run,
        lambda replica: is_ready(replica) and incarnation in (None, replica["incarnation"]),
    )


def is_ready(replica):
    """Whether it trains and all its controls are known."""
    return len(replica["controls"]) == 5 and replica["state"] == "running"


def as_user(shell, user, *arguments):
    """The process of one verb, run by this user."""
    return subprocess.Popen(
        [WEAVELET, *arguments, "--json"],
        env={**shell.environment, "LOGNAME": user},
        stdout=subprocess.PIPE,
        stdin=subprocess.DEVNULL,
        text=True,
    )


def said(process):
    """Its exit code and what it printed."""
    out, _ = process.communicate(timeout=60)
    return process.returncode, json.loads(out)


def test_of_two_operators_at_once_one_wins_and_the_other_learns_what_it_lost_to(shell, train, run):
    """Both expect lr=0.1: one is applied; the other is told the value, by whom and when."""
    with train():
        ready(shell, run)
        both = {
            user: as_user(shell, user, "set", run, f"lr={lr}", "--expect", "lr=0.1")
            for user, lr in (("ann", "0.2"), ("bob", "0.3"))
        }
        answers = {user: said(process) for user, process in both.items()}
    (winner,) = [user for user, (code, _) in answers.items() if code == 0]
    (loser,) = answers.keys() - {winner}
    (won,) = answers[winner][1]["outcomes"]
    (lost,) = answers[loser][1]["outcomes"]
    assert answers[loser][0] == 1
    assert lost["outcome"] == "rejected"
    value = won["changes"][0]["new"]
    assert f"expected to be 0.1, but it is {value}, set by {winner}@" in lost["reason"]
    assert lost["reason"].endswith(f" at step {won['step']}")


def test_a_frozen_run_refuses_all_but_stop_and_says_who_froze_it(shell, train, run):
    """Set, act, pause and freeze are refused with the author's name; unfreeze lifts it."""
    with train() as trainer:
        ready(shell, run)
        assert said(as_user(shell, "ann", "freeze", run))[0] == 0
        for refused in (("set", run, "lr=0.2"), ("act", run, "evaluate"), ("pause", run)):
            code, answer = said(as_user(shell, "bob", *refused))
            assert code == 1
            assert answer["error"]["code"] == "frozen"
            assert "was frozen by ann@" in answer["error"]["text"]
        assert said(as_user(shell, "bob", "unfreeze", run))[0] == 0
        assert said(as_user(shell, "bob", "set", run, "lr=0.2"))[0] == 0
        assert said(as_user(shell, "ann", "freeze", run))[0] == 0
        assert said(as_user(shell, "bob", "stop", run))[0] == 0
        assert trainer.wait() == 0


def test_a_resumed_life_applies_nothing_twice_and_the_record_tells_of_both(
    shell, train, tmp_path, client, run
):
    """What the checkpoint holds comes from it, what came later from the log; both are exported."""
    with train() as first:
        life = ready(shell, run)["incarnation"]
        assert shell("set", run, "lr=0.2").returncode == 0
        code, saved = shell.json("act", run, "checkpoint")
        assert code == 0
        assert saved["outcomes"][0]["result"] == 1
        assert shell("set", run, "gain=3").returncode == 0
        first.kill()
    with train() as second:
        loaded = second.event("loaded")
        adopted = second.event("change")
        again = ready(shell, run, second_life(shell, run, life))["incarnation"]
        assert shell("set", run, "lr=0.4").returncode == 0
        assert second.event("change")["old"] == 0.2
        exported = shell("export", run, "--output", str(tmp_path / "record.jsonl"))
        log = shell("log", run)
        outcomes = [
            (outcome.incarnation, outcome.adopted)
            for update in client.log(run)
            for outcome in update.outcomes
            if update.entry.kind == "set"
        ]
    assert (loaded["loaded"], loaded["old"], loaded["new"]) == ("lr", 0.1, 0.2)
    assert (adopted["change"], adopted["old"], adopted["new"]) == ("gain", 1.0, 3.0)
    assert outcomes == [(life, False), (life, False), (again, True), (again, False)]
    assert exported.returncode == 0
    records = [json.loads(line) for line in (tmp_path / "record.jsonl").read_text().splitlines()]
    assert [(one["kind"], one["incarnation"], one["adopted"]) for one in records] == [
        ("set", life, False),
        ("act", life, False),
        ("set", life, False),
        ("set", again, True),
        ("set", again, False),
    ]
    assert records[3]["step"] == adopted["step"]
    assert records[3]["changes"] == [{"name": "gain", "old": 1.0, "new": 3.0}]
    assert set(records[0]) == {"kind", *RecordedSet.__struct_fields__}
    assert f"applied at step {adopted['step']} (adopted)  gain 1 -> 3" in log.stdout


def test_a_crashed_script_goes_on_with_what_was_set_where_it_is_given_its_job(shell, tmp_path, run):
    """The job that `show` names makes its next launch a life of it; any other launch is new."""

    def launched(**environment):
        names = {"WEAVELET_HOME": str(shell.home), "WEAVELET_RUN": run, **environment}
        return training(RESUMING, str(tmp_path / "state.json"), **names)

    with launched() as first:
        ready(shell, run)
        assert shell("act", run, "checkpoint").returncode == 0
        assert shell("set", run, "lr=0.2").returncode == 0
        first.kill()
    job = re.match(rf"{run}, job (\S+):", shell("show", run).stdout)[1]
    with launched(WEAVELET_JOB=job) as second:
        adopted = second.event("change")
        second.kill()
    with launched() as third:
        third.event("started")
        fresh = shell.until_listed(run, lambda replica: replica["job"] != job and is_ready(replica))
    assert (adopted["change"], adopted["old"], adopted["new"]) == ("lr", 0.1, 0.2)
    assert value_of(fresh, "lr") == 0.1


def value_of(replica, name):
    """What a control of a replica is set to."""
    return next(each["value"] for each in replica["controls"] if each["name"] == name)


def second_life(shell, run, first):
    """The incarnation that came after this one."""
    return shell.until_listed(run, lambda replica: replica["incarnation"] != first)["incarnation"]


def test_reports_and_outcomes_carry_the_hash_of_the_configuration(shell, train, client, run):
    """It changes with a value, comes back with it, and is the one that the outcome names."""
    with train():
        ready(shell, run)
        (there,) = client.set(run, {"lr": 0.2}).outcomes
        (back,) = client.set(run, {"lr": 0.1}).outcomes
        after = shell.until_listed(run, lambda replica: replica["config_hash"] == back.config_hash)
    assert there.config_hash != back.config_hash
    assert len(there.config_hash) == 12
    assert after["state"] == "running"


def test_bad_input_has_a_clear_outcome_and_training_goes_on(shell, train, client, run):
    """A misfit, NaN, a megabyte, unknown names, a handler that raises: nothing is half-applied."""
    with train():
        ready(shell, run)
        for values, code in (
            ({"lr": "banana"}, "invalid_value"),
            ({"lr": [1]}, "invalid_value"),
            ({"lr": 0.2, "gain": None}, "invalid_value"),
            ({"lr": "x" * (1 << 20)}, "invalid_value"),
            ({"lr": 2**70}, "invalid_value"),
            ({"size": float("nan")}, "invalid_value"),
            ({"rate": 0.2}, "unknown_control"),
            ({"lr": 0.2, "evaluate": 1}, "unknown_control"),
            ({}, "invalid_value"),
        ):
            with pytest.raises(CommandError) as refused:
                client.set(run, values)
            assert refused.value.code == code
            assert len(refused.value.text) < 1000
        with pytest.raises(CommandError, match="deep"):
            client.act(run, "evaluate", {"times": 1, "deep": 2})
        (failed,) = client.set(run, {"lr": 0.2, "gain": -1}).outcomes
        assert failed.outcome == "failed"
        assert "set back: gain, lr" in failed.reason
        (dry,) = client.set(run, {"lr": 0.3}, dry_run=True).outcomes
        assert (dry.outcome, dry.changes[0].old, dry.changes[0].new) == ("skipped", 0.1, 0.3)
        (last,) = client.set(run, {"lr": "0.4"}).outcomes
    assert (last.outcome, last.changes[0].old, last.changes[0].new) == ("applied", 0.1, 0.4)


def test_docs_prints_page_and_schemas(shell, train, run):
    """Markdown for people, JSON Schema for programs."""
    with train():
        ready(shell, run)
        page = shell("docs", run)
        schemas = shell("docs", run, "--json-schema")
        unknown = shell("docs", "nothing")
    assert page.stdout.startswith(f"# Controls of {run}\n")
    assert "| `lr` | a number |  | `0.1` |  |" in page.stdout
    assert "### `evaluate`" in page.stdout
    assert "| `times` | an integer | `1` |" in page.stdout
    printed = json.loads(schemas.stdout)
    assert printed["controls"]["lr"] == {"type": "number"}
    assert printed["actions"]["evaluate"]["properties"]["times"]["default"] == 1
    assert unknown.returncode == 1


def test_export_of_what_cannot_be_written_says_so(shell, train, tmp_path, run):
    """A folder that is not there is named, and nothing is left behind."""
    with train():
        ready(shell, run)
        done = shell("export", run, "--output", str(tmp_path / "none" / "record.jsonl"))
        printed = shell("export", run)
    assert done.returncode == 1
    assert "cannot be written" in done.stderr
    assert (printed.returncode, printed.stdout) == (0, "")


SCHEDULED = """
import time, weavelet

rate = 1.0
with weavelet.session("trainer-0") as w:

    @w.handler("lr", get=lambda: rate)
    def set_lr(value: float) -> None:
        global rate
        rate = value

    for step in range(10**9):
        w.poll(step)
        rate *= 0.999
        time.sleep(0.001)
"""


def test_a_value_that_a_schedule_moves_is_shown_as_it_is(shell, run):
    """Without a command, and again after one: what is shown is never what was once registered."""
    with training(SCHEDULED, WEAVELET_HOME=str(shell.home), WEAVELET_RUN=run) as trainer:

        def falls_below(most):
            return shell.until_listed(
                run, lambda row: row["controls"] and row["controls"][0]["value"] < most
            )

        falls_below(0.9)
        assert shell("set", run, "lr=1").returncode == 0
        falls_below(0.5)
        assert shell("stop", run).returncode == 0
        assert trainer.wait() == 0
