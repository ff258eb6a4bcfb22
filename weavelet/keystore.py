"""What agreement asks of a key-value store: requests, and who carries them out.

No request blocks: waiting is `Read` and `Sleep`, so that a signal gets through, and nobody hangs on
a key that never comes.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any, Protocol, TypeAlias, TypeVar, Union

import msgspec

T = TypeVar("T")


class Put(msgspec.Struct, frozen=True):
    """Store a value, whatever was there."""

    key: str
    value: bytes


class Add(msgspec.Struct, frozen=True):
    """Add to a counter, which begins at 0; answered with the sum."""

    key: str
    amount: int = 1


class Claim(msgspec.Struct, frozen=True):
    """Store a value if there is none; answered with the value that is there afterwards."""

    key: str
    value: bytes


class Read(msgspec.Struct, frozen=True):
    """Answered with the value, None if there is none. A counter reads as decimal text."""

    key: str


class Delete(msgspec.Struct, frozen=True):
    """Remove a key if it is there."""

    key: str


class Sleep(msgspec.Struct, frozen=True):
    """Do nothing for so many seconds. `paused` says that the job is paused meanwhile."""

    seconds: float
    paused: bool = False


Request: TypeAlias = Union[Put, Add, Claim, Read, Delete, Sleep]

Steps: TypeAlias = Generator[Request, Any, T]
"""A computation that yields its requests and is sent the answers."""


class StoreLostError(Exception):
    """The store cannot be reached any more."""


class KeyStore(Protocol):
    """What carries out requests, without ever waiting for a key.

    All raise StoreLostError where the store cannot be reached.
    """

    def put(self, key: str, value: bytes) -> None: ...
    def add(self, key: str, amount: int) -> int: ...
    def claim(self, key: str, value: bytes) -> bytes: ...
    def read(self, key: str) -> bytes | None: ...
    def delete(self, key: str) -> None: ...


def drive(steps: Steps[T], store: KeyStore, sleep: Callable[[Sleep], None]) -> T:
    """Carry out the requests of a computation to its end, and return its result.

    What the store or `sleep` raises comes out, KeyboardInterrupt among it; the computation is over
    then.
    """
    answer: Any = None
    while True:
        try:
            request = steps.send(answer)
        except StopIteration as done:
            return done.value  # type: ignore[no-any-return]  # what Steps[T] returns
        if isinstance(request, Sleep):
            sleep(request)
            answer = None
        else:
            answer = carry_out(request, store)


def carry_out(request: Request, store: KeyStore) -> Any:
    """Carry out one request, other than Sleep, and return its answer."""
    match request:
        case Read(key):
            return store.read(key)
        case Put(key, value):
            store.put(key, value)
            return None
        case Add(key, amount):
            return store.add(key, amount)
        case Claim(key, value):
            return store.claim(key, value)
        case Delete(key):
            store.delete(key)
            return None
    msg = f"expected a request to the store, got {request!r}"
    raise TypeError(msg)


class TorchStore:
    """A torch.distributed store. Give it a `clone()`, which no other thread uses.

    Its `get` waits for a missing key and swallows signals, so reading is a compare-and-set of a
    value that nobody stores with itself. All keys begin with `prefix`.
    """

    def __init__(self, store: Any, prefix: str = "") -> None:
        self._store = store
        self._prefix = prefix

    def put(self, key: str, value: bytes) -> None:
        self._call("set", key, value)

    def add(self, key: str, amount: int) -> int:
        return int(self._call("add", key, amount))

    def claim(self, key: str, value: bytes) -> bytes:
        return bytes(self._call("compare_set", key, "", value))

    def read(self, key: str) -> bytes | None:
        found = bytes(self._call("compare_set", key, "?", "?"))
        return None if found == b"?" else found

    def delete(self, key: str) -> None:
        self._call("delete_key", key)

    def _call(self, operation: str, key: str, *arguments: Any) -> Any:
        try:
            return getattr(self._store, operation)(self._prefix + key, *arguments)
        except RuntimeError as error:
            # torch's errors of a store are all of this kind; the first line says what it is.
            raise StoreLostError(str(error).partition("\n")[0]) from error
