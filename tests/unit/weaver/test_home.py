from __future__ import annotations

import os
import socket
import subprocess
import sys

import pytest
from msgspec.structs import replace

from weavelet.exceptions import CommandError
from weavelet.settings import Endpoint, boot_id, find_endpoint, process_birth, read_endpoint
from weavelet.weaver import home as module
from weavelet.weaver.home import AlreadyUpError, Home, filesystem, running

HERE = Endpoint(
    nats_url="nats://127.0.0.1:1",
    http_url="http://127.0.0.1:2",
    token="t",
    pid=os.getpid(),
    started=0.0,
    host=socket.gethostname(),
    boot=boot_id(),
)


@pytest.fixture
def home(tmp_path):
    home = Home(tmp_path / "home")
    yield home
    home.close()


def mode(path):
    return path.stat().st_mode & 0o777


def test_nobody_else_can_read_a_home(home):
    """Folders 0700, files 0600, whatever the umask."""
    home.secrets()
    home.publish(HERE)
    assert mode(home.folder) == mode(home.nats) == 0o700
    for name in ("lock", "secrets.json", "endpoint.json"):
        assert mode(home.folder / name) == 0o600


def test_an_open_folder_is_closed(tmp_path):
    """One that was made by hand is made private."""
    tmp_path.chmod(0o755)
    Home(tmp_path).close()
    assert mode(tmp_path) == 0o700


@pytest.mark.parametrize("place", ["home", "store"])
def test_a_folder_that_others_use_is_not_closed(tmp_path, place):
    """Whoever names /tmp, or a whole disk, is told, and nobody is shut out of it."""
    shared = tmp_path / place
    shared.mkdir()
    shared.chmod(0o755)
    (shared / "of-others").write_text("")
    with pytest.raises(CommandError, match=r"is open to other users .*(WEAVELET_HOME|--store)"):
        Home(tmp_path / "home", tmp_path / "store")
    assert mode(shared) == 0o755


def test_secrets_outlive_the_process(tmp_path):
    """The same token, so that links survive a restart; and what was kept beside it."""
    home = Home(tmp_path)
    first = home.secrets()
    home.keep(replace(first, nats_port=4222))
    home.close()
    home = Home(tmp_path)
    assert home.secrets() == replace(first, nats_port=4222)
    home.close()
    assert len(first.token) >= 43
    assert first.token != first.viewer_token


def test_the_endpoint_is_there_and_gone(home):
    """Written whole, found while the lock is held, removed at the end."""
    assert running(home.folder) is None
    home.publish(HERE)
    assert read_endpoint(home.folder) == running(home.folder) == HERE
    home.withdraw()
    assert running(home.folder) is None
    assert sorted(path.name for path in home.folder.iterdir()) == ["lock", "nats"]


def test_an_endpoint_without_its_lock_is_stale(tmp_path):
    """A killed `up` leaves its file behind; the next one in this home removes it."""
    home = Home(tmp_path)
    home.publish(HERE)
    home.close()
    assert running(tmp_path) is None
    Home(tmp_path).close()
    assert read_endpoint(tmp_path) is None


@pytest.mark.parametrize("change", [{"pid": 2**22 + 1}, {"boot": "another"}, {"birth": "1"}])
def test_an_endpoint_of_a_dead_process_is_stale(home, change):
    """Whoever holds the lock now is another one, and has not come up yet."""
    home.publish(replace(HERE, **change))
    assert running(home.folder) is None


@pytest.mark.parametrize(
    ("change", "locked", "found"),
    [
        ({}, False, True),
        ({"birth": process_birth(os.getpid())}, False, True),
        ({"pid": 2**22 + 1}, False, False),
        ({"birth": "1"}, False, False),
        ({"boot": "another"}, False, False),
        ({"pid": 2**22 + 1}, True, True),
        ({"pid": 2**22 + 1, "host": "elsewhere"}, False, True),
    ],
)
def test_what_a_killed_one_left_behind_leads_nobody_astray(home, change, locked, found):
    """Its endpoint is none, where this host can tell for sure that it is dead."""
    endpoint = replace(HERE, **change)
    home.publish(endpoint)
    if not locked:
        home.close()
    assert find_endpoint(home.folder) == (endpoint if found else None)


def test_a_second_one_learns_of_the_first(home):
    """Where it listens, to print that and be done."""
    home.publish(HERE)
    with pytest.raises(AlreadyUpError) as caught:
        Home(home.folder)
    assert caught.value.endpoint == HERE


def test_a_lock_without_an_endpoint_is_waited_for(tmp_path, monkeypatch):
    """A first `up` may be starting; one that never comes up is named."""
    monkeypatch.setattr(module, "_START_SECONDS", 0.1)
    home = Home(tmp_path)
    with pytest.raises(CommandError, match=r"holds .*lock without being up"):
        Home(tmp_path)
    home.close()


def test_a_killed_holder_frees_the_home(tmp_path):
    """The kernel lets go of the lock, whatever the end."""
    code = (
        "import pathlib, sys; from weavelet.weaver.home import Home;"
        "home = Home(pathlib.Path(sys.argv[1])); print('up', flush=True); input()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, tmp_path],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as process:
        assert process.stdout.readline() == b"up\n"
        process.kill()
        process.wait()
    Home(tmp_path).close()


def test_a_folder_that_cannot_be_used_is_one_clear_line(tmp_path):
    """It says which folder, why, and what to do."""
    (tmp_path / "file").write_text("")
    with pytest.raises(CommandError, match=r"cannot use .*file.*set WEAVELET_HOME"):
        Home(tmp_path / "file" / "home")


def test_spoilt_secrets_are_one_clear_line(tmp_path):
    """Nothing is overwritten that somebody may want to repair."""
    home = Home(tmp_path)
    (tmp_path / "secrets.json").write_text("{")
    with pytest.raises(CommandError, match="remove it for new ones"):
        home.secrets()
    home.close()


def test_a_network_file_system_needs_a_store_elsewhere(tmp_path, monkeypatch):
    """The NATS server's files are safe on a local disk only."""
    monkeypatch.setattr(module, "filesystem", lambda path: "nfs4")
    with pytest.raises(CommandError, match=r"network file system .nfs4.*--store"):
        Home(tmp_path / "home")
    home = Home(tmp_path / "home", tmp_path / "store")
    assert home.nats == tmp_path / "store"
    home.close()


def test_the_file_system_is_that_of_the_deepest_mount():
    """Of a path that does not exist yet, too."""
    assert filesystem(module.Path("/proc/self/nothing")) == "proc"
