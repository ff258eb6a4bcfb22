"""/metrics: accepted by Prometheus' own checker, whatever replicas call themselves."""

from __future__ import annotations

import os
import shutil
import subprocess
import textwrap

import pytest
from prometheus_client.parser import text_string_to_metric_families

from harness.weaver import beat, registration
from weavelet.messages import Device, ReportBatch
from weavelet.weaver import gauges
from weavelet.weaver.fleet import Fleet
from weavelet.weaver.protocol import RuleView

UGLY = 'a"b\\c\n<b>\N{PARTY POPPER}\u202e{x="y"} 1'


def promtool():
    """Where the checker is. Without one a test is skipped, in CI it fails."""
    if found := shutil.which("promtool"):
        return found
    missing = "promtool is not installed; on Debian: apt-get install prometheus"
    if os.environ.get("CI"):
        pytest.fail(missing)
    return pytest.skip(missing)


def fleet_of(*names, metrics=()):
    """A fleet whose replicas have beaten, and reported once."""
    fleet = Fleet(0.0)
    for number, name in enumerate(names):
        fleet.registered(registration(name), number + 1, 1.0)
        gpu = Device(id=f"GPU-{number}", kind="gpu", utilization_percent=97.0, power_watts=500.0)
        said = beat(name, step=7, rate=2.5, sampled=8, dropped=3, devices=(gpu,))
        fleet.beat("train", "j1", said, 1.0)
        if metrics:
            columns = {key: (value,) for key, value in metrics.items()}
            batch = ReportBatch(
                replica=name, incarnation="a", first=0, steps=(7,), at=(0.0,), columns=columns
            )
            fleet.reported("train", "j1", batch, 1.0)
    fleet.tick(1.0)
    return fleet


def text_of(fleet, now=1.5, **weaver):
    """What a scrape gets."""
    said = {"connected": True, "ready": True, "clients": 2, "malformed": 1, **weaver}
    return gauges.exposition(gauges.gather(fleet, gauges.Weaver(**said), now)).decode()


def samples_of(text):
    """Every sample as (name, labels, value), read as Prometheus' own library does."""
    return [
        (one.name, one.labels, one.value)
        for family in text_string_to_metric_families(text)
        for one in family.samples
    ]


def test_prometheus_accepts_it():
    """`promtool check metrics` finds no fault, with names and values as users have them."""
    fleet = fleet_of("rank-0", UGLY, metrics={"loss": float("nan"), UGLY: 1.0, "text": "x"})
    text = text_of(fleet, rules=(RuleView(name=UGLY, every=1.0, off="raised"),))
    done = subprocess.run(
        [promtool(), "check", "metrics"], input=text, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


def test_names_come_back_as_they_were():
    """Quotes, line ends, braces and other scripts in a name end no label and begin no sample."""
    samples = samples_of(text_of(fleet_of(UGLY, metrics={UGLY: 0.5})))
    found = [labels for name, labels, _ in samples if name == "weavelet_reported"]
    assert found == [{"run": "train", "job": "j1", "replica": UGLY, "metric": UGLY}]


def test_what_is_shown_of_a_replica():
    """Step, rate, silence, reports and drops, the last values, and its state among the others'."""
    samples = samples_of(text_of(fleet_of("rank-0", metrics={"loss": 0.25, "ok": True})))
    shown = {
        (name, labels.get("metric", labels.get("state", ""))): value
        for name, labels, value in samples
        if name.startswith("weavelet_re") and "run" in labels
    }
    assert shown == {
        ("weavelet_replicas", "running"): 1,
        ("weavelet_replica_step", ""): 7,
        ("weavelet_replica_steps_per_second", ""): 2.5,
        ("weavelet_replica_silence_seconds", ""): 0.5,
        ("weavelet_replica_reports_total", ""): 8,
        ("weavelet_replica_reports_dropped_total", ""): 3,
        ("weavelet_reported", "loss"): 0.25,
        ("weavelet_reported", "ok"): 1,
    }


def test_devices_are_shown_by_host():
    """With what can be read of them, and nothing else."""
    samples = samples_of(text_of(fleet_of("rank-0", "rank-1")))
    shown = {
        (name, labels["device"]): value for name, labels, value in samples if "device" in labels
    }
    assert shown == {
        ("weavelet_device_busy_percent", "GPU-0"): 97,
        ("weavelet_device_busy_percent", "GPU-1"): 97,
        ("weavelet_device_power_watts", "GPU-0"): 500,
        ("weavelet_device_power_watts", "GPU-1"): 500,
    }


def test_the_documented_configuration_is_one(tmp_path):
    """Prometheus takes what the module's docstring says it is to be given."""
    token = tmp_path / "weavelet.token"
    token.write_text("viewer's")
    block = textwrap.dedent(gauges.__doc__.partition("file:\n\n")[2].partition("\n\n")[0])
    path = tmp_path / "prometheus.yml"
    path.write_text(block.replace("/etc/prometheus/weavelet.token", str(token)) + "\n")
    command = [promtool(), "check", "config", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_what_was_left_out_when_it_came_in_is_counted():
    """A gap in what the weaver itself holds is no riddle either."""
    weaver = gauges.Weaver(connected=True, ready=True, clients=0, malformed=0, left_out=3)
    families = gauges.gather(Fleet(0.0), weaver, 1.0)
    assert "weavelet_left_out 3.0" in gauges.exposition(families).decode()


def test_labels_are_bounded(monkeypatch):
    """Beyond the bounds replicas and metrics are counted, not shown; dead jobs are neither."""
    monkeypatch.setattr(gauges, "MOST_REPLICAS", 2)
    monkeypatch.setattr(gauges, "MOST_METRICS", 3)
    many = {f"m{number}": 1.0 for number in range(5)}
    fleet = fleet_of("a", "b", "c", metrics={**many, "x" * 300: 1.0})
    samples = samples_of(text_of(fleet))
    names = [name for name, _, _ in samples]
    assert names.count("weavelet_reported") == 6
    assert names.count("weavelet_replica_step") == 2
    assert ("weavelet_left_out", {}, 1 + 2 * 3) in samples
    assert ("weavelet_replicas", {"run": "train", "job": "j1", "state": "running"}, 3) in samples
    later = samples_of(text_of(fleet, now=1000.0))
    assert not [name for name, labels, _ in later if "run" in labels]
