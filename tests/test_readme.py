"""What the README shows works as shown."""

import re
from pathlib import Path

import pytest
from thresher import cli

README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")


def _blocks(language):
    return re.findall(rf"^```{language}\n(.*?)^```", README, re.M | re.S)


def test_library_example(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    example, _ = _blocks("python")
    exec(compile(example, "README.md", "exec"), {})
    assert capsys.readouterr().out.startswith("True ")
    assert {f.name for f in (tmp_path / "build").iterdir()} >= {"sparse_lstm.v", "sparse_lstm.json"}


def test_example_of_a_sweep(tmp_path, monkeypatch, capsys):
    pytest.importorskip("pyosys", reason="needs the extra [fpga]")
    monkeypatch.chdir(tmp_path)
    _, example = _blocks("python")
    # Two of its simulations and syntheses are enough.
    small = example
    for whole, part in (("Powers(4, 32)", "[4, 8]"), ("[1, 2]", "[1]"), ("Local(2)", "Local(1)")):
        assert whole in small
        small = small.replace(whole, part)
    exec(compile(small, "README.md", "exec"), {})
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == ["4", "8"]


def test_every_command_exists(capsys):
    """Each line is understood; what it does is tested elsewhere."""
    asked = []
    for block in _blocks("sh"):
        for line in block.splitlines():
            if line.startswith("thresher "):
                verb = line.split()[1]
                assert cli.main([verb, "--help"]) == 0
                shown = re.sub(r"\s+", " ", capsys.readouterr().out)
                for flag in re.findall(r"(?<!\S)--?[a-z]+", line.partition("#")[0]):
                    assert flag in shown, line
                asked.append(verb)
    assert set(asked) == {command.name for command in cli.app.registered_commands} - {"doctor"}
