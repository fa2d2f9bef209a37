"""Engines as targets of the mapper: each engine's configuration, what it runs, and how long.

:func:`target` makes one of a text, as the command line gives it.
"""

import tomllib
from collections.abc import Mapping
from typing import Any

from ...models.config import unknown
from .base import Cost, Target
from .matrices import Amu, Binary, NmArray, Reram
from .others import Host, Lstm

TARGETS: Mapping[str, type[Any]] = {
    "amu": Amu,
    "nm_array": NmArray,
    "reram": Reram,
    "bcnn_conv": Binary,
    "sparse_lstm": Lstm,
    "host": Host,
}
"""By the engine's name."""


def target(text: str) -> Target:
    """``NAME`` or ``NAME:key=value,key=value``: keys are the target's own, or fields of the
    engine's configuration; ``preset`` chooses that.

    Raises :class:`ValueError` for names and values that do not exist, with those that do.
    """
    name, _, settings = text.partition(":")
    if name not in TARGETS:
        raise ValueError(unknown("target", name, TARGETS))
    chosen = TARGETS[name]
    own = {k for k in chosen.__dataclass_fields__ if k not in ("config", "name")}
    config = chosen.__dataclass_fields__.get("config")
    made = config.default_factory if config is not None else None
    given: dict[str, Any] = {}
    fields: dict[str, Any] = {}
    preset = "default"
    for setting in filter(None, settings.split(",")):
        key, separator, value = setting.partition("=")
        if not separator:
            raise ValueError(f"target {text!r}: {setting!r} is not of the form key=value")
        if key == "preset" and made is not None:
            preset = value
        elif key in own:
            given[key] = _value(value)
        elif made is not None and key in made.model_fields:
            fields[key] = _value(value)
        else:
            known = [*own, *(made.model_fields if made is not None else ())]
            raise ValueError(unknown(f"setting of target {name}", key, known))
    if made is not None:
        given["config"] = made.preset(preset, **fields)
    return chosen(**given)


def _value(text: str) -> Any:
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


__all__ = [
    "TARGETS", "Amu", "Binary", "Cost", "Host", "Lstm", "NmArray", "Reram", "Target", "target",
]  # fmt: skip
