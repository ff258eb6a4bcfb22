"""The ranks of a torch.distributed job, and the store that its launcher gave it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import distributed


@dataclass(frozen=True)
class Group:
    """The job's default process group, none of which is used but its store, by a clone of it.

    `patience` is how many seconds a rank may wait for others: half the time after which a
    collective of the group gives up. `store` is None where the group has none that can be cloned.
    """

    rank: int
    ranks: int
    store: Any
    patience: float


def find_group() -> Group | None:
    """The default process group, None while there is none."""
    if not distributed.is_available() or not distributed.is_initialized():
        return None
    store: Any = distributed.distributed_c10d._get_default_store()  # noqa: SLF001  no public way to it
    return Group(
        distributed.get_rank(),
        distributed.get_world_size(),
        store.clone(),
        store.timeout.total_seconds() / 2,
    )


def place() -> tuple[int, int]:
    """The rank of this process, and how many there are."""
    return distributed.get_rank(), distributed.get_world_size()


def name_job(proposed: str) -> str:
    """What the first rank to ask has proposed as the name of the job.

    Raises:
        RuntimeError: the group's store cannot keep it.
    """
    store = distributed.distributed_c10d._get_default_store()  # noqa: SLF001  as above
    return str(store.compare_set("weavelet/job", "", proposed).decode())
