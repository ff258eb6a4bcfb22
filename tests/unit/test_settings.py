"""Names and places: arguments beat variables, variables beat what can be found out."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weavelet import settings

HOST = settings.slugify(socket.gethostname())[:48]


# Slugs.


@given(st.text())
def test_the_nearest_spelling_is_always_valid(text):
    """Whatever is made a slug is one, and a slug stays as it is."""
    slug = settings.slugify(text)
    assert settings.is_slug(slug)
    assert settings.slugify(slug) == slug


@pytest.mark.parametrize("text", ["a", "A-b_9", "x" * 64, "-", "_"])
def test_slugs_are_taken(text):
    """Letters, digits, _ and -, up to 64 of them."""
    assert settings.check_slug("run", text) == text


@pytest.mark.parametrize(
    ("text", "valid"),
    [
        ("my run", "my-run"),
        ("résumé", "r-sum"),
        ("a/b.c", "a-b-c"),
        ("a\n", "a"),
        ("", "unnamed"),
        ("x" * 65, "x" * 64),
        (7, "7"),
    ],
)
def test_the_error_shows_a_valid_spelling(text, valid):
    """ValueError names what it is about, what was got, and what could be written instead."""
    with pytest.raises(ValueError, match="replica must be 1 to 64") as info:
        settings.check_slug("replica", text)
    assert repr(text) in str(info.value)
    assert f"a valid spelling is {valid!r}" in str(info.value)


# The run.


def test_the_run_is_the_argument_before_the_variable():
    """An argument beats WEAVELET_RUN, which beats the script."""
    environ = {"WEAVELET_RUN": "from-variable"}
    assert settings.run_name("given", environ) == "given"
    assert settings.run_name(None, environ) == "from-variable"


@pytest.mark.parametrize(
    ("resolve", "variable", "argument"),
    [
        (settings.run_name, "WEAVELET_RUN", "run"),
        (settings.job_name, "WEAVELET_JOB", "job"),
        (settings.replica_name, "WEAVELET_REPLICA", "replica_id"),
    ],
)
def test_an_invalid_name_says_where_it_comes_from(resolve, variable, argument):
    """The error names the variable or the argument that holds it."""
    with pytest.raises(ValueError, match=f"^{variable} must be"):
        resolve(None, {variable: "no slug"})
    with pytest.raises(ValueError, match=f"^{argument} must be"):
        resolve("no slug", {})
    with pytest.raises(ValueError, match=f"^{argument} must be"):
        resolve("", {})


PRINT_RUN = "from weavelet import settings; print(settings.run_name(None, {}))\n"


def output_of(*command, cwd=None, **environment):
    """What a fresh interpreter prints."""
    done = subprocess.run(
        [sys.executable, *command],
        cwd=cwd,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


@pytest.mark.parametrize(
    ("path", "arguments", "run"),
    [
        ("train.py", ["train.py"], "train"),
        ("my train.v2.py", ["my train.v2.py"], "my-train-v2"),
        ("jobs/fine_tune.py", ["-m", "jobs.fine_tune"], "fine_tune"),
        ("trainer/__main__.py", ["-m", "trainer"], "trainer"),
        ("folder/__main__.py", ["folder"], "folder"),
    ],
)
def test_the_run_is_named_after_the_script(tmp_path, path, arguments, run):
    """A file, a module and a package give their own name as a slug."""
    file = tmp_path / path
    file.parent.mkdir(exist_ok=True)
    file.write_text(PRINT_RUN)
    assert output_of(*arguments, cwd=tmp_path) == [run]


def test_without_a_script_the_run_is_interactive():
    """So it is with -c and at a prompt."""
    assert output_of("-c", PRINT_RUN) == ["interactive"]


SPAWNED = """
import multiprocessing
from weavelet import settings

def show():
    print(settings.run_name(None, {}))

if __name__ == "__main__":
    process = multiprocessing.get_context("spawn").Process(target=show)
    process.start()
    process.join()
