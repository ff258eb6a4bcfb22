"""All devices that live replicas use, from what their heartbeats say. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field

from weavelet.messages import Device
from weavelet.weaver.lives import Incarnation
from weavelet.weaver.protocol import DeviceView


@dataclass(slots=True)
class _Use:
    """One device: its last reading, who gave it, and who uses it."""

    life: Incarnation
    reading: Device
    replicas: list[tuple[str, str, str]] = field(default_factory=list)


def device_views(lives: Iterable[Incarnation]) -> list[DeviceView]:
    """The devices of these lives, by host and id. Of several readings the last one heard counts."""
    uses: dict[str, _Use] = {}
    for life in lives:
        who = life.identity
        for device in life.devices:
            use = uses.setdefault(device.id, _Use(life, device))
            if life.heard > use.life.heard:
                use.life, use.reading = life, device
            use.replicas.append((who.run, who.job, who.replica))
    found = [_view(use) for use in uses.values()]
    return sorted(found, key=lambda device: (device.host, device.id))


def _view(use: _Use) -> DeviceView:
    reading = use.reading
    return DeviceView(
        id=reading.id,
        kind=reading.kind,
        host=use.life.identity.host,
        utilization_percent=_finite(reading.utilization_percent),
        temperature_celsius=_finite(reading.temperature_celsius),
        memory_used_bytes=_finite(reading.memory_used_bytes),
        memory_total_bytes=_finite(reading.memory_total_bytes),
        power_watts=_finite(reading.power_watts),
        replicas=sorted(use.replicas),
    )


def _finite(number: float | None) -> float | None:
    return number if number is not None and math.isfinite(number) else None
