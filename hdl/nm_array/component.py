"""The whole engine."""

from amaranth.hdl import Module, Mux, Signal, Value
from amaranth.lib import stream
from amaranth.lib.wiring import Component, In, Out, connect, flipped

from ...models.nm.config import NmConfig
from ...models.nm.program import ADDRESS_BITS, BITS, WIDTHS
from ..wuve.lanes import REGISTER_MEMBERS
from .core import Core
from .dispatch import Dispatch
from .load import Load, beat_layout
from .store import Store, write_layout
from .update import UpdateUnit

COUNTERS = ("load_busy", "gemm_busy", "out_busy", "beats_read", "beats_written", "macs")
COUNTER_BITS = 48


class NmArray(Component):
    """Products, dense or N of M, updates of weights and the N:M operands of the next step.

    ``program``
        Instruction words (:func:`thresher.models.nm.program.pack`).
    ``request``, ``data``
        Addresses of beats to read, and those beats, in the same order (:class:`.load.Load`).
    ``write``
        Beats to write.  What is read after a write was taken, is what was written.
    ``done``
        Tags of fences.
    ``rate``, ``momentum``, ``decay``, ``scale``, ``weight_shift``
        Registers of :mod:`thresher.models.nm.update`; they stay while an update runs.

    Cycles: :mod:`thresher.models.nm.program_cycles`.
    """

    def __init__(self, config: NmConfig):
        self.config = config
        super().__init__(
            {
                "program": In(stream.Signature(BITS)),
                "request": Out(stream.Signature(ADDRESS_BITS)),
                "data": In(stream.Signature(beat_layout(config))),
                "write": Out(stream.Signature(write_layout(config))),
                "done": Out(stream.Signature(WIDTHS["fence"]["tag"])),
            }
            | REGISTER_MEMBERS
            | {name: Out(COUNTER_BITS) for name in COUNTERS}
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        m.submodules.dispatch = dispatch = Dispatch()
        m.submodules.load = load = Load(self.config)
        m.submodules.core = core = Core(self.config)
        m.submodules.store = store = Store(self.config)
        m.submodules.update = update = UpdateUnit(self.config)
        for target, source in (
            (dispatch.program, flipped(self.program)),
            (load.data, flipped(self.data)),
            (load.i, dispatch.load),
            (core.gemm, dispatch.gemm),
            (store.i, dispatch.store),
            (update.i, dispatch.update),
            (update.masters, load.masters),
            (flipped(self.request), load.request),
            (flipped(self.done), dispatch.done),
        ):
            connect(m, target, source)
        m.d.comb += [
            dispatch.finished.load.eq(load.finished),
            dispatch.finished.gemm.eq(core.finished),
            dispatch.finished.store.eq(store.finished),
            dispatch.finished.update.eq(update.finished),
            *(getattr(update, name).eq(getattr(self, name)) for name in REGISTER_MEMBERS),
            *(
                Value.cast(getattr(core, name)).eq(Value.cast(getattr(load, name)))
                for name in load.signature.members
                if name.startswith(("left_", "right_"))
            ),
        ]
        self._out(m, core, store, update)
        self._count(m, dispatch, core)
        return m

    def _out(self, m, core, store, update):
        """Stores and updates never run at the same time: both read sums, and both write."""
        stores = Signal()
        m.d.comb += [
            core.sums_en.eq(store.sums_en | update.sums_en),
            core.sums_half.eq(Mux(store.sums_en, store.sums_half, update.sums_half)),
            core.sums_address.eq(Mux(store.sums_en, store.sums_address, update.sums_address)),
            stores.eq(store.write.valid),
            self.write.valid.eq(stores | update.write.valid),
            self.write.payload.eq(Mux(stores, store.write.payload, update.write.payload)),
            store.write.ready.eq(self.write.ready),
            update.write.ready.eq(self.write.ready),
        ]
        for unit in (store, update):
            m.d.comb += Value.cast(unit.sums_data).eq(Value.cast(core.sums_data))

    def _count(self, m, dispatch, core):
        moves = {"beats_read": self.data, "beats_written": self.write}
        happens = {name: port.valid & port.ready for name, port in moves.items()}
        happens |= {f"{unit}_busy": dispatch.busy[unit] for unit in ("load", "out")}
        for name, event in happens.items():
            counter = getattr(self, name)
            with m.If(event):
                m.d.sync += counter.eq(counter + 1)
        m.d.comb += [self.macs.eq(core.macs), self.gemm_busy.eq(core.busy)]
