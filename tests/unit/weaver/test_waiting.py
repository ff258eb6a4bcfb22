"""What came too early."""

from weavelet.weaver.waiting import OVERHEAD, Waiting


def test_values_come_out_in_order_and_once():
    """Whoever takes them has all that waited for a key, and nobody has them again."""
    waiting = Waiting(1_000_000)
    for value in (1, 2):
        waiting.keep("a", value, 10)
    waiting.keep("b", 3, 10)
    assert waiting.take("a") == [1, 2]
    assert waiting.take("a") == []
    assert waiting.take("b") == [3]


def test_what_waits_for_ever_is_bounded():
    """Beyond its room the key that waited longest loses its values, the others keep theirs."""
    waiting = Waiting(3 * (OVERHEAD + 100))
    for key in "aabcc":
        waiting.keep(key, key, 100)
    assert waiting.take("a") == []
    assert waiting.take("b") == ["b"]
    assert waiting.take("c") == ["c", "c"]
    for number in range(10_000):
        waiting.keep(number, number, 100)
    assert sum(len(waiting.take(number)) for number in range(10_000)) == 3


def test_its_room_is_in_bytes():
    """A few values of a megabyte take as much as many small ones."""
    waiting = Waiting(2_500_000)
    for key in "abc":
        waiting.keep(key, key, 1_000_000)
    assert [waiting.take(key) for key in "abc"] == [[], ["b"], ["c"]]
    waiting.keep("d", "d", 3_000_000)
    assert waiting.take("d") == []


def test_what_was_cleared_is_gone():
    """Another store brings its own."""
    waiting = Waiting(2 * OVERHEAD)
    waiting.keep("a", 1, 0)
    waiting.clear()
    for value in (1, 2):
        waiting.keep("b", value, 0)
    assert (waiting.take("a"), waiting.take("b")) == ([], [1, 2])
