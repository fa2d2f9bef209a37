"""The register table: addresses, JSON, C header, and the registers in hardware."""

import json
import shutil
import subprocess
from dataclasses import replace

import pytest
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out
from amaranth.sim import Simulator
from thresher.hdl.registers import ID, RegisterFile, register_table
from thresher.hdl.verilog import ports


@pytest.fixture
def table(accumulator):
    return register_table("adder", ports(accumulator()), accumulator.TEXTS, "n = 3")


def test_addresses_follow_the_declaration(table):
    assert [(r.name, r.offset, r.words, r.access) for r in table.registers] == [
        ("id", 0x00, 1, "ro"),
        ("version", 0x04, 1, "ro"),
        ("identity", 0x08, 1, "ro"),
        ("reset", 0x0C, 1, "wo"),
        ("threshold", 0x10, 1, "rw"),
        ("start", 0x14, 2, "rw"),
        ("flags", 0x1C, 1, "ro"),
        ("beats", 0x20, 3, "ro"),
        ("lowest", 0x2C, 1, "ro"),
    ]
    assert table.bytes == 0x30
    assert table.address_bits == 12
    assert json.loads(json.dumps(table.json()))[4] == {
        "name": "threshold", "offset": 16, "words": 1, "access": "rw", "bits": 11,
        "signed": True, "init": -5, "text": "Values below it do not count.",
    }  # fmt: skip


def test_identity_tells_maps_and_configurations_apart(table, accumulator):
    described = ports(accumulator())

    def identity(texts=accumulator.TEXTS, name="adder", configuration="n = 3"):
        return register_table(name, described, texts, configuration)["identity"].init

    assert identity() == table["identity"].init
    others = [
        identity({**accumulator.TEXTS, "lowest": "Another."}),
        identity(name="other"),
        identity(configuration="n = 4"),
    ]
    assert len({identity(), *others}) == 4


def test_bad_tables_are_refused(accumulator):
    described = ports(accumulator())
    texts = dict(accumulator.TEXTS)
    with pytest.raises(ValueError, match="texts for speed, which the component lacks"):
        register_table("x", described, {**texts, "speed": "?"})
    del texts["beats"]
    with pytest.raises(ValueError, match="no text says what beats"):
        register_table("x", described, texts)

    class Clash(wiring.Component):
        identity: In(1)

    with pytest.raises(ValueError, match="every table has its own identity"):
        register_table("x", ports(Clash()), {"identity": "?"})


@pytest.mark.skipif(shutil.which("gcc") is None, reason="gcc is not installed")
def test_header_is_plain_c11(table, tmp_path):
    # The widest values that C has literals for, and the ones that it has not.
    extremes = [
        replace(table["lowest"], name=f"edge{k}", width=width, signed=signed, init=init)
        for k, (width, signed, init) in enumerate(
            [
                (32, True, -(1 << 31)),
                (64, True, -(1 << 63)),
                (64, False, (1 << 64) - 1),
                (65, False, 1 << 64),
            ]
        )
    ]
    table = replace(table, registers=(*table.registers, *extremes))
    (tmp_path / "adder.h").write_text(table.header())
    (tmp_path / "main.c").write_text(
        """
        #include <stdint.h>
        #include <stdio.h>
        #include "adder.h"
        #include "adder.h"
        int main(void) {
            int32_t smallest = ADDER_EDGE0_INIT;
            int64_t least = ADDER_EDGE1_INIT;
            uint64_t most = ADDER_EDGE2_INIT;
            printf("%x %u %u %d %lld %u %d %d %d\\n", ADDER_ID_VALUE, ADDER_BYTES,
                ADDER_BEATS_OFFSET, ADDER_THRESHOLD_INIT, (long long)ADDER_START_INIT,
                ADDER_START_BITS, smallest == INT32_MIN, least == INT64_MIN, most == UINT64_MAX);
            return 0;
        }
        """
    )
    flags = ["-std=c11", "-Wall", "-Wextra", "-Wpedantic", "-Werror"]
    subprocess.run(["gcc", *flags, "-o", "main", "main.c"], cwd=tmp_path, check=True)
    printed = subprocess.run([tmp_path / "main"], check=True, capture_output=True, text=True).stdout
    assert printed.split() == [
        f"{ID:x}", str(table.bytes), str(0x20), "-5", str(-(1 << 40)), "45", "1", "1", "1",
    ]  # fmt: skip


