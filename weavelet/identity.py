"""Who this process is: which rank of which job, also where no launcher has said so."""

from __future__ import annotations

import logging
import os
import socket
import sys
from collections import ChainMap
from collections.abc import Mapping

from weavelet import settings
from weavelet.messages import Identity

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


def new(run: str, job: str, replica: str, environ: Mapping[str, str]) -> Identity:
    """The identity of a new incarnation in this process."""
    return Identity(
        run=run,
        job=job,
        replica=replica,
        incarnation=os.urandom(8).hex(),
        pid=os.getpid(),
        host=socket.gethostname(),
        rank=settings.rank_of(environ),
        local_rank=settings.local_rank_of(environ),
        world_size=settings.world_size_of(environ),
    )


def warn_about_hosts() -> None:
    """Say so where each host would take its ranks for a job of its own."""
    world, local = settings.world_size_of(), settings.local_world_size_of()
    if world and local and world > local and settings.job_is_local():
        _log.warning(
            "this job spans several hosts, and nothing names it: set WEAVELET_JOB to the same text "
            "on all of them, or each host will be shown as a job of its own"
        )
