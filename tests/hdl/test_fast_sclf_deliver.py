"""The way out against a plain model: u by the polar transform, the CRC, the message."""

from dataclasses import dataclass

import numpy as np
import pytest
from amaranth.sim import Simulator
from thresher.hdl.fast_sclf.deliver import Deliver, latency
from thresher.hdl.fast_sclf.extract import controls
from thresher.hdl.fast_sclf.outbox import message_beats
from thresher.hdl.fast_sclf.shape import Shape
from thresher.models.codes.polar import transform
from thresher.models.fast_sclf.config import FastSclfConfig

SHAPES = [
    {},
    {"list_size": 4, "length": 64, "crc": "crc11"},
    {"list_size": 1, "pes": 16, "beat": 16},
    {"list_size": 8, "pes": 8, "beat": 4, "length": 128, "crc": "crc6x3"},
    {"pes": 16, "length": 64, "beat": 8},
    {"list_size": 4, "length": 256, "crc": "crc24c", "beat": 4},
]


def make(**overrides):
    return Shape(FastSclfConfig.preset("small", **overrides))


def random_frozen(shape, n, rng):
    """Any frozen set with a message of 1 bit at least."""
    free = int(rng.integers(shape.config.check.length + 1, n + 1))
    return ~np.isin(np.arange(n), rng.permutation(n)[:free])


@dataclass
class Decoding:
    """What a list decoder ends with."""

    messages: np.ndarray
    """[list_size, k]"""
    right: np.ndarray
    """[list_size]: whether the CRC is."""
    active: int
    """How many slots are."""
    first: bool
    pointers: np.ndarray
    """[levels - row_level, list_size]"""
    sums: np.ndarray
    """[list_size, rows, pes]: the banks."""

    @classmethod
    def random(cls, shape, frozen, rng, first, chance):
        lists, pes, crc = shape.config.list_size, shape.config.pes, shape.config.check
        k = int((~frozen).sum()) - crc.length
        sent = crc.append(rng.integers(2, size=(lists, k)))
        right = rng.random(lists) < chance
        u = np.zeros((lists, len(frozen)), np.uint8)
        for slot in np.flatnonzero(~right):  # some with an error in the very last bit alone
            sent[slot, -1 if rng.random() < 0.5 else rng.integers(k + crc.length)] ^= 1
        u[:, ~frozen] = sent
        pointers = np.array([rng.permutation(lists) for _ in range(shape.levels - shape.row_level)])
        sums = rng.integers(2, size=(lists, shape.rows, pes))
        at = 0
        for level in reversed(range(shape.row_level, len(frozen).bit_length() - 1)):
            words = transform(u[:, at : at + 2**level]).reshape(lists, -1, pes)
            for row in range(words.shape[1]):
                bank = pointers[level - shape.row_level]
                sums[bank, shape.row(level, row)] = words[:, row]
            at += 2**level
        sums[:, 0] = transform(u[:, at:])
        return cls(sent[:, :k], right, int(rng.integers(lists)) + 1, first, pointers, sums)

    @property
    def checked(self):
        """Slots that are, and whether the last of them was right."""
        right = np.flatnonzero(self.right[: self.active])
        return (right[0] + 1, True) if len(right) else (self.active, False)


def number(bits):
    return int("".join(map(str, bits[::-1])), 2)


