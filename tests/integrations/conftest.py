"""Fixtures of the adapters' contract."""

from __future__ import annotations

from datetime import timedelta

import pytest

pytest.register_assert_rewrite("harness.contract")

from harness.contract import living  # noqa: E402  to be rewritten first
from harness.stage import weaving  # noqa: E402


@pytest.fixture(scope="module")
def weaver(tmp_path_factory):
    """A `weavelet up` for the tests of one file."""
    with weaving(tmp_path_factory.mktemp("weaver") / "home") as running:
        yield running


@pytest.fixture(scope="class")
def life(request, weaver, tmp_path_factory):
    """A job of one process that the tests of one class steer, one after the other."""
    folder = tmp_path_factory.mktemp("life")
    contract = request.cls
    with living(weaver, contract.script, folder, job="life", **contract.environment) as running:
        yield running


@pytest.fixture
def served():
    """A store as the launcher's agent serves it."""
    distributed = pytest.importorskip("torch.distributed")
    return distributed.TCPStore(
        "127.0.0.1",
        0,
        None,
        is_master=True,
        timeout=timedelta(seconds=30),
        wait_for_workers=False,
    )
