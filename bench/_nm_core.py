"""The compute core between streams: memories filled, instructions run, sums read back."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, get_args

import numpy as np
from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import data, stream
from amaranth.lib.wiring import Component, In, Out

from ..hdl.nm_array.core import Core
from ..hdl.nm_array.sequencer import GEMM
from ..models.nm.config import NmConfig
from ..models.nm.program import WIDTHS, Dataflow, Gemm
from ..sim import beats, verilator


@dataclass
class Memories:
    """What the core's memories hold, as unsigned bits."""

    left: np.ndarray
    """[clusters, address, element]"""
    values: np.ndarray
    """Of right words: [columns, address, entry]"""
    indices: np.ndarray
    """[columns, address, entry]"""

    @classmethod
    def zeros(cls, config: NmConfig, left: int, right: int) -> "Memories":
        """Of so many words in each bank."""
        words = np.zeros((config.columns, right, config.kept), np.int64)
        return cls(np.zeros((config.clusters, left, config.group), np.int64), words, words.copy())


@dataclass(frozen=True)
class Ran:
    """What the core did."""

    sums: np.ndarray
    """[half, address, column], unsigned bits."""
    taken: np.ndarray
    """Cycle in which each instruction was transferred; the first one's is 0."""
    finished: np.ndarray
    multiplies: np.ndarray
    """Cycles in which the array's first cluster read a left word."""
    macs: int
    busy: int


