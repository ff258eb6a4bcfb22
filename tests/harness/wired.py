"""A session on a real channel whose other end the test holds in place of a sidecar."""

from __future__ import annotations

import socket

from weavelet.channel.frames import Reader, encode
from weavelet.channel.page import Page
from weavelet.channel.trainer import TrainerEnd
from weavelet.messages import Bye, FromTrainer
from weavelet.session import Weavelet


class WiredSession(Weavelet):
    """A session that attaches to the socket it is given instead of to a process of its own."""

    def __init__(self, ours, replica_id="wired", **arguments):
        super().__init__(replica_id, **arguments)
        self.ours = ours

    def _begin(self):
        page = Page.create()
        end = TrainerEnd(page)
        self._connect(page, end)
        self._attach(end, self.ours)


class OtherEnd:
    """What the sidecar would read, and a way to send what it would send."""

    def __init__(self, theirs):
        self.socket = theirs
        self.socket.settimeout(20)
        self.reader = Reader(FromTrainer)
        self.messages = []
        self.ended = False

    def read(self):
        """All messages that are here now, without waiting."""
        self.socket.setblocking(False)
        try:
            while not self.ended:
                self._receive()
        except BlockingIOError:
            pass
        finally:
            self.socket.settimeout(20)
        return self._taken()

    def read_to_end(self):
        """All messages until the trainer closes its end."""
        while not self.ended:
            self._receive()
        return self._taken()

    def farewell(self):
        """The Bye that a trainer ends with, None if it ends without one."""
        byes = [message for message in self.read_to_end() if isinstance(message, Bye)]
        return byes[-1] if byes else None

    def send(self, *messages):
        self.socket.sendall(b"".join(map(encode, messages)))

    def close(self):
        self.socket.close()

    def _receive(self):
        data = self.socket.recv(1 << 16)
        self.ended = not data
        self.messages += self.reader.feed(data)

    def _taken(self):
        messages, self.messages = self.messages, []
        return messages


def wire():
    """A socket for a session, and the other end of it."""
    ours, theirs = socket.socketpair()
    return ours, OtherEnd(theirs)
