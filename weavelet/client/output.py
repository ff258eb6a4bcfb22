"""What the CLI prints: aligned text for people, one line of JSON for programs."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec

from weavelet.weaver import protocol

_SHOWN_METRICS = 4


def as_json(value: Any) -> str:
    """One line of JSON; non-finite floats as words, as on the WebSocket."""
    return msgspec.json.encode(protocol.to_json(msgspec.to_builtins(value, str_keys=True))).decode()


def print_json(value: Any) -> None:
    """Print `value` as one line of JSON, at once."""
    print(as_json(value), flush=True)


def say(text: str, *, error: bool = False) -> None:
    """Print text for people, at once; `error` is for standard error.

    What came over the network commands no terminal: control characters are shown, not sent.
    """
    shown = "".join(one if one.isprintable() or one == "\n" else repr(one)[1:-1] for one in text)
    print(shown, file=sys.stderr if error else sys.stdout, flush=True)


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Columns aligned by spaces; an empty column is left out."""
    lines = [list(header), *(list(row) for row in rows)]
    kept = [index for index in range(len(header)) if any(line[index] for line in lines[1:])]
    widths = {index: max(len(line[index]) for line in lines) for index in kept}
    return "\n".join(
        "  ".join(line[index].ljust(widths[index]) for index in kept).rstrip() for line in lines
    )


def value_text(value: Any) -> str:
    """A value in a line of text: numbers short, strings bare, the rest as JSON."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool) or value is None:
        return as_json(value)
    if isinstance(value, float):
        return number(value)
    return as_json(value)


def number(value: float) -> str:
    """A float with at most six digits that mean something."""
    return f"{value:.6g}"


def metrics_text(metrics: Mapping[str, Any], most: int = _SHOWN_METRICS) -> str:
    """`loss 0.31  accuracy 0.93`, the first few."""
    shown = [f"{name} {value_text(value)}" for name, value in list(metrics.items())[:most]]
    if len(metrics) > most:
        shown.append(f"(+{len(metrics) - most})")
    return "  ".join(shown)


def rate_text(rate: float) -> str:
    """Steps a second, empty while there are none."""
    return f"{rate:.3g}/s" if rate else ""


def step_text(step: int | None) -> str:
    """A step, empty before the first."""
    return "" if step is None else str(step)


def state_text(replica: protocol.ReplicaView) -> str:
    """A replica's state, with its section where it is in one."""
    return f"{replica.state} {replica.section}" if replica.section else replica.state


def device_text(device: protocol.DeviceView) -> str:
    """`cpu-host`; of a GPU what can be read of `93 %  71 C  61 of 80 GB  310 W`."""
    used, total = device.memory_used_bytes, device.memory_total_bytes
    parts = [
        (device.utilization_percent, "%"),
        (device.temperature_celsius, "C"),
        (None if used is None or total is None else used / 1e9, f"of {(total or 0) / 1e9:.0f} GB"),
        (device.power_watts, "W"),
    ]
    shown = [f"{value:.0f} {unit}" for value, unit in parts if value is not None]
    return "  ".join(shown) if device.kind == "gpu" and shown else device.id


def clock(at: float) -> str:
    """Local time of day; with the date where that is another day."""
    moment = time.localtime(at)
    today = time.localtime()[:3] == moment[:3]
    return time.strftime("%H:%M:%S" if today else "%Y-%m-%d %H:%M:%S", moment)


def outcome_text(outcome: protocol.OutcomeView) -> str:
    """`applied at step 812  lr 0.1 -> 0.01`, or why not."""
    head = outcome.outcome if outcome.step is None else f"{outcome.outcome} at step {outcome.step}"
    parts = [head + (" (adopted)" if outcome.adopted else "")]
    parts += [
        f"{change.name} {value_text(change.old)} -> {value_text(change.new)}"
        for change in outcome.changes
    ]
    if outcome.result is not None:
        parts.append(f"result {value_text(outcome.result)}")
    if outcome.reason:
        parts.append(outcome.reason)
    return "  ".join(parts)


def entry_text(entry: protocol.EntryView) -> str:
    """What an entry asks for: `set lr=0.01`, `pause for 600 s`, `act evaluate`."""
    body = entry.body
    if entry.kind == "set":
        text = "set " + " ".join(f"{name}={value_text(v)}" for name, v in body["values"].items())
        text += " (dry run)" if body.get("dry_run") else ""
    elif entry.kind == "act":
        given = [f"{name}={value_text(v)}" for name, v in body.get("arguments", {}).items()]
        text = " ".join(["act", str(body.get("name", "")), *given])
    elif entry.kind == "notice":
        given = [f"{name}={value_text(v)}" for name, v in body.get("detail", {}).items()]
        text = " ".join(["notice", str(body.get("kind", "")), *given])
    elif entry.kind == "pause" and body.get("lease"):
        text = f"pause for {number(body['lease'])} s"
    else:
        text = entry.kind
    if body.get("reason"):
        text += f" ({body['reason']})"
    return text + (f" at step {entry.at_step}" if entry.at_step is not None else "")
