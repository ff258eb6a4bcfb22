"""What people read: short, aligned, and the whole truth."""

from __future__ import annotations

import json
import math

from weavelet.client import output
from weavelet.client.verbs.log import _row
from weavelet.client.verbs.watch import entry_line, replica_line
from weavelet.weaver import protocol
from weavelet.weaver.protocol import (
    ChangeView,
    EntryUpdate,
    EntryView,
    OutcomeView,
    ReplicaView,
)


def entry(kind="set", body=None, **more):
    """An entry of the control log."""
    return EntryView(
        id="e1", sequence=2, run="train", job="j1", kind=kind, author="ann", time=0.0,
        body=body if body is not None else {"values": {"lr": 0.01}}, **more,
    )  # fmt: skip


APPLIED = OutcomeView(
    replica="rank-0", outcome="applied", step=812, changes=[ChangeView("lr", 0.1, 0.01)]
)


def test_what_is_said_commands_no_terminal(capsys):
    """Escapes in names, reasons and tracebacks are shown; lines and other scripts stay."""
    output.say("lr \x1b]0;title\x07\x1b[31m\ta \u202e \udcff\nmüde ✓")
    output.say("no\x1b[2J", error=True)
    shown = capsys.readouterr()
    assert shown.out == "lr \\x1b]0;title\\x07\\x1b[31m\\ta \\u202e \\udcff\nmüde ✓\n"
    assert shown.err == "no\\x1b[2J\n"


def test_a_table_is_aligned_and_has_no_empty_columns():
    """Columns start below each other; one without any content is left out."""
    got = output.table(("RUN", "NONE", "STEP"), [("a", "", "1"), ("longer", "", "22")])
    assert got.splitlines() == ["RUN     STEP", "a       1", "longer  22"]


def test_an_applied_outcome_says_step_and_change():
    """The proof: at which step, from which value to which."""
    assert output.outcome_text(APPLIED) == "applied at step 812  lr 0.1 -> 0.01"


def test_a_refusal_says_why():
    """The reason stands on the same line."""
    refused = OutcomeView(replica="r", outcome="rejected", reason="lr: expected a number")
    assert output.outcome_text(refused) == "rejected  lr: expected a number"


def test_an_action_says_its_result():
    """A falsy result is a result."""
    done = OutcomeView(replica="r", outcome="applied", step=3, result=0)
    assert output.outcome_text(done) == "applied at step 3  result 0"


def test_entries_read_like_the_command_that_made_them():
    """Each kind in the words of the CLI."""
    texts = [
        output.entry_text(entry(at_step=9)),
        output.entry_text(entry("act", {"name": "save", "arguments": {"path": "a"}})),
        output.entry_text(entry("pause", {"lease": 600.0})),
        output.entry_text(entry("stop", {"reason": "diverged"})),
        output.entry_text(entry("set", {"values": {"lr": 1.0}, "dry_run": True})),
        output.entry_text(entry(targets=["rank-1", "rank-2"])),
        output.entry_text(entry("set", {"values": {"lr": 1.0}, "expect": {"lr": 0.1, "on": True}})),
    ]
    assert texts == [
        "set lr=0.01 at step 9",
        "act save path=a",
        "pause for 600 s",
        "stop (diverged)",
        "set lr=1 (dry run)",
        "set lr=0.01 on rank-1, rank-2",
        "set lr=1 if lr=0.1 on=true",
    ]


def test_a_notice_says_what_happened_where():
    """The log shows the kind of an event and all that is known of it."""
    detail = {"host": "a", "replicas": ["rank-0"]}
    said = output.entry_text(entry("notice", {"kind": "replica_failed", "detail": detail}))
    assert said == 'notice replica_failed host=a replicas=["rank-0"]'


def test_the_log_says_once_what_all_replicas_said():
    """Equal outcomes are folded; differing ones are told one by one."""
    other = OutcomeView(replica="rank-1", outcome="applied", step=812, changes=APPLIED.changes)
    same = EntryUpdate(entry=entry(), state="applied", settled=True, outcomes=[APPLIED, other])
    assert _row(same)[-1] == "applied at step 812  lr 0.1 -> 0.01  on all 2"
    late = OutcomeView(replica="rank-1", outcome="expired")
    mixed = EntryUpdate(entry=entry(), state="mixed", settled=True, outcomes=[APPLIED, late])
    assert _row(mixed)[-1].endswith("lr 0.1 -> 0.01; rank-1: expired")


