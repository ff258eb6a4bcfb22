"""What each part of the house may import, lazily imported modules included."""

from __future__ import annotations

import ast
import sys
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[2]

CONTRACTS = {"weavelet.messages", "weavelet.exceptions"}
ADAPTERS = {"weavelet.integrations.torch", "weavelet.integrations.distributed"}
PUBLIC = {
    "weavelet",
    "weavelet.client",
    "weavelet.integrations",
    "weavelet.testing",
    "weavelet.weaver.remedies",  # what a rules file is written with
    "weavelet.weaver.rules",
}
FUNCTIONS = {"weavelet.session"}  # of these names the package gives the function, not the module
FRAMEWORKS = {"accelerate", "lightning", "numpy", "sklearn", "torch", "transformers"}

PARTS_OF_TORCH = {
    f"weavelet.integrations.{part}"
    for part in (
        "groups",
        "loaders",
        "moments",
        "optimizers",
        "rates",
        "scalars",
        "schedulers",
        "watching",
        "weak",
        "work",
    )
}
"""What `weavelet.integrations.torch` is made of."""

PARTS_OF_AUTO = {"weavelet.integrations.places", "weavelet.integrations.watching"}


class Rule(NamedTuple):
    """What a part may import at its top, and what only inside a function."""

    at_top: set[str]
    lazily: frozenset[str] | set[str] = frozenset()


ROOT_MODULES = {"msgspec", "weavelet.settings", "weavelet.channel", *CONTRACTS}
CLIENT = {
    "aiohttp",
    "cyclopts",
    "jsonschema",
    "msgspec",
    "referencing",
    "rich",
    "weavelet.reference",  # the page "Controls", which a trainer can print as well
    "weavelet.settings",
    "weavelet.weaver.protocol",
    *CONTRACTS,
}
WEAVER = {"aiohttp", "jsonschema", "msgspec", "prometheus_client", "psutil", "referencing"}

TABLE = {
    "messages": Rule({"msgspec"}),
    "exceptions": Rule({"msgspec"}),
    "settings": Rule({"msgspec"}, {"platformdirs"}),
    "root": Rule(ROOT_MODULES),
    "grouping": Rule(ROOT_MODULES, ADAPTERS),
    "identity": Rule(ROOT_MODULES, ADAPTERS),
    "remote": Rule(ROOT_MODULES, ADAPTERS),
    "session": Rule(ROOT_MODULES, ADAPTERS),
    "channel": Rule({"msgspec", *CONTRACTS}),
    "wire": Rule({"google.protobuf", "msgspec", "nats", *CONTRACTS}),
    "sidecar": Rule(
        {
            "msgspec",
            "psutil",
            "pynvml",
            "weavelet.channel",
            "weavelet.settings",
            "weavelet.wire",
            *CONTRACTS,
        }
    ),
    "weaver": Rule({*WEAVER, "weavelet.settings", "weavelet.wire", *CONTRACTS}),
    "client": Rule(CLIENT),
    "client, starting the weaver": Rule(CLIENT, {"weavelet.weaver"}),
    "integrations": Rule({"weavelet"}),
    "integrations.torch": Rule({"weavelet", "torch", *PARTS_OF_TORCH}),
    "integrations.distributed": Rule({"weavelet", "torch", *ADAPTERS}),
    "integrations.lightning": Rule(
        {"weavelet", "torch", "lightning", "pytorch_lightning", *ADAPTERS}  # its two names
    ),
    "integrations.accelerate": Rule({"weavelet", "torch", "accelerate", *ADAPTERS}),
    "integrations.transformers": Rule({"weavelet", "torch", "transformers", *ADAPTERS}),
    "integrations.demo": Rule({"weavelet", "torch", "sklearn"}),
    "integrations.auto": Rule({"weavelet", "torch", *ADAPTERS, *PARTS_OF_AUTO}),
    "integrations.untouched": Rule(set(), {"weavelet.integrations.auto", "sitecustomize"}),
    "examples": Rule({*PUBLIC, *FRAMEWORKS}),
}

STARTS_THE_WEAVER = {f"weavelet.client.verbs.{verb}" for verb in ("up", "down", "demo", "doctor")}


class Import(NamedTuple):
    """One imported name, fully dotted, and where it stands."""

    name: str
    line: int
    lazy: bool


def part_of(module: str) -> str:
    """The row of the table that a module belongs to."""
    if module in PARTS_OF_TORCH:
        return "integrations.torch"
    if module in STARTS_THE_WEAVER:
        return "client, starting the weaver"
    head, *rest = module.split(".")
    for row in (".".join(rest[:2]), ".".join(rest[:1])):
        if head == "weavelet" and row in TABLE:
            return row
    return "examples" if head == "examples" else "root"


def house_of(module: str) -> str:
    """The part whose modules may import each other."""
    part = part_of(module)
    return {
        "grouping": "root",
        "identity": "root",
        "remote": "root",
        "session": "root",
        "client, starting the weaver": "client",
    }.get(part, part)


