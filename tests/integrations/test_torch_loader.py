"""The batch size changed while a loader runs, and numbers brought over from a device."""

from __future__ import annotations

import pickle
import threading

import pytest

torch = pytest.importorskip("torch")

from torch.utils.data import (  # noqa: E402
    DataLoader,
    RandomSampler,
    SequentialSampler,
    TensorDataset,
)

from harness.steering import command, names, one_group  # noqa: E402  harness needs torch
from weavelet.integrations.torch import AsyncScalars, BatchSampler, bind  # noqa: E402
from weavelet.testing import local_session  # noqa: E402

DATA = TensorDataset(torch.arange(40))


def loader_of(batches, **options):
    return DataLoader(DATA, batch_sampler=batches, **options)


def flat(batches):
    return [index for batch in batches for index in batch]


def drawn(loader, changes, w):
    """The samples of one epoch by batch, where `changes` maps batch numbers to new sizes."""
    batches = []
    for number, (batch,) in enumerate(loader):
        batches.append(batch.tolist())
        if number in changes:
            outcome = command(w, {"batch_size": changes[number]}, number)
            assert outcome.kind == "applied"
    return batches


@pytest.mark.parametrize("drop_last", [False, True])
def test_a_constant_size_gives_the_batches_of_torch(drop_last):
    """Unsteered it is torch's own BatchSampler, its length included."""
    for size in (1, 3, 8, 40, 50):
        mine = BatchSampler(range(40), size, drop_last)
        theirs = torch.utils.data.BatchSampler(range(40), size, drop_last)
        assert (list(mine), len(mine)) == (list(theirs), len(theirs))
        assert isinstance(mine, torch.utils.data.BatchSampler)


def test_the_next_batch_has_the_new_size():
    """Without workers the very next batch; the outcome says which, and nothing is lost."""
    batches = BatchSampler(SequentialSampler(DATA), batch_size=4)
    with local_session() as w:
        bind(w, loader=loader_of(batches))
        seen = drawn(loader_of(batches), {2: 10}, w)
        assert [len(batch) for batch in seen] == [4, 4, 4, 10, 10, 8]
        assert flat(seen) == list(range(40))
        outcome = w.outcomes[-1]
        assert (outcome.changes[0].old, outcome.changes[0].new) == (4, 10)
        assert outcome.reason == ("batch_size: from batch 3 of epoch 0 on, both counted from 0")


# Python 3.12 warns of every fork of a process with threads, and torch has some.
@pytest.mark.filterwarnings("ignore:This process.*is multi-threaded:DeprecationWarning")
@pytest.mark.parametrize("persistent", [False, True])
def test_with_workers_it_is_the_next_batch_that_is_drawn(persistent):
    """What workers have been told to fetch comes as it is; the outcome names the first new one."""
    batches = BatchSampler(SequentialSampler(DATA), batch_size=2)
    loader = loader_of(
        batches,
        num_workers=2,
        prefetch_factor=2,
        persistent_workers=persistent,
        multiprocessing_context="fork",
    )
    with local_session() as w:
        bind(w, loader=loader)
        seen = drawn(loader, {3: 5}, w)
        # Four batches had come and four more were on their way.
        assert "from batch 8 of epoch 0 on" in w.outcomes[-1].reason
        assert [len(batch) for batch in seen] == [2] * 8 + [5] * 4 + [4]
        assert flat(seen) == list(range(40))
        seen = drawn(loader, {0: 20}, w)
        assert "of epoch 1 on" in w.outcomes[-1].reason
        assert sorted(flat(seen)) == list(range(40))


def test_between_epochs_it_is_the_first_batch_of_the_next():
    """Also at the very end of an epoch, where all batches have been drawn."""
    batches = BatchSampler(RandomSampler(DATA), batch_size=10)
    loader = loader_of(batches)
    with local_session() as w:
        bind(w, loader=loader)
        command(w, {"batch_size": 20})
        assert "from batch 0 of epoch 0 on" in w.outcomes[-1].reason
        assert len(loader) == 2
        assert [len(batch) for batch in drawn(loader, {}, w)] == [20, 20]
        command(w, {"batch_size": 8})
        assert "from batch 0 of epoch 1 on" in w.outcomes[-1].reason
        assert [len(batch) for batch in drawn(loader, {}, w)] == [8] * 5


