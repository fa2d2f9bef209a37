"""The boards of the package ``amaranth-boards``, by name, and the serial line of each.

A board's name is that of its module there; where a module describes several variants, each
is the module's name, ``_`` and what tells it apart (``ulx3s_85f``, ``arty_a7_100``), and the
bare name is the first of them.  A revision may be left off: ``orangecrab`` is the highest,
``orangecrab_r0_2``.
"""

import importlib
import inspect
import pkgutil
import re
import shlex
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from types import ModuleType, SimpleNamespace
from typing import Any

from amaranth.build import Attrs, Pins, Platform, Resource, Subsignal
from amaranth.vendor import (
    AlteraPlatform,
    GowinPlatform,
    LatticePlatform,
    SiliconBluePlatform,
    XilinxPlatform,
)

from ..models.config import unknown
from . import tools

UART_PINS = {
    "orangecrab_r0_1": "io_0:0,1",  # where Feather boards have RX and TX
    "orangecrab_r0_2": "io_0:0,1",
}
"""Pins for the serial line, ``RX,TX`` as in :func:`serial_line`, of modules that have no UART."""

_REVISION = re.compile(r"_[rv]\d+(_\d+)*$")

_VOLTS_3V3 = (
    (XilinxPlatform, {"IOSTANDARD": "LVCMOS33"}, {"PULLUP": "TRUE"}),
    (AlteraPlatform, {"io_standard": "3.3-V LVTTL"}, {"weak_pull_up_resistor": "ON"}),
    (SiliconBluePlatform, {"IO_STANDARD": "SB_LVCMOS"}, {"PULLUP": 1}),
    (LatticePlatform, {"IO_TYPE": "LVCMOS33"}, {"PULLMODE": "UP"}),
    (GowinPlatform, {"IO_TYPE": "LVCMOS33"}, {"PULL_MODE": "UP"}),
)
"""By vendor, what makes a pin one of 3.3 V, and what pulls it up."""


@dataclass(frozen=True)
class Board:
    """A board, or one variant of it."""

    name: str
    module: str
    """In ``amaranth_boards``."""
    _platform: type[Platform]

    def platform(self) -> Any:
        """A fresh Amaranth platform.

        Raises :class:`ValueError` for a board whose description does not work, or whose FPGA
        has no clock of its own.
        """
        try:
            platform = self._platform()
        except Exception as error:
            raise ValueError(
                f"board {self.name} cannot be used: its description in amaranth-boards fails "
                f"({error}); take another board"
            ) from error
        if platform.default_clk is None:
            raise ValueError(
                f"board {self.name} cannot be used: its description in amaranth-boards names no "
                "clock that the FPGA has without a processor; take another board, or "
                "`thresher package` for a block design"
            )
        return platform

    def program(self, platform: Any, name: str) -> str | None:
        """The command that loads what a build called ``name`` left; None where
        ``amaranth-boards`` knows none, or more is to be done."""
        heard: list[str] = []
        loaded: list[str] = []

        def hear(command: list[str], **_: Any) -> None:
            heard.append(shlex.join(str(part) for part in command))

        @contextmanager
        def extract(*names: str) -> Iterator[Any]:
            loaded.extend(names)
            yield names[0] if len(names) == 1 else list(names)

        # The boards run their programmers themselves; here, nothing is run.
        module: Any = inspect.getmodule(self._platform)
        kept = getattr(module, "subprocess", None)
        module.subprocess = SimpleNamespace(check_call=hear, run=hear, call=hear)
        try:
            platform.toolchain_program(SimpleNamespace(extract=extract), name)
        except Exception:  # of whatever kind: then it is not known
            return None
        finally:
            module.subprocess = kept
        complete = len(heard) == 1 and len(loaded) == 1 and loaded[0] in heard[0]
        return heard[0] if complete else None


@dataclass(frozen=True)
class SerialLine:
    """Where the serial line leaves the FPGA."""

    resource: tuple[str, int]
    """Of the platform; its subsignals ``rx`` and ``tx``."""
    rx: str
    tx: str
    """Pins: of the package, or of a connector."""


@cache
def boards() -> Mapping[str, Board]:
    """All of them, by name.  Raises :class:`ModuleNotFoundError` without ``amaranth-boards``."""
    tools.version("amaranth-boards")
    package = importlib.import_module("amaranth_boards")
    found: dict[str, Board] = {}
    for entry in sorted(pkgutil.iter_modules(package.__path__), key=lambda entry: entry.name):
        if not entry.ispkg:
            module = importlib.import_module(f"amaranth_boards.{entry.name}")
            found.update(_variants(entry.name, module))
    return found


