"""When a nats-server has to begin again because its disk was full."""

from __future__ import annotations

import pytest

from weavelet.weaver.disk import PAUSE_SECONDS, Disk

COMPLAINT = "[ERR] JetStream failed to store a msg: write 1.blk: no space left on device\n"


@pytest.fixture
def log(tmp_path):
    """The server's log, with an old complaint in it."""
    path = tmp_path / "nats-server.log"
    path.write_text(COMPLAINT)
    return path


def append(log, text):
    with log.open("a") as file:
        file.write(text)


def test_a_complaint_on_a_disk_with_room_asks_for_a_new_beginning_once(tmp_path, log):
    """What the server said before does not count, nor does what it says of other things."""
    disk = Disk(tmp_path, log)
    append(log, "[INF] Server is ready\n")
    assert not disk.look(0.0)
    append(log, COMPLAINT)
    assert disk.look(1.0)
    assert disk.full
    disk.begun(1.0)
    assert not disk.full
    assert not disk.look(100.0)


def test_a_quota_is_not_run_against_again_and_again(tmp_path, log):
    """Two beginnings are some seconds apart, however often the server complains."""
    disk = Disk(tmp_path, log)
    append(log, COMPLAINT.replace("no space left on device", "disk quota exceeded"))
    assert disk.look(0.0)
    disk.begun(0.0)
    append(log, COMPLAINT)
    assert not disk.look(1.0)
    assert disk.full
    assert disk.look(PAUSE_SECONDS)


def test_a_log_that_was_begun_anew_is_read_from_its_beginning(tmp_path, log):
    """The server renames a log that has grown too long."""
    disk = Disk(tmp_path, log)
    log.write_text("[INF] new\n")
    assert not disk.look(0.0)
    append(log, COMPLAINT)
    assert disk.look(1.0)


def test_a_folder_that_is_gone_asks_for_nothing(tmp_path):
    """Neither does a log that does not exist yet."""
    disk = Disk(tmp_path / "gone", tmp_path / "gone" / "nats-server.log")
    assert not disk.look(0.0)
    assert not disk.full
