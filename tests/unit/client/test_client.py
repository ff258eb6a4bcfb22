"""The public client at the edges of the protocol: garbage, loss, refusal and odd values."""

from __future__ import annotations

import gc
import itertools
import math
import socket
import sys
import threading

import msgspec
import pytest

from harness.scripted_weaver import TOKEN, scripted
from weavelet.client import Client
from weavelet.exceptions import CommandError
from weavelet.weaver import protocol

ENTRY = protocol.EntryView(
    id="e1", sequence=2, run="train", job="j1", kind="set", author="ann", time=0.0,
    addressed=["rank-0", "rank-1"],
)  # fmt: skip


def outcome(replica, kind="applied", **more):
    """What one replica said."""
    return protocol.OutcomeView(replica=replica, outcome=kind, **more)


def update(request, state, *, settled=False, outcomes=(), entry=ENTRY):
    """Where the entry of `request` is in its life."""
    return protocol.EntryUpdate(
        id=request.id, entry=entry, state=state, settled=settled, outcomes=list(outcomes)
    )


def failing(call):
    """The CommandError that the call ends with."""
    with pytest.raises(CommandError) as caught:
        call()
    return caught.value


def both_applied(request):
    """A command that goes well."""
    yield update(request, "accepted")
    yield update(request, "applied", outcomes=[outcome("rank-0")])
    yield update(request, "applied", settled=True, outcomes=[outcome("rank-0"), outcome("rank-1")])


def test_a_command_is_waited_for_until_it_is_settled():
    """The result is the last of the entry's updates, not the first that says applied."""
    with scripted(both_applied) as weaver, Client(weaver.url, TOKEN) as client:
        result = client.set("train", {"lr": 0.1})
    assert result.ok
    assert [each.replica for each in result.outcomes] == ["rank-0", "rank-1"]


def test_without_waiting_the_first_update_is_the_answer():
    """`wait=False` returns once the command is in the log, and does not claim success."""
    with scripted(both_applied) as weaver, Client(weaver.url, TOKEN) as client:
        result = client.set("train", {"lr": 0.1}, wait=False)
    assert (result.state, result.settled, result.ok) == ("accepted", False, False)


@pytest.mark.parametrize(
    ("outcomes", "dry_run", "expected"),
    [
        ([outcome("rank-0"), outcome("rank-1")], False, True),
        ([outcome("rank-0")], False, False),
        ([outcome("rank-0"), outcome("rank-1", "rejected")], False, False),
        ([outcome("rank-0", "skipped"), outcome("rank-1", "skipped")], False, False),
        ([outcome("rank-0", "skipped"), outcome("rank-1", "skipped")], True, True),
        ([outcome("rank-0", "skipped"), outcome("rank-1", "rejected")], True, False),
    ],
)
def test_ok_means_every_addressed_replica(outcomes, dry_run, expected):
    """One replica that is silent or says no is enough for not ok."""
    entry = msgspec.structs.replace(ENTRY, body={"dry_run": dry_run})

    def script(request):
        yield update(request, "mixed", settled=True, outcomes=outcomes, entry=entry)

    with scripted(script) as weaver, Client(weaver.url, TOKEN) as client:
        assert client.set("train", {"lr": 0.1}, dry_run=dry_run).ok is expected


def test_an_entry_that_addresses_nobody_is_ok_by_its_state():
    """Freeze concerns the log alone: there is no replica to wait for."""
    entry = msgspec.structs.replace(ENTRY, kind="freeze", addressed=[])

    def script(request):
        yield update(request, "applied", settled=True, entry=entry)

    with scripted(script) as weaver, Client(weaver.url, TOKEN) as client:
        assert client.freeze("train").ok


def test_errors_of_the_weaver_are_raised_with_their_code():
    """An `error` answer becomes a CommandError; the connection goes on serving."""

    def script(request):
        if request.run == "trian":
            yield protocol.Error(id=request.id, code="unknown_run", text="no", known=["train"])
        else:
            yield from both_applied(request)

    with scripted(script) as weaver, Client(weaver.url, TOKEN) as client:
        error = failing(lambda: client.pause("trian"))
        assert (error.code, error.known) == ("unknown_run", ("train",))
        assert client.pause("train").ok
        assert weaver.connections == 1


