"""The doctor finds what is there and says how to get what is not."""

import json
import re
import tomllib
from pathlib import Path

import pytest
from thresher import doctor
from thresher.sim import toolchain


@pytest.fixture(scope="module")
def examination():
    return doctor.examine()


def test_what_tests_run_on_is_found(examination):
    tools = {tool.name: tool for tool in examination.tools}
    assert examination.ok
    assert tools["amaranth"].version.startswith("0.5")
    assert tools["verilator"].found
    assert tools["C++ compiler"].version
    assert len(tools) == len(examination.tools)


def test_every_tool_says_what_for_and_how_to_get_it(examination):
    for tool in examination.tools:
        assert tool.purpose, tool.name
        assert tool.get or tool.name == "python", tool.name
        assert tool.found or not tool.version, tool.name
    assert json.loads(json.dumps(examination.to_json()))["ok"] is True


def test_every_extra_is_looked_for_by_its_name(examination):
    said = (Path(doctor.__file__).parent / "pyproject.toml").read_text()
    extras = tomllib.loads(said)["project"]["optional-dependencies"]
    tools = {tool.name: tool for tool in examination.tools}
    for extra, packages in extras.items():
        for package in packages if extra != "dev" else ():
            tool = tools[re.split("[<>=]", package)[0]]
            assert f"(extra `{extra}`)" in tool.purpose
            assert not tool.required


def test_missing_tools(monkeypatch):
    def no_compiler():
        raise toolchain.ToolMissing("no C++ compiler found: install one")

    def no_verilator():
        raise toolchain.ToolMissing("Verilator is missing: install it")

    def no_package(name):
        raise doctor.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(doctor.toolchain, "compiler", no_compiler)
    monkeypatch.setattr(doctor.toolchain, "verilator", no_verilator)
    monkeypatch.setattr(doctor.metadata, "version", no_package)
    monkeypatch.setattr(doctor, "which", lambda name: None)
    result = doctor.examine()
    tools = {tool.name: tool for tool in result.tools}
    assert not result.ok
    assert not tools["pyosys"].found
    assert tools["pyosys"].get == "pip install pyosys"
    assert not tools["perl"].found
    assert "install one" in tools["C++ compiler"].get
