"""When a follower looks at its stream."""

from __future__ import annotations

import asyncio
import time

import pytest
from nats.aio.msg import Msg

from weavelet.wire import hints as hints_module
from weavelet.wire.hints import Hints


def announced(message_id):
    headers = {"Nats-Msg-Id": message_id} if message_id else None
    return Msg(_client=None, subject="s", data=b"", headers=headers)


async def wait(hints):
    began = time.monotonic()
    await asyncio.wait_for(hints.wait(), 10)
    return time.monotonic() - began


@pytest.fixture
def resync(monkeypatch):
    """Shorter intervals, of which the resync is told apart from all retries."""
    monkeypatch.setattr(hints_module, "RESYNC_SECONDS", 0.5)
    monkeypatch.setattr(hints_module, "_LAST_SECONDS", 0.1)


@pytest.mark.parametrize("message_id", ["a", ""])
def test_an_announced_message_is_looked_for_again_and_again(message_id, resync):
    """What was announced and not shown is looked for at growing intervals, for a while."""

    async def scenario():
        hints = Hints()
        hints.note(announced(message_id))
        waits = [await wait(hints) for _ in range(6)]
        assert waits[0] < 0.1
        assert 0.03 < waits[-1] < 0.4
        assert sum(waits) < 0.5

    asyncio.run(scenario())


def test_a_message_that_was_shown_is_not_looked_for(resync):
    """Nothing is owed once it was shown, whether it is announced before or after."""

    async def scenario():
        hints = Hints()
        hints.note(announced("a"))
        hints.shown("a")
        assert await wait(hints) < 0.3
        hints.shown("b")
        hints.note(announced("b"))
        assert await wait(hints) > 0.4

    asyncio.run(scenario())


def test_without_hints_it_looks_now_and_then(resync):
    """A hint may be lost: the stream is looked at all the same."""

    async def scenario():
        assert 0.4 < await wait(Hints()) < 4

    asyncio.run(scenario())


def test_what_never_comes_is_given_up(resync):
    """An announced write that lost its race does not keep the follower busy for ever."""

    async def scenario():
        hints = Hints()
        hints.note(announced("loser"))
        waits = [await wait(hints) for _ in range(9)]
        assert max(waits) > 0.4

    asyncio.run(scenario())


def test_a_hint_wakes_a_follower(resync):
    """A follower that waits for its next look goes on when something is announced."""

    async def scenario():
        hints = Hints()
        asyncio.get_running_loop().call_later(0.01, hints.note, announced("a"))
        assert await wait(hints) < 0.3

    asyncio.run(scenario())
