"""Takes instructions apart, queues them and begins each once its semaphores allow it."""

from amaranth.hdl import Cat, Module, Signal, Value
from amaranth.lib import data, stream
from amaranth.lib.wiring import Component, In, Out

from ...models.nm.program import BITS, HEADER, OPCODES, SEMAPHORES, WIDTHS
from ...models.nm.program_cycles import FLIGHT, QUEUE
from ..lib.arith import tree_sum
from ..lib.fifo import Fifo

UNITS = {"load": ("load",), "gemm": ("gemm",), "out": ("store", "update", "fence")}
"""Instructions of each unit.  Where several units could begin one, the first unit does."""

_HEADER_BITS = sum(HEADER.values())
_SEMAPHORE_BITS = 4


class Dispatch(Component):
    """The front of the engine.

    ``program``
        Instruction words (:func:`thresher.models.nm.program.pack`), taken as long as the queue of
        their unit has room, :data:`~thresher.models.nm.program_cycles.QUEUE` instructions.  A word
        of no known opcode is dropped.
    ``load``, ``gemm``, ``store``, ``update``
        Instructions that have begun, their fields alone.
    ``finished``
        A bit for each of these four streams, high for a cycle when an instruction ends; each ends
        its instructions in their order.
    ``done``
        Tags of fences.
    ``busy``
        A bit a unit: some instruction has begun and not ended.

    An instruction begins, one a cycle of all units, in the second cycle after its word was taken or
    later, in the cycle after that in which the last semaphore was raised or later; a cycle
    thereafter it is offered to its unit.  :data:`~thresher.models.nm.program_cycles.FLIGHT` of a
    unit may have begun and not ended.  A store or update begins while others of its kind have not
    ended, but after all of the other kind; a fence after all before it.

    A program that would run an instruction at a time, in order, runs: the oldest instruction never
    waits for a later one.
    """

    def __init__(self):
        bodies = {name: data.StructLayout(WIDTHS[name]) for name in OPCODES if name != "fence"}
        super().__init__(
            {
                "program": In(stream.Signature(BITS)),
                **{name: Out(stream.Signature(layout)) for name, layout in bodies.items()},
                "done": Out(stream.Signature(WIDTHS["fence"]["tag"])),
                "finished": In(data.StructLayout(dict.fromkeys(bodies, 1))),
                "busy": Out(data.StructLayout(dict.fromkeys(UNITS, 1))),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        heads = self._queues(m)
        levels = [Signal(_SEMAPHORE_BITS, name=f"semaphore{s}") for s in range(SEMAPHORES)]
        raised = Cat(level.any() for level in levels)
        taken, earlier = Signal(SEMAPHORES), Signal(len(UNITS) + 1)
        signals = []
        for number, (unit, head) in enumerate(heads.items()):
            slot = Fifo(head.p.shape(), 1)
            flight = Fifo(SEMAPHORES, FLIGHT, block=False)
            m.submodules[f"{unit}_slot"], m.submodules[f"{unit}_flight"] = slot, flight
            begins, ends = Signal(name=f"{unit}_begins"), Signal(name=f"{unit}_ends")
            m.d.comb += [
                begins.eq(
                    head.valid
                    & ((head.p.wait & ~raised) == 0)
                    & slot.i.ready
                    & flight.i.ready
                    & self._may(m, unit, head, flight, begins)
                    & ~earlier[number]
                ),
                earlier[number + 1].eq(earlier[number] | begins),
                head.ready.eq(begins),
                slot.i.valid.eq(begins),
                slot.i.payload.eq(head.payload),
                flight.i.valid.eq(begins),
                flight.i.payload.eq(head.p.signal),
                flight.o.ready.eq(ends),
                self.busy[unit].eq(flight.o.valid),
            ]
            with m.If(begins):
                m.d.comb += taken.eq(head.p.wait)
            ended = self._offer(m, unit, slot.o)
            m.d.comb += ends.eq(ended)
            signals.append(flight.o.payload & ends.replicate(SEMAPHORES))
        for s, level in enumerate(levels):
            added = tree_sum(signal[s] for signal in signals)
            m.d.sync += level.eq(level + added - taken[s])
        return m

    def _queues(self, m):
        """Of each unit the stream of its instructions."""
        m.submodules.word = word = Fifo(BITS, 1)
        m.d.comb += [
            word.i.valid.eq(self.program.valid),
            word.i.payload.eq(self.program.payload),
            self.program.ready.eq(word.i.ready),
        ]
        header = data.View(data.StructLayout(HEADER), word.o.payload[:_HEADER_BITS])
        m.d.comb += word.o.ready.eq(1)
        heads = {}
        for unit, names in UNITS.items():
            bits = max(sum(WIDTHS[name].values()) for name in names)
            layout = {"wait": SEMAPHORES, "signal": SEMAPHORES, "opcode": 3, "body": bits}
            m.submodules[unit] = queue = Fifo(data.StructLayout(layout), QUEUE, block=False)
            for name in names:
                with m.If(header.opcode == OPCODES.index(name)):
                    m.d.comb += [
                        queue.i.valid.eq(word.o.valid),
                        word.o.ready.eq(queue.i.ready),
                    ]
            m.d.comb += [
                queue.i.p.wait.eq(header.wait),
                queue.i.p.signal.eq(header.signal),
                queue.i.p.opcode.eq(header.opcode),
                queue.i.p.body.eq(word.o.payload[_HEADER_BITS:]),
            ]
            heads[unit] = queue.o
        return heads

    @staticmethod
    def _may(m, unit, head, flight, begins):
        """Whether those that have begun let another begin."""
        if unit != "out":
            return 1
        latest = Signal.like(head.p.opcode)
        with m.If(begins):
            m.d.sync += latest.eq(head.p.opcode)
        alike = (head.p.opcode == latest) & (head.p.opcode != OPCODES.index("fence"))
        return ~flight.o.valid | alike

    def _offer(self, m, unit, slot) -> Value:
        """Gives what has begun to whom it is for; whether one ends."""
        ended = []
        for name in UNITS[unit]:
            mine = slot.p.opcode == OPCODES.index(name)
            port = self.done if name == "fence" else getattr(self, name)
            m.d.comb += [
                port.valid.eq(slot.valid & mine),
                Value.cast(port.payload).eq(slot.p.body),
            ]
            with m.If(mine):
                m.d.comb += slot.ready.eq(port.ready)
            ended.append(port.valid & port.ready if name == "fence" else self.finished[name])
        return Cat(ended).any()