def test_a_smaller_size_than_what_is_gathered_is_the_next_batchs():
    """Batches are whole: a size of one gives batches of one from then on."""
    batches = BatchSampler(range(7), batch_size=4, drop_last=True)
    epoch = iter(batches)
    assert next(epoch) == [0, 1, 2, 3]
    batches.batch_size = 1
    assert list(epoch) == [[4], [5], [6]]


@pytest.mark.parametrize("wrong", [0, -1, "many", 2.5])
def test_sizes_that_are_none_are_rejected(wrong):
    """The loader goes on with the size that it has."""
    batches = BatchSampler(range(7), batch_size=4)
    with local_session() as w:
        bind(w, loader=batches)
        assert command(w, {"batch_size": wrong}).kind == "rejected"
        assert batches.batch_size == 4


def test_a_loader_and_an_optimizer_share_a_binding():
    """One call binds both; a closed one rejects both."""
    batches = BatchSampler(range(7), batch_size=4)
    with local_session() as w:
        binding = bind(w, loader=batches, optimizer=one_group(lr=0.1), prefix="train.")
        assert {"train.batch_size", "train.lr"} <= names(w)
        binding.close()
        assert command(w, {"train.batch_size": 2}).kind == "rejected"


def test_a_wrapped_sampler_is_found():
    """Accelerate shards a batch sampler by wrapping it."""

    class Shard:
        def __init__(self, batch_sampler):
            self.batch_sampler = batch_sampler

    batches = BatchSampler(range(7), batch_size=4)
    with local_session() as w:
        bind(w, loader=Shard(Shard(batches)))
        command(w, {"batch_size": 2})
        assert batches.batch_size == 2


def test_a_batch_sampler_can_be_pickled():
    """Spawned workers and checkpoints of loaders may carry it."""
    again = pickle.loads(pickle.dumps(BatchSampler(range(7), batch_size=4)))
    assert list(again) == [[0, 1, 2, 3], [4, 5, 6]]


class Slow:
    """Copies that land when the test says so; they take the values when they start."""

    def __init__(self):
        self.started = []
        self.full = False

    def start(self, tensors):
        if self.full:
            return None
        copy = Journey([tensor.clone() for tensor in tensors])
        self.started.append(copy)
        return copy


class Journey:
    def __init__(self, tensors):
        self.tensors = tensors
        self.arrived = threading.Event()

    def landed(self):
        return self.arrived.is_set()

    def values(self):
        return [tensor.item() for tensor in self.tensors]


def remote(slow, **options):
    """Scalars whose tensors are all taken for those of a device."""
    is_remote = lambda value: isinstance(value, torch.Tensor)  # noqa: E731  an argument
    return AsyncScalars(start=slow.start, is_remote=is_remote, **options)


def taken(scalars):
    return [(landed.step, landed.metrics) for landed in scalars.drain()]


def test_numbers_come_out_in_the_order_in_which_they_went_in():
    """What lands early waits for what was submitted before it, plain numbers included."""
    slow = Slow()
    scalars = remote(slow)
    for step in range(3):
        assert scalars.submit(step, {"loss": torch.tensor(step / 2), "note": "x"})
    assert scalars.submit(3, {"loss": 9.0})
    slow.started[1].arrived.set()
    assert taken(scalars) == []
    slow.started[0].arrived.set()
    assert taken(scalars) == [(0, {"loss": 0.0, "note": "x"}), (1, {"loss": 0.5, "note": "x"})]
    assert len(scalars) == 2
    slow.started[2].arrived.set()
    assert taken(scalars) == [(2, {"loss": 1.0, "note": "x"}), (3, {"loss": 9.0})]


