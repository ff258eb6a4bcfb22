"""Which rank of which job this process is, where no launcher has said so."""

from __future__ import annotations

import logging
import os
import sys
from collections import ChainMap
from collections.abc import Mapping

from weavelet import settings

_log = logging.getLogger("weavelet")


def has_group() -> bool:
    """Whether torch is loaded and has a process group."""
    distributed = sys.modules.get("torch.distributed")
    is_initialized = getattr(distributed, "is_initialized", None)
    return is_initialized is not None and bool(is_initialized())


def environment() -> Mapping[str, str]:
    """The environment, completed by what a process group made without a launcher knows.

    Such are those of torch.multiprocessing.spawn. The group tells the rank; its store holds the
    job's name, so that all ranks, on whatever host, have the same.
    """
    if settings.rank_of() is not None or not has_group():
        return os.environ
    from weavelet.integrations import distributed  # noqa: PLC0415  torch is loaded already

    rank, ranks = distributed.place()
    known = {"RANK": str(rank), "WORLD_SIZE": str(ranks)}
    if settings.job_is_local():
        try:
            known["WEAVELET_JOB"] = distributed.name_job(settings.job_name(None))
        except RuntimeError as error:
            _log.warning("the ranks of this job could not agree on its name: %s", error)
    return ChainMap(known, os.environ)
