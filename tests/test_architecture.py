"""Imports point one way only, the core touches nothing, and few may remove or rename."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[1]
ROOT = REPOSITORY / "cachemig"
MODULES = sorted(ROOT.rglob("*.py"))
LAYERED = [m for m in MODULES if m.parent != ROOT or not m.stem.startswith("__")]
AGENT = sorted(ROOT.glob("agent/*.py"))
FOLDERS = [REPOSITORY / name for name in ("cachemig", "tests", "benchmarks", "docs")]
EVERYTHING = sorted(module for folder in FOLDERS for module in folder.rglob("*.py"))

# Low to high. Those of one rank do not know each other.
RANKS = [
    {"errors", "agent"},
    {"core"},
    {"files", "config", "playbooks"},
    {"catalog", "stores"},
    {"engine"},
    {"report"},
    {"demo"},
    {"cli"},
]
RANK_OF = {name: rank for rank, names in enumerate(RANKS) for name in names}
IMPURE = {
    *("asyncio", "concurrent", "io", "logging", "multiprocessing", "os", "pathlib", "random"),
    *("secrets", "shutil", "signal", "socket", "sqlite3", "subprocess", "sys", "tempfile"),
    *("threading", "time", "uuid"),
}
CLOCKS_AND_FILES = {"now", "utcnow", "today", "open", "print", "input"}
REMOVES = {"unlink", "rename", "renames", "rmdir", "removedirs", "rmtree", "symlink_to"}
REMOVES_OF_OS = {*REMOVES, "remove", "replace", "truncate", "ftruncate"}
MAY_REMOVE = {
    "agent/publish.py": "puts files into a cache",
    "agent/root.py": "sets damaged files aside on demand, and sweeps temps of dead runs",
    "files.py": "replaces our own state files by one rename",
    "catalog/database.py": "likewise, for Parquet; and clears its own scratch folder",
    "demo": "makes and clears its own folder",
}
LINES_PER_MODULE = 300
LINES_PER_FUNCTION = 40


def name_of(module: Path) -> str:
    """A module's path below the package or repository, as test id."""
    return str(module.relative_to(ROOT if module.is_relative_to(ROOT) else REPOSITORY))


def tree_of(module: Path) -> ast.Module:
    """A module's syntax tree."""
    return ast.parse(module.read_text(encoding="utf-8"))


