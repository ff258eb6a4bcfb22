"""What came too early."""

from weavelet.weaver.waiting import Waiting


def test_values_come_out_in_order_and_once():
    """Whoever takes them has all that waited for a key, and nobody has them again."""
    waiting = Waiting(10)
    for value in (1, 2):
        waiting.keep("a", value)
    waiting.keep("b", 3)
    assert waiting.take("a") == [1, 2]
    assert waiting.take("a") == []
    assert waiting.take("b") == [3]


def test_what_waits_for_ever_is_bounded():
    """Beyond its room the key that waited longest loses its values, the others keep theirs."""
    waiting = Waiting(3)
    for key in "aabcc":
        waiting.keep(key, key)
    assert waiting.take("a") == []
    assert waiting.take("b") == ["b"]
    assert waiting.take("c") == ["c", "c"]
    for number in range(10_000):
        waiting.keep(number, number)
    assert sum(len(waiting.take(number)) for number in range(10_000)) == 3


def test_what_was_cleared_is_gone():
    """Another store brings its own."""
    waiting = Waiting(2)
    waiting.keep("a", 1)
    waiting.clear()
    for value in (1, 2):
        waiting.keep("b", value)
    assert (waiting.take("a"), waiting.take("b")) == ([], [1, 2])
