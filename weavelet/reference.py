"""The page "Controls": what a session registered, as Markdown. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import msgspec

from weavelet.messages import ControlSpec, Value

Describe = Callable[[ControlSpec, str | None], str]
"""What a control takes, or the named parameter of an action, in words: "a number > 0"."""

_CONTROLS = ("Control", "Type", "Unit", "Value", "What it is")
_PARAMETERS = ("Parameter", "Type", "Default")


def page(specs: Iterable[ControlSpec], describe: Describe, *, run: str = "") -> str:
    """A Markdown page of all controls, with type, bounds, unit and value, and of all actions."""
    specs = list(specs)
    controls = [spec for spec in specs if spec.kind == "control"]
    actions = [spec for spec in specs if spec.kind == "action"]
    parts = [f"# Controls of {run}" if run else "# Controls"]
    if controls:
        parts.append(_table(_CONTROLS, [_control(spec, describe) for spec in controls]))
    if actions:
        parts.append("## Actions")
        parts += [part for spec in actions for part in _action(spec, describe)]
    if not specs:
        parts.append("Nothing is registered.")
    return "\n\n".join(parts) + "\n"


def _control(spec: ControlSpec, describe: Describe) -> tuple[str, ...]:
    return (
        f"`{spec.name}`",
        describe(spec, None),
        spec.unit,
        "" if spec.value is None else _code(spec.value),
        _about(spec),
    )


def _action(spec: ControlSpec, describe: Describe) -> list[str]:
    parts = [f"### `{spec.name}`"]
    if about := _about(spec):
        parts.append(about)
    schema = msgspec.json.decode(spec.schema, type=dict[str, Any])
    rows = [
        (f"`{name}`", describe(spec, name), _default(name, field, schema.get("required", ())))
        for name, field in schema.get("properties", {}).items()
    ]
    if rows:
        parts.append(_table(_PARAMETERS, rows))
    return parts


def _default(name: str, field: Mapping[str, Any], required: Sequence[str]) -> str:
    if name in required:
        return "required"
    return _code(field["default"]) if "default" in field else "optional"


def _about(spec: ControlSpec) -> str:
    marks = "**Dangerous:** asks before it is done." if spec.danger else ""
    return " ".join(filter(None, (spec.doc, marks)))


def _code(value: Value) -> str:
    # JSON has no word for NaN and the infinities.
    text = repr(value) if isinstance(value, float) else msgspec.json.encode(value).decode()
    return f"`{text}`"


def _table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *([_cell(text) for text in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _cell(text: str) -> str:
    return " ".join(text.replace("|", "\\|").split())
