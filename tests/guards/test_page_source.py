"""The page's source: its types are the protocol's, its lock file names no registry."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

ROOT = Path(__file__).parents[2]
UI = ROOT / "weavelet" / "weaver" / "ui"


def test_the_pages_types_are_those_of_the_protocol():
    """Whoever changes protocol.py runs `python build_backend/export_protocol.py`."""
    path = ROOT / "build_backend" / "export_protocol.py"
    spec = importlib.util.spec_from_file_location("export_protocol", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert (UI / "src/protocol.ts").read_text("utf-8") == module.text()


def test_the_lock_file_is_for_any_registry():
    """Every package is pinned by its hash, and none by the place it once came from."""
    lock = json.loads((UI / "package-lock.json").read_text("utf-8"))
    packages = {name: package for name, package in lock["packages"].items() if name}
    assert packages
    assert not [name for name, package in packages.items() if "resolved" in package]
    assert not [name for name, package in packages.items() if "integrity" not in package]
    settings = (UI / ".npmrc").read_text("utf-8").splitlines()
    assert not [line for line in settings if line.startswith(("registry", "@", "//"))]


def test_what_the_page_is_built_of_is_pinned():
    """package.json names exact versions, so that a build is the same tomorrow."""
    package = json.loads((UI / "package.json").read_text("utf-8"))
    versions = {**package["dependencies"], **package["devDependencies"]}
    assert not {name: v for name, v in versions.items() if not v[0].isdigit()}


def test_no_value_is_written_as_html():
    """Names come from anywhere: the page shows text, never markup."""
    sources = [path for path in (UI / "src").rglob("*") if path.suffix in {".vue", ".ts"}]
    assert sources
    for path in sources:
        text = path.read_text("utf-8")
        for word in ("v-html", "innerHTML", "insertAdjacentHTML", "document.write"):
            assert word not in text or ".test." in path.name, (path, word)
