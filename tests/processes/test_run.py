"""`weavelet run -- CMD`: the command as it is, and what can be done to the training in it."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from contextlib import contextmanager
from importlib.util import find_spec

import pytest

from harness.faults import holds
from harness.shell import WEAVELET, Shell, up
from harness.trainers import Trainer, clean_environment
from weavelet.client import Client
from weavelet.settings import read_endpoint

PLAIN = """
import atexit, json, os, sys, time

def say(**event):
    print(json.dumps(event), flush=True)

import torch
torch.set_num_threads(1)
torch.manual_seed(0)
model = torch.nn.Linear(4, 1)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
atexit.register(lambda: say(atexit=True))

def step():
    optimizer.zero_grad()
    loss = model(torch.ones(8, 4)).square().mean()
    loss.backward()
    optimizer.step()
    return loss
"""

LOOP = (
    PLAIN
    + """
lr = None
try:
    for number in range(int(sys.argv[1])):
        if optimizer.param_groups[0]["lr"] != lr:
            lr = optimizer.param_groups[0]["lr"]
            say(lr=lr, step=number)
        step()
        time.sleep(0.002)
except Exception:
    say(swallowed=True)
finally:
    say(ended=number + 1)
"""
)

RANKED = """
import json, os, sys, time
import torch
from torch import distributed
from torch.nn.parallel import DistributedDataParallel

torch.set_num_threads(1)
distributed.init_process_group("gloo")
rank = distributed.get_rank()
model = DistributedDataParallel(torch.nn.Linear(4, 1))
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
lr = None
for number in range(10_000_000):
    time.sleep(0.02 if rank == int(sys.argv[1]) else 0.001)
    if optimizer.param_groups[0]["lr"] != lr:
        lr = optimizer.param_groups[0]["lr"]
        print(json.dumps({"rank": rank, "lr": lr, "step": number}), flush=True)
    optimizer.zero_grad()
    model(torch.ones(8, 4)).square().mean().backward()
    optimizer.step()
"""


SHARDED = """
import json, sys, time
import torch
from torch import distributed
from torch.distributed.optim import ZeroRedundancyOptimizer

torch.set_num_threads(1)
distributed.init_process_group("gloo")
rank = distributed.get_rank()
layers = torch.nn.Sequential(torch.nn.Linear(4, 4), torch.nn.Linear(4, 1))
model = torch.nn.parallel.DistributedDataParallel(layers)
optimizer = ZeroRedundancyOptimizer(model.parameters(), torch.optim.AdamW, lr=0.1)
lr = None
for number in range(10_000_000):
    time.sleep(0.002)
    optimizer.zero_grad()
    model(torch.ones(8, 4)).square().mean().backward()
    optimizer.step()
    if optimizer.optim.param_groups[0]["lr"] != lr:
        lr = optimizer.optim.param_groups[0]["lr"]
        print(json.dumps({"rank": rank, "lr": lr, "step": number}), flush=True)
"""


def run(*command, cwd=None, **environment):
    """The finished process of `weavelet run -- command`, where no server is."""
    return subprocess.run(
        [WEAVELET, "run", *command],
        cwd=cwd,
        env={**clean_environment(), "WEAVELET_HOME": "/nonexistent", **environment},
        capture_output=True,
        text=True,
        timeout=100,
        stdin=subprocess.DEVNULL,
        check=False,
    )


def as_it_is(*command):
    """The same command without weavelet."""
    return subprocess.run(
        command, env=clean_environment(), capture_output=True, text=True, timeout=100, check=False
    )


@pytest.fixture
def shell(tmp_path):
    """A shell whose home is the test's own."""
    return Shell(tmp_path / "home")


@contextmanager
def running(shell, *command, stdin=None, **environment):
    """A trainer under `weavelet run` whose server is the shell's."""
    process = subprocess.Popen(
        [WEAVELET, "run", *command],
        stdin=stdin,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**shell.environment, **environment},
    )
    trainer = Trainer(process)
    try:
        yield trainer
    finally:
        trainer.close()


