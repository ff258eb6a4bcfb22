"""What another user has put into a folder that is open to all gives them nothing."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest

from harness.shell import Shell
from weavelet.exceptions import CommandError
from weavelet.settings import Endpoint, read_endpoint
from weavelet.weaver.home import Home

ENDPOINT = Endpoint(
    nats_url="nats://127.0.0.1:1", http_url="http://x", token="t", pid=1, started=0.0, host="h"
)


def holds_for(user, condition):
    """Whether `condition()` is true in a process of another user."""
    child = os.fork()
    if child == 0:
        status = 1
        try:
            os.setgid(user)
            os.setuid(user)
            status = 0 if condition() else 1
        finally:
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become other users")
def test_the_endpoint_of_another_user_is_none():
    """It would name a server of theirs; one's own and root's are good, and root reads all."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        home = Home(folder)
        home.publish(ENDPOINT)
        home.close()
        folder.chmod(0o755)
        path = folder / "endpoint.json"
        path.chmod(0o644)

        def read():
            return read_endpoint(folder) == ENDPOINT

        assert holds_for(2001, read), "root's"
        os.chown(path, 2001, 2001)
        assert holds_for(2001, read), "one's own"
        assert read(), "as root"
        assert not holds_for(2002, read), "another's"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become other users")
@pytest.mark.parametrize("place", [".", "nats", "secrets.json"])
def test_what_another_user_has_prepared_is_not_used(tmp_path, place):
    """As root neither: who has written the tokens, or can replace them, would command."""
    home = Home(tmp_path)
    home.secrets()
    home.close()
    os.chown(tmp_path / place, 2001, 2001)
    with pytest.raises(CommandError, match=r"belongs to another user .uid 2001."):
        Home(tmp_path).secrets()


def test_up_follows_no_link_to_write_its_log(tmp_path):
    """A link in its place would empty the file that it points to."""
    precious = tmp_path / "precious"
    precious.write_text("thesis")
    home = tmp_path / "home"
    home.mkdir()
    (home / "up.log").symlink_to(precious)
    assert Shell(home)("up", "--detach", "--port", "0").returncode != 0
    assert precious.read_text() == "thesis"


def test_up_runs_no_code_from_its_home(tmp_path):
    """A package in the home is not the one that starts in the background."""
    (tmp_path / "weavelet").mkdir()
    (tmp_path / "weavelet" / "__init__.py").write_text("raise SystemExit('planted')")
    shell = Shell(tmp_path)
    done = shell("up", "--detach", "--port", "0")
    shell("down")
    assert done.returncode == 0, done.stderr
