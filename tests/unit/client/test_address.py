"""Arguments beat the environment, the environment beats the home."""

from __future__ import annotations

import msgspec
import pytest

from weavelet.client.address import find
from weavelet.exceptions import CommandError
from weavelet.settings import Endpoint


@pytest.fixture
def environ(tmp_path):
    """An environment whose home holds an endpoint."""
    endpoint = Endpoint(
        nats_url="nats://127.0.0.1:1",
        http_url="http://127.0.0.1:8080",
        token="of-the-home",
        pid=1,
        started=0.0,
        host="host",
    )
    (tmp_path / "endpoint.json").write_bytes(msgspec.json.encode(endpoint))
    return {"WEAVELET_HOME": str(tmp_path)}


def test_the_home_is_the_default(environ):
    """Without anything else, the endpoint of the running `weavelet up` is used."""
    address = find(environ=environ)
    assert (address.url, address.token) == ("http://127.0.0.1:8080", "of-the-home")
    assert address.link == "http://127.0.0.1:8080/#token=of-the-home"


def test_the_environment_beats_the_home(environ):
    """WEAVELET_URL and WEAVELET_TOKEN name a weaver elsewhere."""
    environ |= {"WEAVELET_URL": "https://host/prefix/", "WEAVELET_TOKEN": "t"}
    address = find(environ=environ)
    assert (address.url, address.token) == ("https://host/prefix", "t")


def test_arguments_beat_the_environment(environ):
    """What the call says counts."""
    environ |= {"WEAVELET_URL": "http://other:1", "WEAVELET_TOKEN": "other"}
    address = find("http://mine:2", "mine", environ)
    assert (address.url, address.token) == ("http://mine:2", "mine")


def test_a_printed_link_is_a_url(environ):
    """The token in the fragment of a pasted link is used."""
    address = find("http://host:2/#token=abc", environ=environ)
    assert (address.url, address.token) == ("http://host:2", "abc")


def test_the_homes_token_goes_to_the_homes_weaver_only(environ):
    """A URL elsewhere is never sent the token of this machine."""
    assert find("http://127.0.0.1:8080/", environ=environ).token == "of-the-home"
    assert find("http://127.0.0.1:8081", environ=environ).token == ""


def test_nothing_running_says_how_to_start(tmp_path):
    """An empty home is exit code 3 and the command to type."""
    with pytest.raises(CommandError, match="weavelet up") as caught:
        find(environ={"WEAVELET_HOME": str(tmp_path)})
    assert (caught.value.code, caught.value.exit_code) == ("unavailable", 3)


@pytest.mark.parametrize("url", ["127.0.0.1:8080", "ws://host", "http://"])
def test_what_is_no_url_is_a_usage_error(url, environ):
    """The error shows what one looks like."""
    with pytest.raises(CommandError, match="expected a URL such as") as caught:
        find(url, environ=environ)
    assert caught.value.exit_code == 2