@pytest.fixture
def script(tmp_path):
    """`script(text)` is the path of a file that holds it."""

    def write(text, name="plain_training"):
        path = tmp_path / f"{name}.py"
        path.write_text(text)
        return str(path)

    return write


def test_the_command_is_run_as_it_is():
    """Arguments, output, exit code and the process itself are the command's own."""
    program = (
        "import json, os, sys; print(json.dumps([sys.argv, os.getpid()]));"
        "print('aside', file=sys.stderr); sys.exit(7)"
    )
    command = [sys.executable, "-c", program, "--run", "-x", "a b"]
    process = subprocess.Popen(
        [WEAVELET, "run", "--run", "mine", "--", *command],
        env=clean_environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    out, err = process.communicate(timeout=60)
    assert json.loads(out) == [["-c", "--run", "-x", "a b"], process.pid]
    assert err == "aside\n"
    assert process.returncode == 7


def test_a_command_that_cannot_run_says_so():
    """As a shell: 127 where there is none, 126 where it is no programme; 2 for a wrong call."""
    codes = [
        run("--", "no-such-command").returncode,
        run("--", __file__).returncode,
        run().returncode,
        run("--run", "no slug", "--", "true").returncode,
    ]
    assert codes == [127, 126, 2, 2]


@pytest.mark.parametrize("name", ["train.py", "./train.py"])
def test_a_script_without_its_interpreter_is_told_how_it_is_run(tmp_path, name):
    """Named as a file of this folder, whether a shell would look for it there or not."""
    (tmp_path / "train.py").touch()
    done = run(name, cwd=tmp_path)
    assert f"a script is run by its interpreter: weavelet run -- python {name}" in done.stderr


def test_other_programmes_load_nothing_of_weavelet():
    """A Python without torch has no module of ours but the hook, and its own sys.path."""
    program = "import sys; print([n for n in sys.modules if n.startswith('weavelet')], sys.path)"
    steered = run("--", sys.executable, "-c", program)
    assert steered.stdout == as_it_is(sys.executable, "-c", program).stdout
    assert steered.stdout.startswith("[]")


@pytest.mark.skipif(find_spec("pip") is None, reason="this environment has no pip")
def test_pip_loads_nothing_of_weavelet():
    """A child that is no training has not one module of ours among its imports."""
    done = run("--", sys.executable, "-X", "importtime", "-m", "pip", "--version")
    assert done.stdout.startswith("pip ")
    imported = [line.split("|")[-1].strip() for line in done.stderr.splitlines()]
    assert "sitecustomize" in imported
    assert not [name for name in imported if name.split(".")[0] == "weavelet"]


def test_the_sidecar_runs_without_the_hook():
    """It is started isolated, so that it does not look at PYTHONPATH."""
    program = (
        "import psutil, weavelet\n"
        "with weavelet.session() as w: print(*psutil.Process(w.sidecar_pid).cmdline()[1:2])"
    )
    done = run("--", sys.executable, "-c", program)
    assert done.stdout.split() == ["-I"], done.stderr


def test_another_sitecustomize_runs_too(tmp_path):
    """The one that ours hides runs as it would have, and is the one that scripts import."""
    (tmp_path / "sitecustomize.py").write_text("import sys\nsys.other = True\n")
    program = "import sys, sitecustomize; print(sys.other, sitecustomize.__file__)"
    done = run("--", sys.executable, "-c", program, PYTHONPATH=str(tmp_path))
    assert done.stdout.split() == ["True", str(tmp_path / "sitecustomize.py")]


def test_an_interpreter_without_weavelet_runs_the_script(tmp_path):
    """It says once, at the first step, that nothing is steered and what to install."""
    package = tmp_path / "torch" / "optim"
    package.mkdir(parents=True)
    (package.parent / "__init__.py").touch()
    (package / "__init__.py").write_text("from . import optimizer\n")
    (package / "optimizer.py").write_text(
        "hooks = []\n"
        "def register_optimizer_step_pre_hook(hook):\n    hooks.append(hook)\n"
        "def step():\n    for hook in hooks: hook(None, (), {})\n"
    )
    program = "import torch.optim.optimizer as o; o.step(); o.step(); print('trained')"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path / "venv"], check=True)
    python = str(tmp_path / "venv" / "bin" / "python")
    done = run("--", python, "-c", program, PYTHONPATH=str(tmp_path))
    assert done.stdout == "trained\n"
    assert done.returncode == 0
    (line,) = done.stderr.splitlines()
    assert python in line
    assert "install torchloom-weavelet" in line


