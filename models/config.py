"""The base of every engine's configuration: frozen, validated, self-describing."""

import json
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any, ClassVar, Literal, Self, get_args, get_origin

from annotated_types import Ge, Le
from pydantic import BaseModel, ConfigDict, Field, ValidationError


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
    def preset(cls, name: str = "default", /, **overrides: Any) -> Self:
        """The preset ``name`` with ``overrides`` on top, validated together.

        Raises :class:`ValueError` that names value, bound and way out.
        """
        if name not in cls.presets:
            raise ValueError(unknown("preset", name, cls.presets))
        return cls._build({**cls.presets[name], **overrides})

    @classmethod
    def load(
        cls, preset: str = "default", file: Path | None = None, settings: Iterable[str] = ()
    ) -> Self:
        """The preset, under the TOML ``file``, under ``key=value`` settings, validated together.

        A value is read as TOML and, failing that, as a plain string.  Raises as :meth:`preset`.
        """
        overrides: dict[str, Any] = {}
        if file is not None:
            try:
                overrides.update(tomllib.loads(file.read_text(encoding="utf-8")))
            except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
                raise ValueError(f"{file} is not TOML: {error}") from error
        for setting in settings:
            key, separator, text = setting.partition("=")
            if not separator:
                raise ValueError(f"setting {setting!r} is not of the form key=value")
            overrides[key.strip()] = _toml_value(text.strip())
        return cls.preset(preset, **overrides)

    def replace(self, **overrides: Any) -> Self:
        """A copy with ``overrides``, validated anew (``model_copy`` would not).

        What was left at its default stays so in ``model_fields_set``.  Raises as
        :meth:`preset`.
        """
        return self._build({**self.model_dump(exclude_unset=True), **overrides})

    def to_toml(self) -> str:
        """A documented file that :meth:`load` turns into this configuration again."""
        lines = [f"# {(type(self).__doc__ or type(self).__name__).strip().splitlines()[0]}"]
        for p in self.parameters():
            lines += ["", f"# {p.description}", f"# {p.domain[0].upper()}{p.domain[1:]}."]
            # On the scalars and lists that fields hold, JSON is TOML.
            lines.append(f"{p.name} = {json.dumps(getattr(self, p.name), ensure_ascii=False)}")
        return "\n".join(lines) + "\n"

    @classmethod
    def parameters(cls) -> list["Parameter"]:
        """What is to be known of every field, in the order of declaration."""
        return [Parameter.of(cls, name) for name in cls.model_fields]

    @classmethod
    def _build(cls, values: dict[str, Any]) -> Self:
        try:
            return cls(**values)
        except ValidationError as error:
            raise ValueError(explain(error, cls)) from error


def parameter(default: Any, *, unit: str = "", **bounds: Any) -> Any:
    """A configuration field: its default, its ``unit`` and pydantic ``bounds``."""
    return Field(default, json_schema_extra={"unit": unit}, **bounds)


@dataclass(frozen=True)
class Parameter:
    """One field of a configuration class, described."""

    name: str
    default: Any
    domain: str
    """What values it takes, in words: ``an integer from 1 to 16, in bits``."""
    unit: str
    minimum: int | float | None
    maximum: int | float | None
    choices: tuple[Any, ...]
    description: str

    @classmethod
    def of(cls, config: type[EngineConfig], name: str) -> Self:
        """Describes field ``name`` of ``config``."""
        info = config.model_fields[name]
        minimum: Any = next((bound.ge for bound in info.metadata if isinstance(bound, Ge)), None)
        maximum: Any = next((bound.le for bound in info.metadata if isinstance(bound, Le)), None)
        choices = get_args(info.annotation) if get_origin(info.annotation) is Literal else ()
        extra = info.json_schema_extra if isinstance(info.json_schema_extra, dict) else {}
        unit = str(extra.get("unit", ""))
        if choices:
            domain = "one of " + ", ".join(map(str, choices))
        elif info.annotation is bool:
            domain = "true or false"
        else:
            kinds: dict[Any, str] = {
                int: "an integer", float: "a number", str: "a string",
                tuple[int, ...]: "a list of integers",
            }  # fmt: skip
            domain = kinds.get(info.annotation, str(info.annotation))
            domain += "" if minimum is None else f" from {minimum}"
            domain += "" if maximum is None else f" to {maximum}"
        return cls(
            name=name,
            default=info.default,
            domain=f"{domain}, in {unit}" if unit else domain,
            unit=unit,
            minimum=minimum,
            maximum=maximum,
            choices=choices,
            description=" ".join((info.description or "").replace("``", "`").split()),
        )


def explain(error: ValidationError, config: type[EngineConfig]) -> str:
    """The errors of ``config``'s validation in one sentence each: value, bound, way out."""
    sentences = []
    for item in error.errors():
        name = str(item["loc"][0]) if item["loc"] else ""
        if item["type"] == "extra_forbidden":
            sentences.append(unknown("parameter", name, config.model_fields))
        elif name in config.model_fields:
            known = Parameter.of(config, name)
            sentences.append(
                f"{name} = {item['input']!r} is not {known.domain}; the default is {known.default}"
            )
        else:  # a relation between fields, whose validator said it all
            sentences.append(item["msg"].removeprefix("Value error, "))
    return ". ".join(sentences)


def unknown(kind: str, name: str, known: Iterable[str]) -> str:
    """Says that there is no ``kind`` called ``name``, and which names come near or exist."""
    known = sorted(known)
    near = get_close_matches(name, known, n=3, cutoff=0.6)
    hint = f"did you mean {' or '.join(near)}?" if near else f"known: {', '.join(known)}"
    return f"there is no {kind} {name!r}; {hint}"


def _toml_value(text: str) -> Any:
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text
