"""Fixtures of the adapters' contract."""

from __future__ import annotations

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
