"""Floating-point units, bit for bit the golden functions: random, special and adversarial bits."""

from functools import cache

import numpy as np
import pytest
from amaranth.hdl import Cat, Module, Signal
from amaranth.lib import data, stream
from amaranth.lib.wiring import Component, In, Out
from thresher.hdl.lib import floating
from thresher.hdl.lib.floating import pipeline
from thresher.models import floating as model
from thresher.models.floating import BF16, FP16, FP32, decode, encode
from thresher.sim.beats import pack, unpack
from thresher.sim.verilator import run

STAGES = {"fp16": (2, 3, 4, 6, 8), "bf16": (1, 2, 4, 13)}
FORMATS = {"fp16": FP16, "bf16": BF16}


class Units(Component):
    """Every unit behind one stream of numbers, each with a stream of its own for its results."""

    def __init__(self):
        numbers = data.StructLayout({"s": 32, "a": 32, "b": 32})
        self.units = {
            **{f"mac_{f}_{n}": floating.Accumulate(f, n) for f in FORMATS for n in STAGES[f]},
            "mac_int8_1": floating.Accumulate("int8", 1),
            **{f"multiply_{n}": floating.Fp32Multiply(n) for n in (4, 9)},
            **{f"add_{n}": floating.Fp32Add(n) for n in (4,)},
            **{f"narrow_{f}": floating.Fp32Narrow(f) for f in FORMATS},
            **{f"integer_{n}": floating.Int32ToFp32(n) for n in (2, 7)},
        }
        outputs = {name: Out(stream.Signature(len(unit.o))) for name, unit in self.units.items()}
        super().__init__({"i": In(stream.Signature(numbers))} | outputs)

    def elaborate(self, platform) -> Module:
        m = Module()
        m.d.comb += self.i.ready.eq(1)
        numbers, valid = self.i.payload, [self.i.valid]
        for _ in range(16):
            valid.append(Signal())
            m.d.sync += valid[-1].eq(valid[-2])
        products, sums = {}, {}
        for format in ("fp16", "bf16", "int8"):
            m.submodules[f"multiply_{format}"] = multiply = floating.Multiply(format)
            operands = floating.operand_layout(format)
            for name in "ab":
                number = numbers[name][: 8 if format == "int8" else 16]
                operand = Signal(operands, name=f"{format}_{name}")
                m.d.comb += [operand.eq(floating.unpack(format, number)),
                             getattr(multiply, name).eq(operand)]  # fmt: skip
            late = numbers.s
            for _ in range(multiply.latency):
                register = Signal(32)
                m.d.sync += register.eq(late)
                late = register
            products[format], sums[format] = multiply, late
        for name, unit in self.units.items():
            m.submodules[name] = unit
            latency = unit.latency
            if name.startswith("mac"):
                format = name.split("_")[1]
                m.d.comb += [unit.product.eq(products[format].product), unit.sum.eq(sums[format])]
                latency += products[format].latency
            elif name.startswith(("multiply", "add")):
                m.d.comb += Cat(unit.a, unit.b).eq(Cat(numbers.a, numbers.b))
            else:
                m.d.comb += unit.i.eq(numbers.s)
            output = getattr(self, name)
            m.d.comb += [output.payload.eq(unit.o), output.valid.eq(valid[latency])]
        return m


def specials(format: model.Float) -> list[int]:
    """Both signs of zeros, infinities, NaN and the ends of subnormal and normal numbers."""
    one, normal = format.bias << format.fraction_bits, 1 << format.fraction_bits
    sizes = [0, 1, 2, normal - 1, normal, normal + 1, one - 1, one, one + 1,
             format.infinity - 1, format.infinity, format.nan, format.infinity + 1]  # fmt: skip
    return [size | sign << format.bits - 1 for size in sizes for sign in (0, 1)]


def drawn(rng, format: model.Float, count: int) -> np.ndarray:
    """Bits of numbers of all exponents, many of them with short significands."""
    bits = rng.integers(1 << format.bits, size=count)
    cut = rng.integers(format.fraction_bits + 1, size=count)
    bits = np.where(rng.random(count) < 0.4, bits >> cut << cut, bits)
    near = rng.choice(specials(format), count) + rng.integers(-2, 3, count)
    return np.where(rng.random(count) < 0.2, near, bits) % (1 << format.bits)


