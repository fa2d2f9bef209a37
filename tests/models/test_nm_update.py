"""The golden weight update, against PyTorch's SGD, exact rationals, stored masks, and every entry
looked up one by one at the address that the instruction's contract names."""

from fractions import Fraction

import numpy as np
import pytest
import torch
from thresher.models.data import load
from thresher.models.nm.config import NmConfig
from thresher.models.nm.program import Update
from thresher.models.nm.update import REGISTERS, entries, learn, magnitudes, operands, update

FLOWS = ("weight", "output")


def registers(rate=0.1, momentum=0.9, decay=5e-4, scale=1.0, weight_shift=0):
    values = dict(zip(REGISTERS, (rate, momentum, decay, scale), strict=True))
    bits = {name: int(np.float32(value).view(np.uint32)) for name, value in values.items()}
    return bits | {"weight_shift": weight_shift}


@pytest.mark.slow
def test_the_step_is_pytorchs_momentum_sgd():
    rng = np.random.default_rng(0)
    weights = rng.normal(size=500).astype(np.float32)
    parameter = torch.nn.Parameter(torch.from_numpy(weights.copy()))
    optimiser = torch.optim.SGD([parameter], lr=0.1, momentum=0.9, weight_decay=5e-4)
    velocities = np.zeros_like(weights)
    for _ in range(3):
        gradients = rng.normal(size=500).astype(np.float32)
        parameter.grad = torch.from_numpy(gradients)
        optimiser.step()
        weights, velocities = learn(weights, velocities, gradients, registers())
    # PyTorch may fuse a product with a sum.
    np.testing.assert_allclose(weights, parameter.detach().numpy(), rtol=1e-5, atol=1e-7)


def test_every_operation_is_rounded():
    rng = np.random.default_rng(1)
    chosen = registers(0.3, 0.7, 0.01, 0.003)
    rate, momentum, decay, scale = (
        Fraction(float(np.uint32(chosen[name]).view(np.float32))) for name in REGISTERS
    )
    weights, velocities = rng.normal(size=(2, 300)).astype(np.float32)
    gradients = rng.integers(-(1 << 31), 1 << 31, 300, dtype=np.int32)

    def rounded(number):  # FP64 to FP32 would round twice, if rarely
        near = np.float32(float(number))
        around = [np.nextafter(near, np.float32(s) * np.inf) for s in (-1, 1)]
        return Fraction(
            float(
                min(
                    (near, *around),
                    key=lambda x: (abs(Fraction(float(x)) - number), int(x.view(np.uint32)) & 1),
                )
            )
        )

    got_w, got_v = learn(weights, velocities, gradients, chosen)
    for n in range(300):
        w, v = Fraction(float(weights[n])), Fraction(float(velocities[n]))
        g = rounded(Fraction(int(gradients[n])))
        steered = rounded(rounded(g * scale) + rounded(w * decay))
        v = rounded(rounded(v * momentum) + steered)
        w = rounded(w - rounded(v * rate))
        assert (Fraction(float(got_w[n])), Fraction(float(got_v[n]))) == (w, v)


def test_operands_round_to_even_and_saturate():
    values = np.float32([0.5, 1.5, -0.5, -2.5, 126.5, 127.5, 1e30, -1e30, np.inf, np.nan, -0.0])
    want = [0, 2, 0, -2, 126, 127, 127, -128, 127, 127, 0]
    np.testing.assert_array_equal(operands(values, "int8").astype(np.int8), want)
    np.testing.assert_array_equal(operands(values / 32, "int8", 5).astype(np.int8), want)
    for kind, format in ((torch.float16, "fp16"), (torch.bfloat16, "bf16")):
        numbers = np.random.default_rng(2).integers(0, 0x7F800000, 1000).astype(np.uint32)
        numbers = numbers.view(np.float32)
        bits = torch.from_numpy(numbers).to(kind).view(torch.int16).numpy().view(np.uint16)
        np.testing.assert_array_equal(operands(numbers, format), bits)


@pytest.mark.parametrize("ratio", ["1_4", "2_4", "2_8", "4_8", "1_16", "2_16"])
def test_survivors_are_those_of_public_masks(ratio):
    kept, group = map(int, ratio.split("_"))
    file = load("nm_masks.npz")
    for way in ("ff", "bp"):
        weights, mask = file["lin_w"], file[f"lin_{ratio}_{way}_mask"]
        if way == "bp":
            weights, mask = weights.T, mask.T
        hold_mask(weights, mask, kept, group)


def test_ties_keep_the_later_and_nan_is_largest():
    hold_mask(np.ones((4, 16), np.float32), load("nm_masks.npz")["tie_mask_2_8"], 2, 8)
    weights = np.float32([[np.nan, 1, np.inf, -np.inf, -1, 0, -0.0, 1]])
    chosen = entries(np.zeros((1, 8), np.int64), magnitudes(weights), 4, 0)
    np.testing.assert_array_equal(chosen, [[0, 2, 3, 7]])


def hold_mask(weights, mask, kept, group):
    shape = (len(weights), -1, group)
    values = operands(weights, "fp16").reshape(shape)
    found = entries(values, magnitudes(weights).reshape(shape), kept, 16)
    index, value = found >> 16, found & 0xFFFF
    want = np.nonzero(mask.reshape(shape))[2].reshape(index.shape)
    np.testing.assert_array_equal(index, want)
    np.testing.assert_array_equal(value, np.take_along_axis(values, want, axis=-1))


