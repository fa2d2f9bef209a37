"""Engines on AXI buses: AXI4-Stream for data, AXI4-Lite for registers.

Nothing here lets ``valid`` depend on ``ready``.  On AXI4-Lite no combinational path leads
from an input to an output, and reads and writes each run at one transfer a cycle;
AXI4-Stream ports are wires to the component's own streams.
"""

from dataclasses import dataclass
from typing import Any

from amaranth.hdl import Cat, Const, Module, ResetInserter, Value
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from ..registers import RegisterBus, RegisterFile, RegisterTable
from ..verilog import Ports, StreamPort, ports, values
from .mailbox import DEPTH, MemoryMap, windows
from .stream import SkidBuffer

OKAY, SLVERR = 0b00, 0b10
"""Responses of AXI4-Lite: done, and refused (no such register, or not writable)."""

WRITE_DATA = data.StructLayout({"data": 32, "strobe": 4})
READ_DATA = data.StructLayout({"data": 32, "resp": 2})


@dataclass(frozen=True)
class AxiStream:
    """How a stream of a component looks on AXI4-Stream.

    ``tdata`` is the payload, its fields in order from bit 0, extended with its sign
    or zeros to whole bytes.  A field ``last`` of one bit, of the outermost struct, leaves
    ``tdata`` and becomes ``tlast``.  ``tdata`` has at least one byte.
    """

    name: str
    """Prefix of the signals: ``s_axis_<name>`` or ``m_axis_<name>``."""
    stream: StreamPort
    last: int | None
    """Bit of the payload that ``tlast`` carries."""

    @property
    def width(self) -> int:
        """Bits of ``tdata``, a multiple of 8."""
        bits = self.stream.width - (self.last is not None)
        return max(-(-bits // 8), 1) * 8


def axi_stream(port: StreamPort) -> AxiStream:
    """The AXI4-Stream form of ``port``."""
    prefix = "s_axis" if port.direction == "in" else "m_axis"
    last = None
    try:
        fields = dict(data.Layout.cast(port.shape))
    except TypeError:  # a plain number
        fields = {}
    if "last" in fields and fields["last"].width == 1:
        last = fields["last"].offset
    return AxiStream(f"{prefix}_{port.name}", port, last)


class AxiLiteSlave(wiring.Component):
    """AXI4-Lite channels, as streams, to the accesses of a register bus.

    Answers every request once and in order: a write two cycles after both its address
    and its data came, a read two cycles after its address, each later while the master
    does not take the answers.  The low two bits of an address are ignored.
    """

    aw: Any
    w: Any
    b: Any
    ar: Any
    r: Any
    bus: Any

    def __init__(self, address_bits: int):
        self._address_bits = address_bits
        super().__init__(
            {
                "aw": In(stream.Signature(address_bits)),
                "w": In(stream.Signature(WRITE_DATA)),
                "b": Out(stream.Signature(2)),
                "ar": In(stream.Signature(address_bits)),
                "r": Out(stream.Signature(READ_DATA)),
                "bus": Out(RegisterBus(address_bits - 2)),
            }
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        m.submodules.aw = aw = SkidBuffer(self._address_bits)
        m.submodules.w = w = SkidBuffer(WRITE_DATA)
        m.submodules.ar = ar = SkidBuffer(self._address_bits)
        for skid, port in ((aw, self.aw), (w, self.w), (ar, self.ar)):
            wiring.connect(m, wiring.flipped(port), skid.i)
        bus = self.bus
        m.d.comb += [
            bus.write.eq(aw.o.valid & w.o.valid & (self.b.ready | ~self.b.valid)),
            bus.write_address.eq(aw.o.payload[2:]),
            bus.write_data.eq(w.o.payload.data),
            bus.write_strobe.eq(w.o.payload.strobe),
            aw.o.ready.eq(bus.write),
            w.o.ready.eq(bus.write),
            bus.read.eq(ar.o.valid & (self.r.ready | ~self.r.valid)),
            bus.read_address.eq(ar.o.payload[2:]),
            ar.o.ready.eq(bus.read),
        ]
        with m.If(bus.write):
            m.d.sync += self.b.payload.eq(_response(bus.write_ok))
        with m.If(bus.read):
            m.d.sync += self.r.payload.data.eq(bus.read_data)
            m.d.sync += self.r.payload.resp.eq(_response(bus.read_ok))
        m.d.sync += self.b.valid.eq(bus.write | (self.b.valid & ~self.b.ready))
        m.d.sync += self.r.valid.eq(bus.read | (self.r.valid & ~self.r.ready))
        return m


class AxiWrapper(wiring.Component):
    """A top level for block designs around ``component``, with the registers of ``table``.

    Ports beside ``clk`` and ``rst``: ``s_axis_<name>_tdata/tvalid/tready/tlast`` for each
    input stream, ``m_axis_<name>_…`` for each output stream (:class:`AxiStream`), and
    ``s_axil_…`` for the registers.
    """

    def __init__(self, component: wiring.Component, table: RegisterTable):
        self._component = component
        self._table = table
        self.streams = axi_streams(ports(component))
        """By name of the component's stream."""
        members: dict[str, wiring.Member] = {}
        for axis in self.streams.values():
            to, back = (In, Out) if axis.stream.direction == "in" else (Out, In)
            members[f"{axis.name}_tdata"] = to(axis.width)
            if axis.last is not None:
                members[f"{axis.name}_tlast"] = to(1)
            members[f"{axis.name}_tvalid"] = to(1)
            members[f"{axis.name}_tready"] = back(1)
        super().__init__({**members, **_lite_members(table.address_bits)})

    def elaborate(self, platform) -> Module:
        m = Module()
        m.submodules.registers = registers = RegisterFile(self._table)
        m.submodules.axil = slave = AxiLiteSlave(self._table.address_bits)
        m.submodules.engine = ResetInserter(registers.reset)(self._component)
        wiring.connect(m, slave.bus, registers.bus)
        registers.join(m, self._component)
        _connect_lite(m, self, slave)
        inside = values(self._component)
        for name, axis in self.streams.items():
            self._connect_stream(m, axis, inside[name])
        return m

    def _connect_stream(self, m: Module, axis: AxiStream, inner: Any) -> None:
        tdata, tvalid, tready = (
            getattr(self, f"{axis.name}_{signal}") for signal in ("tdata", "tvalid", "tready")
        )
        payload = Value.cast(inner.payload)
        bits = payload.as_unsigned()
        body = bits if axis.last is None else Cat(bits[: axis.last], bits[axis.last + 1 :])
        if axis.stream.direction == "in":
            m.d.comb += [body.eq(tdata), inner.valid.eq(tvalid), tready.eq(inner.ready)]
            if axis.last is not None:
                m.d.comb += bits[axis.last].eq(getattr(self, f"{axis.name}_tlast"))
        else:
            sign = payload[-1] if payload.shape().signed else Const(0, 1)
            extension = sign.replicate(axis.width - len(body))
            m.d.comb += [
                tdata.eq(Cat(body, extension)),
                tvalid.eq(inner.valid),
                inner.ready.eq(tready),
            ]
            if axis.last is not None:
                m.d.comb += getattr(self, f"{axis.name}_tlast").eq(bits[axis.last])


class AxiLiteWrapper(wiring.Component):
    """A top level for buses without streams: ``s_axil_…`` alone, over registers of ``table``
    and streams in the windows of :mod:`~thresher.hdl.lib.mailbox`, beside ``clk`` and ``rst``.

    Addresses have one bit more than the table's; each stream has a queue of ``depth`` words.
    """

    def __init__(self, component: wiring.Component, table: RegisterTable, depth: int = DEPTH):
        self._content = component, table, depth
        self.windows = windows(ports(component), table.address_bits, depth)
        """By name of the component's stream."""
        super().__init__(_lite_members(table.address_bits + 1))

    def elaborate(self, platform) -> Module:
        m = Module()
        m.submodules.map = inside = MemoryMap(*self._content)
        m.submodules.axil = slave = AxiLiteSlave(inside.address_bits)
        wiring.connect(m, slave.bus, inside.bus)
        _connect_lite(m, self, slave)
        return m


def axi_streams(described: Ports) -> dict[str, AxiStream]:
    """The AXI4-Stream form of every stream, by the stream's name."""
    return {name: axi_stream(port) for name, port in described.streams.items()}


def _response(ok: Value) -> Value:
    return Cat(Const(0, 1), ~ok)


def _lite_members(address_bits: int) -> dict[str, wiring.Member]:
    """The flat ports ``s_axil_…``."""
    members: dict[str, wiring.Member] = {}
    for channel, to, back, signals in (
        ("aw", In, Out, {"addr": address_bits, "prot": 3}),
        ("w", In, Out, {"data": 32, "strb": 4}),
        ("b", Out, In, {"resp": 2}),
        ("ar", In, Out, {"addr": address_bits, "prot": 3}),
        ("r", Out, In, {"data": 32, "resp": 2}),
    ):
        for name, width in signals.items():
            members[f"s_axil_{channel}{name}"] = to(width)
        members[f"s_axil_{channel}valid"] = to(1)
        members[f"s_axil_{channel}ready"] = back(1)
    return members


def _connect_lite(m: Module, top: wiring.Component, slave: AxiLiteSlave) -> None:
    """Joins the flat ports of ``top`` to the channels of ``slave``."""
    port = {name: getattr(top, name) for name in _lite_members(1)}
    m.d.comb += [
        slave.aw.payload.eq(port["s_axil_awaddr"]),
        slave.w.payload.data.eq(port["s_axil_wdata"]),
        slave.w.payload.strobe.eq(port["s_axil_wstrb"]),
        port["s_axil_bresp"].eq(slave.b.payload),
        slave.ar.payload.eq(port["s_axil_araddr"]),
        port["s_axil_rdata"].eq(slave.r.payload.data),
        port["s_axil_rresp"].eq(slave.r.payload.resp),
    ]
    for name in ("aw", "w", "ar"):
        channel = getattr(slave, name)
        m.d.comb += channel.valid.eq(port[f"s_axil_{name}valid"])
        m.d.comb += port[f"s_axil_{name}ready"].eq(channel.ready)
    for name in ("b", "r"):
        channel = getattr(slave, name)
        m.d.comb += port[f"s_axil_{name}valid"].eq(channel.valid)
        m.d.comb += channel.ready.eq(port[f"s_axil_{name}ready"])