@cache
def numbers(seed: int = 1, count: int = 40000) -> dict[str, np.ndarray]:
    """Operands in 16 bits of each format in the low half of ``a`` and ``b``, FP32 in all of them;
    sums of all kinds, and such that nearly cancel a product of either format or make ties."""
    rng = np.random.default_rng(seed)
    columns = []
    for format in FORMATS.values():
        a, b = drawn(rng, format, count), drawn(rng, format, count)
        every = np.array(np.meshgrid(specials(format), specials(format), specials(FP32)))
        every = every.reshape(3, -1)
        s = drawn(rng, FP32, count)
        with np.errstate(all="ignore"):
            product = decode(a, format).astype(float) * decode(b, format)
            negated = (-product).astype(np.float32).view(np.uint32).astype(np.int64)
            # Of which the product is near half a unit in the last place, or near all of it.
            scale = 2.0 ** rng.integers(22, 27, count) * rng.choice([-1, 1], count)
            large = (product * scale).astype(np.float32).view(np.uint32).astype(np.int64)
        which = rng.integers(4, size=count)
        offset = rng.integers(-3, 4, count)
        s = np.where(which == 0, negated + offset, np.where(which == 1, large + offset, s))
        columns.append(np.concatenate([every, [a, b, s % (1 << 32)]], axis=1))
    a, b, s = np.concatenate(columns, axis=1)
    high = drawn(rng, FP32, 2 * len(a)) >> 16 << 16
    a, b = (low | more for low, more in zip((a, b), np.split(high, 2), strict=True))
    # FP32 operands that nearly cancel or whose product is near the least numbers.
    b = np.where(rng.random(len(b)) < 0.2, (a ^ 1 << 31) + (rng.integers(-2, 3, len(b)) << 16), b)
    pairs = np.array(np.meshgrid(specials(FP32), specials(FP32))).reshape(2, -1)
    a, b = (np.concatenate([x, y]) for x, y in zip((a, b), pairs, strict=True))
    s = np.concatenate([s, np.resize(specials(FP32), pairs.shape[1])])
    return {"s": s % (1 << 32), "a": a % (1 << 32), "b": b % (1 << 32)}


@cache
def results() -> dict[str, np.ndarray]:
    units, given = Units(), numbers()
    count = len(given["s"])
    ran = run(units, {"i": pack(units.i.payload.shape(), given)}, dict.fromkeys(units.units, count))
    for name, unit in units.units.items():
        delay = unit.latency + floating.Multiply.latency * name.startswith("mac")
        assert (ran.output_cycles[name] == ran.input_cycles["i"] + delay).all()
    shapes = {name: len(unit.o) for name, unit in units.units.items()}
    return {name: unpack(shapes[name], ran.outputs[name]) for name in units.units}


def hold(name: str, want: np.ndarray) -> None:
    got, given = results()[name], numbers()
    wrong = np.flatnonzero(got != want)
    examples = [
        {k: hex(v[i]) for k, v in given.items()} | {"got": hex(got[i]), "want": hex(want[i])}
        for i in wrong[:5]
    ]
    assert not len(wrong), (len(wrong), examples)


def half(name: str) -> np.ndarray:
    return numbers()[name] & 0xFFFF


def value(name: str) -> np.ndarray:
    return decode(numbers()[name], FP32)


@pytest.mark.parametrize(("name", "stages"), [(name, n) for name in STAGES for n in STAGES[name]])
def test_accumulate_rounds_the_exact_sum_once(name, stages):
    a, b = (decode(half(x), FORMATS[name]) for x in "ab")
    hold(f"mac_{name}_{stages}", encode(model.fma(value("s"), a, b), FP32))


def test_accumulate_integers_wraps():
    a, b = (numbers()[x].astype(np.int8).astype(np.int64) for x in "ab")
    hold("mac_int8_1", (numbers()["s"] + a * b) % (1 << 32))


@pytest.mark.parametrize("stages", [4, 9])
def test_fp32_multiply(stages):
    hold(f"multiply_{stages}", encode(model.multiply(value("a"), value("b")), FP32))


def test_fp32_add():
    hold("add_4", encode(model.add(value("a"), value("b")), FP32))


@pytest.mark.parametrize("name", FORMATS)
def test_fp32_narrow(name):
    hold(f"narrow_{name}", encode(value("s"), FORMATS[name]))


@pytest.mark.parametrize("stages", [2, 7])
def test_int32_to_fp32(stages):
    integers = numbers()["s"].astype(np.uint32).view(np.int32)
    hold(f"integer_{stages}", encode(model.from_int32(integers), FP32))


@pytest.mark.parametrize(
    "unit",
    [
        lambda: floating.Accumulate("fp16", 0),
        lambda: floating.Fp32Add(0),
        lambda: floating.Fp32Multiply(0),
        lambda: floating.Int32ToFp32(0),
    ],
)
def test_a_stage_at_least(unit):
    with pytest.raises(ValueError, match=r"stages = 0; .* at least 1"):
        unit()


def test_stages_come_out_even():
    delays = (3.0, 1.0, 1.0, 1.0, 2.0, 2.0, 2.0)
    for stages, worst in ((1, 12), (2, 6), (3, 4), (4, 4), (5, 3), (7, 3)):
        cuts = pipeline.cuts(delays, stages)
        assert len(cuts) == stages
        assert cuts[-1] == len(delays) - 1
        sums = np.diff([0, *np.cumsum(delays)[list(cuts)]])
        assert sums.max() == worst
