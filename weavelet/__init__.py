"""See and steer a running PyTorch training job.

The modules at the root of this package are the training process; each sub-folder is another
process, or the boundary between two.
"""

from msgspec import Meta

from weavelet.controls import action, handler
from weavelet.exceptions import (
    BusError,
    CommandError,
    ControlError,
    MalformedError,
    ReplayError,
    SessionError,
    StopTraining,
    WeaveletError,
    WrongThreadError,
)
from weavelet.lifetime import current, poll, report
from weavelet.local import up
from weavelet.messages import Change, Notice
from weavelet.session import Weavelet, session

__all__ = [
    "BusError",
    "Change",
    "CommandError",
    "ControlError",
    "MalformedError",
    "Meta",
    "Notice",
    "ReplayError",
    "SessionError",
    "StopTraining",
    "Weavelet",
    "WeaveletError",
    "WrongThreadError",
    "action",
    "current",
    "handler",
    "poll",
    "report",
    "session",
    "up",
]