def imports(source: str, module: str, *, package: bool) -> Iterator[Import]:
    """Every import in a module: statements anywhere, and import_module() of a literal."""
    tree = ast.parse(source)
    lazy = {
        id(node)
        for function in ast.walk(tree)
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef)
        for node in ast.walk(function)
    }
    for node in ast.walk(tree):
        for name in _named(node, module, package=package):
            yield Import(name, node.lineno, id(node) in lazy)


def _named(node: ast.AST, module: str, *, package: bool) -> list[str]:
    match node:
        case ast.Import():
            return [alias.name for alias in node.names]
        case ast.ImportFrom():
            base = node.module or ""
            if node.level:
                above = node.level - (1 if package else 0)
                parents = module.split(".")[: -above or None]
                base = ".".join([*parents, base] if base else parents)
            return [_module_or_base(base, alias.name) for alias in node.names]
        case ast.Call(func=function, args=[ast.Constant(value=str(name)), *_]):
            if ast.unparse(function).endswith(("import_module", "__import__")):
                return [name]
    return []


def _module_or_base(base: str, name: str) -> str:
    # `from weavelet import messages` imports a module, `from weavelet import poll` a name in one.
    dotted = f"{base}.{name}"
    if base == "weavelet.integrations":
        return dotted
    return dotted if dotted in HOUSE and dotted not in FUNCTIONS else base


def violations(source: str, module: str, *, package: bool = False) -> list[str]:
    """What `module` imports without being allowed to, one line each."""
    part = part_of(module)
    rule = TABLE[part]
    found = []
    for name, line, lazy in imports(source, module, package=package):
        if name.split(".")[0] in sys.stdlib_module_names or _is_neighbour(name, module):
            continue
        if _in(name, rule.at_top) or (lazy and _in(name, rule.lazily)):
            continue
        how = "only inside a function" if _in(name, rule.lazily) else "not at all"
        found.append(f"{module}:{line} imports {name}: {part} may do so {how}")
    return found


def _is_neighbour(name: str, module: str) -> bool:
    house = house_of(module)
    return (
        name.startswith("weavelet.")
        and not house.startswith(("integrations", "examples"))
        and house_of(name) == house
    )


def _in(name: str, allowed: Collection[str]) -> bool:
    # `weavelet` stands for its public names, not for everything below it.
    return any(
        name == entry or (entry != "weavelet" and name.startswith(f"{entry}.")) for entry in allowed
    )


def find_modules() -> dict[str, Path]:
    """Every module under weavelet/, integrations/ and examples/, by its import name."""
    found = {}
    for folder in ("weavelet", "integrations", "examples"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            inner = path.relative_to(ROOT / folder).with_suffix("").parts
            prefix = "weavelet.integrations" if folder == "integrations" else folder
            name = ".".join([prefix, *(part for part in inner if part != "__init__")])
            if "node_modules" not in inner:
                found[name] = path
    return found


HOUSE = find_modules()


@pytest.mark.parametrize("module", HOUSE)
def test_module_imports_only_what_its_part_may(module):
    """No module imports anything that its part of the house must not know."""
    path = HOUSE[module]
    found = violations(path.read_text("utf-8"), module, package=path.name == "__init__.py")
    assert not found, "\n".join(found)


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("weavelet.session", "import nats"),
        ("weavelet.session", "import weavelet.integrations.torch"),
        ("weavelet.controls", "def f():\n    import weavelet.integrations.torch"),
        ("weavelet.settings", "import platformdirs"),
        ("weavelet.channel.frames", "from weavelet import settings"),
        ("weavelet.channel.frames", "from ..settings import home"),
        ("weavelet.weaver.fleet", "from weavelet.channel import frames"),
        ("weavelet.weaver.fleet", "import importlib\nimportlib.import_module('torch')"),
        ("weavelet.client.verbs.ls", "def f():\n    from weavelet.weaver import server"),
        ("weavelet.integrations.lightning", "import accelerate"),
        ("weavelet.integrations.torch", "from weavelet.session import Weavelet"),
        ("examples.first", "from weavelet.settings import home"),
    ],
)
def test_table_refuses(module, source):
    """The table refuses what it is there to refuse, in each spelling of an import."""
    assert violations(source, module)


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("weavelet.session", "import os\nfrom weavelet.channel.frames import encode"),
        ("weavelet.session", "def f():\n    from weavelet.integrations import torch"),
        ("weavelet.settings", "def f():\n    import platformdirs"),
        ("weavelet.wire.envelope", "from google.protobuf import message\nfrom . import bus"),
        ("weavelet.client.verbs.up", "def f():\n    from weavelet.weaver import server"),
        ("weavelet.integrations.lightning", "import lightning\nfrom weavelet import session"),
        ("examples.first", "import weavelet\nfrom weavelet.integrations.torch import bind"),
    ],
)
def test_table_accepts(module, source):
    """The table accepts what each part is built from."""
    assert violations(source, module) == []
