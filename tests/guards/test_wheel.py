"""What the wheel holds. It is built here from a copy of the tree, as a stranger's pip would."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCES = ("build_backend", "integrations", "weavelet")
PAPERS = ("CHANGELOG.md", "LICENSE", "MANIFEST.in", "README.md", "pyproject.toml")
BUILT = shutil.ignore_patterns("__pycache__", "node_modules", "static")

pytestmark = pytest.mark.timeout(300)


def pip(*arguments, cwd):
    """Run pip of this interpreter; its output is the failure's explanation."""
    done = subprocess.run(
        [sys.executable, "-m", "pip", *arguments, "--quiet"],
        cwd=cwd,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """The wheel of a clean copy of this tree, built in isolation."""
    folder = tmp_path_factory.mktemp("wheel")
    tree = folder / "tree"
    tree.mkdir()
    for name in SOURCES:
        shutil.copytree(ROOT / name, tree / name, ignore=BUILT)
    for name in PAPERS:
        shutil.copy(ROOT / name, tree)
    pip("wheel", "--no-deps", "--wheel-dir", folder / "out", tree, cwd=folder)
    (path,) = (folder / "out").glob("*.whl")
    return path


@pytest.fixture(scope="module")
def names(wheel):
    """The files in the wheel."""
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


def expected_modules():
    """Every module of the tree by its place in the wheel."""
    for folder, place in (("weavelet", "weavelet"), ("integrations", "weavelet/integrations")):
        for path in (ROOT / folder).rglob("*.py"):
            inner = path.relative_to(ROOT / folder)
            if "node_modules" not in inner.parts:
                yield f"{place}/{inner.as_posix()}"


def test_wheel_is_named_after_the_distribution(wheel):
    """The distribution is torchloom-weavelet; `weavelet` alone belongs to another project."""
    assert wheel.name.startswith("torchloom_weavelet-")
    assert wheel.name.endswith("-py3-none-any.whl")


def test_wheel_holds_every_module(names):
    """The wheel holds the modules of the tree, all of them and no others."""
    assert {name for name in names if name.endswith(".py")} == set(expected_modules())


def test_wheel_holds_data(names):
    """The type marker, the bus's protocol and the licence travel along."""
    assert "weavelet/py.typed" in names
    assert "weavelet/wire/weavelet.proto" in names
    assert any(name.endswith("/licenses/LICENSE") for name in names)


def test_wheel_holds_the_page(names):
    """Where the tree has the page's source, the wheel has the page, and not its source."""
    has_source = (ROOT / "weavelet/weaver/ui/package.json").is_file()
    assert ("weavelet/weaver/static/index.html" in names) == has_source
    assert not [name for name in names if name.startswith("weavelet/weaver/ui/")]


def test_wheel_holds_nothing_else(names):
    """Tests, examples and benchmarks stay at home."""
    tops = {name.split("/")[0] for name in names}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"weavelet"}


def test_wheel_has_the_command(wheel):
    """`weavelet` is the command that the wheel installs."""
    with zipfile.ZipFile(wheel) as archive:
        (entry,) = (name for name in archive.namelist() if name.endswith("entry_points.txt"))
        text = archive.read(entry).decode()
    assert "weavelet = weavelet.client.cli:main" in text.splitlines()


def test_installed_wheel_imports_outside_the_checkout(wheel, tmp_path):
    """Every module of the installed wheel is found where it was installed, not in a checkout."""
    pip("install", "--no-deps", "--target", tmp_path / "site", wheel, cwd=tmp_path)
    program = (
        "import weavelet, weavelet.integrations, weavelet.channel, weavelet.wire, weavelet.client\n"
        "print(weavelet.__file__, weavelet.integrations.__file__, sep='\\n')"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(tmp_path / "site")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert {Path(line).parents[0] for line in done.stdout.splitlines()} == {
        tmp_path / "site/weavelet",
        tmp_path / "site/weavelet/integrations",
    }


def test_core_alone_trains_and_names_the_missing_extra(wheel, tmp_path):
    """Without any extra a session works, and the command says in one line what to install."""
    python = tmp_path / "venv/bin/python"
    subprocess.run([sys.executable, "-m", "venv", tmp_path / "venv"], check=True)
    subprocess.run(
        [python, "-m", "pip", "install", "--quiet", "-c", ROOT / "constraints.txt", wheel],
        cwd=tmp_path,
        stderr=subprocess.DEVNULL,
        check=True,
    )
    environment = {**os.environ, "WEAVELET_HOME": str(tmp_path / "home"), "PYTHONWARNINGS": "error"}
    program = (
        "import weavelet\n"
        "with weavelet.session('r') as w:\n"
        "    w.poll(0)\n"
        "    w.report(0, loss=1.0)"
    )
    trained = subprocess.run(
        [python, "-c", program],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert trained.returncode == 0, trained.stderr
    command = subprocess.run(
        [tmp_path / "venv/bin/weavelet", "ls"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert command.returncode != 0
    (line,) = command.stderr.splitlines()
    assert "torchloom-weavelet[weaver]" in line


@pytest.mark.skipif(
    os.environ.get("WEAVELET_TESTS") != "installed", reason="an editable install is the checkout"
)
def test_suite_runs_against_the_installed_wheel():
    """Under tox neither this process nor its children see the checkout's package."""
    import weavelet

    child = subprocess.run(
        [sys.executable, "-c", "import weavelet; print(weavelet.__file__)"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert ROOT / "weavelet" not in {
        Path(weavelet.__file__).parent,
        Path(child.stdout.strip()).parent,
    }