def test_what_is_no_torch_that_can_be_steered_runs_all_the_same(tmp_path):
    """A script's own module of that name, or a torch without the hooks, is told of and goes on."""
    (tmp_path / "torch" / "optim").mkdir(parents=True)
    (tmp_path / "torch" / "__init__.py").touch()
    (tmp_path / "torch" / "optim" / "__init__.py").touch()
    (tmp_path / "train.py").write_text("import torch.optim\nprint('trained')\n")
    done = run("--", sys.executable, str(tmp_path / "train.py"))
    assert (done.stdout, done.returncode) == ("trained\n", 0)
    (line,) = done.stderr.splitlines()
    assert "runs as it is" in line


def test_errors_look_as_they_do_without(script):
    """Traceback, exit code and output of a script that fails are byte for byte its own."""
    pytest.importorskip("torch")
    path = script(PLAIN + "for _ in range(3): print(step().item())\nmodel(1)\n")
    steered = run("--", sys.executable, path)
    plain = as_it_is(sys.executable, path)
    assert steered.stdout == plain.stdout
    assert steered.stderr == plain.stderr
    assert steered.returncode == plain.returncode == 1


WAITS = (
    PLAIN
    + """
import signal
step()
say(read=sys.stdin.readline())
signal.pause()
"""
)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda each: each.name)
def test_signals_and_standard_input_are_the_scripts(shell, script, number):
    """A steered script reads what is typed, and a signal ends it as it does without us."""
    pytest.importorskip("torch")
    with running(shell, "--", sys.executable, script(WAITS), stdin=subprocess.PIPE) as trainer:
        trainer.say("typed")
        assert trainer.event("read") == {"read": "typed\n"}
        trainer.signal(number)
        assert trainer.wait() == -number
        assert trainer.errors.endswith("KeyboardInterrupt\n") is (number == signal.SIGINT)


FAILURES = {
    "scheduler": "scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda n: 1 / (2 - n))\n"
    "for _ in range(3): step(); scheduler.step()\n",
    "scaler": "step()\ntorch.amp.GradScaler('cpu').scale(1)\n",
    "closure": "step()\noptimizer.param_groups[0]['weavelet_grad_clip'] = 1.0\n"
    "optimizer.step(lambda: model(1))\n",
}


@pytest.mark.skipif(sys.version_info < (3, 11), reason="3.10 brings a traceback's frames back")
@pytest.mark.parametrize("failure", FAILURES)
def test_errors_in_what_is_watched_look_as_they_do_without(script, failure):
    """No frame of ours stands between the script and what it called."""
    pytest.importorskip("torch")
    path = script(PLAIN + FAILURES[failure])
    steered, plain = run("--", sys.executable, path), as_it_is(sys.executable, path)
    assert steered.stderr == plain.stderr
    assert steered.returncode == plain.returncode == 1


FORKS = (
    PLAIN
    + """
import weavelet
step()
child = os.fork()
if child == 0:
    step()
    os._exit(0 if weavelet.current() is None else 1)
say(child=os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), session=bool(weavelet.current()))
"""
)


def test_a_forked_child_of_a_training_is_left_alone(script):
    """The session stays with the process that stepped first."""
    pytest.importorskip("torch")
    done = run("--", sys.executable, script(FORKS))
    assert json.loads(done.stdout.splitlines()[0]) == {"child": 0, "session": True}


SPAWNS = """
import sys
import torch.multiprocessing as mp

def train(index, folder):
    import weavelet
    import torch
    model = torch.nn.Linear(4, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(3):
        model(torch.ones(8, 4)).square().mean().backward()
        optimizer.step()
    with open(f"{folder}/{index}", "w") as file:
        file.write(weavelet.current().job)

if __name__ == "__main__":
    mp.spawn(train, (sys.argv[1],), nprocs=2)
"""


