"""The base of every engine's configuration: frozen, validated, self-describing."""

from typing import Any, ClassVar, Self

from pydantic import BaseModel, ConfigDict, Field


class EngineConfig(BaseModel):
    """A frozen, validated set of parameters from which an engine is generated.

    A subclass declares its fields with :func:`parameter`, gives named
    configurations in :attr:`presets` and checks relations between fields in a
    ``model_validator``.  Two equal configurations generate the same bytes.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    presets: ClassVar[dict[str, dict[str, Any]]] = {"default": {}}
    """Overrides of the defaults, by preset name; ``default`` is always there."""

    @classmethod
    def preset(cls, name: str = "default", **overrides: Any) -> Self:
        """The preset ``name`` with ``overrides`` on top, validated together.

        Raises :class:`ValueError` for a preset that does not exist.
        """
        if name not in cls.presets:
            raise ValueError(f"preset {name!r} is not one of {', '.join(sorted(cls.presets))}")
        return cls(**{**cls.presets[name], **overrides})

    def replace(self, **overrides: Any) -> Self:
        """A copy with ``overrides``, validated anew (``model_copy`` would not)."""
        return type(self)(**{**self.model_dump(), **overrides})


def parameter(default: Any, *, unit: str = "", **bounds: Any) -> Any:
    """A configuration field: its default, its ``unit`` and pydantic ``bounds``."""
    return Field(default, json_schema_extra={"unit": unit}, **bounds)
