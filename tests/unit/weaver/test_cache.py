from __future__ import annotations

from weavelet.weaver.cache import Cache


def test_a_text_is_made_into_something_once():
    """Whoever asks again gets the same, and what was asked for lately stays."""
    made = []
    cache = Cache(lambda text: made.append(text) or [text], 1501)
    assert cache("a") is cache("a")
    cache("b")
    cache("a")
    cache("c")
    assert made == ["a", "b", "c"]
    cache("a")
    assert made == ["a", "b", "c"]
    cache("b")
    assert made == ["a", "b", "c", "b"]


def test_it_is_bounded_by_the_length_of_the_texts():
    """Few long texts, or many short ones, take the same room."""
    cache = Cache(len, 10_000)
    for number in range(1000):
        cache(f"{number}")
        assert cache.size <= 10_000
    cache("x" * 20_000)
    assert cache.size == 0
