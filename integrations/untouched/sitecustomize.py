"""What `weavelet run` puts in front of PYTHONPATH: it waits for torch.optim, and steers from there.

Python imports a module of this name when it starts. A process that never imports torch.optim pays
one comparison for each of its imports, and nothing of weavelet is loaded in it. It runs on
interpreters that have no weavelet, too, so it needs nothing but the standard library.
"""
# ruff: noqa: INP001  a folder of PYTHONPATH, not a package

import os
import sys
from typing import Any, Callable  # noqa: UP035  what older interpreters have, too


class Finder:
    """Finds one module where the other finders do, and calls `then` once it is loaded."""

    def __init__(self, awaited: str, then: Callable[[], None]) -> None:
        self.awaited = awaited
        self.then = then

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> Any:
        if name != self.awaited or self not in sys.meta_path:
            return None
        sys.meta_path.remove(self)
        for finder in sys.meta_path:
            find = getattr(finder, "find_spec", None)
            spec = None if find is None else find(name, path, target)
            if spec is not None:
                call_once_loaded(spec.loader, self.then)
                return spec
        return None


def call_once_loaded(loader: Any, then: Callable[[], None]) -> None:
    """Let a loader call `then` after it has run its module."""
    load = loader.exec_module

    def exec_module(module: Any) -> None:
        del loader.exec_module
        load(module)
        then()

    loader.exec_module = exec_module


def when_loaded(name: str, then: Callable[[], None]) -> None:
    """Call `then` when a module is loaded, which need not ever be."""
    if name in sys.modules:
        then()
    else:
        sys.meta_path.insert(0, Finder(name, then))


def steer() -> None:
    """Hand over to weavelet; whatever becomes of that, the script runs."""
    try:
        from weavelet.integrations.auto import install  # noqa: PLC0415  not before it is needed

        install(when_loaded)
    except Exception as error:  # the script's own process, which must not end for want of us
        say = apology(error)
        optimizer = sys.modules.get("torch.optim.optimizer")
        register = getattr(optimizer, "register_optimizer_step_pre_hook", None)
        if register is None:  # an old torch, or what the script has in its place
            say()
        else:
            register(say)


def apology(error: Exception) -> Any:
    """A hook that says at the first step why nothing is steered."""
    said: list[bool] = []

    def say(*step: Any) -> None:
        if not said:
            said.append(True)
            sys.stderr.write(
                f"weavelet run: {sys.executable} cannot import weavelet ({error}), so this script "
                "runs as it is; to see and steer it, install torchloom-weavelet there\n"
            )

    return say


def make_way() -> None:
    """Run the sitecustomize that this one hides, as the interpreter would have."""
    here = os.path.dirname(__file__)  # noqa: PTH120  no pathlib in every process that starts
    sys.path[:] = [folder for folder in sys.path if folder != here]
    own = sys.modules.pop(__name__)
    try:
        # Another one than this.
        import sitecustomize  # type: ignore[import-not-found]  # noqa: F401, PLC0415
    except ImportError as error:
        if error.name != __name__:
            raise
        sys.modules[__name__] = own


if __name__ == "sitecustomize":
    if os.environ.get("WEAVELET_MODE") != "disabled":
        when_loaded("torch.optim", steer)
    make_way()
