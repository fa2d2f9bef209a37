"""What the generated Fast-SCLF engines do in simulation and cost in synthesis, as rows."""

from collections.abc import Iterator

import numpy as np

from ..fpga.devices import device
from ..fpga.fit import DoesNotFit, check_fit
from ..fpga.nextpnr import place_and_route
from ..fpga.resources import Resources
from ..fpga.results import LIMIT
from ..fpga.yosys import synthesise
from ..hdl.engine import Workload, engine
from ..hdl.fast_sclf.compiler import compile_program
from ..hdl.fast_sclf.shape import Shape
from ..hdl.fast_sclf.workloads import quantiser, workload
from ..models.codes.channel import Awgn
from ..models.codes.montecarlo import random_bits
from ..models.fast_sclf.config import FastSclfConfig
from ._polar_curves import CODE, PAPER
from ._runs import Runs
from .report import Bar, Progress, Row, show

NAME = "fast_sclf"
LISTS = {lists: FastSclfConfig(list_size=lists) for lists in (1, 2, 4, 8)}
"""Engines for codes of 512 bits, by the size of their lists."""


def simulation_rows(quick: bool, progress: Progress) -> Iterator[Row]:
    """Cycles, and equality with the golden model."""
    runs, config = Runs(progress, "frames", "given_up"), LISTS[4]
    frames, many = (500, 8192) if quick else (10_000, 65_536)
    for lists, of in LISTS.items():
        program = compile_program(Shape(of), CODE.frozen)
        yield Row(f"L = {lists}, P = {of.pes}: cycles of one decoding", program.cycles, None,
                  f"{program.steps} time steps of the literature's model")  # fmt: skip
    one = runs(NAME, config, _noisy(config, 6.0, 1))
    yield Row(
        "L = 4, P = 64, RTL: cycles of a frame from its first LLRs to the last bits of its message",
        one.cycles, Bar("<=", 300), "load, CRC and delivery included",
    )  # fmt: skip
    lost = runs(NAME, config, _silence(config))
    yield Row("likewise of a frame that is given up after 50 flips", lost.cycles, None,
              f"{lost.cycles / one.cycles:.1f} times as many")  # fmt: skip
    single = runs(NAME, config, _noisy(config, 6.0, frames)).cycles / frames
    yield Row(f"cycles a frame at 6 dB, where no selection is flipped ({frames:,} frames)", single)
    rare = runs(NAME, config, _noisy(config, 2.75, many))
    average = rare.cycles / many
    yield Row(
        f"cycles a frame at 2.75 dB over these ({many:,} frames), where the FER is 2e-4",
        average / single, Bar("<=", 1.03),
        f"{rare.metrics['frame_errors']} wrong, {show(rare.metrics['attempts_average'])} flips",
    )  # fmt: skip
    yield Row("information bits a cycle at 2.75 dB", CODE.k / average)
    for n, stall in enumerate(("none", "random", "alternate")):
        runs(NAME, config, _noisy(config, 2.5, frames, n + 1), None, stall, n)
        runs(NAME, config, _noisy(config, 2.0, frames // 5, n + 1), None, stall, n)
        runs(NAME, config, "corners", None, stall, n)
        runs(NAME, config, "random", 60, stall, 2 * n)  # odd ones need longer programs
    if not quick:
        for lists, of in LISTS.items():
            runs(NAME, of, _noisy(of, 2.0, 2000, lists), None, "random", lists)
            runs(NAME, of, "corners", None, "random", lists)
    yield runs.row(
        f"frames through RTL, bit for bit the golden model's ({runs.failed:,} given up after all "
        "flips; ties, zeros, overflows, stalls)",
        10_000 if quick else 100_000,
    )


def _noisy(config: FastSclfConfig, ebn0: float, frames: int, seed: int = 0) -> Workload:
    rng = np.random.default_rng([seed, frames])
    sent = random_bits(rng, frames, CODE.k)
    received = quantiser(config)(Awgn.at(ebn0, CODE.rate).send(CODE.encode(sent), rng))
    return workload(f"{ebn0} dB", config, CODE, received, sent=sent)


def _silence(config: FastSclfConfig) -> Workload:
    """A frame that is noise alone."""
    noise = np.random.default_rng(0).standard_normal((1, CODE.n))
    return workload("noise alone", config, CODE, quantiser(config)(noise))


def memory_rows() -> Iterator[Row]:
    """What a decoding keeps, by the engine's organisation of it."""
    config = LISTS[4]
    shape = Shape(config)
    selections = compile_program(shape, CODE.frozen).selections
    ours = memory_bits(shape, 4) + selections * (config.metric_bits + 14)
    theirs = memory_bits(shape, 32)
    yield Row(
        "Fast-SCLF-4: bits of memory for one frame, flips included", ours, None,
        "channel + L x (LLRs + partial sums + metrics, leaf and pointers) + 22 a selection",
    )  # fmt: skip
    yield Row("FSCL-32: likewise, organised like the engine", theirs)
    yield Row("Fast-SCLF-4: less memory than FSCL-32", 1 - ours / theirs, None,
              f"83.3 % ({PAPER})")  # fmt: skip


def memory_bits(shape: Shape, lists: int) -> int:
    """Bits that a list decoding of one frame keeps, without the flips' judgements."""
    config = shape.config
    llrs = shape.bank_words * 2 * config.pes * config.llr_bits
    sums = config.length + config.pes - 1  # rows and, of smaller nodes, registers
    path = 2 * config.metric_bits + config.leaf
    pointers = (shape.levels - 1) * (lists.bit_length() - 1)
    return config.length * config.llr_bits + lists * (llrs + sums + path + pointers)


def area_rows(quick: bool, progress: Progress) -> Iterator[Row]:
    """Resources of each list size and, where it can be laid out in time, its throughput."""
    if quick:
        yield Row.skip("resources of L = 1, 2, 4, 8", "synthesis takes minutes; run with --full")
        return
    for lists, config in LISTS.items():
        cycles = compile_program(Shape(config), CODE.frozen).cycles
        for name in ("ecp5-85k", "xc7"):
            progress(f"L = {lists}: synthesis for {name}")
            suited = config.replace(lut_inputs=6 if name == "xc7" else 4)
            synthesis = synthesise(engine(NAME).component(suited), device(name), NAME)
            yield Row(f"L = {lists}, P = {config.pes} on {name}", _text(synthesis.resources))
            if device(name).nextpnr is None:
                continue
            progress(f"L = {lists}: place and route on {name}")
            what = f"L = {lists} on {name}: Fmax, MHz, and throughput without flips, Mb/s"
            try:
                check_fit(synthesis.resources, device(name), f"L = {lists}")
                fmax = place_and_route(synthesis, timeout=LIMIT).fmax_mhz or 0.0
            except DoesNotFit as reason:
                yield Row.skip(what, str(reason))
                continue
            except TimeoutError:
                yield Row.skip(what, f"place and route takes more than {LIMIT / 60:.0f} minutes")
                continue
            yield Row(what, f"{fmax:.1f}; {CODE.k * fmax / cycles:.1f}", None,
                      f"{CODE.k} bits every {cycles} cycles")  # fmt: skip


def _text(resources: Resources) -> str:
    return ", ".join(f"{n:,} {name}" for name, n in resources.to_json().items() if n)
