"""What code a component runs: a digest of the modules it imports, so that a cache knows when the library changed.

Kubeflow's cache key holds a component's own source, which here is a few lines that call the library. On a cluster
the image's name stands for the library; on a laptop nothing does, and a stale result would be served.
"""

from __future__ import annotations

import ast
import contextlib
import hashlib
import importlib.metadata
import os
import re
import sys
import sysconfig
from functools import cache
from modulefinder import ModuleFinder
from pathlib import Path

import grimp

import litemill
from litemill import PLACES

LIBRARY = Path(litemill.__file__).parent

VERSIONED = (
    "ai-edge-litert",
    "ethos-u-vela",
    "litert-quantizer",
    "numpy",
    "scikit-learn",
    "tensorflow",
    "tensorflow-model-optimization",
    "tflite-micro",
)
"""Installed packages that decide what comes out of a task."""

PACKAGE = re.compile(rf"\b{LIBRARY.name}\b(?!\s*\.)")
"""Any mention of the package itself, and not of a module in it: only then there are public names to look for."""

MIXED = frozenset(f"litemill.{room}" for room in ("artifacts", "cli", "components", "config", "stages"))
"""Rooms whose modules have nothing to do with each other: one of them counts only where it is imported."""


@cache
def fingerprint(component: str) -> str:
    """Digest of the library code that a component runs, and of the packages it builds on.

    Args:
        component: Name of a module of `components`, such as `prune`.

    Returns:
        SHA-256 as hex digits.
    """
    digest = hashlib.sha256()
    for file in files_of(component):
        digest.update(f"{file.relative_to(LIBRARY).as_posix()}\0".encode())
        digest.update(_content(file))
    for package in VERSIONED:
        digest.update(f"{package}=={_version(package)}\n".encode())
    return digest.hexdigest()


def files_of(component: str) -> list[Path]:
    """The files of `litemill` behind a component.

    These are the modules it imports, directly or not, and all files of the packages they are in: a package starts
    workers of its own by name and reads templates, which no import shows.
    """
    seen: set[str] = set()
    files: set[Path] = set()
    waiting = {f"litemill.components.{component}"}
    while waiting:
        module = waiting.pop()
        seen.add(module)
        files |= _files(module)
        imported = _imported(module)
        own = {_package(name) for name in imported} - {"litemill"}
        beside = {name for package in own for name in _graph().find_descendants(package) | {package}}
        waiting |= {name for name in imported | beside if name.startswith("litemill")} - seen
    return sorted(files)


@cache
def _imported(module: str) -> frozenset[str]:
    """The modules that a module imports directly. A public name counts as the module it is in, and no other does.

    Of `import litemill as lm; lm.convert(…)` an import graph knows only the package itself; of
    `from litemill import convert` it takes the folder of that name.
    """
    imported = frozenset(_graph().find_modules_directly_imported_by(module))
    file = LIBRARY.joinpath(*module.split(".")[1:]).with_suffix(".py")
    if not file.is_file():
        return imported
    public = {name: PLACES[name] for name in _public_names(file.read_text(encoding="utf-8")) if name in PLACES}
    return imported - {f"{LIBRARY.name}.{name}" for name in public} | set(public.values())


def _public_names(source: str) -> set[str]:
    """Names that a module takes from the package itself."""
    if not PACKAGE.search(source):
        return set()
    tree = ast.parse(source)
    named, aliases = set(), set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module == LIBRARY.name:
            named |= {name.name for name in node.names}
        elif isinstance(node, ast.Import):
            aliases |= {name.asname or name.name for name in node.names if name.name == LIBRARY.name}
    return named | {
        node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in aliases
    }


def own_code(reference: str) -> str:
    """Digest of the user's own code: the module of a function that a config names, and what it imports beside itself.

    Read, not run. Installed packages do not count: they do not change between two runs of an experiment.

    Args:
        reference: `package.module:function`; looked for where `litemill.plugins.load_function` finds it.

    Returns:
        SHA-256 as hex digits; empty where nothing is named, or there is no such module (the task will say so).
    """
    module, colon, _ = reference.partition(":")
    places = [(root, file) for root in _roots() if colon and (file := _module_file(root, module))]
    if not places:
        return ""
    root, file = places[0]
    finder = ModuleFinder(path=[str(root)])
    with contextlib.suppress(SyntaxError):  # which is the task's to tell; what was read until there still counts
        finder.import_hook(module)
    read = (getattr(found, "__file__", None) for found in finder.modules.values())
    files = {file, *(Path(name) for name in read if name)}
    digest = hashlib.sha256()
    for file in sorted(files):
        digest.update(f"{file.relative_to(root).as_posix()}\0".encode() + file.read_bytes())
    return digest.hexdigest()


def _roots() -> list[Path]:
    """Where a task finds modules: Python's own path, installed packages left out, then the current folder."""
    installed = {Path(sysconfig.get_path(kind)).resolve() for kind in ("stdlib", "platstdlib", "purelib", "platlib")}
    roots = [Path(entry).resolve() for entry in [*sys.path, os.curdir] if entry]
    return [root for root in roots if root.is_dir() and root not in installed]


def _module_file(root: Path, module: str) -> Path | None:
    base = root.joinpath(*module.split("."))
    return next((file for file in (base.with_suffix(".py"), base / "__init__.py") if file.is_file()), None)


def _package(module: str) -> str:
    """`litemill.convert.worker` is in `litemill.convert`; a module of a mixed room stands for itself."""
    room = ".".join(module.split(".")[:2])
    return module if room in MIXED else room


@cache
def _content(file: Path) -> bytes:
    """A file, read once for all components of a run."""
    return file.read_bytes()


@cache
def _files(module: str) -> set[Path]:
    parts = module.split(".")[1:]
    if not module.startswith("litemill"):
        return {LIBRARY / "__init__.py"}
    folder = LIBRARY.joinpath(*parts)
    if parts and folder.is_dir():
        return {file for file in folder.rglob("*") if file.is_file() and file.suffix != ".pyc"}
    return {folder.with_suffix(".py")} if parts else set()


@cache
def _graph() -> grimp.ImportGraph:
    # Imports inside functions count too: that is where components and heavy libraries are imported.
    return grimp.build_graph("litemill", cache_dir=None, exclude_type_checking_imports=True)


@cache
def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "absent"
