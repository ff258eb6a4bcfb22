"""The build backend: Node when the page must be built, and never otherwise."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

PYPROJECT = """
[build-system]
requires = ["setuptools>=77"]
build-backend = "backend"
backend-path = ["build_backend"]

[project]
name = "paged"
version = "1"

[tool.setuptools]
packages = ["weavelet.weaver"]
include-package-data = false

[tool.setuptools.package-data]
"weavelet.weaver" = ["static/**"]
"""
# Like a bundler's, the script starts with `env node` and writes beside its source.
BUNDLER = """#!/usr/bin/env node
const fs = require('fs')
fs.mkdirSync('../static', { recursive: true })
fs.writeFileSync('../static/index.html', '<p>' + process.version + '</p>')
"""


@pytest.fixture
def tree(tmp_path):
    """A small project with the real backend and a page that is not built yet."""
    root = tmp_path / "tree"
    source = root / "weavelet/weaver/ui"
    source.mkdir(parents=True)
    (root / "pyproject.toml").write_text(PYPROJECT)
    (root / "build_backend").mkdir()
    shutil.copy(ROOT / "build_backend/backend.py", root / "build_backend")
    (root / "weavelet/weaver/__init__.py").touch()
    (source / "bundle").write_text(BUNDLER)
    (source / "bundle").chmod(0o755)
    package = {"name": "page", "version": "1.0.0", "scripts": {"build": "./bundle"}}
    lock = {**package, "lockfileVersion": 3, "packages": {"": package}}
    (source / "package.json").write_text(json.dumps(package))
    (source / "package-lock.json").write_text(json.dumps(lock))
    return root


def ask(tree, hook, **environment):
    """The build requirements that a front end would be told."""
    program = f"import json, backend; print(json.dumps(backend.get_requires_for_build_{hook}()))"
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=tree,
        env={**os.environ, "PYTHONPATH": str(tree / "build_backend"), **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return [line for line in json.loads(done.stdout.splitlines()[-1]) if "nodejs" in line]


def build(tree):
    """Build a wheel as pip does, in isolation, with no Node on the path."""
    out = tree.parent / "out"
    tools = tree.parent / "tools"
    tools.mkdir()
    (tools / "sh").symlink_to("/bin/sh")
    done = subprocess.run(
        [sys.executable, "-m", "pip", "wheel", "--no-deps", "--wheel-dir", out, tree],
        cwd=tree.parent,
        env={**os.environ, "PATH": str(tools)},
        capture_output=True,
        text=True,
        check=False,
    )
    return done, next(out.glob("*.whl"), None)


@pytest.mark.parametrize("hook", ["wheel", "sdist"])
def test_node_is_required_for_a_missing_page(tree, hook):
    """A fresh clone asks for Node."""
    assert ask(tree, hook)


@pytest.mark.parametrize("hook", ["wheel", "sdist"])
def test_node_is_not_required_without_need(tree, hook):
    """With the page built, without its source, or when told so, nobody asks for Node."""
    assert ask(tree, hook, WEAVELET_SKIP_UI="1") == []
    page = tree / "weavelet/weaver/static/index.html"
    page.parent.mkdir()
    page.touch()
    assert ask(tree, hook) == []
    page.unlink()
    shutil.rmtree(tree / "weavelet/weaver/ui")
    assert ask(tree, hook) == []


def test_node_is_never_required_for_an_editable_install(tree):
    """An editable install does not build the page."""
    assert ask(tree, "editable") == []


@pytest.mark.timeout(300)
def test_page_is_built_into_the_wheel(tree):
    """The wheel of a clone holds the page, built by a Node that nobody had to install."""
    done, wheel = build(tree)
    assert done.returncode == 0, done.stdout + done.stderr
    with zipfile.ZipFile(wheel) as archive:
        assert archive.read("weavelet/weaver/static/index.html").startswith(b"<p>v")
        assert not [name for name in archive.namelist() if "/ui/" in name]
    assert not (tree / "build").exists()


@pytest.mark.timeout(300)
def test_failed_page_fails_the_build(tree):
    """A page that cannot be built ends the build and says how to go without one."""
    (tree / "weavelet/weaver/ui/bundle").write_text("#!/bin/sh\nexit 3\n")
    done, wheel = build(tree)
    assert done.returncode != 0
    assert wheel is None
    assert "WEAVELET_SKIP_UI=1" in done.stdout + done.stderr