def imports(module: Path) -> set[str]:
    """Absolute dotted names that a module imports, wherever the statement stands in it."""
    package = (*module.relative_to(REPOSITORY).with_suffix("").parts[:-1],)
    found: set[str] = set()
    for node in ast.walk(tree_of(module)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else ()
            stem = ".".join([*base, *([node.module] if node.module else [])])
            found |= {f"{stem}.{alias.name}" for alias in node.names}
    return found


def calls(module: Path) -> Iterator[tuple[str, str, int]]:
    """(receiver, function, line) of every call; the receiver is empty for a plain name."""
    for node in ast.walk(tree_of(module)):
        if isinstance(node, ast.Call):
            if isinstance(node.func, ast.Name):
                yield "", node.func.id, node.lineno
            elif isinstance(node.func, ast.Attribute):
                yield ast.unparse(node.func.value), node.func.attr, node.lineno


def part_of(module: Path) -> str:
    """The layer that a module belongs to."""
    return module.relative_to(ROOT).parts[0].removesuffix(".py")


@pytest.mark.parametrize("module", LAYERED, ids=name_of)
def test_a_module_knows_only_lower_layers(module):
    """The order, low to high, is that of RANKS."""
    own = part_of(module)
    known = {n.split(".")[1] for n in imports(module) if n.startswith("cachemig.")}

    wrong = {n for n in known & set(RANK_OF) - {own} if RANK_OF[n] >= RANK_OF[own]}

    assert not wrong, f"{name_of(module)} may not import {sorted(wrong)}"


@pytest.mark.parametrize("module", LAYERED, ids=name_of)
def test_every_module_has_a_layer(module):
    """A new folder is given its place here before it is used."""
    assert part_of(module) in RANK_OF


@pytest.mark.parametrize("module", sorted(ROOT.glob("core/*.py")), ids=name_of)
def test_the_core_does_no_io(module):
    """No files, clocks, dice, threads or logs in the core: pass the value in."""
    assert not {n.split(".")[0] for n in imports(module)} & IMPURE
    assert not {(f, line) for _, f, line in calls(module) if f in CLOCKS_AND_FILES}


@pytest.mark.parametrize("module", AGENT, ids=name_of)
def test_the_agent_imports_the_standard_library_and_its_siblings(module):
    """It runs on servers where nothing of ours, and nothing of anyone's, is installed."""
    roots = {n.split(".")[0] for n in imports(module) if not n.startswith("cachemig.agent.")}

    assert roots <= set(sys.stdlib_module_names)


@pytest.mark.parametrize("module", AGENT, ids=name_of)
def test_the_agent_names_its_siblings_relatively(module):
    """Sent over a pipe, it has no package of a known name around it."""
    nodes = ast.walk(tree_of(module))
    absolute = [n.module for n in nodes if isinstance(n, ast.ImportFrom) and not n.level]

    assert not [m for m in absolute if m and m.split(".")[0] == "cachemig"]


@pytest.mark.parametrize("module", AGENT, ids=name_of)
def test_the_agent_is_written_in_python_3_9(module):
    """Debian 11 and RHEL 9 have 3.9; no newer syntax may slip in."""
    ast.parse(module.read_text(encoding="utf-8"), feature_version=(3, 9))


def test_the_agent_runs_on_the_oldest_python_found(oldest_python):
    """Every module of it imports without a warning there, by that Python's own library."""
    names = [f"cachemig.agent.{m.stem}" for m in AGENT if m.stem != "__init__"]
    script = "import sys, importlib; sys.dont_write_bytecode = True; sys.path[:0] = [sys.argv[1]]"
    script += "; [importlib.import_module(n) for n in sys.argv[2:]]; print('imported')"

    ran = subprocess.run(
        [oldest_python, "-I", "-W", "error", "-c", script, str(REPOSITORY), *names],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert ran.returncode == 0, f"{oldest_python}: {ran.stderr}"
    assert ran.stdout.strip() == "imported"


@pytest.mark.parametrize("module", MODULES, ids=name_of)
def test_only_a_few_known_modules_remove_or_rename(module):
    """Nothing that is present is lost, because almost nobody could."""
    if {name_of(module), part_of(module)} & set(MAY_REMOVE):
        return
    found = {
        (function, line)
        for receiver, function, line in calls(module)
        if function in (REMOVES_OF_OS if receiver in {"os", "shutil"} else REMOVES)
    }

    assert not found, f"{name_of(module)}: use agent/publish.py or files.py instead"


@pytest.mark.parametrize("module", EVERYTHING, ids=name_of)
def test_nobody_accepts_an_unknown_host_key(module):
    """The lenient policies of paramiko, and Fabric's connection that sets one, are not used."""
    policies = {"AutoAddPolicy", "WarningPolicy"}
    names = {n.split(".")[-1] for n in imports(module)}
    names |= {n.attr for n in ast.walk(tree_of(module)) if isinstance(n, ast.Attribute)}
    opened = {
        line
        for receiver, function, line in calls(module)
        if function == "Connection" and "fabric" in {receiver, *imports_of_fabric(module)}
    }

    assert not names & policies
    assert not opened


def imports_of_fabric(module: Path) -> set[str]:
    """{"fabric"} when a module takes names out of it, so that a bare call may be one of them."""
    return {"fabric"} if "fabric.Connection" in imports(module) else set()


@pytest.mark.parametrize("module", MODULES, ids=name_of)
def test_modules_and_functions_are_small(module):
    """What does not fit on a few screens is more than one thing."""
    nodes = ast.walk(tree_of(module))
    functions = [n for n in nodes if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef)]
    long = {f.name: size for f in functions if (size := body_lines(f)) > LINES_PER_FUNCTION}

    assert len(module.read_text(encoding="utf-8").splitlines()) <= LINES_PER_MODULE
    assert not long


def body_lines(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """How many lines a function's statements take, its docstring left out."""
    body = function.body[1:] if ast.get_docstring(function) else function.body
    return ((body[-1].end_lineno or 0) - body[0].lineno + 1) if body else 0