def board(name: str) -> Board:
    """The board called ``name``; :class:`KeyError` naming near or known ones otherwise."""
    known = boards()
    if name in known:
        return known[name]
    revisions = [other for other in known if _REVISION.sub("", other) == name]
    if not revisions:
        raise KeyError(unknown("board", name, known))
    return known[max(revisions, key=lambda other: [int(n) for n in re.findall(r"\d+", other)])]


def serial_line(chosen: Board, platform: Any, pins: str | None = None) -> SerialLine:
    """The board's UART, or ``pins`` at 3.3 V: ``RX,TX``, each a pin of the FPGA's package or
    ``CONNECTOR:PIN``; the second may leave out the connector.

    Raises :class:`ValueError` for pins that are not so, or for a board without a UART of
    whose pins none are known here.
    """
    resource = ("uart", 0)
    if pins is None and resource in platform.resources:
        lines = {io.name: io.ios[0] for io in platform.resources[resource].ios}
        return SerialLine(resource, lines["rx"].names[0], lines["tx"].names[0])
    pins = pins or UART_PINS.get(chosen.module)
    if pins is None:
        raise ValueError(
            f"board {chosen.name} has no UART; name two free pins for it, --uart RX,TX, "
            f"{_pins_there_are(platform)}"
        )
    given = pins.split(",")
    if len(given) != 2 or not all(given) or given[0] == given[1]:
        raise ValueError(
            f"--uart {pins!r} is not RX,TX: two different pins, {_pins_there_are(platform)}"
        )
    rx, tx = given
    if ":" in rx and ":" not in tx:
        tx = f"{rx.partition(':')[0]}:{tx}"
    for pin in (rx, tx):
        _check_pin(pin, platform)
    found = ((level, pull) for kind, level, pull in _VOLTS_3V3 if isinstance(platform, kind))
    level, pull = next(found, ({}, {}))
    resource = Resource(
        "serial_line",
        0,
        Subsignal("rx", Pins(rx, dir="i"), Attrs(**pull)),  # quiet while nothing is plugged in
        Subsignal("tx", Pins(tx, dir="o")),
        Attrs(**level),
    )
    platform.add_resources([resource])
    return SerialLine(("serial_line", 0), rx, tx)


def _check_pin(pin: str, platform: Any) -> None:
    """Of a connector, that it is there; of the package, only vendors know."""
    connector, colon, number = pin.partition(":")
    if not colon:
        return
    names = {f"{name}_{number}": c for (name, number), c in platform.connectors.items()}
    if connector not in names:
        raise ValueError(unknown("connector", connector, names))
    there = names[connector].mapping
    if number not in there:
        raise ValueError(
            f"connector {connector} has no pin {number!r}; it has: {', '.join(map(str, there))}"
        )


def _pins_there_are(platform: Any) -> str:
    connectors = [f"{name}_{number}" for name, number in platform.connectors]
    if not connectors:
        return "each a pin of the FPGA's package"
    return f"each a pin of the FPGA's package or CONNECTOR:PIN of {', '.join(connectors)}"


def _variants(name: str, module: ModuleType) -> dict[str, Board]:
    classes = [
        found
        for found in vars(module).values()
        if inspect.isclass(found)
        and issubclass(found, Platform)
        and found.__module__ == module.__name__
        and not found.__name__.startswith("_")
        and not inspect.isabstract(found)
    ]
    variants: dict[str, Board] = {}
    for number, platform in enumerate(classes):
        suffix = _what_tells_apart(platform.__name__, name)
        if number == 0:
            variants[name] = Board(name, name, platform)
        if suffix and len(classes) > 1:
            full = f"{name}_{suffix}"
            variants[full] = Board(full, name, platform)
    return variants


def _what_tells_apart(title: str, module: str) -> str:
    """What is left of a class's name without ``Platform`` and what it shares with its module's:
    ``85f`` of ``ULX3S_85F_Platform`` in ``ulx3s``."""
    own = re.sub(r"[\W_]|platform", "", title.lower())
    plain = module.replace("_", "")
    start = _shared(own, plain)
    end = _shared(own[start:][::-1], plain[start:][::-1])
    return own[start : len(own) - end] if start else own


def _shared(one: str, other: str) -> int:
    """How many characters both begin with."""
    pairs = enumerate(zip(one, other, strict=False))
    return next((k for k, (a, b) in pairs if a != b), min(len(one), len(other)))
