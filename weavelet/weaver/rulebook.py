"""Reads a rules file: what `weavelet up --rules FILE` does before it starts anything."""

from __future__ import annotations

import sys
import traceback
import types
from collections.abc import Sequence
from pathlib import Path

from weavelet.exceptions import CommandError
from weavelet.weaver.rules import Rule

_MODULE = "weavelet_rules"


def load_all(paths: Sequence[Path]) -> list[Rule]:
    """The rules of all these files.

    Raises:
        CommandError: as `load`, or two files have a rule of one name.
    """
    found: dict[str, Rule] = {}
    for path in paths:
        for rule in load(path):
            if rule.name in found:
                raise _refused(str(path), f"another file has a rule named {rule.name!r} already")
            found[rule.name] = rule
    return list(found.values())


def load(path: Path) -> list[Rule]:
    """Run a rules file; the rules in it, in the order of their names in the module.

    Raises:
        CommandError: it cannot be read or run, or has no rule, or two of one name; the text says
            in which line and why. Its exit code is 2.
    """
    code = _compiled(path)
    module = types.ModuleType(_MODULE)
    module.__file__ = str(path)
    # Its neighbours can be imported, but come after everything that is installed.
    if (folder := str(path.absolute().parent)) not in sys.path:
        sys.path.append(folder)
    sys.modules[_MODULE] = module
    try:
        exec(code, vars(module))  # noqa: S102  the operator's own file, run as it is meant to be
    except SyntaxError as error:
        raise _unparsed(path, error) from error
    except (Exception, SystemExit) as error:
        # The boundary to the user's code: whatever it raises is told with its place.
        raise _refused(place(error, path), describe(error)) from error
    return _of(module, path)


def _compiled(path: Path) -> types.CodeType:
    try:
        return compile(path.read_bytes(), str(path), "exec")
    except OSError as error:
        raise _refused(str(path), error.strerror or str(error)) from error
    except SyntaxError as error:
        raise _unparsed(path, error) from error
    except ValueError as error:  # null bytes, before Python 3.12
        raise _refused(str(path), str(error)) from error


def _unparsed(path: Path, error: SyntaxError) -> CommandError:
    return _refused(f"{error.filename or path}, line {error.lineno or 1}", error.msg)


def _of(module: types.ModuleType, path: Path) -> list[Rule]:
    found: list[Rule] = []
    for value in vars(module).values():
        if isinstance(value, Rule) and value not in found:
            if value.name in {one.name for one in found}:
                why = f"two rules are named {value.name!r}; give one of them a name="
                raise _refused(str(path), why)
            found.append(value)
    if not found:
        raise _refused(str(path), "there is no rule in it; mark functions with @rule(every=1.0)")
    return found


def place(error: BaseException, path: Path | None = None) -> str:
    """Where in the user's file it was raised: `rules.py, line 12`."""
    frames = traceback.extract_tb(error.__traceback__)
    mine = [frame for frame in frames if path is None or frame.filename == str(path)]
    last = mine[-1] if mine else frames[-1] if frames else None
    return f"{last.filename}, line {last.lineno}" if last else str(path)


def describe(error: BaseException) -> str:
    """An exception in one line."""
    return "".join(traceback.format_exception_only(type(error), error)).strip()


def _refused(where: str, why: str) -> CommandError:
    return CommandError("invalid_rules", f"{where}: {why}", exit_code=2)