def test_children_of_multiprocessing_are_replicas_of_one_job(script, tmp_path):
    """Each spawned process has a session of its own, in the job of their parent."""
    pytest.importorskip("torch")
    done = run("--", sys.executable, script(SPAWNS), str(tmp_path))
    assert done.returncode == 0, done.stderr
    jobs = {(tmp_path / str(index)).read_text() for index in range(2)}
    assert len(jobs) == 1


def test_a_plain_script_is_steered(shell, script):
    """Set, pause, resume and stop work on a script that knows nothing of them."""
    pytest.importorskip("torch")
    with (
        up(shell),
        running(shell, "--", sys.executable, script(LOOP), "10000000") as trainer,
    ):
        shell.until_listed("plain_training", lambda replica: replica["controls"])
        code, said = shell.json("set", "plain_training", "lr=0.01")
        assert code == 0
        assert trainer.event("lr") == {"lr": 0.1, "step": 0}
        assert trainer.event("lr") == {"lr": 0.01, "step": said["outcomes"][0]["step"]}
        shell.until_listed(
            "plain_training",
            lambda replica: replica["metrics"].get("lr") == 0.01 and "loss" in replica["metrics"],
        )
        code, paused = shell.json("pause", "plain_training")
        step = paused["outcomes"][0]["step"]
        held = shell.until_listed("plain_training", lambda replica: replica["state"] == "paused")
        assert held["step"] == step
        assert shell("resume", "plain_training").returncode == 0
        assert shell("stop", "plain_training").returncode == 0
        assert trainer.event("ended")["ended"] > step
        assert trainer.event("atexit") == {"atexit": True}
        assert trainer.wait() == 0
    assert trainer.errors == ""


def test_every_rank_of_torchrun_is_steered_and_the_slowest_is_named(shell, script):
    """A rate set live holds from one step on, on both ranks; the one that is late is named."""
    pytest.importorskip("torch")
    path = script(RANKED, "ranked")
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2"]
    with (
        up(shell),
        running(shell, "--", *torchrun, path, "1", OMP_NUM_THREADS="1") as trainer,
    ):
        for rank in range(2):
            name = f"rank-{rank}"
            shell.until_listed("ranked", lambda each, name=name: each["replica"] == name)
        endpoint = read_endpoint(shell.home)
        with Client(endpoint.http_url, endpoint.token) as client:
            holds(lambda: client.job("ranked").slowest == "rank-1", 60)
            work = {each.replica: each.work for each in client.job("ranked").replicas}
        shown = shell("show", "ranked").stdout
        code, said = shell.json("set", "ranked", "lr=0.01")
        assert code == 0, said
        (step,) = {outcome["step"] for outcome in said["outcomes"]}
        events = [trainer.event("lr") for _ in range(4)]
        assert shell("stop", "ranked").returncode == 0
        assert trainer.wait() == 0
    changes = [event for event in events if event["lr"] == 0.01]
    assert sorted(event["rank"] for event in changes) == [0, 1]
    assert {event["step"] for event in changes} == {step}
    assert work["rank-1"] >= 0.02
    assert "Slowest: rank-1, whose own work takes" in shown


def test_the_optimizer_inside_a_sharded_one_takes_what_is_set(shell, script):
    """With ZeroRedundancyOptimizer the shard of each rank steps with it, at the same step."""
    pytest.importorskip("torch")
    path = script(SHARDED, "sharded")
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2"]
    with up(shell), running(shell, "--", *torchrun, path, OMP_NUM_THREADS="1") as trainer:
        for rank in range(2):
            name = f"rank-{rank}"
            shell.until_listed("sharded", lambda each, name=name: each["replica"] == name)
        code, said = shell.json("set", "sharded", "lr=0.01")
        assert code == 0, said
        (step,) = {outcome["step"] for outcome in said["outcomes"]}
        events = [trainer.event("lr") for _ in range(4)]
        assert shell("stop", "sharded").returncode == 0
        assert trainer.wait() == 0
    changes = [event for event in events if event["lr"] == 0.01]
    assert sorted(event["rank"] for event in changes) == [0, 1]
    assert {event["step"] for event in changes} == {step}
