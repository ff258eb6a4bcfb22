"""Fixtures of the tests with real processes."""

from __future__ import annotations

import pytest

from harness.nats import running_nats


@pytest.fixture
def nats(tmp_path):
    """A nats-server of the test's own, with an empty store; a `weavelet.weaver` NatsServer."""
    with running_nats(tmp_path / "nats") as server:
        yield server
