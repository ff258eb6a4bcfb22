"""Rules in a running weaver: whose commands they are, that they come once, and how a rule ends."""

from __future__ import annotations

import asyncio
import threading

import pytest

from harness.nats import asynchronous, running_bus, running_nats
from harness.shell import Shell, Up, up
from harness.weaver import living, serving, talking
from weavelet.weaver import umpire
from weavelet.weaver.remedies import pause_on_bad_loss
from weavelet.weaver.rules import Job, Pause
from weavelet.wire.bus import Server

HALVE = """
from weavelet.weaver.rules import Set, rule

@rule(every=0.05, follow=("loss",))
def halve(fleet):
    '''Halves the rate.'''
    for job in fleet.jobs:
        for replica in job.replicas:
            for step, loss in replica.recent("loss"):
                if loss > 5:
                    yield Set(job, {"lr": 0.05}, key=str(step))
"""
RAISING = """
from weavelet.weaver.rules import rule

@rule(every=0.05)
def raising(fleet):
    return fleet.nothing
"""
SLOW = """
import time
from weavelet.weaver.rules import rule

@rule(every=0.05)
def slow(fleet):
    time.sleep(600)
"""
WRONG = """
from weavelet.weaver.rules import Set, rule

@rule(every=0.05)
def wrong(fleet):
    return [Set(job, {"lr": 7.0}) for job in fleet.jobs]
"""


def write(tmp_path, *texts):
    paths = [tmp_path / f"rules_{number}.py" for number in range(len(texts))]
    for path, text in zip(paths, texts, strict=True):
        path.write_text(text)
    return tuple(paths)


async def sets(talk, count=0):
    """The Sets in the job's log, once there are so many."""
    while True:
        log = await talk.ask("read_log", run="train")
        found = [one["entry"] for one in log["entries"] if one["entry"]["kind"] == "set"]
        if len(found) >= count:
            return found
        await asyncio.sleep(0.02)


def _is_settled_set(said):
    return said["type"] == "entry" and said["settled"] and said["entry"]["kind"] == "set"


def _tells_of_rules(said):
    return said["type"] == "status_update" and said.get("rules")


@asynchronous
async def test_a_rules_command_is_applied_in_its_name(tmp_path):
    """It goes through the same log as anybody's, and the rule's view counts it."""
    async with (
        serving(tmp_path / "home", rules=write(tmp_path, HALVE)) as service,
        running_bus(lambda: Server(service.endpoint.nats_url)) as bus,
        living(bus) as (replica,),
        talking(service.endpoint) as talk,
    ):
        snapshot = await talk.ask("subscribe")
        assert snapshot["rules"] == [{"name": "halve", "every": 0.05, "doc": "Halves the rate."}]
        await talk.rows(lambda rows: rows and rows["rank-0"]["state"] == "running")
        replica.step = 12
        await replica.report(loss=9.0)
        done = await talk.until(_is_settled_set)
        assert (done["entry"]["author"], done["state"]) == ("rule:halve", "applied")
        assert done["entry"]["body"]["values"] == {"lr": 0.05}
        # It may have come before.
        told = next(filter(_tells_of_rules, talk.heard), None) or await talk.until(_tells_of_rules)
        assert told["rules"][0]["fired"] == 1


REMEDY = (
    "from weavelet.weaver.remedies import pause_on_bad_loss\n"
    "bad = pause_on_bad_loss('loss', name='bad')\n"
)


async def pauses(talk, count):
    """The ids of the pauses in the job's log, once there are so many."""
    while True:
        log = await talk.ask("read_log", run="train")
        found = [one["entry"]["id"] for one in log["entries"] if one["entry"]["kind"] == "pause"]
        if len(found) >= count:
            return found
        await asyncio.sleep(0.02)


@asynchronous
async def test_a_restarted_weaver_pauses_nobody_once_more(tmp_path):
    """A job that was resumed in spite of NaN goes on, whichever weaver looks at it."""
    rules = write(tmp_path, REMEDY)
    async with (
        serving(tmp_path / "home", rules=rules) as service,
        running_bus(lambda: Server(service.endpoint.nats_url)) as bus,
        living(bus) as (replica,),
        talking(service.endpoint) as talk,
    ):
        await talk.rows(lambda rows: rows and rows["rank-0"]["state"] == "running")
        await replica.report(loss=float("nan"))
        await talk.until(lambda said: said["type"] == "entry" and said["entry"]["kind"] == "pause")
    async with (
        serving(tmp_path / "home", rules=rules) as service,
        running_bus(lambda: Server(service.endpoint.nats_url)) as bus,
        living(bus, incarnation="b") as (replica,),
        talking(service.endpoint) as talk,
    ):
        await talk.rows(lambda rows: rows and rows["rank-0"]["incarnation"] == "b")
        for replica.step, loss in enumerate(("nan", "nan", "1", "nan"), 7):
            await replica.report(loss=float(loss))
        found = await pauses(talk, 2)
    again = Pause(Job("train", "j1", True, None, ()), key="10")
    assert found[1:] == [pause_on_bad_loss(name="bad").entry_id(again)]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (RAISING, "it raised AttributeError: 'Fleet' object has no attribute 'nothing'"),
        (SLOW, "it took longer than 3 s"),
    ],
)
def test_a_bad_rule_is_switched_off(tmp_path, monkeypatch, text, why):
    """Clients are told why; the other rules, and the weaver, go on."""
    monkeypatch.setattr(umpire, "SLOW_SECONDS", 3.0)

    @asynchronous
    async def run():
        async with (
            serving(tmp_path / "home", rules=write(tmp_path, text, HALVE)) as service,
            running_bus(lambda: Server(service.endpoint.nats_url)) as bus,
            living(bus) as (replica,),
            talking(service.endpoint) as talk,
        ):
            snapshot = await talk.ask("subscribe")
            rules = snapshot["rules"]
            if "off" not in rules[0]:
                told = await talk.until(lambda said: said.get("rules"))
                rules = told["rules"]
            assert rules[0]["off"].startswith(why)
            assert "off" not in rules[1]
            await talk.rows(lambda rows: rows and rows["rank-0"]["state"] == "running")
            await replica.report(loss=9.0)
            done = await talk.until(lambda said: said["type"] == "entry" and said["settled"])
            assert done["entry"]["author"] == "rule:halve"

    run()
    for thread in threading.enumerate():
        assert thread.name != "rule" or thread.daemon