"""


def test_a_spawned_process_has_the_run_of_its_script(tmp_path):
    """Children of multiprocessing belong to the run of the script that started them."""
    (tmp_path / "pretrain.py").write_text(SPAWNED)
    assert output_of("pretrain.py", cwd=tmp_path) == ["pretrain"]


# The replica, and what launchers say.


@pytest.mark.parametrize(
    ("environ", "replica"),
    [
        ({"WEAVELET_REPLICA": "blue", "RANK": "3"}, "blue"),
        ({"RANK": "3", "SLURM_PROCID": "9"}, "rank-3"),
        ({"SLURM_PROCID": "9"}, "rank-9"),
        ({"OMPI_COMM_WORLD_RANK": "0"}, "rank-0"),
        ({"RANK": "", "SLURM_PROCID": "1"}, "rank-1"),
        ({"RANK": "first"}, f"{HOST}-{os.getpid()}"),
        ({"RANK": "-1"}, f"{HOST}-{os.getpid()}"),
        ({"RANK": "²"}, f"{HOST}-{os.getpid()}"),
        ({}, f"{HOST}-{os.getpid()}"),
    ],
)
def test_the_replica_is_found_out(environ, replica):
    """The variable, else the rank, else host and pid; what is no number is not a rank."""
    assert settings.replica_name(None, environ) == replica
    assert settings.replica_name("given", environ) == "given"


def test_ranks_are_read_as_launchers_set_them():
    """The rank is global; the local one and the sizes come beside it."""
    torchrun = {"RANK": "5", "LOCAL_RANK": "1", "WORLD_SIZE": "8", "LOCAL_WORLD_SIZE": "4"}
    slurm = {"SLURM_PROCID": "5", "SLURM_LOCALID": "1", "SLURM_NTASKS": "8"}
    mpi = {
        "OMPI_COMM_WORLD_RANK": "5",
        "OMPI_COMM_WORLD_LOCAL_RANK": "1",
        "OMPI_COMM_WORLD_SIZE": "8",
        "OMPI_COMM_WORLD_LOCAL_SIZE": "4",
    }
    for environ in (torchrun, slurm, mpi):
        assert settings.rank_of(environ) == 5
        assert settings.local_rank_of(environ) == 1
        assert settings.world_size_of(environ) == 8
    assert settings.local_world_size_of(torchrun) == settings.local_world_size_of(mpi) == 4
    assert settings.rank_of({}) is settings.world_size_of({}) is None


# The job.


@pytest.mark.parametrize(
    ("environ", "job"),
    [
        ({"WEAVELET_JOB": "night-7", "TORCHELASTIC_RUN_ID": "x"}, "night-7"),
        ({"TORCHELASTIC_RUN_ID": "abc.def", "SLURM_JOB_ID": "3"}, "abc-def"),
        ({"TORCHELASTIC_RUN_ID": "none", "SLURM_JOB_ID": "3"}, "slurm-3-0"),
        ({"TORCHELASTIC_RUN_ID": "", "SLURM_JOB_ID": "3"}, "slurm-3-0"),
        ({"SLURM_JOB_ID": "3", "SLURM_STEP_ID": "2"}, "slurm-3-2"),
    ],
)
def test_the_job_is_what_the_launcher_calls_it(environ, job):
    """The variable, else torchelastic's run id unless `none`, else SLURM's job and step."""
    assert settings.job_name(None, environ) == job
    assert settings.job_name("given", environ) == "given"
    assert not settings.job_is_local(environ)


@pytest.mark.parametrize(
    "environ", [{}, {"RANK": "0"}, {"TORCHELASTIC_RUN_ID": "none"}, {"TORCHELASTIC_RUN_ID": ""}]
)
def test_a_guessed_job_holds_on_this_host_only(environ):
    """Without a name from anybody the job is a hash, and known to be a guess."""
    job = settings.job_name(None, environ)
    assert len(job) == 12
    assert settings.is_slug(job)
    assert settings.job_is_local(environ)


LAUNCHER = """
import os, subprocess, sys
show = "from weavelet import settings; import os; print(settings.job_name(None, dict(os.environ)))"
names = ("WEAVELET_JOB", "TORCHELASTIC_RUN_ID", "SLURM_JOB_ID", "SLURM_PROCID", "RANK")
clean = {name: value for name, value in os.environ.items() if name not in names}
for rank in ("0", "1"):
    subprocess.run([sys.executable, "-c", show], env={**clean, "RANK": rank}, check=True)
"""


def test_ranks_of_one_launcher_agree_and_two_launchers_differ():
    """Yesterday's settings never enter today's run, and all ranks share today's."""
    first, second = output_of("-c", LAUNCHER), output_of("-c", LAUNCHER)
    assert len(set(first)) == len(set(second)) == 1
    assert first[0] != second[0]