class Fed(Component):
    """A :class:`Core` whose memories are written from one stream and read by another.

    Instructions are taken once ``writes`` words were written, sums read once ``products``
    instructions finished.  ``finished`` and ``multiplied`` have a beat in the cycle in which a
    product finishes and in the one after a left word's read.
    """

    def __init__(self, config: NmConfig):
        self.config = config
        write = data.StructLayout(
            {
                "left_en": config.clusters,
                "left_address": range(config.left_depth),
                "left_data": data.ArrayLayout(
                    data.ArrayLayout(config.element_bits, config.group), config.port_words
                ),
                "right_columns": config.columns,
                "right_entries": config.kept,
                "right_single": 1,
                "right_address": range(config.right_depth),
                "right_data": data.ArrayLayout(config.entry_bits, config.beat_entries),
            }
        )
        read = data.StructLayout({"half": 1, "address": range(config.sums_depth)})
        super().__init__(
            {
                "write": In(stream.Signature(write)),
                "gemm": In(stream.Signature(GEMM)),
                "read": In(stream.Signature(read)),
                "sums": Out(stream.Signature(data.ArrayLayout(32, config.columns))),
                "finished": Out(stream.Signature(1)),
                "multiplied": Out(stream.Signature(1)),
                "writes": In(32),
                "products": In(32),
                "macs": Out(48),
                "busy": Out(48),
            }
        )

    def elaborate(self, platform):
        m = Module()
        m.submodules.core = core = Core(self.config)
        written, done, macs, reading = Signal(32), Signal(32), Signal(48), Signal()
        write, read = self.write.p, self.read.p
        enter = self.write.valid & self.write.ready
        m.d.comb += [
            self.write.ready.eq(1),
            *(
                getattr(core, name).as_value().eq(write[name])
                for name in ("left_data", "right_data")
            ),
            *(getattr(core, name).eq(write[name]) for name in self.plain),
            core.left_en.eq(Mux(enter, write.left_en, 0)),
            core.right_columns.eq(Mux(enter, write.right_columns, 0)),
            core.gemm.payload.eq(self.gemm.payload),
            core.gemm.valid.eq(self.gemm.valid & (written == self.writes)),
            self.gemm.ready.eq(core.gemm.ready & (written == self.writes)),
            self.finished.valid.eq(core.finished),
            self.multiplied.valid.eq(core.macs != macs),
            self.read.ready.eq(done == self.products),
            core.sums_en.eq(self.read.valid & self.read.ready),
            core.sums_half.eq(read.half),
            core.sums_address.eq(read.address),
            self.sums.valid.eq(reading),
            self.sums.payload.eq(core.sums_data),
            self.macs.eq(core.macs),
            self.busy.eq(core.busy),
        ]
        m.d.sync += [
            written.eq(written + enter),
            done.eq(done + core.finished),
            macs.eq(core.macs),
            reading.eq(core.sums_en),
        ]
        return m

    plain = ("left_address", "right_entries", "right_single", "right_address")
    """Members of ``write`` that go to the core as they are."""

    def fill(self, memories: Memories, single: bool) -> dict[str, Any]:
        """Beats of ``write`` that fill the memories; ``single``: entry by entry."""
        config = self.config
        ports, clusters, at_once = config.port_words, config.clusters, config.beat_entries
        words = memories.left.reshape(clusters // ports, ports, -1, config.group)
        left_depth, right_depth = words.shape[2], memories.values.shape[1]
        # Left: `ports` banks at a time; right: a beat's worth of columns at a time.
        wide = at_once if single else at_once // config.kept
        parts = config.columns // wide
        slots = config.kept if single else 1
        lefts, rights = clusters // ports * left_depth, parts * slots * right_depth
        beat = {name: np.zeros(lefts + rights, object) for name in self.write.p.shape().members}
        block, address = np.divmod(np.arange(lefts), left_depth)
        beat["left_en"][:lefts] = [((1 << ports) - 1) << ports * int(b) for b in block]
        beat["left_address"][:lefts] = address
        left = np.zeros((lefts + rights, ports, config.group), np.int64)
        left[:lefts] = words.transpose(0, 2, 1, 3).reshape(lefts, ports, config.group)
        part, slot, address = np.unravel_index(np.arange(rights), (parts, slots, right_depth))
        beat["right_columns"][lefts:] = [((1 << wide) - 1) << wide * int(p) for p in part]
        beat["right_entries"][lefts:] = [
            1 << int(s) if single else (1 << config.kept) - 1 for s in slot
        ]
        beat["right_single"][lefts:] = int(single)
        beat["right_address"][lefts:] = address
        entries = memories.values | memories.indices << config.element_bits
        entries = entries.reshape(parts, wide, right_depth, slots, -1).transpose(0, 3, 2, 1, 4)
        right = np.zeros((lefts + rights, at_once), np.int64)
        right[lefts:, : wide * entries.shape[-1]] = entries.reshape(rights, -1)
        return beat | {"left_data": left, "right_data": right}


def simulate(
    fed: Fed, memories: Memories, gemms: Sequence[Gemm], *, single: bool = False, **options: Any
) -> Ran:
    """Runs ``gemms`` on a core whose memories hold ``memories`` and sums of 0."""
    config = fed.config
    writes = fed.fill(memories, single)
    half, address = np.divmod(np.arange(2 * config.sums_depth), config.sums_depth)
    instructions = {name: np.array([word(gemm)[name] for gemm in gemms]) for name in WIDTHS["gemm"]}
    run = verilator.run(
        fed,
        {
            "write": beats.pack(fed.write.p.shape(), writes),
            "gemm": beats.pack(GEMM, instructions),
            "read": beats.pack(fed.read.p.shape(), {"half": half, "address": address}),
        },
        {
            "sums": len(half),
            "finished": len(gemms),
            "multiplied": sum(left_reads(config, gemm) for gemm in gemms),
        },
        registers={"writes": len(writes["left_en"]), "products": len(gemms)},
        **options,
    )
    start = run.input_cycles["gemm"][0]
    sums = beats.unpack(fed.sums.p.shape(), run.outputs["sums"])
    return Ran(
        sums=np.asarray(sums).reshape(2, config.sums_depth, config.columns),
        taken=run.input_cycles["gemm"] - start,
        finished=run.output_cycles["finished"] - start,
        multiplies=run.output_cycles["multiplied"] - start - 1,
        macs=run.registers["macs"],
        busy=run.registers["busy"],
    )


def left_reads(config: NmConfig, gemm: Gemm) -> int:
    """Cycles in which the first cluster reads a left word."""
    reads = gemm.rows * gemm.tiles * gemm.folds
    return reads if gemm.dataflow == "weight" else reads * gemm.repeat * config.interleave


def word(gemm: Gemm) -> dict[str, int]:
    """Fields of the instruction as the core takes them."""
    values = {name: int(getattr(gemm, name)) for name in WIDTHS["gemm"] if name != "dataflow"}
    return values | {"dataflow": get_args(Dataflow).index(gemm.dataflow)}
