"""What the verbs print of what a weaver says."""

from __future__ import annotations

import json

import pytest

from harness.scripted_weaver import TOKEN, scripted
from weavelet.client import cli
from weavelet.weaver import protocol

RATE = protocol.ControlView(name="lr", kind="control", schema={"type": "number"})


def replica(name, state="running", **more):
    """A replica of the run `train`."""
    return protocol.ReplicaView(
        run="train", job="j2", replica=name, incarnation="a", state=state, **more
    )


def job(name, *replicas, newest=False):
    """A job of the run `train`."""
    return protocol.JobView(
        run="train", job=name, live=newest, newest=newest, begun=0.0, replicas=list(replicas)
    )


@pytest.fixture
def ask(monkeypatch, capsys):
    """Runs one verb at a weaver that shows a snapshot; its exit code, output and errors."""

    def asked(snapshot, *arguments):
        with scripted(lambda request: [snapshot]) as weaver:
            monkeypatch.setenv("WEAVELET_URL", weaver.url)
            monkeypatch.setenv("WEAVELET_TOKEN", TOKEN)
            code = cli.run(arguments)
        return code, *capsys.readouterr()

    return asked


@pytest.mark.parametrize("verb", [["ls"], ["show", "train"]])
def test_a_rule_that_is_off_is_told(ask, verb):
    """Whoever looks at the fleet or at a run learns that nobody watches it any more, and why."""
    rules = [
        protocol.RuleView(name="halve", every=1.0),
        protocol.RuleView(name="nan", every=1.0, off="it raised KeyError: 'loss'"),
    ]
    fleet = protocol.Snapshot(jobs=[job("j2", replica("rank-0"), newest=True)], rules=rules)
    code, out, _ = ask(fleet, *verb)
    assert code == 0
    assert "Rule nan is off: it raised KeyError: 'loss'" in out
    assert "halve" not in out


def test_a_rule_that_is_off_is_told_before_any_run(ask):
    """There is time to mend it."""
    rule = protocol.RuleView(name="nan", every=1.0, off="it raised KeyError: 'loss'")
    assert ask(protocol.Snapshot(rules=[rule]), "ls")[1].splitlines() == [
        "No runs yet. Start a training that opens a weavelet.session().",
        "Rule nan is off: it raised KeyError: 'loss'",
    ]


@pytest.mark.parametrize(("count", "told"), [(1, "1 earlier job not"), (2, "2 earlier jobs not")])
def test_jobs_that_are_left_out_are_counted(ask, count, told):
    """One is a job, two are jobs."""
    earlier = [job(f"old-{number}") for number in range(count)]
    fleet = protocol.Snapshot(jobs=[*earlier, job("j2", replica("rank-0"), newest=True)])
    assert told in ask(fleet, "ls")[1]


@pytest.mark.parametrize("verb", [["set", "train", "lr=1"], ["act", "train", "evaluate"]])
def test_what_a_starting_replica_has_not_declared_yet_may_come(ask, verb):
    """The refusal says who is still starting and what to do; its code is that of any other."""
    both = [replica("rank-0", "starting"), replica("rank-1", "starting")]
    alone = protocol.Snapshot(jobs=[job("j2", both[0], newest=True)])
    code, _, error = ask(alone, *verb)
    assert code == 1
    assert "rank-0 is still starting" in error
    assert "try again" in error
    fleet = protocol.Snapshot(jobs=[job("j2", *both, newest=True)])
    assert "2 replicas are still starting" in ask(fleet, *verb)[2]
    _, out, _ = ask(fleet, *verb, "--json")
    assert json.loads(out)["error"]["code"] == "unknown_control"


def test_an_unknown_name_is_no_matter_of_starting_once_all_run(ask):
    """Then it is a slip, and what there is stands beside it."""
    running = replica("rank-0", controls=[RATE])
    fleet = protocol.Snapshot(jobs=[job("j2", running, newest=True)])
    _, _, error = ask(fleet, "set", "train", "lrr=1")
    assert error == "weavelet: There is no control 'lrr'. Did you mean 'lr'?\nknown: lr\n"


def test_a_misfit_in_an_expectation_names_the_option(ask):
    """Which of two values of one control does not fit is not left to guess."""
    running = replica("rank-0", controls=[RATE])
    fleet = protocol.Snapshot(jobs=[job("j2", running, newest=True)])
    _, _, error = ask(fleet, "set", "train", "lr=1", "--expect", "lr=fast")
    assert error == "weavelet: --expect lr: expected a number, got 'fast'\n"


def test_docs_takes_json_as_other_verbs_do(ask):
    """What can be read by a program is printed under both names of the option."""
    fleet = protocol.Snapshot(jobs=[job("j2", replica("rank-0", controls=[RATE]), newest=True)])
    for option in ("--json", "--json-schema"):
        code, out, _ = ask(fleet, "docs", "train", option)
        assert (code, json.loads(out)["controls"]) == (0, {"lr": {"type": "number"}})
