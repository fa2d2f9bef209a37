"""The golden model against its formulas in plain Python integers, and against torch."""

import math

import numpy as np
import pytest
import torch
from thresher.models.sparse_lstm.config import SparseLstmConfig
from thresher.models.sparse_lstm.golden import (
    Parameters,
    Steps,
    Trace,
    _ColumnSum,
    layer_output,
    run,
    run_network,
)

torch.set_num_threads(1)


def rounded(v, n):
    return (v + (1 << n >> 1)) >> n if n >= 0 else v << -n


def clamped(v, bits):
    return min(max(v, -(2 ** (bits - 1))), 2 ** (bits - 1) - 1)


def lookup(z, frac, entries, span, bits):
    a = clamped(rounded(z, frac - int(math.log2(entries / span))), int(math.log2(entries)))
    x, top = a * span / entries, 2**bits - 1
    y = 1 / (1 + math.exp(-x)) if span == 16 else math.tanh(x)
    return min(max(math.floor(y * 2**bits + 0.5), 0 if span == 16 else -top), top)


def reference(q: SparseLstmConfig, parameters: Parameters, steps: Steps, threshold: int):
    """h, c [T, B, H], wrapped, saturated [T]: config's docstring, one value at a time."""
    units, shape = range(q.hidden_size), (len(steps), q.batch, q.hidden_size)
    h, c, wrapped, saturated = np.zeros(shape), np.zeros(shape), *np.zeros((2, len(steps)))
    last = {}
    for t, b in np.ndindex(shape[:2]):
        k = int(steps.context[t])
        x = steps.inputs[t, b].tolist()
        hp, old_c = ([0] * q.hidden_size,) * 2 if steps.start[t, b] else last[k, b]
        wx, wh = parameters.input_weights[k].tolist(), parameters.recurrent_weights[k].tolist()
        bias = parameters.biases[k][x[0]] if q.input_kind == "index" else parameters.biases[k]
        z = []
        for row in range(4 * q.hidden_size):
            exact = sum(rounded(wh[row][j] * hp[j], q.product_shift) for j in units)
            for j in range(q.context_inputs(k)):
                exact += rounded(wx[row][j] * x[j], q.product_shift - q.input_shift)
            acc = (exact + 2 ** (q.accumulator_bits - 1)) % 2**q.accumulator_bits
            acc -= 2 ** (q.accumulator_bits - 1)
            wrapped[t] += acc != exact
            z.append(acc + (int(bias[row]) << (q.accumulator_frac - q.bias_frac)))
        s1, s2 = max(q.gate_bits - q.cell_frac, 0), max(q.cell_frac - q.gate_bits, 0)
        n = q.gate_bits + max(q.gate_bits, q.cell_frac) - q.cell_frac
        for u in units:
            i, f, o = (
                lookup(z[gate * q.hidden_size + u], q.accumulator_frac, q.sigmoid_entries, 16,
                       q.gate_bits) for gate in (0, 1, 3)
            )  # fmt: skip
            g = lookup(z[2 * q.hidden_size + u], q.accumulator_frac, q.tanh_entries, 8, q.gate_bits)
            exact = rounded((f * old_c[u] << s1) + (i * g << s2), n)
            c[t, b, u] = clamped(exact, q.cell_bits)
            saturated[t] += c[t, b, u] != exact
            squashed = lookup(int(c[t, b, u]), q.cell_frac, q.tanh_entries, 8, q.gate_bits)
            h[t, b, u] = clamped(
                rounded(o * squashed, 2 * q.gate_bits - q.state_frac), q.state_bits
            )
        new = [int(v) for v in h[t, b]]
        last[k, b] = [v if abs(v) >= threshold else 0 for v in new], [int(v) for v in c[t, b]]
    return h, c, wrapped, saturated


