"""What the CLI prints: aligned text for people, one line of JSON for programs."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec

from weavelet.client.fleet import ENDED
from weavelet.weaver import protocol

_SHOWN_METRICS = 4
_DRY_RUN = "dry run"
_WOULD_APPLY = "would apply"


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
    """A value in a line of text: numbers short, strings bare, the rest as JSON; unset is empty."""
    if value is msgspec.UNSET:
        return ""
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


def rate_text(replica: protocol.ReplicaView) -> str:
    """Steps a second, empty while there are none, and of a replica that has ended."""
    return f"{replica.rate:.3g}/s" if replica.rate and replica.state not in ENDED else ""


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
    """`applied at step 812  lr 0.1 -> 0.01`, or why not; `would apply` where that was asked."""
    at = "" if outcome.step is None else f" at step {outcome.step}"
    is_dry_run = (outcome.outcome, outcome.reason) == ("skipped", _DRY_RUN)
    head = f"{_WOULD_APPLY} ({_DRY_RUN}{at})" if is_dry_run else outcome.outcome + at
    parts = [head + (" (adopted)" if outcome.adopted else "")]
    parts += [
        f"{change.name} {value_text(change.old)} -> {value_text(change.new)}"
        for change in outcome.changes
    ]
    if outcome.result is not None:
        parts.append(f"result {value_text(outcome.result)}")
    if outcome.reason and not is_dry_run:
        parts.append(outcome.reason)
    return "  ".join(parts)


def fate_text(update: protocol.EntryUpdate) -> str:
    """Where an entry is in its life; `would apply` for a dry run that found nothing wrong."""
    is_dry_run = update.state == "skipped" and update.entry.body.get("dry_run")
    return _WOULD_APPLY if is_dry_run else update.state


def entry_text(entry: protocol.EntryView) -> str:
    """What an entry asks for, of whom: `set lr=0.01 if lr=0.1 on rank-1`, `pause for 600 s`."""
    text = _asked(entry.kind, entry.body)
    if entry.body.get("reason"):
        text += f" ({entry.body['reason']})"
    if entry.at_step is not None:
        text += f" at step {entry.at_step}"
    return text + (f" on {', '.join(entry.targets)}" if entry.targets else "")


def _asked(kind: str, body: Mapping[str, Any]) -> str:
    if kind == "set":
        condition = f" if {_pairs(body['expect'])}" if body.get("expect") else ""
        dry = f" ({_DRY_RUN})" if body.get("dry_run") else ""
        return f"set {_pairs(body['values'])}{condition}{dry}"
    if kind == "act":
        return f"act {body.get('name', '')} {_pairs(body.get('arguments', {}))}".rstrip()
    if kind == "notice":
        return f"notice {body.get('kind', '')} {_pairs(body.get('detail', {}))}".rstrip()
    if kind == "pause" and body.get("lease"):
        return f"pause for {number(body['lease'])} s"
    return kind


def _pairs(values: Mapping[str, Any]) -> str:
    return " ".join(f"{name}={value_text(value)}" for name, value in values.items())