class Bus:
    """Accesses of a register file, one a cycle."""

    def __init__(self, ctx, bus):
        self.ctx, self.bus = ctx, bus

    async def write(self, offset, value, strobe=0b1111):
        ctx, bus = self.ctx, self.bus
        ctx.set(bus.write, 1)
        ctx.set(bus.write_address, offset // 4)
        ctx.set(bus.write_data, value)
        ctx.set(bus.write_strobe, strobe)
        ok = ctx.get(bus.write_ok)
        await ctx.tick()
        ctx.set(bus.write, 0)
        return ok

    async def read(self, offset):
        ctx, bus = self.ctx, self.bus
        ctx.set(bus.read, 1)
        ctx.set(bus.read_address, offset // 4)
        answer = ctx.get(bus.read_ok), ctx.get(bus.read_data)
        await ctx.tick()
        ctx.set(bus.read, 0)
        return answer


def simulate(table, body):
    dut = RegisterFile(table)

    async def bench(ctx):
        await body(ctx, dut, Bus(ctx, dut.bus))

    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()


def test_constants_and_initial_values(table):
    async def body(ctx, dut, bus):
        for r in table.registers:
            if r.access == "rw" or r.constant:
                for k in range(r.words):
                    word = (r.init >> (32 * k)) & 0xFFFFFFFF
                    assert await bus.read(r.offset + 4 * k) == (1, word), r.name
        assert await bus.read(table["reset"].offset) == (1, 0)
        assert await bus.read(table.bytes) == (0, 0)

    simulate(table, body)


def test_controls_honour_strobes_and_sign(table):
    async def body(ctx, dut, bus):
        offset = table["threshold"].offset
        assert await bus.write(offset, 0xFFFF_FC00)
        assert ctx.get(dut.control.threshold) == -1024
        assert await bus.write(offset, 0xAAAA_AA7F, strobe=0b0001)
        assert ctx.get(dut.control.threshold) == -1024 + 0x7F
        assert await bus.write(offset, 0xFFFF_03FF, strobe=0b1110)
        assert ctx.get(dut.control.threshold) == 0x37F
        assert await bus.read(offset) == (1, 0x37F)
        assert await bus.write(offset, 0, strobe=0)
        assert ctx.get(dut.control.threshold) == 0x37F

    simulate(table, body)


def test_wide_controls_change_in_one_piece(table):
    async def body(ctx, dut, bus):
        offset, before = table["start"].offset, -(1 << 40)
        await bus.write(offset, 0x1234_5678)
        assert ctx.get(dut.control.start) == before
        await bus.write(offset, 0x9999_99AA, strobe=0b0001)
        assert ctx.get(dut.control.start) == before
        await bus.write(offset + 4, 0x0FFF, strobe=0)
        assert ctx.get(dut.control.start) == before
        await bus.write(offset + 4, 0x0FFF)
        assert ctx.get(dut.control.start) == 0x0FFF_1234_56AA
        assert await bus.read(offset + 4) == (1, 0x0FFF)

    simulate(table, body)


def test_wide_statuses_are_read_in_one_piece(table):
    async def body(ctx, dut, bus):
        offset = table["beats"].offset
        ctx.set(dut.status.beats, 0x77_89ABCDEF_01234567)
        assert await bus.read(offset) == (1, 0x01234567)
        ctx.set(dut.status.beats, 0)
        assert await bus.read(table["lowest"].offset) == (1, 0)
        assert await bus.read(offset + 4) == (1, 0x89ABCDEF)
        assert await bus.read(offset + 8) == (1, 0x77)
        ctx.set(dut.status.lowest, -7)
        assert await bus.read(table["lowest"].offset) == (1, 0xFFFF_FFF9)

    simulate(table, body)


def test_what_cannot_be_written_is_refused(table):
    async def body(ctx, dut, bus):
        for r in table.registers:
            assert await bus.write(r.offset, 0) == (r.access != "ro"), r.name
        assert not await bus.write(table.bytes, 0)
        assert await bus.write(table["reset"].offset, 1)
        assert ctx.get(dut.reset)
        await ctx.tick()
        assert not ctx.get(dut.reset), "it clears itself"

    simulate(table, body)


def test_a_component_without_registers_has_a_table():
    class Bare(wiring.Component):
        nothing: Out(0)

    table = register_table("bare", ports(Bare()), {"nothing": "No bits."})
    assert [r.name for r in table.registers] == ["id", "version", "identity", "reset"]

    async def body(ctx, dut, bus):
        assert await bus.read(0) == (1, ID)

    simulate(table, body)
