"""The walls of the house, read from the source: who imports whom, what is pure, one member in each file."""

import ast
import dataclasses
import graphlib
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from rnnlab.registry import FOLDERS, registry

ROOT = Path(__file__).resolve().parent.parent

# What each module (or package) of rnnlab may import of rnnlab. A new module says here what it sees.
SEES = {
    "refusal": "",
    "spec": "refusal",
    "trial": "spec",
    "build": "refusal spec trial",
    "seeding": "",
    "record": "",
    "provenance": "",
    "theory": "",
    "tasks": "spec trial seeding",
    "aligned": "",
    "cells": "spec trial aligned inits",
    "inits": "spec trial",
    "registry": "build tasks cells inits",
    "unroll": "aligned cells",
    "looped": "cells",
    "optim": "trial",
    "model": "trial seeding aligned tasks cells inits unroll looped",
    "streaming": "refusal spec trial aligned tasks cells unroll model",
    "bptt": "trial aligned tasks unroll model",
    "draws": "trial seeding aligned tasks",
    "slot": "trial record",
    "train": "trial record tasks optim model bptt draws slot",
    "lengths": "spec trial build seeding record aligned tasks model memory draws train",
    "by_lag": "trial seeding record tasks lengths train",
    "evaluation": "spec trial record lengths by_lag",
    "diagnostics": "refusal spec trial seeding record aligned tasks cells inits unroll optim model theory",
    "watch": "spec trial record draws diagnostics memory evaluation",
    "frame": "refusal trial record",
    "sweep": "trial record frame",
    "memory": "spec trial seeding aligned cells looped tasks model optim train",
    "disk": "trial by_lag evaluation watch model memory",
    "cost": "trial lengths evaluation watch model memory disk sweep",
    "calibrate": "trial build registry train sweep",
    "store": "refusal spec trial record frame",
    "stored": "refusal trial build record registry model checkpoints store",
    "analysis": "record",
    "progress": "trial record sweep",
    "checkpoints": "record",
    "claims": "",
    "folder": "refusal trial build registry evaluation checkpoints claims",
    "spool": "record evaluation checkpoints folder",
    "timed": "trial record watch",
    "worker": """
        trial record registry sweep cost checkpoints claims folder spool train evaluation watch timed provenance
    """,
    "processes": "folder worker",
    "collector": "trial record tasks evaluation watch model memory progress folder spool store",
    "survey": "trial train sweep checkpoints provenance store stored recovery",
    "forecast": """
        refusal trial sweep lengths evaluation watch model memory cost calibrate processes collector store survey
    """,
    "recovery": "progress checkpoints folder store processes collector",
    "screen": "refusal forecast survey",
    "make_up": "trial record checkpoints evaluation provenance store stored",
    "engine": """
        refusal spec trial record lengths evaluation watch store make_up progress provenance folder processes collector
        recovery survey forecast screen
    """,
    "config_file": "refusal trial build",
    "overrides": "refusal spec trial build registry evaluation watch engine store config_file",
    "explain": "refusal trial registry overrides store",
    "config": "refusal spec trial build registry evaluation watch engine store overrides",
    "launch": "trial record evaluation forecast watch engine store progress collector",
}
TOUCHING = """
    provenance store stored make_up progress checkpoints claims folder spool timed worker calibrate processes
    collector recovery survey forecast screen engine config_file overrides explain config launch
"""
PURE = SEES.keys() - set(TOUCHING.split())  # TOUCHING: the outside world
OUTSIDE_TOOLS = {"hydra", "omegaconf", "mlflow", "seaborn", "matplotlib", "rich", "submitit"}
OUTSIDE_STATE = {
    *("os", "io", "pathlib", "shutil", "tempfile", "glob", "sqlite3", "fcntl"),  # files and environment
    *("time", "datetime", "random", "secrets"),  # clock and chance
    *("subprocess", "socket", "threading", "multiprocessing", "signal"),  # other processes
}
ONLY = {  # these packages are known to so few modules of rnnlab
    "mlflow": {"store"},
    "hydra": {"config", "overrides", "explain"},
    "omegaconf": {"config", "config_file", "explain"},
    "submitit": {"processes"},
    "rich": {"progress"},
    "sklearn": {"tasks"},
}
CALLERS = {"experiments", "reports", "benchmarks", "hydra_plugins", "tests"}


def module_of(path: Path) -> str:
    """`rnnlab/tasks/copy.py` belongs to `tasks`, `rnnlab/trial.py` is `trial`."""
    return path.relative_to(ROOT / "rnnlab").parts[0].removesuffix(".py")


SOURCES = sorted((ROOT / "rnnlab").rglob("*.py"))
MODULES = sorted({module_of(path) for path in SOURCES} - {"__init__"})
every_source = pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))