def test_two_launches_without_a_launcher_differ():
    """A plain script is a job of its own each time, and the same within one process."""
    show = "from weavelet import settings; print(*[settings.job_name(None, {}) for _ in '12'])"
    first, second = output_of("-c", show), output_of("-c", show)
    assert first[0] == first[1]
    assert first[0] != second[0]


ODD_NAME = """
import pathlib
pathlib.Path("/proc/self/comm").write_bytes(b"\\xff) R \\xc3")
from weavelet import settings
print(len(settings.job_name(None, {})))
"""


@pytest.mark.skipif(not Path("/proc/self/comm").exists(), reason="needs Linux's /proc")
def test_a_process_name_of_any_bytes_does_not_matter():
    """A process may call itself what is no text."""
    assert output_of("-c", ODD_NAME) == ["12"]


# The mode, the home and the endpoint.


def test_the_mode_is_the_argument_before_the_variable():
    """Argument, WEAVELET_MODE, else online; anything else is an error that shows the choices."""
    assert settings.mode(None, {}) == "online"
    assert settings.mode(None, {"WEAVELET_MODE": "disabled"}) == "disabled"
    assert settings.mode("online", {"WEAVELET_MODE": "disabled"}) == "online"
    with pytest.raises(ValueError, match=r"must be 'online' or 'disabled', got 'offline'"):
        settings.mode(None, {"WEAVELET_MODE": "offline"})


def test_the_home_is_the_variable_or_a_folder_of_this_host(tmp_path):
    """WEAVELET_HOME is taken as it is; the default tells hosts apart. Nothing is created."""
    assert settings.home({"WEAVELET_HOME": str(tmp_path / "h")}) == tmp_path / "h"
    assert settings.home({"WEAVELET_HOME": "~/w"}) == Path.home() / "w"
    assert settings.home({"WEAVELET_HOME": "w"}) == Path.cwd() / "w"
    assert settings.home({}).name == settings.slugify(socket.gethostname())
    assert list(tmp_path.iterdir()) == []


def test_the_endpoint_is_read_or_is_none(tmp_path):
    """A missing, broken or foreign file is none at all; fields of a later version do not matter."""
    assert settings.read_endpoint(tmp_path) is None
    file = tmp_path / "endpoint.json"
    for broken in (b"", b"{", b"\xff\xfe", b"[]", b'{"nats_url": 3}'):
        file.write_bytes(broken)
        assert settings.read_endpoint(tmp_path) is None
    content = {
        "nats_url": "nats://127.0.0.1:1",
        "http_url": "http://127.0.0.1:2",
        "token": "t",
        "pid": 3,
        "started": 4.5,
        "host": "h",
        "later": True,
    }
    file.write_text(json.dumps(content))
    endpoint = settings.read_endpoint(tmp_path)
    assert (endpoint.nats_url, endpoint.pid, endpoint.boot) == ("nats://127.0.0.1:1", 3, "")


def test_every_variable_that_is_read_is_in_the_table():
    """No WEAVELET_ variable is read anywhere in the package without being described here."""
    package = Path(settings.__file__).parent
    read = {
        name
        for file in package.rglob("*.py")
        for name in re.findall(r"\bWEAVELET_[A-Z_]+\b", file.read_text("utf-8"))
    }
    streams = {"WEAVELET_CONTROL", "WEAVELET_OUTCOME", "WEAVELET_REPORT", "WEAVELET_EXTERNAL"}
    assert read - streams == set(settings.VARIABLES)


@pytest.mark.parametrize("given", ["soon", "-1", "0", "nan"])
def test_seconds_until_a_hang_are_a_number_above_0(given):
    """What is none is refused with its name and value."""
    with pytest.raises(ValueError, match=f"WEAVELET_STALL_SECONDS.*{given!r}"):
        settings.stall_seconds({"WEAVELET_STALL_SECONDS": given})


def test_seconds_until_a_hang_default_to_thirty():
    """Also where the variable is empty."""
    assert (
        settings.stall_seconds({}) == settings.stall_seconds({"WEAVELET_STALL_SECONDS": ""}) == 30
    )
    assert settings.stall_seconds({"WEAVELET_STALL_SECONDS": "2.5"}) == 2.5