def random_config(rng: np.random.Generator) -> NmConfig:
    """Any shape that is valid, small."""
    while True:
        kept, group = 1 << rng.integers(0, 3), 1 << rng.integers(0, 4)
        format = str(rng.choice(["int8", "fp16", "bf16"]))
        port = 1 << rng.integers(0, 4)
        try:
            return NmConfig(
                rows=int(kept * port * rng.integers(1, 3)),
                columns=1 << int(rng.integers(0, 5)),
                kept=int(kept),
                group=int(group),
                format=format,  # pyright: ignore[reportArgumentType]
                add_stages=1 if format == "int8" else 2,
                port_words=int(port),
            )
        except ValueError:
            continue


def random_update(rng: np.random.Generator, c: NmConfig) -> Update:
    """One of any kind."""
    rows = c.columns * int(rng.integers(1, 4))
    flows, sparse = rng.choice(FLOWS, 2), rng.random(2) < 0.5
    return Update(
        half=int(rng.integers(2)),
        sums=int(rng.integers(8)),
        rows=rows,
        stride=rows + int(rng.integers(3)),
        blocks=int(rng.integers(1, 4)),
        masters=0,
        forward=1 << 20,
        backward=1 << 21,
        forward_dataflow=flows[0],
        backward_dataflow=flows[1],
        forward_sparse=bool(sparse[0]),
        backward_sparse=bool(sparse[1]),
    )


def random_masters(rng: np.random.Generator, c: NmConfig, weights, velocities) -> list[int]:
    """Beats of [blocks, k, C] weights and velocities; the bits beyond them are anything."""
    blocks, rows, columns = weights.shape
    pairs = weights.view(np.uint32).astype(object) | velocities.view(np.uint32).astype(object) << 32
    steps = pairs.reshape(blocks, rows, columns // c.lanes, c.lanes).swapaxes(1, 2)
    count = -(-c.lanes * 64 // c.beat_bits)
    beats = []
    for step in steps.reshape(-1, c.lanes):
        number = sum(pair << 64 * lane for lane, pair in enumerate(step))
        number |= int(rng.integers(1 << 62)) << 64 * c.lanes
        beats += [number >> c.beat_bits * n & (1 << c.beat_bits) - 1 for n in range(count)]
    return beats


def look_up(c: NmConfig, weights, flow, sparse) -> dict[int, int]:
    """The right operand of ``weights`` [reduction, columns], by address, from its contract."""
    reduction, total = weights.shape
    values, keys = operands(weights, c.format), magnitudes(weights)
    N, M, E, C = c.kept, c.group, c.beat_entries, c.columns
    found: dict[int, int] = {}

    def put(position, k, n):  # position in entries
        entry = int(values[k, n]) | k % M << c.element_bits
        address, place = divmod(position, E)
        found[address] = found.get(address, 0) | entry << place * c.entry_bits

    for n in range(total):
        block, column = divmod(n, C)
        for q in range(reduction // M):
            ks = range(q * M, q * M + M)
            ranked = sorted(ks, key=lambda k: (keys[k, n], k))
            for slot, k in enumerate(sorted(ranked[-N:]) if sparse else ks):
                if flow == "weight" and sparse:
                    put(((block * reduction // M + q) * C + column) * N + slot, k, n)
                elif flow == "weight":
                    put(((block * reduction // N + k // N) * C + column) * N + k % N, k, n)
                elif sparse:
                    put(((block * reduction // M + q) * N + slot) * C + column, k, n)
                else:
                    put((block * reduction + k) * C + column, k, n)
    return found


@pytest.mark.parametrize("seed", range(30))
def test_every_write_is_where_the_contract_says(seed):
    rng = np.random.default_rng(seed)
    c = random_config(rng)
    i = random_update(rng, c)
    shape = (i.blocks, i.rows, c.columns)
    weights, velocities = rng.normal(size=(2, *shape)).astype(np.float32)
    weights = np.where(rng.random(shape) < 0.5, weights, rng.integers(-1, 2, shape)).astype("f4")
    gradients = rng.normal(size=shape).astype(np.float32).view(np.uint32) >> 8 * (
        c.format == "int8"
    )
    masters = random_masters(rng, c, weights, velocities)
    # An int32 that comes of an FP32 number's bits is large.
    scale = 2.0**-30 if c.format == "int8" else 1.0
    chosen = registers(scale=scale, weight_shift=4 if c.format == "int8" else 0)
    kind = np.int32 if c.format == "int8" else np.float32
    new_w, new_v = learn(weights, velocities, gradients.view(kind), chosen)
    # Exact; what is looked up is scaled already.
    new = new_w * np.float32(16 if c.format == "int8" else 1)
    written = update(c, i, gradients, masters, chosen)

    columns = new.swapaxes(0, 1).reshape(i.rows, -1)
    clean = [0] * len(masters)
    for n, beat in enumerate(random_masters(rng, c, new_w, new_v)):
        used = min(c.beat_bits, 64 * c.lanes)
        clean[n] = beat & (1 << used) - 1
    want = dict(enumerate(clean))
    want |= {
        (1 << 20) + a: beat
        for a, beat in look_up(c, columns, i.forward_dataflow, i.forward_sparse).items()
    }
    want |= {
        (1 << 21) + a: beat
        for a, beat in look_up(c, columns.T, i.backward_dataflow, i.backward_sparse).items()
    }
    assert dict(written) == want
    assert len(written) == len(want)


def test_what_does_not_fit_is_refused():
    c = NmConfig.preset("small")
    gradients = np.zeros((1, 8, 8), np.int32)
    with pytest.raises(ValueError, match=r"rows = 6 .* pad the weights' inputs to 8"):
        update(c, Update(rows=6), gradients, [], registers())
    with pytest.raises(ValueError, match="gradients are"):
        update(c, Update(rows=16), gradients, [], registers())
    with pytest.raises(ValueError, match="0 beats of masters"):
        update(c, Update(rows=8), gradients, [], registers())
