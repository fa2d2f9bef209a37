"""An engine on a board: a bitstream from free tools, or a vendor's project ready to run.

The engine sits behind a serial line (:mod:`thresher.hdl.lib.uart`); the board's own clock
drives it, and a lamp, where the board has one, is lit while bytes come in.
"""

import json
import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeVar

from amaranth.build import ResourceError
from amaranth.build.run import BuildPlan
from amaranth.hdl import ClockSignal, Elaboratable, Instance, Module, ResetSignal, Signal
from amaranth.lib import io

from ..hdl.engine import Engine
from ..hdl.generate import describe_top, write_files
from ..hdl.lib.mailbox import DEPTH
from ..hdl.lib.uart import MIN_DIVISOR, Line
from ..models.config import EngineConfig
from .boards import Board, SerialLine, board, serial_line
from .flow import Outcome, commands_of, device_of, lay_out, runs, synthesis_options
from .package import DRIVERS
from .resources import Resources

C = TypeVar("C", bound=EngineConfig)

BAUDS = (1_000_000, 921_600, 460_800, 230_400, 115_200, 57_600, 9_600)
"""Of these, the fastest that the board's clock hits is taken."""

_PATIENCE = 0.1
"""Seconds at least after which a frame that does not go on is forgotten."""


_OSCILLATORS = ("SB_", "OSC", "cyclonev_oscillator")


class TimingNotMet(RuntimeError):  # noqa: N818  (a condition more than an error)
    """A layout is too slow for the board's clock."""


@dataclass(frozen=True)
class Built:
    """An engine on a board, as files."""

    engine: str
    board: str
    part: str
    clock_mhz: float
    baud: int
    """Of the serial line: what the clock gives."""
    rx: str
    tx: str
    """Pins of the serial line, as the FPGA sees it."""
    files: tuple[Path, ...]
    bitstream: Path | None
    """None where a vendor's tool is to make it."""
    make: str | None
    """The command that makes it there."""
    load: str | None
    """The command that loads it; None where that is not known."""
    resources: Resources | None
    """None, like all that follows, where a vendor's tool is to tell."""
    fmax_mhz: float | None
    utilisation: Mapping[str, tuple[int, int]] | None
    """Sites used and there, by nextpnr's name."""
    seconds: Mapping[str, float] | None
    """That each tool took."""

    def report(self) -> dict[str, Any]:
        """What the same tools find again, as plain data."""
        left_out = ("files", "bitstream", "seconds")
        return {key: value for key, value in asdict(self).items() if key not in left_out}

    def to_json(self) -> dict[str, Any]:
        """Everything as plain data."""
        return {
            **asdict(self),
            "files": [str(path) for path in self.files],
            "bitstream": self.bitstream and str(self.bitstream),
        }


def build(
    engine: Engine[C],
    config: C,
    board_name: str,
    directory: str | Path,
    *,
    baud: int | None = None,
    depth: int = DEPTH,
    uart: str | None = None,
    seed: int = 1,
    timeout: float = 1800,
    say: Callable[[str], None] = lambda text: None,
) -> Built:
    """Writes what it takes to run ``engine`` on a board into ``directory``.

    That is ``ENGINE.v``, ``ENGINE.json`` (the address map, the baud rate, the board),
    ``ENGINE.h``, the Python driver and ``README.txt``; where free tools lay the FPGA out, the
    bitstream, its constraints and ``report.json``; elsewhere a project for the vendor's tool
    and a script that runs it.  All files appear complete, or none changes.

    ``baud``: by default the fastest of :data:`BAUDS` that the clock hits within 1 %.
    ``depth``: words that each stream's queue holds.  ``uart``: pins, see
    :func:`~thresher.fpga.boards.serial_line`.  ``seed``: nextpnr's.  ``timeout``: seconds
    for each tool.

    Raises :class:`KeyError` for an unknown board, :class:`ValueError` for one that cannot be
    used or a line that cannot be had, :class:`~thresher.fpga.fit.DoesNotFit`,
    :class:`TimingNotMet`, :class:`~thresher.fpga.tools.ToolFailed` with a tool's words,
    :class:`ModuleNotFoundError` for a missing tool, :class:`TimeoutError`.
    """
    chosen = board(board_name)
    platform = chosen.platform()
    serial = serial_line(chosen, platform, uart)
    part, clock = _part(platform), platform.default_clk_frequency
    line = _line(clock, baud, chosen.name)
    rate = {"clock_hz": round(clock), "baud": round(clock / line.divisor)}
    what = f"{engine.name} with its serial line on {chosen.name}"

    say("Verilog")
    top = describe_top(engine, config, "uart", depth=depth, line=line)
    about = {"name": chosen.name, "part": part, "rx": serial.rx, "tx": serial.tx}
    files: dict[str, str | bytes] = {
        **top.files(board=about, uart={**top.description["uart"], **rate})
    }
    name = f"{top.name}_{chosen.name}"
    platform.add_file(f"{top.name}.v", files[f"{top.name}.v"])
    plan = _plan(platform, chosen, _Shell(top.name, serial), name)
    layout, product = None, None
    if runs(commands_of(plan)):
        options = ["--seed", str(seed), "--freq", f"{clock / 1e6:g}"]
        layout = lay_out(plan, device_of(part), what, options, timeout, say)
        _check_timing(layout, clock, what)
        product, bitstream = next(iter(layout.products.items()))
        constraints = {n: c for n, c in plan.files.items() if n.endswith((".lpf", ".pcf", ".cst"))}
        files |= {product: bitstream, **constraints}
    else:
        files |= {n: c for n, c in plan.files.items() if not n.endswith((".debug.v", ".json"))}
    files["thresher_driver.py"] = DRIVERS["thresher_driver.py"].read_text(encoding="utf-8")
    added = ["README.txt", *(["report.json"] if layout else [])]
    built = Built(
        engine=engine.name,
        board=chosen.name,
        part=part,
        clock_mhz=clock / 1e6,
        baud=rate["baud"],
        rx=serial.rx,
        tx=serial.tx,
        files=tuple(Path(directory) / file for file in sorted([*files, *added])),
        bitstream=Path(directory) / product if product else None,
        make=None if layout else f"sh {plan.script}.sh",
        load=chosen.program(platform, name),
        resources=layout and layout.resources,
        fmax_mhz=layout and layout.fmax_mhz,
        utilisation=layout and layout.utilisation,
        seconds=layout and layout.seconds,
    )
    if layout:
        files["report.json"] = json.dumps(built.report(), indent=2) + "\n"
    files["README.txt"] = _readme(built, own_clock=platform.default_clk.startswith(_OSCILLATORS))
    write_files(Path(directory), files)
    return built