def test_messages_that_cannot_be_read_are_skipped():
    """Garbage and messages of a later version do not disturb the answer."""

    def script(request):
        yield b"{not json"
        yield b'{"type": "of-a-later-version"}'
        yield from both_applied(request)

    with scripted(script) as weaver, Client(weaver.url, TOKEN) as client:
        assert client.resume("train").ok


def test_an_answer_that_cannot_be_read_is_an_error():
    """Nobody waits for ever for what came and was thrown away."""

    def script(request):
        yield b'{"type": "entry", "id": "%s", "state": 7}' % request.id.encode()

    with scripted(script) as weaver, Client(weaver.url, TOKEN) as client:
        assert failing(lambda: client.pause("train")).code == "unavailable"


def test_a_lost_connection_says_what_is_known_and_is_made_again():
    """Cut after the entry was logged: the error names it; the next command reconnects."""

    def script(request):
        yield update(request, "accepted")
        if request.run == "cut":
            yield None
        else:
            yield from both_applied(request)

    with scripted(script) as weaver, Client(weaver.url, TOKEN) as client:
        error = failing(lambda: client.stop("cut"))
        assert error.code == "unknown_outcome"
        assert "e1" in error.text
        assert client.stop("train").ok
        assert weaver.connections == 2


def test_a_connection_lost_before_any_answer_is_unavailable():
    """Nothing is known about the command then; the exit code says unreachable."""
    with scripted(lambda _: [None]) as weaver, Client(weaver.url, TOKEN) as client:
        error = failing(lambda: client.log("train"))
    assert (error.code, error.exit_code) == ("unavailable", 3)


def test_non_finite_values_travel_as_words_both_ways():
    """NaN and infinities are words in JSON and floats for the caller; texts stay texts."""
    controls = [
        protocol.ControlView(name="a", kind="control", schema={"type": "number"}, value="NaN"),
        protocol.ControlView(name="b", kind="control", schema={"type": "string"}, value="NaN"),
    ]

    def script(request):
        if isinstance(request, protocol.Subscribe):
            replica = protocol.ReplicaView(
                run="train", job="j1", replica="rank-0", incarnation="i", state="running",
                metrics={"loss": "Infinity"}, controls=controls,
            )  # fmt: skip
            job = protocol.JobView(
                run="train", job="j1", live=True, newest=True, begun=0.0, replicas=[replica]
            )
            yield protocol.Snapshot(id=request.id, jobs=[job])
        else:
            change = protocol.ChangeView("lr", "-Infinity", 1.0)
            said = outcome("rank-0", changes=[change], result={"loss": ["NaN"]})
            yield update(request, "applied", settled=True, outcomes=[said])

    with scripted(script) as weaver, Client(weaver.url, TOKEN) as client:
        (replica,) = client.job("train").replicas
        result = client.set("train", {"lr": math.inf, "betas": [math.nan]})
    assert replica.metrics["loss"] == math.inf
    assert math.isnan(replica.controls[0].value)
    assert replica.controls[1].value == "NaN"
    assert result.outcomes[0].changes[0].old == -math.inf
    assert math.isnan(result.outcomes[0].result["loss"][0])
    sent = weaver.requests[-1][1]
    assert sent.values == {"lr": "Infinity", "betas": ["NaN"]}


class Scalar:
    """As NumPy's and torch's scalars."""

    def item(self):
        """The number."""
        return 0.5


def test_scalars_of_array_libraries_are_sent_as_numbers():
    """An outside tuner need not convert what its library computed."""
    with scripted(both_applied) as weaver, Client(weaver.url, TOKEN) as client:
        client.set("train", {"lr": Scalar()})
        assert weaver.requests[-1][1].values == {"lr": 0.5}


@pytest.mark.parametrize("unfit", ["x" * 70_000, object()])
def test_what_cannot_be_sent_is_refused_before_it_is_sent(unfit):
    """Too large, or no JSON value: the weaver never sees it."""
    with scripted(both_applied) as weaver, Client(weaver.url, TOKEN) as client:
        error = failing(lambda: client.set("train", {"lr": unfit}))
        assert error.code == "invalid_value"
        assert weaver.requests == []


def test_a_refused_token_is_forbidden():
    """The error says which token was used and where the right one is."""
    with scripted(both_applied) as weaver, Client(weaver.url, "wrong") as client:
        error = failing(client.jobs)
    assert error.code == "forbidden"
    assert "argument" in error.text


