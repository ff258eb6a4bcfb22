"""What a session says about itself and its controls, as frames that fit the channel."""

from __future__ import annotations

import logging
from collections.abc import Callable

import msgspec

from weavelet.channel.frames import encode
from weavelet.exceptions import MalformedError
from weavelet.messages import Bye, Controls, ControlSpec, Hello

_log = logging.getLogger("weavelet")

Specs = tuple[ControlSpec, ...]


def controls_frame(specs: Specs, state: str, notices: tuple[str, ...] = ()) -> bytes:
    """A frame with all controls; without their current values where these make it too large."""
    return _fitting(specs, lambda fitting: encode(Controls(fitting, state, notices)))


def hello_frame(hello: Hello) -> bytes:
    """The greeting; without current values of controls where these make it too large."""
    return _fitting(
        hello.controls,
        lambda fitting: encode(msgspec.structs.replace(hello, controls=fitting)),
    )


def bye_frame(stopped: bool, error: str | None) -> bytes:
    """The goodbye; halves of characters in the error, as names of files may hold, are replaced."""
    text = error and error[:2000].encode("utf-8", "replace").decode()
    return encode(Bye(stopped, text))


def _fitting(specs: Specs, make: Callable[[Specs], bytes]) -> bytes:
    try:
        return make(specs)
    except MalformedError:
        bare = tuple(msgspec.structs.replace(spec, value=None) for spec in specs)
    try:
        return make(bare)
    except MalformedError as error:
        _log.warning("the declarations of %d controls cannot be sent: %s", len(specs), error)
        return make(())
