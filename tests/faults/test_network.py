"""The network between trainer and server: half-open, reset, slow, gone."""

from __future__ import annotations

import contextlib
import functools
import secrets
import subprocess
import threading
import time

import pytest

from harness.faults import lasting, percentile
from harness.proxy import Proxy
from harness.stage import staged
from harness.trainers import LOOP, PLAIN, training
from harness.watching import watching

BUSY = (
    LOOP
    + """
with weavelet.session("trainer-0") as w:
    declare(w)
    train(w, pause=0.0005)
"""
)


@pytest.fixture(scope="module")
def stage(tmp_path_factory):
    """One for all tests here, each with a run of its own; the proxy is healed between them."""
    with staged(tmp_path_factory.mktemp("stage")) as stage:
        yield stage


@contextlib.contextmanager
def scene(stage, script=PLAIN):
    """A trainer that runs, a watcher, and what sets its controls."""
    run = f"train-{secrets.token_hex(3)}"
    with (
        training(script, **stage.names(run, "job-1")) as trainer,
        watching(stage, [run]) as watcher,
        stage.client() as client,
    ):
        watcher.until(lambda row: row.state == "running" and row.controls)
        try:
            yield trainer, watcher, functools.partial(client.set, run)
        finally:
            stage.proxy.heal()


def test_a_command_given_while_the_line_is_dead_is_applied_once_it_lives(stage, figure):
    """Half-open: nobody is told, nothing goes through; the command waits in the log."""
    with scene(stage) as (trainer, watcher, set_controls):
        stage.proxy.cut()
        cut = time.monotonic()
        result = {}
        commanding = threading.Thread(target=lambda: result.update(it=set_controls({"lr": 0.5})))
        commanding.start()
        unknown, _ = watcher.state("unknown", since=cut)
        stage.proxy.heal()
        healed = time.monotonic()
        commanding.join(30)
        applied = time.monotonic()
        watcher.state("running", since=healed, seconds=10)
        assert result["it"].state == "applied"
        assert trainer.event("change")["new"] == 0.5
    figure(f"shown as unknown after {unknown - cut:.1f} s, applied {applied - healed:.1f} s after")


def test_resets_between_commands_cost_none(stage, sized):
    """The connection is reset before each of many commands; each is applied once, in order."""
    count = sized(10, 200)
    with scene(stage) as (trainer, _, set_controls):
        for number in range(count):
            stage.proxy.reset()
            assert set_controls({"lr": float(number)}).state == "applied"
        changes = [trainer.event("change")["new"] for _ in range(count)]
    assert changes == [float(number) for number in range(count)]


def test_a_long_line_is_no_cut_one(stage):
    """A quarter of a second each way: commands are applied, the replica stays running."""
    with scene(stage) as (_, watcher, set_controls):
        stage.proxy.delay(0.25)
        began = time.monotonic()
        for number in range(3):
            assert set_controls({"lr": float(number + 1)}).state == "applied"
        watcher.until(lambda row: row.state == "running", since=time.monotonic())
        assert watcher.states(since=began) == {"running"}


def test_on_a_thin_line_heartbeats_and_commands_pass_while_samples_are_shed(stage, sized, figure):
    """8 KiB/s for a trainer with more to say: it stays running and can be steered."""
    kibibytes, count = sized((8, 3), (4, 20))
    with scene(stage, BUSY) as (_, watcher, set_controls):
        stage.proxy.rate(kibibytes << 10)
        began = time.monotonic()
        seconds = []
        for number in range(count):
            asked = time.monotonic()
            assert set_controls({"lr": float(number + 1)}).state == "applied"
            seconds.append(time.monotonic() - asked)
        lasting(began + 6 - time.monotonic())
        states = watcher.states(since=began)
        stage.proxy.heal()
    figure(
        f"{count} commands at {kibibytes} KiB/s: p50 {percentile(seconds, 0.5):.2f} s, "
        f"max {max(seconds):.2f} s"
    )
    assert states == {"running"}


def test_a_host_whose_network_is_down_is_unknown_and_comes_back(stage):
    """In a network namespace of its own, with the link down and up again."""
    with private_network() as (name, address):
        proxy = Proxy(lambda: ("127.0.0.1", stage.nats.port), address)
        environment = stage.names("elsewhere", "job-1")
        url = environment["WEAVELET_NATS_URL"].replace(
            f"127.0.0.1:{stage.proxy.port}", f"{address}:{proxy.port}"
        )
        inside = ["ip", "netns", "exec", name]
        with (
            training(PLAIN, before=inside, **{**environment, "WEAVELET_NATS_URL": url}) as trainer,
            watching(stage, ["elsewhere"]) as watcher,
            stage.client() as client,
        ):
            watcher.until(lambda row: row.state == "running" and row.controls)
            down = time.monotonic()
            link(name, "down")
            watcher.state("unknown", since=down)
            link(name, "up")
            up = time.monotonic()
            watcher.state("running", since=up, seconds=15)
            assert client.set("elsewhere", {"lr": 0.5}).state == "applied"
            assert trainer.event("change")["new"] == 0.5
            assert watcher.states() <= {"starting", "running", "unknown"}
        proxy.close()


@contextlib.contextmanager
def private_network():
    """A network namespace's name, and the address of this host as seen from inside it."""
    tag = secrets.token_hex(3)
    name, subnet = f"weavelet-{tag}", f"10.{200 + int(tag[:2], 16) % 50}.{int(tag[2:4], 16)}"
    try:
        ip("netns", "add", name)
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"needs network namespaces, thus iproute2 and root: {error}")
    try:
        ip("link", "add", f"wv{tag}", "type", "veth", "peer", "name", "inside", "netns", name)
        ip("address", "add", f"{subnet}.1/24", "dev", f"wv{tag}")
        ip("link", "set", f"wv{tag}", "up")
        ip("-n", name, "address", "add", f"{subnet}.2/24", "dev", "inside")
        ip("-n", name, "link", "set", "lo", "up")
        link(name, "up")
        yield name, f"{subnet}.1"
    finally:
        ip("netns", "delete", name)


def link(name, state):
    ip("-n", name, "link", "set", "inside", state)


def ip(*arguments):
    subprocess.run(["ip", *arguments], check=True, capture_output=True, text=True)