def test_nothing_listening_is_unavailable():
    """A dead port ends with the exit code for unreachable and the way out."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
    with Client(url, TOKEN) as client:
        error = failing(client.jobs)
    assert (error.code, error.exit_code) == ("unavailable", 3)
    assert "weavelet up" in error.text


def test_watch_yields_what_comes_unasked_until_it_is_closed():
    """Deltas carry no id of the request; closing the watch closes its connection."""

    def script(request):
        yield protocol.Snapshot(id=request.id)
        for step in range(600):
            yield protocol.Metrics(
                run="train", job="j1", replica="r", steps=[step], at=[0.0], columns={"l": ["NaN"]}
            )

    with scripted(script) as weaver, Client(weaver.url, TOKEN) as client:
        watch = client.watch(["train"], metrics=True)
        assert isinstance(next(watch), protocol.Snapshot)
        first = next(watch)
        assert math.isnan(first.columns["l"][0])
        assert next(watch).steps == [1]
        watch.close()
        assert client.jobs() == []


def test_watch_leaves_out_updates_that_say_nothing():
    """With them the weaver shows that it is there; a watch yields changes."""

    def script(request):
        yield protocol.Snapshot(id=request.id)
        yield protocol.StatusUpdate()
        yield protocol.StatusUpdate(rules=[])

    with scripted(script) as weaver, Client(weaver.url, TOKEN) as client:
        watch = client.watch()
        assert isinstance(next(watch), protocol.Snapshot)
        assert next(watch).rules == []
        watch.close()


def test_several_threads_share_one_client():
    """Commands of many threads run over one connection, each with its own answer."""

    def script(request):
        entry = msgspec.structs.replace(ENTRY, run=request.run)
        said = [outcome("rank-0"), outcome("rank-1")]
        yield update(request, "applied", settled=True, outcomes=said, entry=entry)

    answers = {}
    with scripted(script) as weaver, Client(weaver.url, TOKEN) as client:

        def work(run):
            answers[run] = client.pause(run).entry.run

        threads = [threading.Thread(target=work, args=(f"run-{n}",)) for n in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(20)
        assert weaver.connections == 1
    assert answers == {f"run-{n}": f"run-{n}" for n in range(8)}


def test_a_closed_client_may_be_closed_again_but_not_used():
    """Closing twice is harmless; a call afterwards says so instead of hanging."""
    client = Client("http://127.0.0.1:1", TOKEN)
    client.close()
    client.close()
    assert failing(client.jobs).code == "closed"


def test_a_watch_may_outlive_its_client():
    """A generator that is collected after close() is quiet."""
    with scripted(lambda request: [protocol.Snapshot(id=request.id)]) as weaver:
        with Client(weaver.url, TOKEN) as client:
            watch = client.watch()
            next(watch)
        watch.close()


def test_closing_ends_what_another_thread_waits_for():
    """A watch that waits in one thread ends when another closes the client, and hangs nobody."""
    with scripted(lambda request: [protocol.Snapshot(id=request.id)]) as weaver:
        client = Client(weaver.url, TOKEN)
        began, seen = threading.Event(), []

        def watch():
            for each in client.watch():
                seen.append(each)
                began.set()

        thread = threading.Thread(target=watch)
        thread.start()
        assert began.wait(10)
        client.close()
        thread.join(10)
        assert not thread.is_alive()
    assert len(seen) == 1


def test_closing_leaves_no_connection_behind():
    """Whatever another thread's watch is at when the client is closed, its connection is closed."""
    unclosed = []
    with (
        scripted(lambda request: [protocol.Snapshot(id=request.id)] * 3) as weaver,
        pytest.MonkeyPatch.context() as patch,
    ):
        patch.setattr(sys, "unraisablehook", lambda args: unclosed.append(str(args.exc_value)))
        for _ in range(100):
            client = Client(weaver.url, TOKEN)
            began = threading.Event()
            thread = threading.Thread(target=_watch_again, args=(client, began))
            thread.start()
            assert began.wait(10)
            client.close()
            thread.join(10)
            assert not thread.is_alive()
        gc.collect()
    assert not unclosed


def _watch_again(client, began):
    """Watch for a few updates at a time, until the client is closed."""
    while True:
        try:
            watch = client.watch()
            if not list(itertools.islice(watch, 3)):
                return
            began.set()
            watch.close()
        except CommandError:
            return