@asynchronous
async def test_a_rule_is_checked_like_anybody(tmp_path):
    """A value that the schema refuses never reaches the log, and the rule stays on."""
    async with (
        serving(tmp_path / "home", rules=write(tmp_path, WRONG, HALVE)) as service,
        running_bus(lambda: Server(service.endpoint.nats_url)) as bus,
        living(bus) as (replica,),
        talking(service.endpoint) as talk,
    ):
        await talk.rows(lambda rows: rows and rows["rank-0"]["state"] == "running")
        await replica.report(loss=9.0)
        await talk.until(lambda said: said["type"] == "entry" and said["settled"])
        assert [one["author"] for one in await sets(talk)] == ["rule:halve"]
        assert all("off" not in one for one in (await talk.ask("subscribe"))["rules"])


def test_two_weavers_fire_once(tmp_path):
    """With the same rules on one server, and again after a restart of one of them."""
    rules = write(tmp_path, HALVE)

    @asynchronous
    async def run(url):
        async with (
            serving(tmp_path / "one", nats_url=url, rules=rules) as one,
            running_bus(lambda: Server(url)) as bus,
            living(bus) as (replica,),
            talking(one.endpoint) as talk,
        ):
            async with serving(tmp_path / "two", nats_url=url, rules=rules) as two:
                async with talking(two.endpoint) as other:
                    for one_of_both in (talk, other):
                        await one_of_both.rows(lambda rows: rows)
                    for step in (1, 2, 3):
                        replica.step = step
                        await replica.report(loss=9.0)
                    for one_of_both in (talk, other):
                        await sets(one_of_both, 3)
            async with (
                serving(tmp_path / "two", nats_url=url, rules=rules) as two,
                talking(two.endpoint) as other,
            ):
                await other.rows(lambda rows: rows)
                replica.step = 4
                await replica.report(loss=9.0)
                await sets(other, 4)
                seen = await sets(talk)
                assert len({each["id"] for each in seen}) == len(seen) == 4
            fired = [entry for entry in replica.seen if entry.author == "rule:halve"]
            assert len(fired) == len({entry.id for entry in fired}) == 4

    with running_nats(tmp_path / "nats") as nats:
        run(nats.url)


@pytest.mark.parametrize("detach", [[], ["--detach"]])
def test_a_file_that_does_not_parse_starts_nothing(tmp_path, detach):
    """`up` says file, line and reason, exits 2, and leaves not even a home behind."""
    path = tmp_path / "rules.py"
    path.write_text("x = 1\ndef broken(:\n")
    shell = Shell(tmp_path / "home")
    done = shell("up", "--port", "0", "--rules", str(path), *detach)
    assert done.returncode == 2
    assert f"{path}, line 2: " in done.stderr
    assert not (tmp_path / "home").exists()


@pytest.mark.parametrize("detach", [[], ["--detach"]])
def test_up_names_the_rules_that_it_has_loaded(tmp_path, detach):
    """Whoever starts it sees that the file was read, and what was in it."""
    path = write(tmp_path, HALVE + WRONG)[0]
    shell = Shell(tmp_path / "home")
    server = Up(shell, "--rules", str(path), *detach)
    try:
        server.start()
        assert "To look only: " in server.process.stdout.readline()
        assert server.process.stdout.readline() == "Rules: halve, wrong\n"
    finally:
        server.close()
        shell("down")


def test_rules_for_a_server_that_is_up_are_no_success(tmp_path):
    """They are not loaded: `up` prints the link, says so, and exits 1."""
    path = tmp_path / "rules.py"
    path.write_text(
        "from weavelet.weaver.remedies import pause_on_bad_loss\nbad = pause_on_bad_loss()\n"
    )
    shell = Shell(tmp_path / "home")
    with up(shell):
        done = shell("up", "--rules", str(path))
        assert done.returncode == 1
        assert "#token=" in done.stdout
        assert "`weavelet down` first" in done.stderr
        assert shell("up").returncode == 0