class _Shell(Elaboratable):
    """The board's pins around the module ``name``."""

    def __init__(self, name: str, line: SerialLine):
        self._name, self._line = name, line

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        rx, tx, active = Signal(), Signal(), Signal()
        m.submodules.engine = Instance(
            self._name,
            i_clk=ClockSignal(),
            i_rst=ResetSignal(allow_reset_less=True),  # on ECP5, a global one
            i_rx=rx,
            o_tx=tx,
            o_active=active,
        )
        name, number = self._line.resource
        parts = platform.resources[name, number].ios
        pins = platform.request(name, number, dir={part.name: "-" for part in parts})
        m.submodules.rx = rx_pin = io.Buffer("i", pins.rx)
        m.submodules.tx = tx_pin = io.Buffer("o", pins.tx)
        m.d.comb += [rx.eq(rx_pin.i), tx_pin.o.eq(tx)]
        with suppress(ResourceError):  # no lamp, or one on the pins of the serial line
            m.submodules.led = led = io.Buffer("o", platform.request("led", 0, dir="-"))
            m.d.comb += led.o.eq(active)
        return m


def _plan(platform: Any, chosen: Board, shell: _Shell, name: str) -> BuildPlan:
    os.environ.setdefault("AMARANTH_USE_YOSYS", "builtin")  # the same bytes on any machine
    options = synthesis_options(_part(platform))
    try:
        return platform.prepare(shell, name, emit_src=False, synth_opts=options)
    except (ResourceError, NameError) as error:  # a pin that is taken, or not there
        raise ValueError(f"board {chosen.name}: {error}; choose other pins with --uart") from error
    except Exception as error:
        raise ValueError(
            f"board {chosen.name} cannot be used: its description in amaranth-boards fails "
            f"({error}); take another board"
        ) from error


def _line(clock: float, baud: int | None, name: str) -> Line:
    timeout = 1 << round(clock * _PATIENCE).bit_length()
    if baud is not None:
        divisor = max(round(clock / baud), MIN_DIVISOR)
        if abs(clock / divisor / baud - 1) > 0.02:
            raise ValueError(
                f"--baud {baud} cannot be had from the {clock / 1e6:g} MHz of {name}: "
                f"the nearest is {clock / divisor:.0f}"
            )
        return Line(divisor, timeout)
    for rate in BAUDS:
        divisor = round(clock / rate)
        if divisor >= MIN_DIVISOR and abs(clock / divisor / rate - 1) < 0.01:
            return Line(divisor, timeout)
    raise ValueError(f"no usual baud rate fits the {clock / 1e6:g} MHz of {name}; choose --baud")


def _part(platform: Any) -> str:
    return platform.part if hasattr(platform, "part") else platform.device


def _check_timing(layout: Outcome, clock: float, what: str) -> None:
    reached, needed = layout.fmax_mhz, clock / 1e6
    if reached is not None and reached < needed:
        raise TimingNotMet(
            f"{what} reaches {reached:.1f} MHz, but the board's clock has {needed:g} MHz; "
            "try another --seed, a smaller configuration, or a slower board"
        )


def _readme(built: Built, own_clock: bool) -> str:
    if built.bitstream:
        sites = ", ".join(
            f"{u} of {n} {site}" for site, (u, n) in (built.utilisation or {}).items()
        )
        how = f"It runs at up to {built.fmax_mhz or 0:.1f} MHz and takes {sites}.\n"
    else:
        how = f"""\
Everything that the vendor's tool needs is here.  With the tool on the PATH, in this folder,

    {built.make}

makes the bitstream.  Look at its timing report: the clock has {built.clock_mhz:g} MHz.
"""
    if own_clock:
        how += """
The clock is the FPGA's own oscillator, which may be 10 % off.  If nothing answers, try baud
rates around the one below.
"""
    load = f"\nLoad it with\n\n    {built.load}\n" if built.load else ""
    return f"""\
{built.engine} on the board {built.board} ({built.part}), generated by thresher.

{how}{load}
Serial line: {built.baud} baud, 8 data bits, no parity, 1 stop bit.  The FPGA receives on pin
{built.rx} and sends on pin {built.tx}.  From Python, with NumPy and pyserial:

    from thresher_driver import Engine, Uart
    engine = Engine("{built.engine}.json", Uart("/dev/ttyUSB0", {built.baud}))
    engine.reset()
    outputs = engine.run({{"INPUT": beats}}, {{"OUTPUT": count}})

The streams, the registers and where they lie stand in {built.engine}.json; {built.engine}.h has
the registers for C.
"""
