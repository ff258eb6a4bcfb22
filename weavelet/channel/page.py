"""The page that trainer and sidecar share."""

from __future__ import annotations

import mmap
import os
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
    0     BELL      all; 0: trainer  not 0 when the trainer should look at its socket
    1     LOOKS     trainer          calls of poll() that answered the bell
    2     STEP      trainer          step of the last poll
    3     PHASE     trainer          a `Phase`
    4     SAMPLED   trainer          calls of report() accepted
    5     DROPPED   trainer          of these, overwritten before they could be sent
    6     PAUSED    trainer          milliseconds spent paused, without the current pause
    7     TAKEN     sidecar          samples that have come to a sidecar, gaps included
    8     STORED    sidecar          of these, stored by the bus
    9     COUNTED   trainer          1 once poll() was called without a step
    10    WORK      trainer          microseconds that the last step took on its own; 0: unknown
    ====  ========  ===============  ==================================================

    A sidecar begins with what its predecessor left in TAKEN and STORED, so that what died with that
    one is known to be missing.

    It holds no payload: a word that is seen late costs time, never correctness. The trainer
    silences the bell before it reads its socket, whose lock orders that before a later ring.

    A poll that hears nothing writes STEP alone, the price of a second word being a third of its
    own. Whoever must know that the trainer polls, although its step stands still, rings: the poll
    that answers counts in LOOKS, and so does the first one.
    """

    BELL, LOOKS, STEP, PHASE, SAMPLED, DROPPED, PAUSED, TAKEN, STORED, COUNTED, WORK = range(11)

    def __init__(self, descriptor: int) -> None:
        """Map the page behind `descriptor`, which this object owns from here on."""
        self._map = mmap.mmap(descriptor, _SIZE)
        self.descriptor = descriptor
        self.words = memoryview(self._map).cast("q")

    @classmethod
    def create(cls) -> Page:
        """A new page, all words 0."""
        if hasattr(os, "memfd_create"):
            descriptor = os.memfd_create("weavelet", os.MFD_CLOEXEC)
        else:
            # macOS: an unlinked file, as shm_open is not in the standard library without a name.
            import tempfile  # noqa: PLC0415  5 ms that Linux need not pay

            descriptor, path = tempfile.mkstemp(prefix="weavelet-")
            os.unlink(path)  # noqa: PTH108  pathlib is not otherwise needed here
        try:
            os.ftruncate(descriptor, _SIZE)
            return cls(descriptor)
        except OSError:
            os.close(descriptor)
            raise

    def ring(self) -> None:
        """Make the trainer's next poll look at its socket."""
        self.words[self.BELL] = 1

    def close_descriptor(self) -> None:
        """Close the descriptor, once; the mapping lives as long as somebody holds this object."""
        if self.descriptor >= 0:
            os.close(self.descriptor)
            self.descriptor = -1
