"""The stage between closed forms and simulation: a whole network on the engine."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...hdl import cache
from ...hdl.engine import ENGINES, Engine, engine
from ...mapper.solve import METHODS, ORDERS, Budget
from ...mapper.targets import TARGETS
from ...models.config import EngineConfig, unknown
from .depends import sources


def mapped() -> list[str]:
    """Engines whose configurations the mapper's targets are made of."""
    return [
        name
        for name in ENGINES
        if name in TARGETS
        and (own := TARGETS[name].__dataclass_fields__.get("config")) is not None
        and own.default_factory is engine(name).config
    ]


@dataclass(frozen=True)
class Map:
    """A network's schedule, with the engine running what it can and the host the rest.

    As ``thresher map MODEL --engine ENGINE``.
    """

    model: str
    """``FILE.onnx``, ``FILE.json`` or ``package.module:callable``."""
    budget: Budget = "M_R"
    """Bytes of the scratchpad, or one of :func:`.solve.budget`'s names."""
    parameters: bool = False
    method: str = "auto"
    order: str = "default"
    element_bytes: int = 1
    """0: as the model has it."""
    bytes_per_cycle: float = 16.0
    """Of transfers."""
    limit: float = 60.0
    """Seconds for the schedule."""
    seed: int = 0

    @property
    def name(self) -> str:
        """See :class:`.Stage`."""
        return "map"

    @property
    def gives(self) -> tuple[str, ...]:
        """See :class:`.Stage`."""
        return (
            "network_cycles", "engine_cycles", "host_cycles", "network_bytes", "spilled_bytes",
            "engine_operators",
        )  # fmt: skip

    @property
    def cheap(self) -> bool:
        """See :class:`.Stage`."""
        return False

    def check(self, engine: Engine[Any]) -> None:
        """See :class:`.Stage`."""
        if engine.name not in mapped():
            raise ValueError(
                f"the mapper has no target of the configurations of {engine.name}; take the stage "
                f"away, or one of the engines that have one: {', '.join(mapped())}"
            )
        for what, name, known in (("method", self.method, METHODS), ("order", self.order, ORDERS)):
            if name not in known:
                raise ValueError(unknown(what, name, known))
        if isinstance(self.budget, str) and self.budget not in ("M_R", "M_H", "M_P"):
            raise ValueError(f"budget {self.budget!r} is neither bytes nor M_R, M_H or M_P")
        if ":" not in self.model and not Path(self.model).is_file():
            raise ValueError(f"there is no file {self.model}")

    def key(self, engine: Engine[Any], config: EngineConfig) -> str:
        """See :class:`.Stage`; of a callable the name is looked at, not what it returns."""
        path = Path(self.model)
        content = path.read_bytes() if path.is_file() else self.model.encode()
        return cache.key(
            "map", sources("models", "hdl", "mapper"), engine.name, config.model_dump_json(),
            content, repr(self),
        )  # fmt: skip

    def run(self, engine: Engine[Any], config: EngineConfig) -> Mapping[str, Any]:
        """Cycles as scheduled and of each side, bytes moved in all and beyond the compulsory ones,
        operators on the engine; and the solver's status and bound."""
        from ...mapper import commands, networks, solve
        from ...mapper.engines import assign
        from ...mapper.problem import Memory, lower
        from ...mapper.targets import Host

        targets = [TARGETS[engine.name](config=config)]
        graph = networks.load(self.model, targets, element_bytes=self.element_bytes or None)
        bytes = solve.budget(graph, self.budget, Memory(1), self.parameters)
        problem = lower(graph, Memory(bytes), self.parameters)
        found = solve.solve(problem, self.method, self.order, limit=self.limit, seed=self.seed)
        schedule = solve.schedule(graph, found)
        assigned = assign(graph, [*targets, Host()], bytes_per_cycle=self.bytes_per_cycle)
        program = commands.lower(graph, schedule, assigned)
        name = targets[0].name
        if name not in assigned.engines:
            raise ValueError(
                f"{name} runs no operator of {self.model}; `thresher map --engine {name}` says why"
            )
        return {
            "network_cycles": program.cycles,
            "engine_cycles": assigned.engines[name],
            "host_cycles": assigned.engines.get(Host().name, 0),
            "network_bytes": found.total,
            "spilled_bytes": found.objective,
            "engine_operators": sum(line.engine == name for line in assigned.lines),
            "status": found.status,
            "bound": found.bound,
        }