def imports(path: Path) -> Iterator[str]:
    """The dotted name of everything that a file imports, wherever in the file it does so."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: a relative import"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def packages(path: Path) -> set[str]:
    return {name.partition(".")[0] for name in imports(path)}


def seen_in_rnnlab(path: Path) -> set[str]:
    """The modules of rnnlab that a file imports, but for its own; `from rnnlab import __version__` is none."""
    dotted = [name.split(".") for name in imports(path)]
    return {parts[1] for parts in dotted if parts[0] == "rnnlab" and parts[1:] and parts[1] in MODULES} - {
        module_of(path)
    }


def attributes(path: Path) -> Iterator[str]:
    """The dotted names that a file uses, such as `torch.rand`."""
    return (ast.unparse(node) for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Attribute))


def test_the_source_is_found():
    assert {"trial", "tasks", "train"} <= set(MODULES)
    assert "trial" in seen_in_rnnlab(ROOT / "rnnlab" / "optim.py")
    assert seen_in_rnnlab(ROOT / "rnnlab" / "registry.py") == {"build", "tasks", "cells", "inits"}


@every_source
def test_a_module_sees_only_the_modules_below_it(path):
    module = module_of(path)
    if module == "__init__":
        assert not seen_in_rnnlab(path)
        return
    assert module in SEES, f"rnnlab/{module} is new: say in SEES, in {__file__}, what it may import"
    assert seen_in_rnnlab(path) <= set(SEES[module].split())


def test_imports_go_one_way():
    allowed = {module: set(seen.split()) for module, seen in SEES.items()}
    tuple(graphlib.TopologicalSorter(allowed).static_order())  # raises CycleError
    found = {
        module: set().union(*(seen_in_rnnlab(path) for path in SOURCES if module_of(path) == module))
        for module in MODULES
    }
    tuple(graphlib.TopologicalSorter(found).static_order())


@every_source
def test_rnnlab_does_not_know_its_callers(path):
    assert not packages(path) & CALLERS


@every_source
def test_each_outside_tool_is_known_to_few_modules(path):
    assert not {
        package for package, knowers in ONLY.items() if package in packages(path) and module_of(path) not in knowers
    }


@every_source
def test_a_pure_module_touches_no_file_clock_environment_or_tool(path):
    if module_of(path) not in PURE:
        return
    assert not packages(path) & (OUTSIDE_TOOLS | OUTSIDE_STATE)
    calls = {node.func for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)}
    assert not {call.id for call in calls if isinstance(call, ast.Name)} & {"open", "print", "input"}


@every_source
def test_no_module_draws_from_global_random_state(path):
    drawn = set(attributes(path))
    numpy = {name for name in drawn if name.startswith(("np.random.", "numpy.random."))}
    assert {name.rpartition(".")[2] for name in numpy} <= {"Generator", "Philox"}
    torch = {"rand", "randn", "randint", "randperm", "normal", "bernoulli", "multinomial", "manual_seed", "seed"}
    assert not drawn & {f"torch.{name}" for name in torch}


def test_analysis_sees_frames_and_statistics_alone():
    for path in (ROOT / "rnnlab" / "analysis").glob("*.py"):
        outside = packages(path) - set(sys.stdlib_module_names)
        assert outside <= {"numpy", "pandas", "scipy", "statsmodels", "rnnlab"}, path


def test_reports_see_records_frames_and_the_store_and_nothing_that_trains():
    for path in (ROOT / "reports").rglob("*.py"):
        seen = {name.split(".")[1] for name in imports(path) if name.startswith("rnnlab.")}
        assert seen <= {"analysis", "theory", "frame", "store", "record", "trial", "refusal"}, path
        assert "mlflow" not in packages(path), path


def test_nothing_is_called_utils():
    folders = ("rnnlab", "experiments", "reports", "benchmarks", "hydra_plugins", "tests")
    files = [path for folder in folders for path in (ROOT / folder).rglob("*.py")]
    assert not [path for path in files if path.stem in {"utils", "util", "helpers", "common", "misc"}]


def test_hydra_plugins_stays_a_namespace_that_other_packages_can_share():
    assert not (ROOT / "hydra_plugins" / "__init__.py").exists()


def test_no_package_has_a_function_of_the_name_of_one_of_its_files():
    """Importing the file would put it in the place of the function."""
    for path in (ROOT / "rnnlab").rglob("__init__.py"):
        names = {node.name for node in ast.parse(path.read_text()).body if hasattr(node, "name")}
        assert not names & {file.stem for file in path.parent.glob("*.py")}, path


@pytest.mark.parametrize("kind", FOLDERS)
def test_every_file_of_a_folder_is_one_member_with_its_source(kind):
    files = [path for path in (ROOT / "rnnlab" / f"{kind}s").glob("*.py") if path.name != "__init__.py"]
    assert sorted(path.stem for path in files) == sorted(registry()[kind])
    for path in files:
        assert "Source:" in (ast.get_docstring(ast.parse(path.read_text())) or ""), path
        member = registry()[kind][path.stem]
        assert member.__dataclass_params__.frozen, path
        assert isinstance(member.version, int), path
        assert "version" not in {field.name for field in dataclasses.fields(member)}, path
        assert all("allowed" in field.metadata for field in dataclasses.fields(member)), (
            f"{path}: a field without `param`"
        )


@pytest.mark.parametrize("kind", FOLDERS)
def test_a_member_says_which_others_it_is_built_on(kind):
    """So that its trials get new keys where the version of one of them is raised."""
    folders = tuple(f"rnnlab.{folder}s." for folder in FOLDERS)
    for name, member in registry()[kind].items():
        path = ROOT / "rnnlab" / f"{kind}s" / f"{name}.py"
        seen = {".".join(dotted.split(".")[:3]) for dotted in imports(path) if dotted.startswith(folders)}
        files = {module for module in seen if (ROOT / f"{module.replace('.', '/')}.py").exists()}
        said = {part.__module__ for part in getattr(member, "built_on", ())}
        assert said == files, f"{path}: built_on must name the members of {', '.join(sorted(files)) or 'no other file'}"


@every_source
def test_every_file_says_what_it_is(path):
    assert ast.get_docstring(ast.parse(path.read_text()))
