"""Tensors on a device in report(): read without waiting, in order, none lost in silence."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

from weavelet.channel.page import Page  # noqa: E402  needs torch
from weavelet.hotpath import make_report  # noqa: E402
from weavelet.integrations.torch import AsyncScalars  # noqa: E402
from weavelet.remote import Remote  # noqa: E402
from weavelet.testing import LocalEnd, local_session  # noqa: E402


class Device:
    """Copies that land when told: the CPU's tensors in the place of a GPU's."""

    def __init__(self):
        self.flights = []
        self.room = True

    def start(self, tensors):
        if not self.room:
            return None
        self.flights.append(Flight([tensor.clone() for tensor in tensors]))
        return self.flights[-1]


class Flight:
    def __init__(self, tensors):
        self.tensors = tensors
        self.there = False

    def landed(self):
        return self.there

    def values(self):
        return [tensor.item() for tensor in self.tensors]


class CountingEnd(LocalEnd):
    lost = 0

    def lose(self):
        self.lost += 1


@pytest.fixture
def device():
    return Device()


@pytest.fixture
def end():
    return CountingEnd(Page.create())


@pytest.fixture
def remote(device, end):
    def is_remote(value):
        return isinstance(value, torch.Tensor)

    scalars = AsyncScalars(start=device.start, is_remote=is_remote)
    return Remote(end, scalars, is_remote)


def test_a_number_on_a_device_is_a_sample_once_it_has_landed(device, end, remote):
    """It keeps the step and the time at which it was reported, and its companions."""
    report = make_report(end.page, end, remote.read)
    loss = torch.tensor(0.5)
    report(3, loss=loss, phase="warm-up")
    loss.fill_(9.0)
    report(4, lr=0.1)
    assert [(each.step, each.metrics) for each in end.samples] == [(4, {"lr": 0.1})]
    device.flights[0].there = True
    remote.collect()
    landed = end.samples[1]
    assert (landed.step, landed.metrics) == (3, {"loss": 0.5, "phase": "warm-up"})
    assert landed.at < end.samples[0].at


def test_what_finds_no_room_is_counted(device, end, remote):
    """A full device ring costs samples, and they are counted as lost."""
    report = make_report(end.page, end, remote.read)
    device.room = False
    report(1, loss=torch.tensor(0.5))
    assert (end.samples, end.lost) == ([], 1)


def test_what_is_no_single_number_is_left_out_and_nothing_else(device, end, remote):
    """A matrix in a report does not raise and does not cost the others."""
    report = make_report(end.page, end, remote.read)
    report(1, loss=torch.tensor(0.5), weights=torch.zeros(3, 3))
    device.flights[0].there = True
    remote.collect()
    assert end.samples[0].metrics == {"loss": 0.5}


def test_the_end_of_a_session_waits_a_moment_for_what_is_on_its_way(device, end, remote):
    """What lands within the patience is not lost; what does not does not hold the end up."""
    report = make_report(end.page, end, remote.read)
    report(1, loss=torch.tensor(0.5))
    remote.finish(patience=0.0)
    assert end.samples == []
    device.flights[0].there = True
    remote.finish()
    assert [each.step for each in end.samples] == [1]


def test_tensors_of_the_host_are_samples_at_once():
    """Without a device nothing is asynchronous."""
    with local_session() as w:
        w.report(0, loss=torch.tensor(0.25), good=torch.tensor(True))
        assert w.samples[0].metrics == {"loss": 0.25, "good": True}


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_cuda_tensor_arrives():
    """On a real device the number comes, with its step."""
    with local_session() as w:
        w.report(5, loss=torch.tensor(0.25, device="cuda"))
        samples = w.samples
    assert [(each.step, each.metrics) for each in samples] == [(5, {"loss": 0.25})]
