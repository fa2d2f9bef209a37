"""Waveforms hold the cycles asked for, in both formats, without external libraries."""

import struct
from pathlib import Path

import pytest
from thresher.sim import Wave, simulate

HIERARCHY_LZ4 = 6


def test_vcd_window(blend, tmp_path):
    path = tmp_path / "w.vcd"
    simulate(blend, wave=Wave(path, begin=10, end=20), samples=100)
    text = path.read_text()
    assert "$timescale 1ns" in text.replace("  ", " ")
    assert "x__payload" in text
    times = [int(line[1:]) for line in text.splitlines() if line.startswith("#")]
    # Four cycles of reset come first; a cycle is 10 ns, its rising edge in the middle.
    assert 140 <= min(times) <= 145
    assert 235 <= max(times) < 240


def test_fst_is_complete(blend, tmp_path):
    path = tmp_path / "w.fst"
    simulate(blend, wave=path, samples=2000)
    blocks = dict(fst_blocks(path.read_bytes()))
    assert {0, 1, 3, HIERARCHY_LZ4} <= blocks.keys()  # header, values, geometry, names
    start, end = struct.unpack_from(">QQ", blocks[0])
    assert start == 0
    assert 20_000 < end < 25_000
    (size,) = struct.unpack_from(">Q", blocks[HIERARCHY_LZ4])
    names = lz4_decompress(blocks[HIERARCHY_LZ4][8:])
    assert len(names) == size
    assert b"x__payload" in names
    assert path.stat().st_size < 500_000


def test_amaranth_writes_whole_vcd_only(blend, tmp_path):
    simulate(blend, backend="amaranth", wave=tmp_path / "w.vcd", samples=5)
    assert "x__payload" in (tmp_path / "w.vcd").read_text()
    for wave in (tmp_path / "w.fst", Wave(tmp_path / "w.vcd", begin=3)):
        with pytest.raises(ValueError, match='use backend "verilator"'):
            simulate(blend, backend="amaranth", wave=wave)


def test_a_file_that_cannot_be_written_is_named(blend):
    with pytest.raises(RuntimeError, match="cannot write /nowhere/w"):
        simulate(blend, wave=Path("/nowhere/w.vcd"))


def fst_blocks(data):
    """Kind and content of each block of an FST file."""
    at = 0
    while at < len(data):
        (length,) = struct.unpack_from(">Q", data, at + 1)
        kind = 1 if data[at] in (1, 5, 8) else data[at]  # flavours of value changes
        yield kind, data[at + 9 : at + 1 + length]
        at += 1 + length


def lz4_decompress(data):
    """The LZ4 block format, by its specification."""
    out = bytearray()
    at = 0

    def length(nibble):
        nonlocal at
        total = nibble
        while nibble == 15:
            total += data[at]
            at += 1
            if data[at - 1] != 255:
                break
        return total

    while True:
        token = data[at]
        at += 1
        literals = length(token >> 4)
        out += data[at : at + literals]
        at += literals
        if at == len(data):
            return bytes(out)
        offset = int.from_bytes(data[at : at + 2], "little")
        at += 2
        for _ in range(length(token & 15) + 4):
            out.append(out[-offset])
