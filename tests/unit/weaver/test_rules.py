"""Rules: what a file of them may hold, what they see, and when the shipped ones act."""

from __future__ import annotations

import math
import subprocess
import sys
from types import SimpleNamespace

import pytest

from weavelet.exceptions import CommandError
from weavelet.weaver import protocol
from weavelet.weaver.remedies import pause_on_bad_loss, scale_lr_on_plateau
from weavelet.weaver.rulebook import load, load_all
from weavelet.weaver.rules import Act, Fleet, Freeze, Job, Pause, Replica, Resume, Set, Stop, rule

JOB = Job("train", "j1", True, None, ())


def fleet_of(*losses, lr=0.1, first=0, state="running", metric="loss", commanded_by=()):
    """A fleet of one replica that has reported these."""
    samples = tuple((first + at, loss) for at, loss in enumerate(losses))
    replica = Replica(
        name="rank-0",
        state=state,
        step=first + len(losses),
        rate=1.0,
        rank=0,
        metrics={metric: losses[-1]} if losses else {},
        controls={"lr": lr},
        samples={metric: samples},
    )
    return Fleet((Job("train", "j1", True, None, (replica,), frozenset(commanded_by)),))


def write(tmp_path, text, name="rules.py"):
    path = tmp_path / name
    path.write_text(text)
    return path


BROKEN = {
    "does not parse": (
        "from weavelet.weaver.rules import rule\n\ndef judge(fleet:\n",
        "rules.py, line 3: '(' was never closed",
    ),
    "raises": ("x = 1\nx / 0\n", "rules.py, line 2: ZeroDivisionError: division by zero"),
    "exits": ("import sys\nsys.exit(3)\n", "rules.py, line 2: SystemExit: 3"),
    "misses a module": ("import nosuch_module\n", "line 1: ModuleNotFoundError: No module named"),
    "has none": ("x = 1\n", "rules.py: there is no rule in it"),
    "is not text": ("\0", "rules.py"),
    "names a rule badly": (
        "from weavelet.weaver.rules import rule\n@rule(name='a b')\ndef f(fleet): ...\n",
        # Python 3.10 counts the decorator to the line below it.
        ": ValueError: a rule's name must be",
    ),
    "has two of a name": (
        "from weavelet.weaver.remedies import pause_on_bad_loss as p\na, b = p('x'), p('y')\n",
        "two rules are named 'pause_on_bad_loss'",
    ),
}


@pytest.mark.parametrize("fault", BROKEN)
def test_a_broken_file_is_refused(tmp_path, fault):
    """With the file, the line and the reason."""
    text, wanted = BROKEN[fault]
    with pytest.raises(CommandError) as refused:
        load(write(tmp_path, text))
    assert wanted in refused.value.text
    assert refused.value.exit_code == 2


def test_a_file_that_is_not_there_is_refused(tmp_path):
    """With its name."""
    with pytest.raises(CommandError, match=r"nothing\.py: No such file"):
        load(tmp_path / "nothing.py")


def test_two_files_with_rules_of_one_name_are_refused(tmp_path):
    """Whose commands were whose could not be told."""
    text = "from weavelet.weaver.rules import rule\n@rule\ndef f(fleet): ...\n"
    with pytest.raises(CommandError, match="another file has a rule named 'f'"):
        load_all([write(tmp_path, text), write(tmp_path, text, "more.py")])


def test_a_file_may_import_its_neighbours(tmp_path):
    """And make rules out of what is shipped; functions that are no rules stay out."""
    write(tmp_path, "FACTOR = 3.0\n", "neighbour_of_rules.py")
    text = """
import neighbour_of_rules
from weavelet.weaver.remedies import pause_on_bad_loss
from weavelet.weaver.rules import rule

bad = pause_on_bad_loss("loss", factor=neighbour_of_rules.FACTOR)

def no_rule(fleet): ...

@rule(every=2.5, follow=("accuracy",))
def mine(fleet):
    '''What it does.'''
"""
    found = load(write(tmp_path, text))
    assert [(one.name, one.every, one.follow) for one in found] == [
        ("pause_on_bad_loss", 1.0, ("loss",)),
        ("mine", 2.5, ("accuracy",)),
    ]


def test_each_word_is_a_command_of_the_api():
    """With the fields that the API has for it."""
    where = {"id": "", "run": "train", "job": "j1"}
    more = {"replicas": ("rank-0",), "at_step": 9, "deadline": 5.0}
    assert Set(JOB, {"lr": 0.5}, {"lr": 1.0}, **more).command() == protocol.UpdateConfig(
        **where, values={"lr": 0.5}, expect={"lr": 1.0}, replicas=["rank-0"], at_step=9, deadline=5
    )
    assert Act(JOB, "save", {"path": "x"}).command() == protocol.Action(
        **where, name="save", arguments={"path": "x"}
    )
    assert Pause(JOB, lease=3.0).command() == protocol.Pause(**where, lease=3.0)
    assert Resume(JOB).command() == protocol.Resume(**where)
    assert Stop(JOB, reason="done").command() == protocol.Stop(**where, reason="done")
    assert Freeze(JOB).command() == protocol.Freeze(**where)


def test_one_occasion_has_one_id():
    """Of the same rule, job, word and key, whatever the values; without a key the values count."""
    one, other = rule(name="one")(lambda fleet: None), rule(name="other")(lambda fleet: None)
    assert one.entry_id(Pause(JOB, key="7")) == one.entry_id(Pause(JOB, 5.0, key="7"))
    assert one.entry_id(Set(JOB, {"lr": 1})) == one.entry_id(Set(JOB, {"lr": 1}))
    different = [
        one.entry_id(Pause(JOB, key="7")),
        one.entry_id(Pause(JOB, key="8")),
        one.entry_id(Stop(JOB, key="7")),
        one.entry_id(Pause(Job("train", "j2", True, None, ()), key="7")),
        other.entry_id(Pause(JOB, key="7")),
        one.entry_id(Set(JOB, {"lr": 1})),
        one.entry_id(Set(JOB, {"lr": 2})),
    ]
    assert len(set(different)) == len(different)


