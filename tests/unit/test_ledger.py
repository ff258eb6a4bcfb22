"""Records of applied changes: what is read, what is refused, and what is brought when."""

from __future__ import annotations

import contextlib
import itertools
import math
from pathlib import Path

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import weavelet
from weavelet.ledger import differences, of_replica, read, schedule
from weavelet.messages import (
    Act,
    Adopt,
    Change,
    Deliver,
    RecordedAct,
    RecordedChange,
    RecordedSet,
    Set,
)

HERE = Path("record.jsonl")
LIFE = "a" * 16


def set_record(step, *, sequence=None, changes=(), **more):
    """A Set as an export writes it; its values are lr=step unless given."""
    sequence = step + 10 if sequence is None else sequence
    fields = {
        "version": 1,
        "run": "train",
        "job": "j1",
        "replica": "rank-0",
        "incarnation": LIFE,
        "sequence": sequence,
        "entry": f"e{sequence}",
        "author": "ann",
        "time": 1.5,
        "step": step,
        "values": {"lr": step},
        "changes": tuple(RecordedChange(*change) for change in changes),
    }
    return RecordedSet(**{**fields, **more})


def act_record(step, action="save", **more):
    """An action as an export writes it."""
    fields = msgspec.structs.asdict(set_record(step, **more))
    del fields["values"], fields["changes"]
    return RecordedAct(**fields, action=action, arguments={"path": "x"})


@pytest.fixture
def write(tmp_path):
    """A function that writes records, or lines of text, to a file."""

    def written(*lines):
        path = tmp_path / "record.jsonl"
        encoded = [
            line.encode() if isinstance(line, str) else msgspec.json.encode(line) for line in lines
        ]
        path.write_bytes(b"".join(line + b"\n" for line in encoded))
        return path

    return written


def test_what_was_written_is_read(write):
    """Sets and actions come back as they are; empty lines do not matter."""
    records = [set_record(3, changes=[("lr", 0.1, 3)]), act_record(5)]
    assert read(write(records[0], "", records[1])) == records


def test_a_line_says_what_it_is():
    """Whoever reads a line by itself knows run, replica, life, place, step, author and kind."""
    line = msgspec.json.decode(msgspec.json.encode(set_record(3, changes=[("lr", 0.1, 3)])))
    assert line == {
        "kind": "set",
        "version": 1,
        "run": "train",
        "job": "j1",
        "replica": "rank-0",
        "incarnation": LIFE,
        "sequence": 13,
        "entry": "e13",
        "author": "ann",
        "time": 1.5,
        "step": 3,
        "adopted": False,
        "values": {"lr": 3},
        "changes": [{"name": "lr", "old": 0.1, "new": 3}],
    }


GOOD = msgspec.json.encode(set_record(1)).decode()


