"""The cheapest stage: what an engine's closed forms say of a configuration."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ...hdl.engine import ENGINES, Engine, engine
from ...models.config import EngineConfig


@dataclass(frozen=True)
class Estimate:
    """:attr:`.Engine.estimate`; thousands a second."""

    @property
    def name(self) -> str:
        """See :class:`.Stage`."""
        return "estimate"

    @property
    def gives(self) -> tuple[str, ...]:
        """See :class:`.Stage`."""
        return ("cycles", "lut", "ff", "dsp", "memory_bits")

    @property
    def cheap(self) -> bool:
        """See :class:`.Stage`."""
        return True

    def check(self, engine: Engine[Any]) -> None:
        """See :class:`.Stage`."""
        if engine.estimate is None:
            raise ValueError(
                f"{engine.name} has no estimate; take the stage away, or one of the engines that "
                f"have: {', '.join(estimated())}"
            )

    def key(self, engine: Engine[Any], config: EngineConfig) -> str:
        """See :class:`.Stage`; nothing is kept of it."""
        return ""

    def run(self, engine: Engine[Any], config: EngineConfig) -> Mapping[str, Any]:
        """The engine's figures."""
        assert engine.estimate is not None
        return engine.estimate(config)


def estimated() -> list[str]:
    """Engines that have an estimate."""
    return [name for name in ENGINES if engine(name).estimate is not None]
