"""The registry: a new task, cell or init is one new file in its folder, and nothing else."""

import dataclasses
import functools
import importlib
import pkgutil
from types import ModuleType

import rnnlab.cells
import rnnlab.inits
import rnnlab.tasks
from rnnlab.build import Registry

FOLDERS = {"task": rnnlab.tasks, "cell": rnnlab.cells, "init": rnnlab.inits}


@functools.cache
def registry() -> Registry:
    """Kind -> name -> spec class, for every file in `tasks/`, `cells/` and `inits/`."""
    return {kind: {name: _spec_of(module) for name, module in _members(folder)} for kind, folder in FOLDERS.items()}


def _members(folder: ModuleType) -> list[tuple[str, ModuleType]]:
    names = sorted(found.name for found in pkgutil.iter_modules(folder.__path__))
    return [(name, importlib.import_module(f"{folder.__name__}.{name}")) for name in names]


def _spec_of(module: ModuleType) -> type:
    specs = [
        value
        for value in vars(module).values()
        if isinstance(value, type) and dataclasses.is_dataclass(value) and value.__module__ == module.__name__
    ]
    if len(specs) != 1:
        raise TypeError(f"{module.__name__} must define exactly one dataclass, it has {len(specs)}")
    return specs[0]
