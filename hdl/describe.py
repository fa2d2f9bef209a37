"""An engine in plain data: what can be set, what it can run, how it is connected."""

import json
from typing import Any, TypeVar

from ..models.config import EngineConfig
from .engine import Engine
from .generate import layout
from .registers import register_table
from .verilog import ports

C = TypeVar("C", bound=EngineConfig)


def describe(engine: Engine[C], config: C) -> dict[str, Any]:
    """Parameters, workloads, streams and register map of ``engine`` as ``config`` makes it.

    ``registers`` is the map behind the AXI4-Lite port; without a bus the same members
    are ports of their own.
    """
    described = ports(engine.component(config))
    configuration = json.dumps(config.model_dump(mode="json"))
    table = register_table(engine.name, described, engine.registers, configuration)
    return {
        "name": engine.name,
        "summary": engine.summary,
        "paper": engine.paper,
        "headline": engine.headline,
        "cycles": engine.cycles,
        "presets": engine.config.presets,
        "parameters": [
            {
                "name": known.name,
                "value": getattr(config, known.name),
                "default": known.default,
                "domain": known.domain,
                "unit": known.unit,
                "minimum": known.minimum,
                "maximum": known.maximum,
                "choices": list(known.choices),
                "description": known.description,
            }
            for known in engine.config.parameters()
        ],
        "workloads": [
            {"name": name, "summary": source.summary} for name, source in engine.workloads.items()
        ],
        "streams": [
            {
                "name": port.name,
                "direction": port.direction,
                "bits": port.width,
                "layout": layout(port.shape),
            }
            for port in described.streams.values()
        ],
        "registers": table.json(),
    }


def words(content: dict[str, Any]) -> str:
    """A layout in a few words: ``4 x {value: s8, last: u1}``; ``s8`` is a signed byte."""
    if "fields" in content:
        return "{" + ", ".join(f"{f['name']}: {words(f)}" for f in content["fields"]) + "}"
    if "element" in content:
        return f"{content['length']} x {words(content['element'])}"
    return f"{'s' if content['signed'] else 'u'}{content['bits']}"
