"""`weavelet.up()`: the server in the background, from a notebook or a script."""

from __future__ import annotations

import os
import signal
import urllib.request

import pytest

import weavelet
from harness.faults import holds
from harness.trainers import is_alive
from weavelet.client import Client
from weavelet.settings import read_endpoint


@pytest.fixture
def server(tmp_path):
    """A server that is down again when the test ends."""
    server = weavelet.up(home=tmp_path / "home")
    yield server
    server.down()


def test_up_starts_a_server_that_answers_and_down_ends_it(server):
    """With a process of its own; down() twice does no harm."""
    with urllib.request.urlopen(f"{server.url}/healthz", timeout=20) as answer:
        assert answer.status == 200
    assert is_alive(server.pid)
    server.down()
    assert read_endpoint(server.home) is None
    assert not is_alive(server.pid)
    server.down()


def test_up_again_is_the_same_server(server):
    """Running a cell twice starts nothing twice."""
    assert weavelet.up(home=server.home) == server


def test_a_killed_server_is_known_to_be_gone(server, monkeypatch):
    """Though its endpoint.json is still there; the next one starts where it was."""
    monkeypatch.setenv("WEAVELET_HOME", str(server.home))
    os.kill(server.pid, signal.SIGKILL)
    holds(lambda: not is_alive(server.pid), 20, "the end of the server")
    assert read_endpoint(server.home) is not None
    # Its nats-server follows it, and holds the lock of the home until then.
    holds(lambda: "Nothing is running here" in refusal(), 20, "word that the server is gone")
    again = weavelet.up(home=server.home)
    assert (again.url, again.pid != server.pid) == (server.url, True)


def refusal():
    """What a client is told that looks for a server."""
    with pytest.raises(weavelet.CommandError) as refused, Client() as client:
        client.jobs()
    return str(refused.value)


def test_a_notebook_shows_a_link(server):
    """To the page, with the token in the fragment; it is not in what is printed."""
    shown = server._repr_html_()
    assert f'href="{server.link}"' in shown
    assert server.link.startswith(f"{server.url}/#token=")
    assert server.link.partition("=")[2] not in repr(server)
    with Client(server.link) as client:
        assert client.jobs() == []


def test_what_cannot_be_started_says_why(tmp_path):
    """As the command line does, with the code for programs."""
    path = tmp_path / "rules.py"
    path.write_text("x = \n")
    with pytest.raises(weavelet.CommandError, match=r"rules\.py, line 1: ") as refused:
        weavelet.up(home=tmp_path / "home", rules=[path])
    assert refused.value.code == "invalid_rules"
