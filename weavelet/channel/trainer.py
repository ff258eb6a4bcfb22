"""The trainer's end of the channel: never blocks, never raises because of the other side."""

from __future__ import annotations

import logging
import select
import socket
import threading
import time
from collections import deque
from collections.abc import Hashable, Iterable

from weavelet.channel.frames import Reader, encode
from weavelet.channel.page import Page
from weavelet.exceptions import MalformedError
from weavelet.messages import FromSidecar, Kept, Reports, Sample

RING_SAMPLES = 8192
"""Samples kept while the sidecar does not read; the oldest go first."""

_log = logging.getLogger("weavelet")
_FRAME_SAMPLES = 256
_RECEIVE_BYTES = 1 << 16
# A script may have set SIGPIPE back to its default, which ends the process.
_SEND_FLAGS = getattr(socket, "MSG_NOSIGNAL", 0)


class TrainerEnd:
    """Sends frames to whichever sidecar is attached and keeps what must not be lost.

    `post` and `decide` take frames that are encoded already, so that one which is too large is its
    sender's matter and never ours. Three kinds of things go out, in this order: messages (`post`),
    each replacing an unsent one of the same key; outcomes (`decide`), kept until the sidecar says
    that the bus has them, and offered again to its successor; samples (`sample`), in a ring that
    drops the oldest.

    Thread-safe. The lock is re-entrant, since a signal handler may report in the midst of a report;
    while `_busy`, what it leaves here waits for the one that it has interrupted.
    """

    def __init__(self, page: Page, capacity: int = RING_SAMPLES) -> None:
        self.page = page
        self._lock = threading.RLock()
        self._socket: socket.socket | None = None
        self._reader: Reader[FromSidecar] = Reader(FromSidecar)
        self._received: list[FromSidecar] = []
        self._partial = memoryview(b"")
        self._messages: dict[Hashable, bytes] = {}
        self._outcomes: dict[int, bytes] = {}
        self._unsent: deque[int] = deque()
        self._ring: deque[Sample] = deque(maxlen=capacity)
        self._late: list[Sample] = []
        self._sampled = 0
        self._sent = 0
        self._busy = False
        self._closed = False
        self.malformed = 0
        """How many frames of a sidecar could not be read."""

    @property
    def attached(self) -> bool:
        """Whether there is a sidecar at the other side, as far as is known."""
        return self._socket is not None

    def attach(self, end: socket.socket, greeting: bytes) -> None:
        """Talk to a new sidecar: first the greeting, then all outcomes not yet stored."""
        end.setblocking(False)
        with self._lock:
            self._detach()
            if self._closed:
                end.close()
                return
            self._reader = Reader(FromSidecar)
            self._partial = memoryview(greeting)
            self._unsent = deque(self._outcomes)
            self._socket = end
            self.flush()

    def close(self, patience: float = 0.2) -> None:
        """Send what is left, for at most `patience` seconds, and let go of the sidecar."""
        deadline = time.monotonic() + patience
        with self._lock:
            self._closed = True
            self.flush()
            while self._partial and (left := deadline - time.monotonic()) > 0:
                _await(self.fileno(), select.POLLOUT, left)
                self.flush()
            self._detach()

    def close_in_child(self) -> None:
        """Close the inherited descriptors in a forked child, without the lock.

        The thread that may have held it was not forked: whoever still calls gets another.
        """
        self._lock = threading.RLock()
        self._busy = False
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def fileno(self) -> int:
        """The socket's descriptor, -1 without one."""
        return -1 if self._socket is None else self._socket.fileno()

    def post(self, frame: bytes, key: Hashable) -> None:
        """Send a frame, or replace the one with this key that has not been sent yet."""
        with self._lock:
            self._messages[key] = frame
            self.flush()

    def decide(self, sequence: int, frame: bytes) -> None:
        """Send the outcome of the entry at `sequence`, and keep it until it is stored."""
        with self._lock:
            self._outcomes[sequence] = frame
            self._unsent.append(sequence)
            self.flush()

    def sample(self, sample: Sample) -> None:
        """Put a sample into the ring, without sending it; the sidecar sees that it is there."""
        with self._lock:
            if self._busy:
                self._late.append(sample)
                return
            # Counted first: no signal handler runs between an addition and the call after it.
            self._sampled += 1
            self._ring.append(sample)
            self.page.words[Page.SAMPLED] = self._sampled

    def lose(self) -> None:
        """Count a sample that could not even be put into the ring, as one dropped before it."""
        with self._lock:
            self._sampled += 1
            self.page.words[Page.SAMPLED] = self._sampled

    def flush(self) -> None:
        """Send what the socket takes now, and publish the count of drops."""
        with self._lock:
            if self._busy:
                return
            self._busy = True
            try:
                while self._push() and self._load():
                    pass
                dropped = self._sampled - self._sent - len(self._ring)
                self.page.words[Page.DROPPED] = dropped
            finally:
                self._rest()

    def receive(self) -> list[FromSidecar]:
        """All messages that have come, in order. `Kept` is dealt with here."""
        with self._lock:
            # A signal handler may also poll, in the midst of a flush.
            was_busy, self._busy = self._busy, True
            try:
                self._pull()
            finally:
                if not was_busy:
                    self._rest()
            received, self._received = self._received, []
            for message in received:
                if isinstance(message, Kept):
                    self._outcomes.pop(message.sequence, None)
            return [message for message in received if not isinstance(message, Kept)]

    def wait(self, seconds: float) -> None:
        """Wait until something can be received, at most `seconds`. Ctrl-C ends it at once."""
        end = self._socket
        if end is None:
            time.sleep(seconds)
            return
        try:
            _await(end.fileno(), select.POLLIN, seconds)
        except (OSError, ValueError):
            # Replaced by the watcher while we looked: the next turn sees the new one.
            return

    def _rest(self) -> None:
        """No longer busy: take in what a signal handler has left meanwhile."""
        self._busy = False
        late, self._late = self._late, []
        for sample in late:
            self.sample(sample)

    def _pull(self) -> None:
        while self._socket is not None:
            try:
                data = self._socket.recv(_RECEIVE_BYTES)
            except (BlockingIOError, InterruptedError):
                return
            except OSError:
                data = b""
            if not data:
                self._detach()
                return
            self._received += self._reader.feed(data)
            if self._reader.malformed:
                self._count_malformed()

    def _count_malformed(self) -> None:
        if not self.malformed:
            _log.warning(
                "left out a frame of the sidecar that cannot be read; more are only counted"
            )
        self.malformed += self._reader.malformed
        self._reader.malformed = 0

    def _push(self) -> bool:
        """Send the frame at hand; True when it is gone and another may follow."""
        while self._partial:
            if self._socket is None:
                return False
            try:
                sent = self._socket.send(self._partial, _SEND_FLAGS)
            except (BlockingIOError, InterruptedError):
                return False
            except OSError:
                self._pull()
                self._detach()
                return False
            self._partial = self._partial[sent:]
        return self._socket is not None

    def _load(self) -> bool:
        """Take the next frame at hand; False when there is nothing to send."""
        if self._messages:
            self._partial = memoryview(self._messages.pop(next(iter(self._messages))))
        elif self._unsent:
            self._partial = memoryview(self._outcomes.get(self._unsent.popleft(), b""))
        elif self._ring:
            self._partial = memoryview(self._reports())
        else:
            return False
        return True

    def _reports(self) -> bytes:
        ring = self._ring
        first = self._sampled - len(ring)
        samples = tuple(ring.popleft() for _ in range(min(len(ring), _FRAME_SAMPLES)))
        self._sent += len(samples)
        try:
            return encode(Reports(first, samples))
        except MalformedError:
            return b"".join(self._one_by_one(first, samples))

    def _one_by_one(self, first: int, samples: Iterable[Sample]) -> Iterable[bytes]:
        for offset, sample in enumerate(samples):
            try:
                yield encode(Reports(first + offset, (sample,)))
            except MalformedError:
                # Over the cap or not encodable: counted as dropped, like one that was overwritten.
                self._sent -= 1

    def _detach(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None
        self._partial = memoryview(b"")


def _await(descriptor: int, event: int, seconds: float) -> None:
    """Not by select(), which refuses the descriptors of a process with a thousand open files."""
    poller = select.poll()
    poller.register(descriptor, event)
    poller.poll(seconds * 1000)
