"""The exceptions of weavelet.

BaseException
|- StopTraining              raised by poll() when the job was told to stop
|- Exception
   |- WeaveletError
      |- SessionError        the session is used in a way that it cannot be
      |  |- WrongThreadError
      |- ControlError        a value or a call that a control or an action refuses
      |- MalformedError      bytes that are not what they should be
      |- BusError            the NATS server refuses or cannot do what was asked
      |- CommandError        a command of the operator that cannot be carried out
"""

from __future__ import annotations

from collections.abc import Sequence


class StopTraining(BaseException):
    """Raised by `poll()` when the job was told to stop.

    Not an Exception, so that `except Exception` around a batch does not swallow it. Leaving the
    session's own `with` block absorbs it.
    """

    def __init__(self, reason: str = "") -> None:
        super().__init__(reason or "training was told to stop")
        self.reason = reason


class WeaveletError(Exception):
    """Base of all errors that weavelet raises."""


class SessionError(WeaveletError):
    """The session is used in a way that it cannot be: started twice, polled in a handler."""


class WrongThreadError(SessionError):
    """A second thread polled while something was waiting to be applied."""


class ControlError(WeaveletError):
    """A value or a call that a control or an action refuses.

    `name` is the control; the text says what was expected and what was got.
    """

    def __init__(self, name: str, text: str) -> None:
        super().__init__(f"{name}: {text}")
        self.name = name
        self.text = text


class MalformedError(WeaveletError):
    """Bytes that are not a frame, an envelope or a message; `what` names which of them."""

    def __init__(self, what: str, reason: str) -> None:
        super().__init__(f"malformed {what}: {reason}")
        self.what = what
        self.reason = reason


class BusError(WeaveletError):
    """The NATS server refuses, or cannot do, what was asked of it."""


class CommandError(WeaveletError):
    """A command that cannot be carried out.

    `code` is a stable word for programs (`unknown_run`, `unknown_control`, `invalid_value`, ...);
    `known` lists what could have been named instead; `exit_code` is what the CLI ends with.
    """

    def __init__(
        self, code: str, text: str, *, known: Sequence[str] = (), exit_code: int = 1
    ) -> None:
        super().__init__(text)
        self.code = code
        self.text = text
        self.known = tuple(known)
        self.exit_code = exit_code


class ReplayError(WeaveletError):
    """A file that cannot be replayed: damaged, of another version, or of another run.

    `line` counts from 1, None where it is about the whole file.
    """

    def __init__(self, path: str, text: str, *, line: int | None = None) -> None:
        super().__init__(f"{path}: {text}" if line is None else f"{path}, line {line}: {text}")
        self.path = path
        self.line = line
        self.text = text
