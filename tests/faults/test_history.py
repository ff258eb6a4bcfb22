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
        ((), ("answered", 7, {"kind": "applied"}), "7 was said to be applied and was not"),
        ((), ("settled", 1, {"kind": "unknown"}), "1 was settled as unknown"),
        ((), ("answered", 1, {"kind": "expired"}), "1 was said not to be applied and was"),
        ((), ("expired", 1, {}), "1 was applied though it had expired"),
        ((), ("answered", 7, {"kind": "unknown"}), "7 was answered and is not in the log"),
    ],
)
def test_each_kind_of_fault_is_found(without, added, found):
    """Lost, doubled, invented, lied about."""
    events = [e for e in sound(0, 1, 2) if (e["what"], e["number"]) != without]
    events += history(added) if added else []
    assert found in violations(events)


def test_a_later_life_may_set_again_and_run_nothing_again():
    """What a dead trainer did not come to is no loss; its actions are not repeated."""
    lived = history(("born", None, {}), ("applied", 0, {}), ("applied", 1, {}), ("born", None, {}))
    log = history(
        *(("logged", number, {}) for number in (0, 1, 2, 3)),
        *(("settled", number, {"kind": "applied"}) for number in (0, 1, 3)),
        ("settled", 2, {"kind": "unknown"}),
    )
    later = history(("applied", 1, {}), ("applied", 3, {}))
    assert violations(lived + later + log) == []
    backwards = history(("applied", 3, {}), ("applied", 1, {}))
    assert violations(lived + backwards + log) == ["applied as [3, 1], logged as [1, 3]"]
    ran = history(("ran", 0, {}), ("born", None, {}), ("ran", 0, {}))
    assert violations(ran) == ["0 was run 2 times"]
    told = history(("acted", 0, {"kind": "applied"}))
    assert violations(told) == ["0 was said to be run and was not"]
    assert violations(lived + later[:1] + log) == ["3 was said to be applied and was not"]


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
