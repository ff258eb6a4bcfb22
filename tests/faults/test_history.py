"""The checker of histories finds what it is there to find."""

from __future__ import annotations

import pytest

from harness.history import History, read, violations


def history(*events):
    return [{"what": what, "number": number, **more} for what, number, more in events]


def sound(*numbers):
    """A history in which all went well."""
    return history(
        *(("applied", number, {}) for number in numbers),
        *(("answered", number, {"kind": "applied"}) for number in numbers),
        *(("logged", number, {}) for number in numbers),
        *(("settled", number, {"kind": "applied"}) for number in numbers),
    )


def test_a_sound_history_has_no_violation():
    """Nor has one with commands that nobody answered, or that never entered the log."""
    assert violations(sound(0, 1, 2)) == []
    assert violations(history(("doubted", 9, {})) + sound(0, 2)) == []


@pytest.mark.parametrize(
    ("without", "added", "found"),
    [
        ((), ("applied", 1, {}), "1 was applied 2 times"),
        (("applied", 1), None, "1 is in the log and was not applied"),
        (("logged", 1), None, "1 was applied and is not in the log"),
        (("settled", 1), None, "1 was never settled"),
        ((), ("logged", 1, {}), "1 was logged 2 times"),
        ((), ("applied", 7, {}), "7 was applied and is not in the log"),
        ((), ("answered", 7, {"kind": "applied"}), "7 was answered with a lie"),
        ((), ("settled", 1, {"kind": "unknown"}), "1 was settled as unknown"),
        ((), ("answered", 1, {"kind": "expired"}), "1 was answered with a lie"),
        ((), ("expired", 1, {}), "1 was applied though it had expired"),
        ((), ("answered", 7, {"kind": "unknown"}), "7 was answered and is not in the log"),
    ],
)
def test_each_kind_of_fault_is_found(without, added, found):
    """Lost, doubled, invented, lied about."""
    events = [e for e in sound(0, 1, 2) if (e["what"], e["number"]) != without]
    events += history(added) if added else []
    assert found in violations(events)


def test_another_order_is_found():
    """What was applied in another order than the log's."""
    events = sound(0, 1, 2)
    events[0], events[1] = events[1], events[0]
    assert violations(events) == ["applied as [1, 0, 2], logged as [0, 1, 2]"]


def test_lines_of_two_writers_stay_whole(tmp_path):
    """Both append to one file, each line with one write."""
    one, two = History(tmp_path / "log"), History(tmp_path / "log")
    for number in range(100):
        one.note("one", number=number)
        two.note("two", number=number)
    one.close()
    two.close()
    events = read(tmp_path / "log")
    assert [event["number"] for event in events if event["what"] == "one"] == list(range(100))
    assert len(events) == 200
