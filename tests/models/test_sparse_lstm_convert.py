"""Conversion of float LSTMs, and the module that stands in for them."""

import numpy as np
import pytest
import torch
from thresher.models.fixed import dequantise, quantise
from thresher.models.sparse_lstm.config import SparseLstmConfig
from thresher.models.sparse_lstm.convert import convert, with_batch
from thresher.models.sparse_lstm.float_model import FloatLstm
from thresher.models.sparse_lstm.golden import Steps, layer_output, run, run_network
from thresher.models.sparse_lstm.quantised import QuantisedLSTM

torch.set_num_threads(1)

FINE = SparseLstmConfig(
    weight_bits=16, input_bits=16, state_bits=16, bias_bits=32, gate_bits=16, sigmoid_entries=4096,
    tanh_entries=4096,
)  # fmt: skip


def lstm(*size, scale=2.0, **options) -> torch.nn.LSTM:
    torch.manual_seed(3)
    module = torch.nn.LSTM(*size, **options)
    for p in module.parameters():
        p.data *= scale
    return module


def data(*shape, scale=1.0) -> np.ndarray:
    return np.random.default_rng(4).normal(0, scale, shape).astype(np.float32)


SHAPES = [
    pytest.param({}, id="plain"),
    pytest.param({"bias": False}, id="no bias"),
    pytest.param({"num_layers": 3}, id="layers"),
    pytest.param({"bidirectional": True, "num_layers": 2}, id="both"),
]


@pytest.mark.parametrize("options", SHAPES)
def test_float_model_is_torch(options):
    module, x = lstm(5, 7, **options), data(9, 3, 5)
    _, hidden, cells = FloatLstm(module.state_dict()).run(x)
    want, (h, c) = module.double()(torch.from_numpy(x).double())
    directions = 2 if module.bidirectional else 1
    got = np.concatenate(hidden[-directions:], axis=-1)
    assert np.allclose(got, want.detach().numpy(), atol=1e-12)
    ends = [(0 if k % directions else -1) for k in range(len(hidden))]
    for state, last in ((hidden, h), (cells, c)):
        got = np.stack([s[end] for s, end in zip(state, ends, strict=True)])
        assert np.allclose(got, last.detach().numpy(), atol=1e-12)


@pytest.mark.parametrize("scale", [0.02, 1.0, 30.0])
@pytest.mark.parametrize("options", SHAPES)
def test_fine_formats_come_close_to_torch(options, scale):
    module, x = lstm(5, 7, **options), data(12, 3, 5, scale=scale)
    result = convert(module, x, FINE)
    report = result.report
    config = with_batch(FINE, 3, **result.overrides)
    out = run_network(config, result.parameters, quantise(x, config.input_frac, 16))
    want = module.double()(torch.from_numpy(x).double())[0].detach().numpy()
    error = np.abs(dequantise(layer_output(out), 15) - want)
    assert error.max() < 4e-3
    assert report.max_error == pytest.approx(error.max(), abs=1e-9)
    assert report.mean_error == pytest.approx(error.mean(), abs=1e-9)
    assert len(report.layer_errors) == module.num_layers
    assert report.wrapped_sums == 0
    assert config.input_shift >= 0
    assert "max error" in str(report)


def test_eight_bits_and_many_sequences():
    module, x = lstm(6, 10, batch_first=True), data(20, 15, 6)
    result = convert(module, x)
    assert result.report.mean_error < 0.02
    again = convert(module.state_dict(), x, batch_first=True)
    assert again.overrides == result.overrides
    assert again.report == result.report


def test_accumulator_is_just_wide_enough_for_any_input():
    result = convert(lstm(6, 10), data(10, 2, 6))
    config = with_batch(SparseLstmConfig(), 1, **result.overrides)
    rows = np.abs(np.hstack([result.parameters.input_weights[0] << config.input_shift,
                             result.parameters.recurrent_weights[0]])).sum(axis=1)  # fmt: skip
    assert result.report.accumulator_proven
    assert rows.max() * 128 < 2 ** (config.accumulator_bits - 1)
    assert rows.max() * 128 >= 2 ** (config.accumulator_bits - 2)


def test_overflows_are_reported():
    module, x = lstm(4, 6), data(30, 1, 4)
    module.weight_hh_l0.data[0, 0] = 50.0  # clipping one outlier costs less than a coarse grid
    x[3, 0, 0] = 1e4
    x[:, 0, 1] = 10
    with torch.no_grad():
        module.weight_ih_l0[:, 0] = 0  # nothing depends on the column with the outlier
    report = convert(module, x).report
    assert report.clipped_weights >= 1
    assert report.clipped_inputs >= 1
    # Cells that only ever grow: longer data than the calibration saturates them.
    result = convert(growing(), np.ones((4, 1, 1)))
    assert result.report.saturated_cells == 0
    config = with_batch(SparseLstmConfig(), 1, **result.overrides)
    ones = np.full((40, 1, 1), quantise(1.0, config.input_frac, 8))
    assert run(config, result.parameters, Steps.sequence(config, ones)).saturated.any()