def random_case(seed: int) -> tuple[SparseLstmConfig, Parameters, Steps, int]:
    rng = np.random.default_rng(seed)
    draw = lambda low, high: int(rng.integers(low, high + 1))  # noqa: E731
    batch, index = draw(1, 3), rng.random() < 0.3
    shape = {
        "input_size": draw(1, 6), "hidden_size": draw(1, 6), "batch": batch, "lanes": 4 * batch,
        "layers": 1 if index else draw(1, 2), "bidirectional": bool(rng.random() < 0.5),
        "input_kind": "index" if index else "vector",
    }  # fmt: skip
    most = 16 if rng.random() < 0.3 else 10  # bits of the widest format
    state_bits, weight_frac, input_shift = draw(2, most), draw(0, 8), draw(0, 3)
    product_shift = draw(1, weight_frac + state_bits - 1) if rng.random() < 0.4 else 0
    accumulator_frac = weight_frac + state_bits - 1 - product_shift
    input_frac = draw(0, 6)
    formats = {
        "weight_bits": draw(2, most), "weight_frac": weight_frac, "state_bits": state_bits,
        "input_bits": draw(state_bits, most), "input_frac": input_frac,
        "input_weight_frac": weight_frac + state_bits - 1 - input_shift - input_frac,
        "product_shift": product_shift, "accumulator_bits": draw(4, 40),
        "bias_bits": draw(2, 12), "bias_frac": accumulator_frac - draw(0, 4),
        "gate_bits": draw(2, most), "sigmoid_entries": 2 ** draw(4, 9),
        "tanh_entries": 2 ** draw(4, 9), "cell_bits": draw(2, 16), "cell_frac": draw(0, 15),
        "threshold": draw(0, 2 ** (state_bits - 1) // 2),
    }  # fmt: skip
    if formats["input_weight_frac"] < -8:
        formats["input_frac"] += formats["input_weight_frac"] + 8
        formats["input_weight_frac"] = -8
    config = SparseLstmConfig(**shape, **formats)
    parts = []
    for context in range(config.contexts):
        columns = config.context_inputs(context)
        size = (5, batch, columns) if columns else (5, batch)
        high = 2 ** (config.input_bits - 1) if columns else config.input_size
        x = rng.integers(-high if columns else 0, high, size)
        if columns:
            x *= rng.random(size) < 0.6
        start = rng.random((5, batch)) < 0.2
        start[0] = True
        parts.append(Steps.sequence(config, x, context, start))
    steps = Steps.interleave(*parts) if rng.random() < 0.5 else Steps.concatenate(*parts)
    return config, Parameters.random(config, rng), steps, config.threshold


@pytest.mark.parametrize("seed", range(150))
def test_equals_the_formulas(seed):
    config, parameters, steps, threshold = random_case(seed)
    trace = run(config, parameters, steps)
    h, c, wrapped, saturated = reference(config, parameters, steps, threshold)
    assert (trace.h == h).all()
    assert (trace.c == c).all()
    assert (trace.wrapped == wrapped).all()
    assert (trace.saturated == saturated).all()


def test_random_cases_reach_the_corners():
    """The comparison above is worth something only where these happen."""
    seen = dict.fromkeys(
        ("wrapped", "saturated", "at_threshold", "late_start", "pruned", "rounded", "index"), 0
    )
    for seed in range(150):
        config, parameters, steps, threshold = random_case(seed)
        trace = run(config, parameters, steps)
        seen["wrapped"] += trace.wrapped.any()
        seen["saturated"] += trace.saturated.any()
        seen["at_threshold"] += threshold > 0 and (np.abs(trace.h) == threshold).any()
        seen["late_start"] += steps.start.sum() > config.contexts * config.batch
        seen["pruned"] += (trace.hp != trace.h).any()
        seen["rounded"] += config.product_shift > 0
        seen["index"] += config.input_kind == "index"
    assert min(seen.values()) >= 15, seen


@pytest.mark.parametrize("seed", range(40))
def test_skippable_columns(seed):
    config, parameters, steps, threshold = random_case(seed)
    trace = run(config, parameters, steps)
    state, inputs = trace.state_columns(), trace.input_columns()
    last: dict[tuple[int, int], np.ndarray] = {}
    for t, k in enumerate(steps.context.tolist()):
        needed = np.zeros(config.hidden_size, bool)
        for b in range(config.batch):
            if not steps.start[t, b]:
                needed |= last[k, b] != 0
            last[k, b] = np.where(np.abs(trace.h[t, b]) >= threshold, trace.h[t, b], 0)
        assert (state[t] == needed).all()
        own = config.context_inputs(k)
        assert not inputs[t, own:].any()
        assert (inputs[t, :own] == (steps.inputs[t, :, :own] != 0).any(0)).all()


def test_network_feeds_layers_and_directions():
    rng = np.random.default_rng(5)
    config = SparseLstmConfig(
        input_size=3, hidden_size=5, layers=2, bidirectional=True, lanes=8, batch=2, threshold=20,
        prune_output=True,
    )  # fmt: skip
    parameters = Parameters.random(config, rng)
    x = rng.integers(-128, 128, (7, 2, 3))
    trace = run_network(config, parameters, x)
    first = run(config, parameters, Steps.sequence(config, x))
    back = run(config, parameters, Steps.sequence(config, x[::-1], 1))
    middle = np.concatenate([first.hp, back.hp[::-1]], axis=-1)
    assert (layer_output(trace, 0) == middle).all()
    assert (
        trace.of(3) == run(config, parameters, Steps.sequence(config, middle[::-1], 3)).hp
    ).all()
    assert (trace.h == run(config, parameters, trace.steps).h).all()
    assert layer_output(trace).shape == (7, 2, 10)


def test_order_of_contexts_does_not_matter():
    rng = np.random.default_rng(6)
    config = SparseLstmConfig(input_size=4, hidden_size=9, bidirectional=True, lanes=4)
    parameters = Parameters.random(config, rng)
    parts = [Steps.sequence(config, rng.integers(-128, 128, (6, 1, 4)), k) for k in (0, 1)]
    one, two = (run(config, parameters, f(*parts)) for f in (Steps.concatenate, Steps.interleave))
    assert two.steps.context.tolist() == [0, 1] * 6
    assert all((one.of(k) == two.of(k)).all() for k in (0, 1))


@pytest.mark.parametrize("columns", [1, 300, 1023, 1024, 1025, 4096])
@pytest.mark.parametrize("shift", [-3, 0, 5])
def test_sums_are_exact_at_the_edge_of_single_precision(columns, shift):
    """1,024 columns of -128 * -128 are 2**24, where single precision ends."""
    w = np.full((3, columns), -128)
    w[1, ::2] = 127
    w[2, :] = np.random.default_rng(9).integers(-128, 128, columns)
    x = np.stack([np.full(columns, -128), np.arange(columns) % 255 - 127, np.zeros(columns)])
    x = np.concatenate([x, x * (np.arange(columns) % 7 == 3)]).astype(np.int64)
    want = [
        [sum(rounded(int(a * b), shift) for a, b in zip(i, j, strict=True)) for j in w] for i in x
    ]
    total = _ColumnSum(w, shift, 8, torch.device("cpu"))
    for part in (slice(None), slice(3, None)):  # some columns, or few
        assert total(torch.from_numpy(x[part])).tolist() == want[part]


@pytest.mark.parametrize("seed", [7, 8, 9])
def test_distance_to_torch_is_bounded(seed):
    """Wide formats: h within 2**-9 of torch's float LSTM over 40 steps.

    The activation tables dominate: their 4096 entries put an argument up to half a grid
    step away, 2**-9 for a sigmoid (its slope is at most 1/4: 2**-11) and 2**-10 for a tanh.
    Everything else is finer than 2**-14.
    """
    rng = np.random.default_rng(seed)
    config = SparseLstmConfig(
        input_size=5, hidden_size=12, lanes=8, batch=2, weight_bits=16, weight_frac=14,
        input_weight_frac=14, input_bits=16, input_frac=13, state_bits=16, accumulator_bits=40,
        bias_bits=24, bias_frac=20, gate_bits=16, sigmoid_entries=4096, tanh_entries=4096,
        cell_frac=13,
    )  # fmt: skip
    lstm = torch.nn.LSTM(5, 12).double()
    generator = torch.Generator().manual_seed(seed)
    for p in lstm.parameters():
        p.data = torch.randint(-6000, 6000, p.shape, generator=generator) / 2.0**14
        p.data = p.data.double()
    x = rng.integers(-(2**14), 2**14, (40, 2, 5))
    state = {name: p.detach().numpy() for name, p in lstm.named_parameters()}
    parameters = Parameters(
        ((state["weight_ih_l0"] * 2**14).astype(int),),
        ((state["weight_hh_l0"] * 2**14).astype(int),),
        (((state["bias_ih_l0"] + state["bias_hh_l0"]) * 2**20).astype(int),),
    )
    trace = run(config, parameters, Steps.sequence(config, x))
    want = lstm(torch.from_numpy(x / 2.0**13))[0].detach().numpy()
    error = np.abs(trace.h / 2.0**15 - want)
    assert error.max() < 2**-9
    assert error.max() > 2**-16, "suspiciously equal: is this still the table's error?"
    assert not trace.wrapped.any()


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_cuda_computes_the_same():
    for seed in range(20):
        config, parameters, steps, _ = random_case(seed)
        cpu, cuda = (run(config, parameters, steps, device=d) for d in ("cpu", "cuda"))
        assert (cpu.h == cuda.h).all()
        assert (cpu.c == cuda.c).all()


class TestBadInput:
    config = SparseLstmConfig(input_size=3, hidden_size=2, lanes=8, batch=2)
    parameters = Parameters.random(config, np.random.default_rng(0))
    x = np.ones((4, 2, 3), int)

    def changed(self, **arrays) -> Parameters:
        return Parameters(**{**vars(self.parameters), **arrays})

    @pytest.mark.parametrize(
        ("arrays", "message"),
        [
            ({"biases": ()}, "biases has 0 contexts.*need 1"),
            ({"input_weights": (np.zeros((8, 4), int),)}, r"\(8, 4\).*\(8, 3\)"),
            ({"recurrent_weights": (np.full((8, 2), 128),)}, "128, outside -128..127"),
            ({"recurrent_weights": (np.zeros((8, 2)),)}, "float64; quantise"),
        ],
    )
    def test_parameters(self, arrays, message):
        with pytest.raises(ValueError, match=message):
            run(self.config, self.changed(**arrays), Steps.sequence(self.config, self.x))

    def test_steps(self):
        with pytest.raises(ValueError, match=r"\(4, 2\).*takes \[steps, 2, 3\]"):
            Steps.sequence(self.config, self.x[..., 0])
        with pytest.raises(ValueError, match=r"200, outside -128..127"):
            run(self.config, self.parameters, Steps.sequence(self.config, 200 * self.x))
        with pytest.raises(ValueError, match=r"step 0 .* does not start every element"):
            run(self.config, self.parameters, Steps.sequence(self.config, self.x)[1:])
        with pytest.raises(ValueError, match="4, 3 steps"):
            Steps.interleave(*(Steps.sequence(self.config, x) for x in (self.x, self.x[1:])))
        with pytest.raises(ValueError, match=r"context = 1 is outside 0\.\.0"):
            Steps.sequence(self.config, self.x, 1)

    def test_threshold(self):
        steps = Steps.sequence(self.config, self.x)
        assert isinstance(run(self.config, self.parameters, steps, threshold=128), Trace)
        with pytest.raises(ValueError, match=r"threshold = 129 is outside 0..128"):
            run(self.config, self.parameters, steps, threshold=129)
