"""One core against the golden decoder: which positions it flips, and when."""

import numpy as np
import pytest
from amaranth.sim import Simulator
from thresher.hdl.grand.core import Core
from thresher.models.codes import gf2
from thresher.models.codes.channel import Quantiser, hard
from thresher.models.codes.linear import LinearCode, random_code
from thresher.models.grand import workloads
from thresher.models.grand.config import OrbgrandConfig, StepGrandConfig
from thresher.models.grand.decoder import Grand

SMALL = OrbgrandConfig.preset("small")


def run(config, code, received, stall=0.0):
    """(found, flipped positions) of every word that is no word of the code."""
    core, rng = Core(config), np.random.default_rng(1)
    bits = hard(received)
    skip = config.skip_parity
    columns = gf2.pack(code.beside_parity.T) if skip else code.columns
    syndromes = np.bitwise_xor.reduce(np.where(bits == 1, columns, 0), axis=1)
    largest = (1 << config.llr_bits - 1) - 1
    rows = -(-code.n // config.lanes)
    padded = np.full((len(received), rows * config.lanes), largest)
    padded[:, : code.n] = received
    results = []

    async def feed(ctx):
        for at, column in enumerate(columns):
            ctx.set(core.column_write, 1)
            ctx.set(core.column_address, at)
            ctx.set(core.column, int(column))
            await ctx.tick()
        ctx.set(core.column_write, 0)
        ctx.set(core.length, code.n)
        ctx.set(core.skip_parity, skip)
        for word, syndrome, hard_bits in zip(padded, syndromes, bits, strict=True):
            for row in range(rows):
                while rng.random() < stall:
                    await ctx.tick()
                llrs = word[row * config.lanes :][: config.lanes].tolist()
                ctx.set(core.suspects.payload, {
                    "llrs": llrs, "syndrome": int(syndrome), "odd": int(hard_bits.sum() & 1),
                    "last": row == rows - 1,
                })  # fmt: skip
                ctx.set(core.suspects.valid, 1)
                await ctx.tick().until(core.suspects.ready)
                ctx.set(core.suspects.valid, 0)

    async def drain(ctx):
        for _ in received:
            flips, last = [], False
            while not last:
                while rng.random() < stall:
                    await ctx.tick()
                ctx.set(core.flips.ready, 1)
                (flip,) = await ctx.tick().sample(core.flips.payload).until(core.flips.valid)
                ctx.set(core.flips.ready, 0)
                flips.append(flip.position)
                last = flip.last
            results.append((flip.found, sorted(flips) if flip.found else []))

    simulator = Simulator(core)
    simulator.add_clock(1e-6)
    simulator.add_testbench(feed)
    simulator.add_testbench(drain)
    simulator.run()
    return results


def words(config, code, seed=0):
    """Random words and corner cases, those that fail."""
    decoder = Grand(code, config.staircase.shortened(code.n), config.skip_parity)
    quantiser = Quantiser(config.llr_bits, 0.2)
    received = np.concatenate(
        [
            workloads.noisy(decoder, 2.0, 20, quantiser, seed),
            workloads.corners(decoder, quantiser, seed),
        ]
    )
    received = received[code.syndrome(hard(received)).any(1)]
    decoded = decoder(received)
    flips = [np.flatnonzero(row).tolist() for row in decoded.words != hard(received)]
    return received, list(zip(decoded.found.tolist(), flips, strict=True))


def even_code(n, k):
    """A random code of even weight."""
    code = random_code(n - 1, k)
    H = np.concatenate([np.pad(code.H, ((0, 0), (0, 1))), np.ones((1, n), np.uint8)])
    return LinearCode(H)


@pytest.mark.parametrize(("lanes", "stall"), [(8, 0.0), (32, 0.5)])
def test_orbgrand(lanes, stall):
    config, code = SMALL.replace(lanes=lanes), random_code(32, 20)
    received, expected = words(config, code)
    assert any(found for found, _ in expected)
    assert not all(found for found, _ in expected)
    assert run(config, code, received, stall) == expected


def test_long_prefixes():
    config = SMALL.replace(lw_max=40, p=7, checks=18)
    code = random_code(32, 14)
    received, expected = words(config, code)
    assert run(config, code, received[:8]) == expected[:8]


@pytest.mark.parametrize("n", [27, 7])
def test_step_grand(n):
    """By parity; codes shorter than the engine, too."""
    config = StepGrandConfig.preset("small")
    code = even_code(n, max(n // 2, n - 13))
    received, expected = words(config, code)
    assert run(config, code, received) == expected
