"""Rules: plain Python functions that look at the fleet and return commands.

    from weavelet.weaver.rules import Fleet, Pause, rule

    @rule(every=5.0)
    def pause_when_hot(fleet: Fleet):
        \"\"\"Hold a run whose accuracy fell below one half.\"\"\"
        for job in fleet.jobs:
            for replica in job.replicas:
                if replica.metrics.get("accuracy", 1.0) < 0.5 and replica.state == "running":
                    yield Pause(job, key=str(replica.step))

`weavelet up --rules FILE` runs every rule of that file, those that it imports or makes included
(`remedies` has some). A rule may return nothing, one command or several. Its commands are checked
like anybody's and carry `rule:NAME` as their author. One command of a rule is issued once in a job
for each `key`, however often the rule returns it, however many weavers run it, and over restarts of
the weaver; without a key, once for each set of arguments. So take as key what makes the occasion
another one: the step at which something was seen.

A rule that raises, or takes longer than 10 seconds, is switched off until the weaver is restarted;
clients are told why. Rules run in threads of the weaver's process, with its rights.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field
from typing import Any, TypeAlias, Union, overload

import msgspec

from weavelet.messages import ReplicaState, Scalar
from weavelet.settings import is_slug
from weavelet.weaver import protocol

RECENT = 1000
"""How many samples of a followed metric a rule can see of each replica."""


@dataclass(frozen=True)
class Replica:
    """One replica as of now, with the last value of each metric and of each control."""

    name: str
    state: ReplicaState
    step: int | None
    rate: float
    rank: int | None
    metrics: Mapping[str, Scalar]
    controls: Mapping[str, Any]
    samples: Mapping[str, Sequence[tuple[int, float]]] = field(repr=False)

    def recent(self, metric: str) -> Sequence[tuple[int, float]]:
        """The last samples of a metric as (step, value), oldest first, NaN and infinities included.

        The rule must `follow` the metric. Those from before the weaver's start are not known.

        Raises:
            LookupError: no rule follows it.
        """
        try:
            return self.samples[metric]
        except KeyError:
            msg = f'no rule follows {metric!r}: say @rule(follow=("{metric}",))'
            raise LookupError(msg) from None


@dataclass(frozen=True)
class Job:
    """A live job; `newest` if it is the one of its run that commands go to by default.

    `commanded_by` names the rules whose commands are in its log, also those of an earlier weaver.
    """

    run: str
    name: str
    newest: bool
    frozen_by: str | None
    replicas: tuple[Replica, ...] = field(repr=False)
    commanded_by: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Fleet:
    """All live jobs at one moment. It does not change while a rule looks at it."""

    jobs: tuple[Job, ...] = ()


@dataclass(frozen=True)
class Order:
    """Base of the commands: to a job, or to some of its replicas by name."""

    job: Job
    _: KW_ONLY
    replicas: tuple[str, ...] = ()
    key: str = ""
    at_step: int | None = None
    deadline: float | None = None

    def command(self) -> protocol.Command:
        """What is put into the job's control log."""
        raise NotImplementedError

    def _where(self) -> dict[str, Any]:
        return {
            "id": "",
            "run": self.job.run,
            "job": self.job.name,
            "replicas": list(self.replicas),
            "at_step": self.at_step,
            "deadline": self.deadline,
        }


@dataclass(frozen=True)
class Set(Order):
    """Set several controls, all or none. `expect` names values that must hold for it."""

    values: Mapping[str, Any]
    expect: Mapping[str, Any] = field(default_factory=dict)

    def command(self) -> protocol.Command:
        return protocol.UpdateConfig(
            **self._where(), values=dict(self.values), expect=dict(self.expect)
        )


@dataclass(frozen=True)
class Act(Order):
    """Run an action."""

    name: str
    arguments: Mapping[str, Any] = field(default_factory=dict)

    def command(self) -> protocol.Command:
        return protocol.Action(**self._where(), name=self.name, arguments=dict(self.arguments))


@dataclass(frozen=True)
class Pause(Order):
    """Hold at the safe point, for `lease` seconds or until resumed."""

    lease: float | None = None

    def command(self) -> protocol.Command:
        return protocol.Pause(**self._where(), lease=self.lease)


@dataclass(frozen=True)
class Resume(Order):
    """End a pause."""

    def command(self) -> protocol.Command:
        return protocol.Resume(**self._where())


@dataclass(frozen=True)
class Stop(Order):
    """End training at the next safe point."""

    reason: str = ""

    def command(self) -> protocol.Command:
        return protocol.Stop(**self._where(), reason=self.reason)


@dataclass(frozen=True)
class Freeze(Order):
    """Refuse everything but stop and unfreeze."""

    reason: str = ""

    def command(self) -> protocol.Command:
        return protocol.Freeze(**self._where(), reason=self.reason)


Verdict: TypeAlias = Union[Order, Iterable[Order], None]
Judge: TypeAlias = Callable[[Fleet], Verdict]


@dataclass(frozen=True)
class Rule:
    """A function that `rule` has marked."""

    judge: Judge
    name: str
    every: float
    follow: tuple[str, ...] = ()

    @property
    def author(self) -> str:
        """Whose commands they are, in the control log."""
        return f"rule:{self.name}"

    def __call__(self, fleet: Fleet) -> Verdict:
        """What the function says; for its own tests."""
        return self.judge(fleet)

    def orders(self, fleet: Fleet) -> list[Order]:
        """The commands that it returns.

        Raises:
            TypeError: it returned something else. Whatever else the function raises.
        """
        said = self.judge(fleet)
        given: list[Any] = [] if said is None else [said] if isinstance(said, Order) else list(said)
        for one in given:
            if not isinstance(one, Order):
                msg = f"expected Set, Pause or another command, got {one!r}"
                raise TypeError(msg)
        return given

    def entry_id(self, order: Order) -> str:
        """The id of the entry for `order`: the same occasion has the same one in every weaver."""
        command = order.command()
        what: Any = order.key or msgspec.json.encode(command, order="deterministic").decode()
        occasion = [self.name, order.job.run, order.job.name, type(order).__name__, what]
        return f"rule-{hashlib.sha256(msgspec.json.encode(occasion)).hexdigest()[:24]}"


@overload
def rule(judge: Judge, /) -> Rule: ...


@overload
def rule(
    *, every: float = 1.0, follow: Sequence[str] = (), name: str | None = None
) -> Callable[[Judge], Rule]: ...


def rule(
    judge: Judge | None = None,
    /,
    *,
    every: float = 1.0,
    follow: Sequence[str] = (),
    name: str | None = None,
) -> Rule | Callable[[Judge], Rule]:
    """Mark a function as a rule that is asked every `every` seconds.

    `follow` names the metrics whose samples it looks at with `Replica.recent`. Its name, by default
    the function's, must be a slug.

    Raises:
        ValueError: `every` is not above 0, or the name is no slug.
    """

    def mark(judge: Judge) -> Rule:
        called = str(name or getattr(judge, "__name__", ""))
        if not is_slug(called):
            msg = f"a rule's name must be 1 to 64 of A-Z a-z 0-9 _ -, got {called!r}"
            raise ValueError(msg)
        if not every > 0:
            msg = f"rule {called}: every must be seconds > 0, got {every!r}"
            raise ValueError(msg)
        if isinstance(follow, str):
            msg = f'rule {called}: follow must be a list of names, such as ("{follow}",)'
            raise ValueError(msg)  # noqa: TRY004  it is about this value, as those above
        return Rule(judge, called, float(every), tuple(follow))

    return mark if judge is None else mark(judge)