def test_the_log_says_how_many_of_those_asked_have_answered():
    """What one of two said is not taken for what both did; an adopted outcome counts as one."""
    asked = entry(addressed=["rank-0", "rank-1"])
    update = EntryUpdate(entry=asked, state="unknown", settled=True, outcomes=[APPLIED])
    assert _row(update)[-1].endswith("lr 0.1 -> 0.01  on 1 of 2")
    one = entry(targets=["rank-0"], addressed=["rank-0"])
    update = EntryUpdate(entry=one, state="applied", settled=True, outcomes=[APPLIED])
    assert _row(update)[-2:] == ("set lr=0.01 on rank-0", "applied at step 812  lr 0.1 -> 0.01")


def test_a_dry_run_says_what_would_be_done():
    """Nothing was skipped: it was asked only; what else was skipped is called so."""
    changes = [ChangeView("lr", 0.1, 0.01)]
    dry = OutcomeView(replica="r", outcome="skipped", step=8, changes=changes, reason="dry run")
    assert output.outcome_text(dry) == "would apply (dry run at step 8)  lr 0.1 -> 0.01"
    asked = entry(body={"values": {"lr": 0.01}, "dry_run": True})
    update = EntryUpdate(entry=asked, state="skipped", settled=True, outcomes=[dry])
    assert output.fate_text(update) == "would apply"
    late = OutcomeView(replica="r", outcome="skipped", reason="overtaken")
    assert output.outcome_text(late) == "skipped  overtaken"
    assert output.fate_text(EntryUpdate(entry=entry(), state="skipped", settled=True)) == "skipped"


def test_what_has_ended_has_no_rate():
    """The last one known says nothing of a process that is no more."""
    row = {"run": "train", "job": "j1", "replica": "r", "incarnation": "i", "rate": 61.23}
    assert output.rate_text(ReplicaView(state="running", **row)) == "61.2/s"
    assert [output.rate_text(ReplicaView(state=s, **row)) for s in ("exited", "crashed")] == [
        "",
        "",
    ]


def test_watch_lines_hold_state_step_rate_and_metrics():
    """One line is enough to see how a replica does."""
    replica = ReplicaView(
        run="train", job="j1", replica="rank-0", incarnation="i", state="in-section",
        section="checkpoint", step=812, rate=61.23, metrics={"loss": math.nan, "accuracy": 0.93},
    )  # fmt: skip
    assert replica_line(replica) == (
        "rank-0  in-section checkpoint  step 812  61.2/s  loss nan  accuracy 0.93"
    )


def test_watch_tells_outcomes_when_an_entry_is_settled():
    """Before, only how far it is."""
    update = EntryUpdate(entry=entry(), state="delivered", settled=False, outcomes=[APPLIED])
    assert entry_line(update).endswith("set lr=0.01  delivered")
    update = EntryUpdate(entry=entry(), state="applied", settled=True, outcomes=[APPLIED])
    assert entry_line(update).endswith("applied  rank-0 applied at step 812  lr 0.1 -> 0.01")


def test_json_is_one_line_and_keeps_non_finite_floats():
    """A program that reads it gets words where JSON has no numbers, never null."""
    line = output.as_json({"loss": [math.nan, -math.inf], "text": "a\nb"})
    assert "\n" not in line
    assert json.loads(line) == {"loss": ["NaN", "-Infinity"], "text": "a\nb"}


def test_a_device_is_told_by_what_can_be_read_of_it():
    """Numbers of a GPU with their units, those that are missing left out; else its name."""
    gpu = protocol.DeviceView(
        id="GPU-1",
        kind="gpu",
        host="h",
        utilization_percent=93.4,
        temperature_celsius=71.0,
        memory_used_bytes=61e9,
        memory_total_bytes=80e9,
    )
    assert output.device_text(gpu) == "93 %  71 C  61 of 80 GB"
    assert output.device_text(protocol.DeviceView(id="GPU-1", kind="gpu", host="h")) == "GPU-1"
    assert output.device_text(protocol.DeviceView(id="cpu-h", kind="cpu", host="h")) == "cpu-h"
