"""What the README shows is what there is."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from harness.shell import Shell, up
from harness.trainers import clean_environment, training
from weavelet.testing import local_session

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()

PRELUDE = """
import itertools, time
import torch
parameter = torch.nn.Parameter(torch.zeros(()))
optimizer = torch.optim.SGD([parameter], lr=0.1)
loader = itertools.repeat(None)
def train_step(batch):
    loss = (parameter - 1) ** 2
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    time.sleep(0.001)
    return loss, 0.5
"""


def blocks(kind):
    """The fenced blocks of one kind."""
    return re.findall(rf"^```{kind}\n(.*?)^```", README, re.MULTILINE | re.DOTALL)


def test_the_loop_and_the_client_work_as_shown(tmp_path):
    """The loop trains, and the client's lines change its learning rate."""
    pytest.importorskip("torch")
    loop, client = blocks("python")
    shell = Shell(tmp_path / "home")
    with up(shell), training(PRELUDE + loop, WEAVELET_RUN="my-run", WEAVELET_HOME=str(shell.home)):
        shell.until_listed("my-run", lambda replica: replica["controls"])
        done = subprocess.run(
            [sys.executable, "-c", client],
            env=shell.environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        refused = shell("set", "my-run", "lr=banana")
    assert done.stdout.startswith("True [('trainer-0', 'applied', ")
    assert refused.stderr.strip() in README


def test_the_checkpoint_lines_work_as_shown(tmp_path):
    """torch keeps the state beside the model's, loads it safely, and the control is back."""
    torch = pytest.importorskip("torch")
    (lines,) = blocks("py")
    now = {"lr": 0.5}
    w = local_session()

    @w.handler("lr", get=lambda: now["lr"])
    def set_lr(value: float) -> None:
        now["lr"] = value

    save, load = lines.split("\n\n")
    names = {"torch": torch, "model": torch.nn.Linear(2, 2), "w": w, "path": tmp_path / "c.pt"}
    exec(save, names)
    now["lr"] = 0.1
    exec(load, names)
    assert now["lr"] == 0.5


def test_the_first_command_installs_what_the_demo_needs():
    """One line, whose extra exists, whose constraints pin all that it needs, up to the demo."""
    (command,) = blocks("sh")[0].splitlines()
    assert re.fullmatch(
        r"python3 -m venv (\S+) && \1/bin/pip install -c constraints\.txt "
        r'"\.\[demo\]" && \1/bin/weavelet demo',
        command,
    )
    tomllib = pytest.importorskip("tomllib")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    wanted = [*project["dependencies"], *extra("demo", project["optional-dependencies"])]
    constraints = (ROOT / "constraints.txt").read_text("utf-8")
    for requirement in wanted:
        name = re.match(r"[\w-]+", requirement)[0]
        assert re.search(rf"^{name}==", constraints, re.MULTILINE), requirement


def extra(name, extras):
    """What an extra brings, those of our own that it names included."""
    for requirement in extras[name]:
        own = re.fullmatch(r"torchloom-weavelet\[(.*)\]", requirement)
        if own is None:
            yield requirement
        else:
            for other in own[1].split(","):
                yield from extra(other, extras)


def test_every_verb_in_the_table_exists():
    """The verbs named in the README are those of the command line."""
    named = set(re.findall(r"`(?:weavelet )?([a-z]+)(?: RUN[^`]*)?`", section("Steering")))
    done = subprocess.run(
        [Path(sys.executable).with_name("weavelet"), "--help"],
        capture_output=True,
        text=True,
        timeout=60,
        env={**clean_environment(), "COLUMNS": "200"},
        check=True,
    )
    verbs = set(re.findall(r"^│ ([a-z]+) ", done.stdout, re.MULTILINE))
    assert verbs
    assert named - {"applied", "rejected"} <= verbs
    assert verbs - named == set()


def section(title):
    """The text under a heading."""
    return README.split(f"## {title}\n", 1)[1].split("\n## ", 1)[0]


def test_the_shown_difference_is_that_of_the_examples():
    """Each line added in the README's diff is one that example 03 adds to 02."""
    plain, steered = (
        [line.strip() for line in (ROOT / "examples" / name).read_text().splitlines()]
        for name in ("02_plain_training.py", "03_steered_training.py")
    )
    (shown,) = blocks("diff")
    added = [line[1:].strip() for line in shown.splitlines() if line.startswith("+")]
    assert added
    for line in filter(None, added):
        assert line in steered
        assert line not in plain


def test_every_example_is_in_the_ladder():
    """The table of examples names each file that there is, and no other."""
    named = set(re.findall(r"\]\(examples/(\d\d_\w+\.py)\)", section("Examples")))
    assert named == {path.name for path in (ROOT / "examples").glob("*.py")}


def test_every_file_that_is_linked_exists():
    """No link of the README leads nowhere in the tree."""
    links = re.findall(r"\]\(([^)#:]+)\)", README)
    assert [link for link in links if not (ROOT / link).exists()] == []