class Bench:
    """Sums' second port, the instruction's side and the message's, cycle by cycle."""

    def __init__(self, shape, frozen):
        self.shape, self.frozen = shape, frozen
        self.deliver = Deliver(shape)
        self.beats, self.cycles, self.verdicts = [], [], []
        self.cycle = 0

    def run(self, decodings, stall):
        """``stall(cycle)``: whether the message is not ready."""
        d = self.deliver
        k = int((~self.frozen).sum()) - self.shape.config.check.length

        async def tick(ctx):
            if ctx.get(d.message.valid) and ctx.get(d.message.ready):
                p = d.message.p
                bits = [ctx.get(bit) for bit in p.bits]
                self.beats.append((bits, ctx.get(p.found), ctx.get(p.last)))
                self.cycles.append(self.cycle)
            row = None
            if ctx.get(d.row_enable):
                half, bank = ctx.get(d.row_half), ctx.get(d.row_bank)
                row = number(self.halves[half][bank, ctx.get(d.row_address)])
            await ctx.tick()
            if row is not None:
                ctx.set(d.row, row)
            self.cycle += 1
            ctx.set(d.message.ready, not stall(self.cycle))

        async def bench(ctx):
            self.halves = [decodings[0].sums] * 2
            ctx.set(d.rows, len(self.frozen) // self.shape.config.pes)
            ctx.set(d.k, k)
            for address, control in enumerate(controls(self.shape, self.frozen)):
                ctx.set(d.control_write, 1)
                ctx.set(d.control_address, address)
                ctx.set(d.control, d.control.shape().from_bits(control))
                await tick(ctx)
            ctx.set(d.control_write, 0)
            for at, decoding in enumerate(decodings):
                while not ctx.get(d.ready):
                    await tick(ctx)
                self.halves[at % 2] = decoding.sums
                ctx.set(d.finish, 1)
                ctx.set(d.half, at % 2)
                ctx.set(d.pointers, decoding.pointers.tolist())
                ctx.set(d.active, (1 << decoding.active) - 1)
                ctx.set(d.first, decoding.first)
                begin = self.cycle
                await tick(ctx)
                ctx.set(d.finish, 0)
                ctx.set(d.pointers, (decoding.pointers * 0).tolist())
                while not ctx.get(d.verdict):
                    await tick(ctx)
                self.verdicts.append((begin, self.cycle, ctx.get(d.passed)))
                last = at == len(decodings) - 1 or decodings[at + 1].first
                if not ctx.get(d.passed) and last:
                    for _ in range(at % 3):
                        await tick(ctx)
                    ctx.set(d.give_up, 1)
                    await tick(ctx)
                    ctx.set(d.give_up, 0)
            want = len(self.expected(decodings)["last"])
            for _ in range(100 * len(decodings) + 3000):
                if len(self.beats) == want:
                    break
                await tick(ctx)
            for _ in range(20):
                await tick(ctx)

        simulator = Simulator(d)
        simulator.add_clock(1e-6)
        simulator.add_testbench(bench)
        simulator.run()

    def expected(self, decodings):
        messages, found = [], []
        for at, decoding in enumerate(decodings):
            if decoding.first:
                kept = decoding.messages[0]
            checked, passed = decoding.checked
            if passed or at == len(decodings) - 1 or decodings[at + 1].first:
                messages.append(decoding.messages[checked - 1] if passed else kept)
                found.append(passed)
        return message_beats(self.shape.config, np.array(messages), np.array(found))

    def hold(self, decodings):
        want = self.expected(decodings)
        got = [np.array(field) for field in zip(*self.beats, strict=True)]
        for name, field in zip(("bits", "found", "last"), got, strict=True):
            np.testing.assert_array_equal(field, want[name], err_msg=name)
        rows = len(self.frozen) // self.shape.config.pes
        for decoding, (begin, end, passed) in zip(decodings, self.verdicts, strict=True):
            checked, right = decoding.checked
            assert (end - begin, passed) == (latency(self.shape, rows, checked), right)


def draw(shape, frozen, rng, frames, chance):
    """Frames of one or more decodings, all of which fail but the last one, and that one perhaps."""
    found = []
    for _ in range(frames):
        first = True
        for _ in range(4):
            found.append(Decoding.random(shape, frozen, rng, first, chance))
            if found[-1].checked[1]:
                break
            first = False
    return found


@pytest.mark.parametrize("stalled", [0, 0.5, 0.95])
@pytest.mark.parametrize("overrides", SHAPES)
def test_messages_of_the_first_right_slots(overrides, stalled):
    shape = make(**overrides)
    rng = np.random.default_rng(len(str(overrides)))
    for n in (shape.config.length, shape.config.length // 2):
        frozen = random_frozen(shape, max(n, 2 * shape.config.pes), rng)
        bench = Bench(shape, frozen)
        decodings = draw(shape, frozen, rng, 6, 0.4)
        bench.run(decodings, lambda cycle: rng.random() < stalled)
        bench.hold(decodings)


def test_the_first_beat_comes_with_the_verdict():
    shape, rng = make(length=64), np.random.default_rng(1)
    frozen = random_frozen(shape, 64, rng)
    bench = Bench(shape, frozen)
    decodings = [Decoding.random(shape, frozen, rng, True, 1) for _ in range(4)]
    bench.run(decodings, lambda cycle: False)
    bench.hold(decodings)
    beats = len(bench.cycles) // 4
    assert [cycle for _, cycle, _ in bench.verdicts] == bench.cycles[::beats]
    np.testing.assert_array_equal(np.diff(np.reshape(bench.cycles, (4, beats)), axis=1), 1)


def test_one_decoding_is_checked_while_a_message_is_held_up():
    shape, rng = make(), np.random.default_rng(2)
    frozen = random_frozen(shape, 32, rng)
    bench = Bench(shape, frozen)
    decodings = [Decoding.random(shape, frozen, rng, True, 1) for _ in range(3)]
    bench.run(decodings, lambda cycle: cycle < 1000)
    bench.hold(decodings)
    begins = [begin for begin, _, _ in bench.verdicts]
    assert begins[1] < 1000 < begins[2]
