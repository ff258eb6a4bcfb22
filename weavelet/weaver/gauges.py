"""What Prometheus reads at `/metrics`: the live part of the fleet, and the weaver itself.

It needs a token like everything else; the viewer's is enough. In Prometheus' configuration, with
the `viewer_token` of endpoint.json in a file:

    scrape_configs:
      - job_name: weavelet
        authorization: {credentials_file: /etc/prometheus/weavelet.token}
        static_configs: [{targets: ["127.0.0.1:8080"]}]

Only replicas of live jobs are shown, so that labels do not pile up, and of those a bounded number;
`weavelet_left_out` counts what was left out, here or when it came in, so that a gap is no riddle.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from weavelet.weaver.fleet import Fleet
from weavelet.weaver.lives import Incarnation, Job
from weavelet.weaver.protocol import DeviceView, RuleView

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
MOST_REPLICAS = MOST_DEVICES = 2000
MOST_METRICS = 50
"""Reported metrics that are shown of one replica."""
LONGEST_NAME = 200
_WHO = ("run", "job", "replica")
_READINGS: tuple[tuple[str, str, Callable[[DeviceView], float | None]], ...] = (
    ("busy_percent", "How busy a device is.", lambda one: one.utilization_percent),
    ("temperature_celsius", "How hot it is.", lambda one: one.temperature_celsius),
    ("memory_used_bytes", "Memory in use on it.", lambda one: one.memory_used_bytes),
    ("memory_bytes", "Memory that it has.", lambda one: one.memory_total_bytes),
    ("power_watts", "What it draws.", lambda one: one.power_watts),
)


@dataclass(frozen=True, kw_only=True)
class Weaver:
    """What is known of the weaver itself."""

    connected: bool
    ready: bool
    clients: int
    malformed: int
    unsent: int = 0
    left_out: int = 0
    rules: Iterable[RuleView] = ()


class _Families:
    """What is shown of replicas."""

    def __init__(self) -> None:
        gauge, counter = GaugeMetricFamily, CounterMetricFamily
        self.replicas = gauge(
            "weavelet_replicas", "Replicas of live jobs by state.", labels=("run", "job", "state")
        )
        self.step = gauge("weavelet_replica_step", "The optimizer step it is at.", labels=_WHO)
        self.rate = gauge(
            "weavelet_replica_steps_per_second", "Steps a second, pauses taken out.", labels=_WHO
        )
        self.silence = gauge(
            "weavelet_replica_silence_seconds", "Since the last sign of life.", labels=_WHO
        )
        self.sampled = counter("weavelet_replica_reports", "Calls of report().", labels=_WHO)
        self.dropped = counter(
            "weavelet_replica_reports_dropped", "Reports that were dropped.", labels=_WHO
        )
        self.value = gauge(
            "weavelet_reported", "The last value of a reported metric.", labels=(*_WHO, "metric")
        )
        self.left_out = 0

    def add(self, who: tuple[str, str, str], life: Incarnation, now: float) -> None:
        """Add what one replica has."""
        if life.step is not None:
            self.step.add_metric(who, life.step)
        self.silence.add_metric(who, max(0.0, now - life.heard))
        if life.beat is not None:
            self.rate.add_metric(who, life.beat.rate)
            self.sampled.add_metric(who, life.beat.sampled)
            self.dropped.add_metric(who, life.beat.dropped)
        numbers = [one for one in life.metrics.items() if not isinstance(one[1], str)]
        shown = [one for one in numbers if len(one[0]) <= LONGEST_NAME][:MOST_METRICS]
        for name, value in shown:
            self.value.add_metric((*who, name), float(value))
        self.left_out += len(numbers) - len(shown)

    def all(self) -> Iterator[Metric]:
        """The families, in the order of the page."""
        yield from (self.replicas, self.step, self.rate, self.silence)
        yield from (self.sampled, self.dropped, self.value)
        yield GaugeMetricFamily(
            "weavelet_left_out",
            "Replicas, reported metrics and messages that are not shown, since there is too much.",
            value=self.left_out,
        )


def gather(fleet: Fleet, weaver: Weaver, now: float) -> list[Metric]:
    """All families at this moment."""
    families = _Families()
    families.left_out = weaver.left_out
    room = MOST_REPLICAS
    for job in fleet.live(now):
        room = _add_job(families, job, now, room)
    devices = fleet.devices()
    families.left_out += max(0, len(devices) - MOST_DEVICES)
    return [*families.all(), *_of_devices(devices[:MOST_DEVICES]), *_of_weaver(weaver)]


def _add_job(families: _Families, job: Job, now: float, room: int) -> int:
    states: dict[str, int] = {}
    for name, replica in job.replicas.items():
        life = replica.current
        state: str = life.state_at(now)
        states[state] = states.get(state, 0) + 1
        if room > 0:
            families.add((job.run, job.name, name), life, now)
            room -= 1
        else:
            families.left_out += 1
    for state, count in states.items():
        families.replicas.add_metric((job.run, job.name, state), count)
    return room


def _of_devices(devices: Sequence[DeviceView]) -> Iterator[Metric]:
    for name, text, read in _READINGS:
        family = GaugeMetricFamily(f"weavelet_device_{name}", text, labels=("host", "device"))
        for device in devices:
            if (value := read(device)) is not None:
                family.add_metric((device.host, device.id), value)
        yield family


def _of_weaver(weaver: Weaver) -> Iterator[Metric]:
    for name, text, value in (
        ("weavelet_nats_connected", "Whether the NATS server is connected.", weaver.connected),
        ("weavelet_ready", "Whether the control logs have been read.", weaver.ready),
        ("weavelet_clients", "Clients that are connected.", weaver.clients),
    ):
        yield GaugeMetricFamily(name, text, value=float(value))
    yield CounterMetricFamily(
        "weavelet_malformed_messages", "Messages that could not be read.", value=weaver.malformed
    )
    yield CounterMetricFamily(
        "weavelet_samples_unsent",
        "Batches of samples left out for clients that do not keep up.",
        value=weaver.unsent,
    )
    on = GaugeMetricFamily("weavelet_rule_on", "Whether a rule is on.", labels=("rule",))
    fired = CounterMetricFamily("weavelet_rule_commands", "Commands of a rule.", labels=("rule",))
    for rule in weaver.rules:
        on.add_metric((rule.name,), float(rule.off is None))
        fired.add_metric((rule.name,), rule.fired)
    yield from (on, fired)


def exposition(families: Iterable[Metric]) -> bytes:
    """The text of `/metrics`, with the process's own CPU and memory."""
    registry = CollectorRegistry()
    registry.register(_Gathered(families))
    ProcessCollector(registry=registry)
    return generate_latest(registry)


class _Gathered(Collector):
    def __init__(self, families: Iterable[Metric]) -> None:
        self._families = list(families)

    def collect(self) -> Iterable[Metric]:
        return self._families

    def describe(self) -> Iterable[Metric]:
        return ()
