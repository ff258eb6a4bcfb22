"""What connected clients are told without asking: the fleet's changes, entries and samples."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable

import msgspec
from msgspec.structs import replace

from weavelet.exceptions import CommandError
from weavelet.messages import ReportBatch
from weavelet.weaver import protocol
from weavelet.weaver.clients import Client
from weavelet.weaver.ingest import Ingest
from weavelet.weaver.log import Life
from weavelet.weaver.umpire import Umpire
from weavelet.weaver.views import metrics_message

_MOST_TOLD = 10_000
"""Entries of which it is remembered what was said last; of an older one it is said once more."""

BEAT_SECONDS = 1.0
"""After so long without news a subscriber is told that there are none."""

_encode = msgspec.json.Encoder().encode
_BEAT = _encode(protocol.StatusUpdate())


class News:
    """Keeps `clients` informed of what `ingest` reads."""

    def __init__(self, ingest: Ingest, umpire: Umpire | None, *, server: str) -> None:
        self.clients: set[Client] = set()
        self._ingest = ingest
        self._umpire = umpire
        self._server = server
        self._unsent = 0
        self._asked: dict[str, tuple[Client, str]] = {}
        self._told: OrderedDict[str, tuple[str, bool]] = OrderedDict()
        self._unsaid: dict[str, Life] = {}
        self._encoded: dict[tuple[object, ...], tuple[int, bytes | None]] = {}
        ingest.on_entry = self._on_entry
        ingest.on_report = self._on_report

    @property
    def unsent(self) -> int:
        """Batches of samples that were left out, over all clients that there were."""
        return self._unsent + sum(client.left_out for client in self.clients)

    @property
    def rules(self) -> list[protocol.RuleView]:
        """The rules as clients see them."""
        return self._umpire.views() if self._umpire else []

    def leave(self, client: Client) -> None:
        """A client is gone."""
        if client in self.clients:
            self._unsent += client.left_out
        self.clients.discard(client)
        self._asked = {key: one for key, one in self._asked.items() if one[0] is not client}

    def expect(self, entry_id: str, client: Client, number: str) -> Callable[[], object]:
        """What becomes of this entry answers a request of `client`. Returns how to take it back."""
        self._asked[entry_id] = (client, number)
        return lambda: self._asked.pop(entry_id, None)

    def subscribe(self, client: Client, request: protocol.Subscribe) -> None:
        """Send the snapshot, and changes from there on.

        Raises:
            CommandError: `invalid_value`.
        """
        if len(request.runs) > protocol.MAX_RUNS:
            text = (
                f"runs: expected at most {protocol.MAX_RUNS} names, got {len(request.runs)}; "
                "name fewer, or none to subscribe to all runs"
            )
            raise CommandError("invalid_value", text)
        self._ingest.fleet.tick(time.monotonic())
        client.subscribe(request)
        client.send(self._snapshot(client, request.id))

    def refresh(self) -> None:
        """Let every client know what has changed since it was last told."""
        self._ingest.fleet.tick(time.monotonic())
        self._encoded.clear()
        for life in list(self._unsaid.values()):
            self._say(life)
        for client in self.clients:
            if client.subscription is not None:
                client.refresh()

    def of(self, client: Client) -> bytes | None:
        """What a client has not been told of the fleet, None if nothing.

        To a subscriber that nothing was sent for a second, it is an empty update: a browser does
        not tell a page of pings, and a connection that carries nothing may be none.
        """
        if client.subscription is None:
            return None
        is_due = time.monotonic() - client.spoken > BEAT_SECONDS
        return self._unseen(client) or (_BEAT if is_due else None)

    def _unseen(self, client: Client) -> bytes | None:
        key = (client.version, client.rules_version, client.runs)
        # Most clients have seen the same: what is encoded once serves them all.
        if key not in self._encoded:
            changes = self._changes(client)
            if isinstance(changes, protocol.Snapshot):
                return _encode(self._snapshot(client))
            version = self._ingest.fleet.version
            self._encoded[key] = (version, None if changes is None else _encode(changes))
        client.version, news = self._encoded[key]
        client.rules_version = self._rules_version
        return news

    @property
    def _rules_version(self) -> int:
        return self._umpire.version if self._umpire else 0

    def _changes(self, client: Client) -> protocol.Snapshot | protocol.StatusUpdate | None:
        now = time.monotonic()
        changes = self._ingest.fleet.changes(client.version, now, client.runs)
        if client.rules_version == self._rules_version or isinstance(changes, protocol.Snapshot):
            return changes
        return replace(changes or protocol.StatusUpdate(), rules=self.rules)

    def _snapshot(self, client: Client, number: str = "") -> protocol.Snapshot:
        fleet = self._ingest.fleet
        client.version, client.rules_version = fleet.version, self._rules_version
        return protocol.Snapshot(
            id=number,
            server=self._server,
            role=client.role,
            jobs=fleet.snapshot(time.monotonic(), client.runs),
            devices=fleet.devices(client.runs),
            rules=self.rules,
        )

    def _on_entry(self, life: Life) -> None:
        # A thousand replicas answer one by one; only what changes the entry's state is said at
        # once, the rest with the next status.
        if self._told.get(life.entry.id) == (life.state, life.over):
            self._unsaid[life.entry.id] = life
        else:
            self._say(life)

    def _say(self, life: Life) -> None:
        key = life.entry.id
        self._unsaid.pop(key, None)
        self._told[key] = (life.state, life.over)
        self._told.move_to_end(key)
        if len(self._told) > _MOST_TOLD:
            self._told.popitem(last=False)
        asker, number = self._asked.get(key, (None, ""))
        if asker is not None:
            asker.send(life.update(number))
        if life.over:
            self._asked.pop(key, None)
        others = [one for one in self.clients if one is not asker and one.wants(life.run)]
        if others:
            data = _encode(life.update())
            for client in others:
                client.send(data)

    def _on_report(self, run: str, job: str, batch: ReportBatch) -> None:
        if self._umpire is not None:
            self._umpire.reported(run, job, batch)
        clients = [client for client in self.clients if client.wants_metrics(run)]
        if clients:
            data = _encode(metrics_message(run, job, batch))
            for client in clients:
                client.send_samples(data)