def growing() -> dict[str, np.ndarray]:
    bias = np.array([9.0, 9.0, 9.0, 9.0])
    return {"weight_ih_l0": np.ones((4, 1)), "weight_hh_l0": np.ones((4, 1)), "bias_ih_l0": bias}


def test_index_input_equals_one_hot_input():
    module = lstm(9, 7)
    index = np.random.default_rng(1).integers(0, 9, (15, 2))
    widths = FINE.replace(input_kind="index")
    result = convert(module, index, widths)
    config = with_batch(widths, 2, **result.overrides)
    got = run_network(config, result.parameters, index).h
    want = module.double()(torch.eye(9).double()[index])[0].detach().numpy()
    assert np.abs(dequantise(got, 15) - want).max() < 4e-3


def test_threshold_prunes_the_float_model_too():
    module, x = lstm(5, 7), data(12, 3, 5)
    dense, pruned = (FloatLstm(module.state_dict()).run(x, t)[1][0] for t in (0, 6000 / 2**15))
    error = convert(module, x, FINE.replace(threshold=6000)).report.mean_error
    assert error < np.abs(pruned - dense).mean() / 5


def test_a_larger_modules_state_dict():
    class Model(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.rnn, self.head = lstm(4, 6), torch.nn.Linear(6, 2)

    state, x = Model().state_dict(), data(8, 1, 4)
    assert convert(state, x, prefix="rnn.").overrides["hidden_size"] == 6
    with pytest.raises(ValueError, match=r"LSTMs under \['rnn\.'\]"):
        convert(state, x)


@pytest.mark.parametrize(
    ("module", "x", "message"),
    [
        (lambda: lstm(4, 6, proj_size=3), data(5, 1, 4), "proj_size = 0"),
        (lambda: lstm(4, 6), data(5, 1, 3), r"\(5, 1, 3\).*\[T, B, 4\]"),
        (lambda: lstm(4, 6), data(0, 1, 4), "empty"),
        (lambda: lstm(4, 6), data(5, 1, 4) * np.nan, "NaN"),
        (lambda: {**growing(), "weight_hh_l0": np.ones((4, 2))}, data(5, 1, 1),
         r"weight_hh_l0 is \(4, 2\); it should be \(4, 1\)"),
        (lambda: {"weight_ih_l0": np.ones((4, 1))}, data(5, 1, 1), "weight_hh_l0 is not there"),
        (lambda: {"weight": np.ones((4, 1))}, data(5, 1, 1), "is this an nn.LSTM"),
    ],
)  # fmt: skip
def test_bad_input(module, x, message):
    with pytest.raises(ValueError, match=message):
        convert(module(), x)


@pytest.mark.parametrize("batch_first", [False, True])
def test_module_has_torchs_interface(batch_first):
    module = lstm(5, 7, num_layers=2, bidirectional=True, batch_first=batch_first)
    x = torch.from_numpy(data(18, 20, 5))  # more sequences than one engine takes
    quantised = QuantisedLSTM.from_float(module, x, FINE)
    assert quantised.report is not None
    got, want = quantised(x), module(x)
    assert torch.allclose(got[0], want[0], atol=4e-3)
    assert torch.allclose(got[1][0], want[1][0], atol=4e-3)
    assert torch.allclose(got[1][1], want[1][1], atol=2e-2)
    assert all(g.dtype == w.dtype and g.shape == w.shape for g, w in
               [(got[0], want[0]), *zip(got[1], want[1], strict=True)])  # fmt: skip
    single = quantised(x[0]), module(x[0])
    assert single[0][0].shape == single[1][0].shape
    assert single[0][1][0].shape == single[1][1][0].shape
    assert (got[0] * 2**15 == (got[0] * 2**15).round()).all()

    other = QuantisedLSTM(quantised.config, quantised.integers, batch_first)
    for name in other.state_dict():
        other.get_buffer(name).zero_()
    other.load_state_dict(quantised.state_dict())
    assert (other(x)[0] == got[0]).all()
    with pytest.raises(ValueError, match="leave out hx"):
        quantised(x, got[1])
    with pytest.raises(ValueError, match=r"3 axes"):
        quantised(x[None])
