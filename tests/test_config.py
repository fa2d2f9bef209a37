"""Configurations: bounds, relations, round trips, and errors that say what to do."""

import re
from typing import ClassVar

import pytest
from pydantic import ValidationError
from thresher.hdl.engine import ENGINES, engine
from thresher.models.config import EngineConfig, parameter, unknown


class Config(EngineConfig):
    """Sizes of a toy."""

    size: int = parameter(4, unit="words", ge=1, le=16)
    """How much it holds."""
    fast: bool = parameter(False)
    """Spends area."""
    gain: float = parameter(0.5, ge=0)
    """What it multiplies by."""
    name: str = parameter('a"b\\ é')
    """What it is called."""
    taps: list[int] = parameter([1, 2])
    """Where it listens."""

    presets: ClassVar = {"default": {}, "large": {"size": 16}}


def test_later_sources_win(tmp_path):
    file = tmp_path / "c.toml"
    file.write_text("size = 8\nfast = true\n")
    assert Config.load("large").size == 16
    assert Config.load("large", file).size == 8
    config = Config.load("large", file, ["size=2", "gain=1e-3", "name=plain", "taps=[3]"])
    assert config == Config(size=2, fast=True, gain=1e-3, name="plain", taps=[3])


def test_toml_round_trip(tmp_path):
    config = Config(size=3, fast=True, gain=1e-30, taps=[])
    (tmp_path / "c.toml").write_text(config.to_toml(), encoding="utf-8")
    assert Config.load(file=tmp_path / "c.toml") == config
    assert (
        "# How much it holds.\n# An integer from 1 to 16, in words.\nsize = 3\n" in config.to_toml()
    )


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (["size=17"], "size = 17 is not an integer from 1 to 16, in words; the default is 4"),
        (["size=many"], "size = 'many' is not an integer from 1 to 16"),
        (["fast=2"], "fast = 2 is not true or false; the default is False"),
        (["gain=-1"], "gain = -1 is not a number from 0; the default is 0.5"),
        (["sise=1"], "there is no parameter 'sise'; did you mean size?"),
        (["size"], "setting 'size' is not of the form key=value"),
    ],
)
def test_a_bad_setting_is_explained(settings, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        Config.load(settings=settings)


def test_every_bad_field_is_named():
    with pytest.raises(ValueError, match=r"size = 0 .*gain = -1"):
        Config().replace(size=0, gain=-1)


def test_a_bad_file_is_named(tmp_path):
    (tmp_path / "bad.toml").write_text("size = = 3")
    with pytest.raises(ValueError, match=r"bad\.toml is not TOML: .*line 1"):
        Config.load(file=tmp_path / "bad.toml")
    with pytest.raises(FileNotFoundError):
        Config.load(file=tmp_path / "none.toml")


def test_frozen():
    with pytest.raises(ValidationError):
        Config().size = 3  # pyright: ignore


def test_unknown():
    assert unknown("preset", "lrage", ["small", "large"]).endswith("did you mean large?")
    assert unknown("preset", "xyz", ["small", "large"]).endswith("known: large, small")
    with pytest.raises(ValueError, match="there is no preset 'huge'"):
        Config.preset("huge")


@pytest.mark.parametrize("name", ENGINES)
class TestEveryEngine:
    def test_presets(self, name, tmp_path):
        cls = engine(name).config
        assert {"default", "small", "large"} <= cls.presets.keys()
        for preset in cls.presets:
            config = cls.preset(preset)
            (tmp_path / "c.toml").write_text(config.to_toml(), encoding="utf-8")
            assert cls.load(file=tmp_path / "c.toml") == config

    def test_every_parameter_is_described(self, name):
        for known in engine(name).config.parameters():
            assert known.description, known.name
            if known.domain.startswith("an integer"):
                assert known.minimum is not None, known.name
                assert known.maximum is not None, known.name
