# amaranth: UnusedElaboratable=no
"""Memories: contents in simulation, and that they become block RAM and nothing else."""

import dataclasses

import numpy as np
import pytest
from amaranth.lib import data
from amaranth.sim import Simulator
from thresher.fpga.devices import device
from thresher.fpga.yosys import synthesise
from thresher.hdl.lib.fifo import Fifo
from thresher.hdl.lib.memory import BLOCK_BITS, BLOCK_ROWS, Ram, Rom


@pytest.mark.parametrize("clear", [False, True])
@pytest.mark.parametrize(("depth", "parts"), [(2, 1), (5, 2), (16, 4), (BLOCK_ROWS + 1, 2)])
def test_ram_gives_what_was_written_before(depth, parts, clear):
    dut = Ram(data.ArrayLayout(BLOCK_BITS // 4, 4), depth, parts, clear=clear)
    rng = np.random.default_rng(depth)
    rows = np.zeros((depth, 4), int)

    async def bench(ctx):
        held = rows[0].copy()
        for _ in range(200):
            write, read = rng.integers(max(0, depth - 16), depth, size=2)
            enable, fetch = int(rng.integers(1 << parts)), rng.random() < 0.7
            row = rng.integers(64, size=4)
            ctx.set(dut.write_en, enable)
            ctx.set(dut.write_addr, int(write))
            ctx.set(dut.write_data, row.tolist())
            ctx.set(dut.read_en, int(fetch))
            ctx.set(dut.read_addr, int(read))
            zero = clear and rng.random() < 0.3
            if clear:
                ctx.set(dut.read_clear, int(zero))
            await ctx.tick()
            if fetch:
                held = 0 * rows[read] if zero else rows[read].copy()
            for part in range(parts):
                if enable >> part & 1:
                    elements = slice(part * 4 // parts, (part + 1) * 4 // parts)
                    rows[write, elements] = row[elements]
            assert list(ctx.get(dut.read_data)) == held.tolist()

    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()


def noise(rows: int, bits: int) -> list[int]:
    return np.random.default_rng(bits).integers(1 << bits, size=rows).tolist()


BLOCK = {"ecp5-25k": {"DP16KD"}, "ice40-up5k": {"SB_RAM40_4K"}, "xc7": {"RAMB18E1", "RAMB36E1"}}


@pytest.mark.parametrize("target", BLOCK)
@pytest.mark.parametrize(
    ("build", "bram"),
    [
        (lambda: Ram(72, 300, collides=False), {"ecp5-25k": 2, "ice40-up5k": 9, "xc7": 2}),
        (
            lambda: Ram(data.ArrayLayout(8, 2), 1024, parts=2, collides=False),
            {"ecp5-25k": 1, "ice40-up5k": 4, "xc7": 1},
        ),
        (lambda: Rom(9, noise(1024, 9)), {"ecp5-25k": 1, "ice40-up5k": 3, "xc7": 1}),
        (
            lambda: Ram(1, 512, collides=False, block=True),
            {"ecp5-25k": 1, "ice40-up5k": 1, "xc7": 1},
        ),
        (
            lambda: Rom(64, [1 << k for k in range(64)], block=True),
            {"ecp5-25k": 2, "ice40-up5k": 4, "xc7": 2},
        ),
    ],
    ids=["wide", "parts", "rom", "few bits", "few rows"],
)
def test_memories_become_block_ram_and_nothing_else(target, build, bram):
    mapped = synthesise(build(), device(target))
    assert mapped.resources.bram == bram[target]
    assert mapped.resources.ff == mapped.resources.lutram == 0
    assert mapped.resources.lut <= 2


@pytest.mark.parametrize("target", ["ecp5-25k", "xc7"])
@pytest.mark.parametrize("depth", [8, 300])
def test_clearing_is_the_output_registers_reset(target, depth):
    plain, clearing = (
        synthesise(Ram(72, depth, collides=False, clear=clear), device(target)).resources
        for clear in (False, True)
    )
    assert clearing == dataclasses.replace(plain, lut=clearing.lut)
    assert clearing.lut <= plain.lut + 2


def test_a_little_more_than_a_power_of_two_takes_little_more():
    small, large, full = (
        synthesise(Ram(72, depth, collides=False), device("ecp5-25k")).resources
        for depth in (1024, 1280, 2048)
    )
    assert small.bram < large.bram < full.bram
    assert large.lut <= 80  # a multiplexer


@pytest.mark.parametrize("target", BLOCK)
def test_a_deep_fifo_keeps_its_payloads_in_block_ram(target):
    mapped = synthesise(Fifo(18, 512), device(target))
    assert BLOCK[target] & set(mapped.cells)
    assert mapped.resources.lutram == 0
    assert mapped.resources.ff <= 40  # the addresses and levels


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: Ram(8, 1), "depth = 1; a Ram has at least 2 rows"),
        (lambda: Ram(data.ArrayLayout(8, 4), 16, parts=3), "parts = 3 does not divide 4"),
        (lambda: Ram(8, 16, parts=2), "parts = 2 needs rows of an ArrayLayout"),
        (lambda: Rom(8, [1]), "1 rows; a Rom has at least 2"),
    ],
)
def test_bad_parameters_name_the_way_out(build, message):
    with pytest.raises((ValueError, TypeError), match=message):
        build()
