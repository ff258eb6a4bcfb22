"""A batch sampler whose batch size can be set while it is being drawn from."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from torch.utils.data import BatchSampler as TorchBatchSampler
from torch.utils.data import Sampler


class BatchSampler(TorchBatchSampler):
    """Groups the indices of any sampler into batches, of a size that may change at any time.

    A change is for the next batch drawn. Without workers that is the next batch of the loop; with
    them `num_workers * prefetch_factor` batches have been drawn ahead and come as they are. No
    index is lost or repeated, and the order stays the sampler's.

    >>> batches = BatchSampler(range(10), batch_size=2)
    >>> epoch = iter(batches)
    >>> next(epoch)
    [0, 1]
    >>> batches.batch_size = 5
    >>> list(epoch)
    [[2, 3, 4, 5, 6], [7, 8, 9]]

    `len()` counts the batches of an epoch drawn wholly at the present size.

    Args:
        sampler: What gives indices, such as a `RandomSampler` or a `DistributedSampler`.
        batch_size: Indices in a batch, at first.
        drop_last: Whether a last batch that is too small is left out.
    """

    def __init__(
        self, sampler: Sampler[int] | Iterable[int], batch_size: int, drop_last: bool = False
    ) -> None:
        super().__init__(sampler, batch_size, drop_last)
        self.epoch = -1
        """Which epoch is being drawn, from 0; -1 before the first."""
        self.drawn = 0
        """Batches drawn in this epoch."""
        self.finished = True
        """Whether all batches of this epoch have been drawn."""

    def __iter__(self) -> Iterator[list[int]]:
        self.epoch += 1
        self.drawn = 0
        self.finished = False
        epoch = self.epoch
        batch: list[int] = []
        for index in self.sampler:
            batch.append(index)
            if len(batch) >= self.batch_size:
                self._count(epoch)
                yield batch
                batch = []
        if batch and not self.drop_last:
            self._count(epoch)
            yield batch
        if epoch == self.epoch:
            self.finished = True

    def next_batch(self) -> tuple[int, int]:
        """The epoch and the number in it, both from 0, of the next batch to be drawn."""
        return (self.epoch + 1, 0) if self.finished else (self.epoch, self.drawn)

    def _count(self, epoch: int) -> None:
        if epoch == self.epoch:
            self.drawn += 1


def sampler_of(loader: Any) -> BatchSampler:
    """The live batch sampler of a DataLoader, also where a framework has wrapped it.

    Raises:
        ValueError: it has none; the text says what to write.
    """
    found: Any = loader
    while found is not None and not isinstance(found, BatchSampler):
        found = getattr(found, "batch_sampler", None)
    if found is None:
        msg = (
            f"the batch size of {type(loader).__name__} cannot be changed while it runs: expected "
            f"a loader with a weavelet.integrations.torch.BatchSampler; write "
            f"`DataLoader(dataset, batch_sampler=BatchSampler(RandomSampler(dataset), "
            f"batch_size=32))`"
        )
        raise ValueError(msg)
    return found
