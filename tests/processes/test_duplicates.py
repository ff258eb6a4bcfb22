"""A trainer that is started twice under one name, in real processes, seen through a real weaver."""

from __future__ import annotations

import asyncio

import pytest

from harness.faults import holds
from harness.stage import insist, staged
from harness.trainers import LOOP, training
from harness.weaver import talking
from weavelet.exceptions import CommandError

MARKED = LOOP + (
    'with weavelet.session("trainer-0") as w:\n'
    "    declare(w)\n"
    "    for step in range(1 << 30):\n"
    "        w.poll(step)\n"
    "        w.report(step, who=float(sys.argv[1]))\n"
    "        time.sleep(0.005)\n"
)


def rows(client):
    """(incarnation, state) of all that is shown of the run."""
    (job,) = client.jobs(["train"])
    return [(row.incarnation, row.state) for row in job.replicas]


async def past(endpoint):
    """The history of who has reported."""
    async with talking(endpoint) as talk:
        answer = await talk.ask("read_history", run="train", replicas=["trainer-0"])
        return answer["series"]["who"]


def refused_and_killed(stage, names):
    """Start a trainer once more, kill it as soon as it was refused; the rows before and after."""
    with stage.client() as client:
        holds(lambda: client.jobs() and rows(client)[0][1] == "running")
        living = rows(client)
        with training(MARKED, "2", **names) as second:
            holds(lambda: "refused control" in second.errors)
            holds(lambda: [state for _, state in rows(client)] == ["running", "conflict"])
            second.kill()
        holds(lambda: rows(client) == living)
        assert client.set("train", {"lr": 0.25}).state == "applied"
    return living


def test_a_refused_trainer_that_is_killed_takes_nothing_with_it(tmp_path):
    """The living one is shown and commanded, and has its own past, also by the next weaver."""
    with staged(tmp_path) as stage:
        names = stage.names("train", "job-1")
        with training(MARKED, "1", **names):
            living = refused_and_killed(stage, names)
            stage.weaver.kill()
            stage.weaver.start()
            with stage.client() as client:
                with pytest.raises(CommandError, match="still lives"):
                    client.remove("train")
                result = insist(client, "train", {"lr": 0.5})
                assert [one.incarnation for one in result.outcomes] == [living[0][0]]
                holds(lambda: rows(client) == living)
            series = asyncio.run(past(stage.weaver.endpoint))
        assert set(series["min"]) | set(series["max"]) == {1.0}
        assert series["steps"][0] == 0
