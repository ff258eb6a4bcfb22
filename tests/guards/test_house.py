"""The small habits of the house, as far as a program can see them."""

from __future__ import annotations

import ast
import io
import re
import sys
import tokenize
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PRODUCT = ("weavelet", "integrations")
EVERYTHING = (*PRODUCT, "examples", "benchmarks", "tests", "build_backend", "docs")
TEXTS = {".cfg", ".css", ".ini", ".js", ".md", ".proto", ".py", ".toml", ".ts", ".vue", ".yml"}
NOT_OURS = {"node_modules", "static", "__pycache__", "_build"}

SHAPELESS = {"common", "constants", "helpers", "manager", "utils"}
LEVELS = {"critical", "debug", "error", "exception", "info", "log", "warning"}
BROAD = {"BaseException", "Exception"}
UNFINISHED = re.compile("|".join(("TO" + "DO", "FIX" + "ME", "XX" + "X", "HA" + "CK")))
LINES = 300

CLOCKS = {"time.time", "time.time_ns", "datetime.now", "datetime.utcnow", "datetime.datetime.now"}
WALL_CLOCK = {
    "weavelet/client/verbs/watch.py": "prints the hour beside each line",
    "weavelet/sidecar/outbox.py": "samples carry the hour for the page's time axis",
}
"""Modules that may read the wall clock, each with its reason."""


def files(*folders):
    """The files of the given folders that we wrote."""
    return [
        path
        for folder in folders
        for path in sorted((ROOT / folder).rglob("*"))
        if path.is_file() and path.suffix in TEXTS and not NOT_OURS & set(path.parts)
    ]


def place(path):
    """A file's name within the tree."""
    return path.relative_to(ROOT).as_posix()


def modules(*folders):
    """Python modules with their syntax tree; generated ones are left out."""
    for path in files(*folders):
        if path.suffix == ".py" and not path.stem.endswith("_pb2"):
            yield path, ast.parse(path.read_text("utf-8"))


def comments(source):
    """The comments of a module by line, with linters' marks taken out."""
    found = {}
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            text = re.sub(
                r"(noqa|type|pragma|pylint)\s*:\s*[\w\[\]\-, ]*?(?=\s{2}|$)", "", token.string
            )
            found[token.start[0]] = text.strip("# ")
    return found


def broad_handlers(source):
    """Lines of broad excepts that neither raise again nor say why."""
    said = comments(source)
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.ExceptHandler):
            continue
        caught = (
            {name.id for name in ast.walk(node.type) if isinstance(name, ast.Name)}
            if node.type
            else BROAD
        )
        raises = isinstance(node.body[-1], ast.Raise)
        beside = range(node.lineno - 1, node.body[0].lineno + 1)
        if (
            caught & BROAD
            and not raises
            and not any(len(said.get(line, "").split()) > 2 for line in beside)
        ):
            yield node.lineno


def eager_logs(tree):
    """Lines of log calls whose text is put together before anyone asked for it."""
    for node in ast.walk(tree):
        match node:
            case ast.Call(func=ast.Attribute(value=target, attr=level), args=[_, *_]):
                is_log = level in LEVELS and re.search(
                    r"log(ger)?$", ast.unparse(target), re.IGNORECASE
                )
                text = node.args[1 if level == "log" and len(node.args) > 1 else 0]
                if is_log and isinstance(text, ast.JoinedStr | ast.BinOp):
                    yield node.lineno


def calls(tree, *names):
    """Lines of calls to the named functions."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and ast.unparse(node.func) in names:
            yield node.lineno


def test_modules_are_named_after_what_they_hold():
    """No module and no folder is named after its shape."""
    named = [
        place(p) for p in files(*EVERYTHING) if SHAPELESS & {p.stem, *p.relative_to(ROOT).parts}
    ]
    assert named == []


def test_broad_excepts_say_why():
    """Whoever catches everything gives the reason beside it, or raises again."""
    found = [
        f"{place(path)}:{line}"
        for path, _ in modules(*PRODUCT)
        for line in broad_handlers(path.read_text("utf-8"))
    ]
    assert found == []


def test_logs_are_lazy():
    """A log call hands its values over; it does not format them itself."""
    found = [
        f"{place(path)}:{line}" for path, tree in modules(*PRODUCT) for line in eager_logs(tree)
    ]
    assert found == []


def test_tests_do_not_sleep():
    """A test waits for an event or a condition, never for time to pass."""
    found = [
        f"{place(path)}:{line}"
        for path, tree in modules("tests")
        if path.name.startswith(("test_", "conftest"))
        for line in calls(tree, "time.sleep", "sleep")
    ]
    assert found == []


def test_wall_clock_is_for_showing():
    """Only named modules read the wall clock, and none of them decides by it."""
    found = {
        place(path)
        for path, tree in modules(*PRODUCT)
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and ast.unparse(node) in CLOCKS
    }
    assert found - set(WALL_CLOCK) == set()


def test_nothing_is_left_unfinished():
    """What is not done is not marked, it is done."""
    papers = [path for path in ROOT.glob("*") if path.is_file() and path.suffix in TEXTS]
    found = [
        f"{place(path)}:{number}"
        for path in [*files(*EVERYTHING), *papers]
        for number, line in enumerate(path.read_text("utf-8").splitlines(), 1)
        if UNFINISHED.search(line)
    ]
    assert found == []


def test_tests_say_what_they_show():
    """Every test has a docstring: the behaviour that it shows."""
    found = [
        f"{place(path)}:{node.lineno}"
        for path, tree in modules("tests")
        if path.name.startswith("test_")
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and node.name.startswith("test_")
        and not ast.get_docstring(node)
    ]
    assert found == []


def test_tests_are_no_package():
    """No __init__.py below tests: a package there would stand in the way of an installed one."""
    assert sorted((ROOT / "tests").rglob("__init__.py")) == []


def test_long_files_are_named(capsys):
    """A file above the soft limit is worth a look; it is named here, and nothing fails."""
    long = {
        place(path): count
        for path in files(*PRODUCT)
        if (count := len(path.read_text("utf-8").splitlines())) > LINES and "_pb2" not in path.stem
    }
    with capsys.disabled():
        for name, count in sorted(long.items(), key=lambda item: -item[1]):
            sys.stdout.write(f"\n{name}: {count} lines")


@pytest.mark.parametrize(
    "source",
    [
        "try:\n    f()\nexcept Exception:\n    pass",
        "try:\n    f()\nexcept:\n    pass",
        "try:\n    f()\nexcept (OSError, BaseException):\n    pass  # noqa: S110",
    ],
)
def test_silent_broad_except_is_seen(source):
    """The habit is held: a broad except without words is found."""
    assert list(broad_handlers(source)) == [3]


@pytest.mark.parametrize(
    "source",
    [
        "try:\n    f()\nexcept Exception:\n    undo()\n    raise",
        "try:\n    f()\nexcept Exception:  # noqa: BLE001  a user's code\n    pass",
        "try:\n    f()\nexcept Exception:\n    # This process's one boundary.\n    pass",
        "try:\n    f()\nexcept OSError:\n    pass",
    ],
)
def test_reasoned_broad_except_passes(source):
    """A reason beside a broad except, or raising again, is enough."""
    assert list(broad_handlers(source)) == []


def test_eager_log_is_seen():
    """An f-string, a concatenation and a `%` in a log call are found, a lazy call is not."""
    source = "log.info(f'{x}')\n_log.debug('a' + x)\nlogger.log(10, 'a %s' % x)\nlog.info('%s', x)"
    assert list(eager_logs(ast.parse(source))) == [1, 2, 3]
