"""The ranks of a torch.distributed job, and the store that its launcher gave it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import distributed

_SHORT = 1.0


@dataclass(frozen=True)
class Group:
    """The job's default process group, none of which is used but its store, by a clone of it.

    `patience` is how many seconds a rank may wait for others: half the time after which a
    collective of the group gives up.
    """

    rank: int
    ranks: int
    store: Any
    patience: float


def find_group() -> Group | None:
    """The default process group, None while there is none."""
    if not distributed.is_available() or not distributed.is_initialized():
        return None
    rank, ranks = place()
    store: Any = distributed.distributed_c10d._get_default_store()  # noqa: SLF001  no public way
    try:
        return Group(rank, ranks, store.clone(), store.timeout.total_seconds() / 2)
    except (AttributeError, RuntimeError) as error:
        return Group(rank, ranks, _NoStore(type(store).__name__, error), _SHORT)


class _NoStore:
    """Stands for a store that cannot be cloned, such as that of a group made for tests."""

    def __init__(self, kind: str, error: Exception) -> None:
        self._reason = f"the process group's store, a {kind}, cannot be cloned: {error}"

    def __getattr__(self, name: str) -> Any:
        raise RuntimeError(self._reason)


def place() -> tuple[int, int]:
    """The rank of this process, and how many there are."""
    return distributed.get_rank(), distributed.get_world_size()


def on_any_rank(flag: bool, device: Any) -> bool:
    """Whether a flag is set on one rank at least. A collective, so that all ranks have to call it.

    Args:
        flag: This rank's.
        device: Where the group's backend reduces.
    """
    if not distributed.is_initialized():
        return flag
    flags = torch.tensor(int(flag), dtype=torch.int32, device=device)
    distributed.all_reduce(flags, distributed.ReduceOp.MAX)
    return bool(flags)


def name_job(proposed: str) -> str:
    """What the first rank to ask has proposed as the name of the job.

    Raises:
        RuntimeError: the group's store cannot keep it.
    """
    store = distributed.distributed_c10d._get_default_store()  # noqa: SLF001  as above
    return str(store.compare_set("weavelet/job", "", proposed).decode())
