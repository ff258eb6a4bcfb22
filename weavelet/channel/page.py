"""The page that trainer and sidecar share."""

from __future__ import annotations

import mmap
import os
import random
import tempfile
from enum import IntEnum

_SIZE = 4096


class Phase(IntEnum):
    """What the trainer is doing, as far as it says so itself."""

    STARTING = 0
    RUNNING = 1
    PAUSED = 2
    IN_SECTION = 3


class Page:
    """Eight-byte words in one mmap'ed page.

    ====  ========  ===============  ==================================================
    word  name      written by       meaning
    ====  ========  ===============  ==================================================
    0     BELL      sidecar, spawn   changes when the trainer should look at its socket
    1     POLLS     trainer          calls of poll()
    2     STEP      trainer          step of the last poll
    3     PHASE     trainer          a `Phase`
    4     SAMPLED   trainer          calls of report() accepted
    5     DROPPED   trainer          of these, overwritten before they could be sent
    6     PAUSED    trainer          milliseconds spent paused, without the current pause
    ====  ========  ===============  ==================================================

    It holds no payload: a word that is seen late costs time, never correctness. The bell takes a
    random value at each ring, so that two writers cannot undo each other's ring.
    """

    BELL, POLLS, STEP, PHASE, SAMPLED, DROPPED, PAUSED = range(7)

    def __init__(self, descriptor: int) -> None:
        """Map the page behind `descriptor`, which this object owns from here on."""
        self.descriptor = descriptor
        self._map = mmap.mmap(descriptor, _SIZE)
        self.words = memoryview(self._map).cast("q")

    @classmethod
    def create(cls) -> Page:
        """A new page, all words 0."""
        if hasattr(os, "memfd_create"):
            descriptor = os.memfd_create("weavelet", os.MFD_CLOEXEC)
        else:
            # macOS: an unlinked file, as shm_open is not in the standard library without a name.
            descriptor, path = tempfile.mkstemp(prefix="weavelet-")
            os.unlink(path)
        os.ftruncate(descriptor, _SIZE)
        return cls(descriptor)

    def ring(self) -> None:
        """Make the trainer's next poll look at its socket."""
        self.words[self.BELL] = random.getrandbits(63)

    def close_descriptor(self) -> None:
        """Close the descriptor, once; the mapping lives as long as somebody holds this object."""
        if self.descriptor >= 0:
            os.close(self.descriptor)
            self.descriptor = -1
