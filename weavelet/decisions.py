"""What the leader decides, as bytes in the store, and the names of the keys."""

from __future__ import annotations

import msgspec

from weavelet.messages import Entry, OutcomeKind, Record

GROUP = 16
"""Decisions that share one key, and are forgotten together."""

LEAD = 2
"""Ticks before its boundary at which a decision is written."""


class Answer(Record, frozen=True):
    """What the leader answers for all ranks, without a vote, as it changes nothing."""

    kind: OutcomeKind
    reason: str


class Adopted(Record, frozen=True):
    """An entry that the log says was applied, and the order in which it was."""

    entry: str
    sequence: int
    order: int


class Item(Record, frozen=True, kw_only=True):
    """An entry to apply at a boundary.

    `order` numbers what was decided in this job, over its lives. `adopts` is what this one stands
    for, where a life takes over what the log says.
    """

    entry: Entry
    sequence: int
    order: int
    answer: Answer | None = None
    adopts: tuple[Adopted, ...] = ()


class Decision(Record, frozen=True):
    """What happens at boundary `index`, which is at `tick`; the one after it is at `next`.

    `next == tick` holds all ranks there until the next decision. The `items` lie under a key of
    their own. `closed` is the reason why there will be no further decision.
    """

    index: int
    tick: int
    next: int
    items: int = 0
    closed: str | None = None


class Keys:
    """The names of all keys of one life, under its fresh namespace."""

    def __init__(self, namespace: str) -> None:
        self.namespace = f"weavelet/{namespace}"
        self.out = f"{self.namespace}/out"
        self.alive = f"{self.namespace}/alive"

    @staticmethod
    def hello(rank: int) -> str:
        """Where a rank says which incarnation it is."""
        return f"weavelet/hello/{rank}"

    @staticmethod
    def open(incarnation: str) -> str:
        """Where the leader answers an incarnation with the namespace."""
        return f"weavelet/open/{incarnation}"

    def joined(self, rank: int) -> str:
        """That a rank has read the answer."""
        return f"{self.namespace}/in/{rank}"

    def left(self, rank: int) -> str:
        """Why a rank is out."""
        return f"{self.namespace}/out/{rank}"

    def section(self, rank: int) -> str:
        """For how many seconds a rank has said that it may be in a section."""
        return f"{self.namespace}/in-section/{rank}"

    def group(self, index: int) -> str:
        """The decisions of the group that `index` belongs to."""
        return f"{self.namespace}/d/{index // GROUP}"

    def done(self, group: int) -> str:
        """How many ranks need a group no more."""
        return f"{self.namespace}/k/{group}"

    def items(self, index: int) -> str:
        """The items of one decision."""
        return f"{self.namespace}/e/{index}"

    def vote(self, index: int, place: int) -> str:
        """What the keys of one item's votes begin with."""
        return f"{self.namespace}/x/{index}.{place}"


_decisions = msgspec.msgpack.Decoder(list[Decision])
_items = msgspec.msgpack.Decoder(list[Item])
encode = msgspec.msgpack.encode


def decode_decisions(data: bytes) -> list[Decision]:
    """Read a group."""
    return _decisions.decode(data)


def decode_items(data: bytes) -> list[Item]:
    """Read the items of a decision."""
    return _items.decode(data)