def test_an_id_is_the_same_in_another_process():
    """Python's own hash is not."""
    code = (
        "from weavelet.weaver.rules import *; from weavelet.weaver.rules import rule;"
        "job = Job('train', 'j1', True, None, ());"
        "print(rule(name='one')(lambda f: None).entry_id(Set(job, {'lr': 1, 'b': 2}, key='')))"
    )
    other = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    mine = rule(name="one")(lambda fleet: None).entry_id(Set(JOB, {"b": 2, "lr": 1}))
    assert other.stdout.strip() == mine


@pytest.mark.parametrize("said", [3, [Pause(JOB), "stop"], SimpleNamespace()])
def test_anything_but_commands_is_refused(said):
    """A rule that returns it raises."""
    with pytest.raises(TypeError):
        rule(name="wrong")(lambda fleet: said).orders(Fleet())


def test_nothing_one_or_several_commands():
    """All of them are fine, generators too."""
    for said, wanted in ((None, 0), (Pause(JOB), 1), ([], 0), (iter([Pause(JOB)] * 2), 2)):
        assert len(rule(name="fine")(lambda fleet, said=said: said).orders(Fleet())) == wanted


def test_what_is_not_followed_is_no_silence():
    """Asking for the samples of a metric that nobody follows is an error that says what to do."""
    with pytest.raises(LookupError, match=r'say @rule\(follow=\("gain",\)\)'):
        fleet_of(1.0).jobs[0].replicas[0].recent("gain")


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_loss_that_is_no_number_pauses(value):
    """Once for the first such sample, and again only after a good one."""
    bad = pause_on_bad_loss()
    assert bad.orders(fleet_of(1.0, 1.0)) == []
    (order,) = bad.orders(fleet_of(1.0, 1.0, value))
    assert (type(order), order.key) == (Pause, "2")
    assert bad.orders(fleet_of(1.0, 1.0, value, value)) == []
    assert bad.orders(fleet_of(1.0, 1.0, value, value, 1.0)) == []
    (again,) = bad.orders(fleet_of(1.0, 1.0, value, value, 1.0, value))
    assert again.key == "5"


def test_a_loss_that_a_weaver_before_has_paused_for_pauses_no_more():
    """A job that was resumed all the same goes on, until a good sample has come and a bad one."""
    bad = pause_on_bad_loss()
    for losses in ((), (math.nan,), (math.nan, math.nan), (math.nan, math.nan, 1.0)):
        assert bad.orders(fleet_of(*losses, commanded_by={"pause_on_bad_loss"})) == []
    (order,) = bad.orders(fleet_of(math.nan, math.nan, 1.0, math.nan))
    assert order.key == "3"


def test_a_pause_of_its_own_is_none_of_a_weaver_before():
    """A replica that is first heard after it pauses for a bad loss of its own."""
    bad = pause_on_bad_loss()
    assert bad.orders(fleet_of()) == []
    (order,) = bad.orders(fleet_of(math.nan, commanded_by={"pause_on_bad_loss"}))
    assert order.key == "0"


def test_a_sample_between_two_looks_is_seen():
    """The last value is fine again, the one before was not."""
    bad = pause_on_bad_loss()
    assert [one.key for one in bad.orders(fleet_of(1.0, math.nan, 1.0))] == ["1"]


def test_a_loss_that_explodes_pauses():
    """Against the median of what came before, not against a single spike or a start."""
    bad = pause_on_bad_loss(factor=10.0)
    assert bad.orders(fleet_of(1.0, 90.0)) == []
    calm = [1.0 + 0.1 * (at % 3) for at in range(30)]
    assert pause_on_bad_loss(factor=10.0).orders(fleet_of(*calm, 9.0)) == []
    (order,) = pause_on_bad_loss(factor=10.0).orders(fleet_of(*calm, 12.0, 50.0, 1e9))
    assert order.key == "30"


def drive(rule, losses, lr=0.1, chunk=10):
    """Let a rule look after every `chunk` samples, and do at once what it commands."""
    commanded = []
    for end in range(chunk, len(losses) + 1, chunk):
        start = max(0, end - 100)
        for order in rule.orders(fleet_of(*losses[start:end], lr=lr, first=start)):
            commanded.append((end, order))
            lr = order.values["lr"]
    return commanded


def test_a_plateau_scales_the_rate():
    """Patience after the best; counted anew from the change; with the old value expected."""
    losses = [1.0 / (1 + at) for at in range(100)] + [0.01] * 400
    first, second, *_ = drive(scale_lr_on_plateau(patience=100, threshold=0.01), losses)
    assert 200 <= first[0] <= 230
    assert (first[1].values, first[1].expect) == ({"lr": 0.05}, {"lr": 0.1})
    assert 100 <= second[0] - first[0] <= 150
    assert second[1].values == {"lr": 0.025}


def test_a_falling_loss_is_left_alone():
    """And so is one whose rate is at the least already."""
    falling = [1.0 - at / 1000 for at in range(500)]
    assert drive(scale_lr_on_plateau(patience=100), falling) == []
    flat = [0.5] * 500
    assert drive(scale_lr_on_plateau(patience=100, least=0.1), flat, lr=0.1) == []
