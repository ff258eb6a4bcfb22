"""When a session begins to agree with other ranks, and with what its poll is bound until then."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from weavelet import settings
from weavelet.channel.page import Page
from weavelet.hotpath import Look, Poll, make_poll
from weavelet.identity import has_group
from weavelet.keystore import TorchStore
from weavelet.messages import Change
from weavelet.ranks import Group, Ranks

Join = Callable[[Group, TorchStore], Ranks]
"""Takes a seat in a group, over its store."""


class Grouping:
    """Looks for a process group of several ranks, and rebinds the session's poll once there is one.

    Where a launcher says that there will be several ranks, or agreement is "on", each poll looks
    until then, so that all ranks see the group at the same one. Else only the first poll does, and
    the others cost nothing more. `prefix` keeps the keys of nested sessions apart.
    """

    def __init__(
        self,
        page: Page,
        look: Look,
        join: Join,
        bind: Callable[[Poll], None],
        prefix: Callable[[], str],
    ) -> None:
        self._page = page
        self._look = look
        self._join = join
        self._bind = bind
        self._prefix = prefix
        self._expecting = False
        self._settled = False
        self._ranks: Ranks | None = None

    def poll(self, agreement: Literal["auto", "on"]) -> Poll:
        """What poll is to be until there is a group."""
        world = settings.world_size_of()
        self._expecting = agreement == "on" or (world is not None and world > 1)
        return make_poll(self._page, self._look_around, self._due if self._expecting else None)

    def _due(self, step: int) -> bool:
        if self._ranks is not None:
            return self._ranks.tick(step)
        return not self._settled and has_group()

    def _look_around(self, step: int) -> tuple[tuple[Change, ...], bool]:
        if not self._settled:
            self._find()
        if self._ranks is None:
            return self._look(step)
        # Whoever keeps the old poll in a variable comes here, which counts as well; each time,
        # unless it asks what is due.
        self._ranks.tick(step)
        changes, again = self._look(step)
        return changes, again or not self._expecting

    def _find(self) -> None:
        self._settled = not self._expecting
        if not has_group():
            return
        from weavelet.integrations import distributed  # noqa: PLC0415  torch is loaded already

        self._settled = True
        group = distributed.find_group()
        if group is None or group.ranks < 2:
            self._bind(make_poll(self._page, self._look))
            return
        self._ranks = self._join(group, TorchStore(group.store, self._prefix()))
        self._bind(make_poll(self._page, self._look, self._ranks.tick))