@pytest.mark.parametrize(
    ("line", "text"),
    [
        (GOOD[: len(GOOD) // 2], "is no record"),
        ("lr=0.1", "is no record"),
        ("[]", "is no record"),
        ("\x00\x01", "is no record"),
        (GOOD.replace('"kind":"set"', '"kind":"pause"'), "pause"),
        (GOOD.replace('"step":1', '"step":"one"'), "step"),
        (GOOD.replace('"step":1,', ""), "step"),
        (GOOD.replace('"step":1', '"step":1,"more":2'), "more"),
        (GOOD.replace('"version":1', '"version":7'), "version 7, but this weavelet reads 1"),
        ('{"version": ' + "[" * 100_000, "is no record"),
        (GOOD.replace('"sequence":11', '"sequence":' + "9" * 500), "is no record"),
        (GOOD.replace("ann", "x" * (1 << 20))[:-5], "is no record"),
    ],
    ids=itertools.count(),
)
def test_a_damaged_line_is_named(write, line, text):
    """The error names file, line, reason, and what to do."""
    with pytest.raises(weavelet.ReplayError, match=r"record.jsonl, line 2: .*export") as caught:
        read(write(set_record(0), line))
    assert text in str(caught.value)
    assert caught.value.line == 2
    assert len(str(caught.value)) < 1000


def test_bytes_that_are_no_text_are_a_damaged_line(tmp_path):
    """A binary file ends in an error, too."""
    path = tmp_path / "record.jsonl"
    path.write_bytes(b'{"version": 1, "run": "\xff\xfe"}\n')
    with pytest.raises(weavelet.ReplayError, match="line 1"):
        read(path)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    edits=st.lists(st.tuples(st.integers(0, len(GOOD) * 2), st.binary(max_size=3)), min_size=1),
    cut=st.integers(0, 40),
)
def test_whatever_the_damage_the_error_is_a_replay_error(tmp_path, edits, cut):
    """Bytes changed, put in or cut off: it is read, or refused by name, and never anything else."""
    data = bytearray(GOOD.encode() + b"\n" + GOOD.replace("e11", "e12").encode() + b"\n")
    for place, new in edits:
        data[place : place + 1] = new
    path = tmp_path / "record.jsonl"
    path.write_bytes(data[: len(data) - cut])
    with contextlib.suppress(weavelet.ReplayError):
        schedule(of_replica(path, read(path), "train", "rank-0"))


def test_a_line_twice_is_damage(write):
    """An entry is applied once in a life; a file pasted together wrongly is not replayed."""
    with pytest.raises(weavelet.ReplayError, match="line 3: repeats line 1"):
        read(write(set_record(1), set_record(2), set_record(1)))


def test_a_file_that_cannot_be_read_is_named(tmp_path):
    """A missing file and a folder end in an error that names them."""
    with pytest.raises(weavelet.ReplayError, match=r"none.jsonl: cannot be read: No such file"):
        read(tmp_path / "none.jsonl")
    with pytest.raises(weavelet.ReplayError, match="cannot be read"):
        read(tmp_path)


def test_another_run_is_refused():
    """The error names both runs and how to name the session's."""
    with pytest.raises(weavelet.ReplayError, match=r"run train, but this is run 'other'.*RUN"):
        of_replica(HERE, [set_record(1)], "other", "rank-0")


def test_several_jobs_are_refused():
    """Which launch of the run is meant has to be said at the export."""
    with pytest.raises(weavelet.ReplayError, match=r"jobs j1, j2; export one of them with --job"):
        of_replica(HERE, [set_record(1), set_record(2, job="j2")], "train", "rank-0")


def test_a_replica_takes_its_own():
    """Of a file of several replicas each takes what it had applied."""
    records = [set_record(1), set_record(1, replica="rank-1"), set_record(2)]
    assert of_replica(HERE, records, "train", "rank-0") == [records[0], records[2]]
    assert of_replica(HERE, records, "train", "rank-1") == [records[1]]


def test_an_unknown_replica_is_told_which_there_are():
    """The error lists the replicas in the file."""
    records = [set_record(1), set_record(1, replica="rank-1")]
    with pytest.raises(weavelet.ReplayError, match=r"'rank-7', but of rank-0, rank-1"):
        of_replica(HERE, records, "train", "rank-7")
    with pytest.raises(weavelet.ReplayError, match="'host-12'"):
        of_replica(HERE, records, "train", "host-12", named=False)


def test_a_replica_that_nobody_named_takes_the_only_one():
    """Host and process id are others in each process; a single replica needs no name."""
    assert of_replica(HERE, [set_record(1)], "train", "host-12", named=False) == [set_record(1)]


def test_an_empty_file_replays_nothing(write):
    """A run in which nothing was changed has an empty record."""
    assert of_replica(HERE, read(write()), "train", "rank-0") == []


def test_each_record_is_due_at_its_step_in_the_order_of_the_log():
    """A Set for a later step waits for it, whatever came into the log after it."""
    records = [set_record(9, sequence=3), set_record(4, sequence=5), act_record(9, sequence=6)]
    due = schedule(of_replica(HERE, records, "train", "rank-0"))
    assert [(one.step, type(one.message)) for one in due] == [
        (4, Deliver),
        (9, Deliver),
        (9, Deliver),
    ]
    bodies = [one.message.entry.body for one in due]
    assert bodies == [Set({"lr": 4}), Set({"lr": 9}), Act("save", {"path": "x"})]
    assert [one.message.position.sequence for one in due] == [1, 2, 3]


def test_what_was_adopted_together_is_adopted_together():
    """A record of a restarted replica begins with one transaction, as its life did."""
    second = {"incarnation": "b" * 16, "adopted": True}
    records = [
        set_record(2),
        set_record(6, sequence=12, **second),
        set_record(5),
        set_record(6, sequence=15, **second),
        set_record(8),
        set_record(8, sequence=20, incarnation="b" * 16),
    ]
    records[1] = msgspec.structs.replace(records[1], values={"lr": 2})
    kept = of_replica(HERE, records, "train", "rank-0")
    assert kept == [records[0], records[2], records[1], records[3], records[5]]
    due = schedule(kept)
    assert [one.step for one in due] == [2, 5, 6, 8]
    assert isinstance(due[2].message, Adopt)
    assert [one.entry for one in due[2].message.sets] == ["e12", "e15"]
    assert due[3].message.position.sequence == 5


def test_a_later_life_replaces_what_an_earlier_one_did_from_its_first_step_on():
    """Resumed from a checkpoint at step 4, a life made steps 4 and 5 once more."""
    again = {"incarnation": "b" * 16, "adopted": True}
    records = [
        set_record(2),
        set_record(4, sequence=12, **again),
        set_record(5),
        set_record(4, sequence=15, **again),
    ]
    kept = of_replica(HERE, records, "train", "rank-0")
    assert kept == [records[0], records[1], records[3]]


def test_differences_name_both():
    """Another old value, another new one, and a change that did not come are each told."""
    record = set_record(3, changes=[("lr", 0.1, 0.5), ("gain", 1, 2), ("size", 1, 2)])
    made = [Change("lr", 0.2, 0.5), Change("gain", 1.0, 2.0)]
    assert differences(record, made) == [
        "lr 0.2 -> 0.5 now, 0.1 -> 0.5 then",
        "size was not changed, then 1 -> 2",
    ]


def test_non_finite_floats_are_no_difference():
    """NaN, written as a word, is the NaN that it was."""
    record = set_record(3, changes=[("lr", "NaN", ["Infinity", {"a": "-Infinity"}])])
    made = [Change("lr", math.nan, [math.inf, {"a": -math.inf}])]
    assert differences(record, made) == []
