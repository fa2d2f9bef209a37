"""What can be found out about a configuration, the cheapest first."""

import importlib
import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from ...hdl import cache
from ...hdl.engine import Engine
from ...models.config import EngineConfig
from .depends import sources


@runtime_checkable
class Stage(Protocol):
    """One way of finding out figures of a configuration.

    Pickles, so that workers can be told of it.
    """

    @property
    def name(self) -> str:
        """``estimate``, ``map``, ``simulate``, ``synthesise``, ``layout``, or a user's own."""
        ...

    @property
    def gives(self) -> tuple[str, ...]:
        """The figures that :meth:`run` returns; it may return more."""
        ...

    @property
    def cheap(self) -> bool:
        """Whether it takes less time than a worker would to be told: run at once, never kept."""
        ...

    def check(self, engine: Engine[Any]) -> None:
        """Raises :class:`ValueError`, with what it has, where ``engine`` lacks this stage, and
        :class:`ModuleNotFoundError`, with what to install, where its tools are missing."""
        ...

    def key(self, engine: Engine[Any], config: EngineConfig) -> str:
        """A hash of everything that the figures depend on: the RTL, versions of the tools, the
        workload, the stage's own settings."""
        ...

    def run(self, engine: Engine[Any], config: EngineConfig) -> Mapping[str, Any]:
        """The figures, numbers or text in JSON's types; raises what the tools raise."""
        ...


@dataclass(frozen=True)
class Measure:
    """A stage of the user's own: a function of the configuration."""

    name: str
    function: str
    """``package.module:callable``, called with the configuration; returns figures by name."""
    gives: tuple[str, ...]
    version: str = ""
    """To be changed with all else that its figures depend on, such as data and further modules: its
    module's code and thresher's are looked at."""
    arguments: Mapping[str, Any] = field(default_factory=dict)
    """Given besides the configuration."""
    cheap: bool = False

    def resolve(self) -> Callable[..., Mapping[str, Any]]:
        """The function; raises :class:`ValueError` where there is none."""
        module, _, name = self.function.partition(":")
        try:
            return getattr(importlib.import_module(module), name)
        except (ImportError, AttributeError, ValueError) as error:
            raise ValueError(
                f"stage {self.name!r}: {self.function!r} is no package.module:callable ({error})"
            ) from error

    def check(self, engine: Engine[Any]) -> None:
        """See :class:`Stage`."""
        self.resolve()

    def key(self, engine: Engine[Any], config: EngineConfig) -> str:
        """See :class:`Stage` and :attr:`version`."""
        file = inspect.getsourcefile(importlib.import_module(self.function.partition(":")[0]))
        return cache.key(
            "measure", self.function, Path(file).read_bytes() if file else b"", self.version,
            sources(), repr(sorted(self.arguments.items())), engine.name, config.model_dump_json(),
        )  # fmt: skip

    def run(self, engine: Engine[Any], config: EngineConfig) -> Mapping[str, Any]:
        """See :class:`Stage`."""
        return self.resolve()(config, **self.arguments)


def check(stages: Sequence[Stage], engine: Engine[Any]) -> tuple[str, ...]:
    """The figures that these stages give; raises :class:`ValueError` as they do, and where two are
    called alike or there is none."""
    if not stages:
        raise ValueError("a sweep needs a stage, such as 'estimate'")
    names = [stage.name for stage in stages]
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"two stages are called {name!r}; name each differently")
    for stage in stages:
        stage.check(engine)
    return tuple(dict.fromkeys(figure for stage in stages for figure in stage.gives))
