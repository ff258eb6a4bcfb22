"""A user's evening: `weavelet up`, a training script, and commands from a shell. All real."""

from __future__ import annotations

import pytest

from harness.shell import Shell, Up, up
from harness.trainers import LOOP, PLAIN, training

DETACHED = PLAIN.replace('session("trainer-0")', 'session("trainer-0", run="evening")')


@pytest.fixture
def shell(tmp_path):
    """A shell whose home is the test's own."""
    return Shell(tmp_path / "home")


def script(shell, text=DETACHED, **environment):
    """A trainer that looks for its server in the shell's home."""
    return training(text, WEAVELET_HOME=str(shell.home), **environment)


def controls_are_known(replica):
    return any(control["name"] == "lr" for control in replica["controls"])


@pytest.mark.smoke
def test_set_prints_outcome_step_old_and_new_and_the_training_shows_it(shell):
    """`set --json` names replica, outcome, step, old and new; the trainer saw just that."""
    with up(shell), script(shell) as trainer:
        shell.until_listed("evening", controls_are_known)
        code, said = shell.json("set", "evening", "lr=0.01")
        seen = trainer.event("change")
    assert code == 0
    (outcome,) = said["outcomes"]
    assert outcome["replica"] == "trainer-0"
    assert outcome["outcome"] == "applied"
    assert outcome["changes"] == [{"name": "lr", "old": 0.1, "new": 0.01}]
    assert seen == {"step": outcome["step"], "change": "lr", "old": 0.1, "new": 0.01}


def test_what_is_refused_says_why_and_exits_with_1(shell):
    """A misfit, an unknown control and an unknown run: exit code 1, and what there is instead."""
    with up(shell), script(shell):
        shell.until_listed("evening", controls_are_known)
        misfit = shell("set", "evening", "lr=banana")
        control = shell("set", "evening", "rate=1")
        run = shell("set", "morning", "lr=1")
        failed = shell("set", "evening", "gain=-1")
    assert (misfit.returncode, control.returncode, run.returncode) == (1, 1, 1)
    assert "lr" in misfit.stderr
    assert "banana" in misfit.stderr
    assert "gain" in control.stderr
    assert "evening" in run.stderr
    assert failed.returncode == 1
    assert "no gain below zero" in failed.stdout + failed.stderr


def test_pause_resume_stop_from_a_shell(shell):
    """Pause holds the step, resume moves it, stop ends the script with exit code 0."""
    with up(shell), script(shell) as trainer:
        shell.until_listed("evening")
        code, paused = shell.json("pause", "evening")
        assert code == 0
        step = paused["outcomes"][0]["step"]
        held = shell.until_listed("evening", lambda replica: replica["state"] == "paused")
        assert held["step"] == step
        assert shell("resume", "evening").returncode == 0
        shell.until_listed("evening", lambda replica: replica["step"] > step)
        assert shell("stop", "evening").returncode == 0
        assert trainer.event("stopped") == {"stopped": True}
        assert trainer.wait() == 0


def test_the_server_may_come_after_the_trainer(shell):
    """A trainer that is well under way appears when `up` comes, and can be steered."""
    counting = DETACHED.replace(
        "for change in w.poll(step):",
        "if step == 500: say(step=500, under_way=True)\n        for change in w.poll(step):",
    )
    with script(shell, counting) as trainer:
        trainer.event("under_way")
        with up(shell):
            shell.until_listed("evening", controls_are_known)
            assert shell("set", "evening", "lr=0.02").returncode == 0
            assert trainer.event("change")["new"] == 0.02


def test_a_killed_up_comes_back_with_everything(shell):
    """`up` killed with -9 and started again mid-run: the log is whole, commands work."""
    server = Up(shell)
    try:
        server.start()
        with script(shell) as trainer:
            shell.until_listed("evening", controls_are_known)
            assert shell("set", "evening", "lr=0.02").returncode == 0
            server.kill()
            assert shell("ls").returncode == 3
            server.start()
            shell.until_listed("evening", lambda replica: replica["state"] == "running")
            assert shell("set", "evening", "lr=0.03").returncode == 0
            assert [trainer.event("change")["old"] for _ in range(2)] == [0.1, 0.02]
            code, log = shell.json("log", "evening")
    finally:
        server.close()
    assert code == 0
    kinds = [entry["entry"]["kind"] for entry in log["entries"]]
    assert kinds == ["begin", "set", "set"]


def test_two_launches_of_one_script(shell):
    """The second launch starts clean, and commands go to it."""
    with up(shell):
        with script(shell) as first:
            one = shell.until_listed("evening", controls_are_known)
            assert shell("set", "evening", "lr=0.02").returncode == 0
            first.event("change")
            with script(shell) as second:
                shell.until_listed(
                    "evening", lambda r: r["job"] != one["job"] and controls_are_known(r)
                )
                assert shell("set", "evening", "lr=0.03").returncode == 0
                assert second.event("change")["old"] == 0.1
                assert shell("stop", "evening").returncode == 0
                assert second.wait() == 0
                assert first.process.poll() is None


def test_it_runs_as_a_module(shell, tmp_path):
    """Under `python -m package.training` the run has the module's name."""
    package = tmp_path / "package"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "training.py").write_text(PLAIN)
    with up(shell):
        with training(
            "", cwd=tmp_path, python=("-m", "package.training"), WEAVELET_HOME=str(shell.home)
        ):
            shell.until_listed("training", controls_are_known)
            assert shell("set", "training", "lr=0.02").returncode == 0


def test_it_runs_in_a_notebook_kernel(shell, monkeypatch):
    """Cells of a real kernel: start in one, train in another, declare a control twice."""
    manager = pytest.importorskip("jupyter_client").manager
    pytest.importorskip("ipykernel")
    for name, value in shell.environment.items():
        monkeypatch.setenv(name, value)
    kernel, client = manager.start_new_kernel()
    try:
        with up(shell):
            run_cell(client, LOOP)
            run_cell(client, 'w = weavelet.session("trainer-0", run="notebook").start()')
            run_cell(client, "declare(w)")
            run_cell(client, "declare(w); train(w, steps=50)")
            shell.until_listed("notebook", controls_are_known)
            pending = client.execute("train(w)")
            assert shell("set", "notebook", "lr=0.02").returncode == 0
            assert shell("stop", "notebook").returncode == 0
            reply = client.get_shell_msg(timeout=30)
            assert reply["parent_header"]["msg_id"] == pending
            assert reply["content"]["ename"] == "StopTraining"
    finally:
        client.stop_channels()
        kernel.shutdown_kernel(now=True)


def run_cell(client, text):
    """Run a cell to its end; it must not raise."""
    reply = client.execute_interactive(text, timeout=30, output_hook=lambda message: None)
    assert reply["content"]["status"] == "ok", reply["content"]