def test_a_tensor_may_be_written_after_it_was_submitted():
    """A running loss that is reset in place is reported as it was."""
    slow = Slow()
    scalars = remote(slow)
    loss = torch.tensor(2.0)
    scalars.submit(0, {"loss": loss})
    loss.zero_()
    slow.started[0].arrived.set()
    assert taken(scalars) == [(0, {"loss": 2.0})]


def test_what_does_not_fit_is_counted():
    """Nothing waits for room, and nothing is lost in silence."""
    slow = Slow()
    scalars = remote(slow, limit=2)
    assert [scalars.submit(n, {"loss": torch.tensor(1.0)}) for n in range(3)] == [True, True, False]
    slow.started[0].arrived.set()
    assert [step for step, _ in taken(scalars)] == [0]
    slow.full = True
    assert not scalars.submit(4, {"loss": torch.tensor(1.0)})
    assert scalars.submit(5, {"loss": 1.0})
    assert scalars.dropped == 2


def test_numbers_keep_their_kind_and_time():
    """Whole numbers, flags and halves come as what they are, with the moment of their report."""
    scalars = AsyncScalars()
    metrics = {
        "count": torch.tensor(2**53 + 1),
        "flag": torch.tensor(True),
        "half": torch.tensor(0.5, dtype=torch.bfloat16),
        "one": torch.ones(1, 1, requires_grad=True),
    }
    scalars.submit(1, metrics, at=12.5)
    (landed,) = scalars.drain()
    assert landed.metrics == {"count": 2**53 + 1, "flag": True, "half": 0.5, "one": 1.0}
    assert landed.metrics["flag"] is True
    assert landed.at == 12.5


@pytest.mark.parametrize("wrong", [torch.ones(2), torch.tensor(1j)])
def test_what_is_no_number_is_refused(wrong):
    """The error names the metric and says what to report."""
    scalars = AsyncScalars()
    with pytest.raises(ValueError, match="grads: expected a tensor of one real element"):
        scalars.submit(0, {"grads": wrong})
    assert len(scalars) == 0


def test_threads_may_submit_while_another_drains():
    """Every submission comes out once, and those of one thread in their order."""
    scalars = AsyncScalars(limit=10_000)
    seen = []
    done = threading.Event()

    def submit(first):
        for step in range(first, first + 500):
            scalars.submit(step, {"loss": torch.tensor(float(step))})

    def drain():
        while not done.is_set():
            seen.extend(scalars.drain())
        seen.extend(scalars.drain())

    threads = [threading.Thread(target=submit, args=(first,)) for first in (0, 1000, 2000)]
    drainer = threading.Thread(target=drain)
    for thread in (drainer, *threads):
        thread.start()
    for thread in threads:
        thread.join()
    done.set()
    drainer.join()
    steps = [landed.step for landed in seen]
    assert sorted(steps) == [*range(500), *range(1000, 1500), *range(2000, 2500)]
    for first in (0, 1000, 2000):
        mine = [step for step in steps if first <= step < first + 500]
        assert mine == sorted(mine)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_numbers_on_a_gpu_land_without_a_wait():
    """Behind a long kernel nothing has landed, nothing waits, and the values are those of then."""
    scalars = AsyncScalars()
    large = torch.ones(8192, 8192, device="cuda")
    loss = torch.tensor(0.0, device="cuda")
    with torch.cuda.device(0):
        scalars.submit(0, {"loss": loss})
        torch.cuda.synchronize()
        assert taken(scalars) == [(0, {"loss": 0.0})]
        torch.cuda.set_sync_debug_mode("error")
        try:
            for _ in range(20):
                large = large @ large / 8192
            loss += 1
            scalars.submit(1, {"loss": loss, "large": large[0, 0]})
            loss += 1
            assert taken(scalars) == []
        finally:
            torch.cuda.set_sync_debug_mode("default")
        torch.cuda.synchronize()
        assert taken(scalars)[0][1]["loss"] == 1.0
