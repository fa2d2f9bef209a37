"""``SparseStateLSTM`` against ``torch.nn.LSTM``, plain autograd and the golden model."""

import numpy as np
import pytest
import torch
from thresher.models.sparse_lstm.config import SparseLstmConfig
from thresher.models.sparse_lstm.golden import Steps, layer_output, run, run_network
from thresher.models.sparse_lstm.training import (
    SparseStateLSTM,
    column_cost,
    fake_quantise,
    on_grid,
    prune,
)

VARIANTS = [
    {},
    {"num_layers": 2, "bidirectional": True},
    {"batch_first": True, "bias": False},
]


def twins(threshold, **kwargs):
    """A module and a ``torch.nn.LSTM`` of the same weights."""
    torch.manual_seed(1)
    ours = SparseStateLSTM(5, 7, threshold=threshold, **kwargs).double()
    theirs = torch.nn.LSTM(5, 7, **kwargs).double()
    theirs.load_state_dict(ours.state_dict())
    return ours, theirs


@pytest.mark.parametrize("kwargs", VARIANTS)
@pytest.mark.parametrize("shape", [(6, 3, 5), (4, 5)], ids=["batch", "no batch"])
def test_unpruned_is_torch_lstm(kwargs, shape):
    x = torch.randn(shape, dtype=torch.float64)
    plain, theirs = twins(0.0, **kwargs)
    own, _ = twins(1e-300, **kwargs)  # prunes nothing, but on our own code's path
    expected, (h, c) = theirs(x)
    for module, same in ((plain, torch.equal), (own, torch.allclose)):
        out, (h_n, c_n) = module(x)
        assert same(out, expected)
        assert same(h_n, h)
        assert same(c_n, c)
    (expected.square().sum() + h.sum() + c.square().sum()).backward()
    out, (h_n, c_n) = own(x, None)
    (out.square().sum() + h_n.sum() + c_n.square().sum()).backward()
    for (name, ours), reference in zip(own.named_parameters(), theirs.parameters(), strict=True):
        assert torch.allclose(ours.grad, reference.grad), name


def test_state_dict_fits_both_ways():
    ours, theirs = twins(0.3, num_layers=2, bidirectional=True)
    other = SparseStateLSTM(5, 7, 2, bidirectional=True).double()
    other.load_state_dict(theirs.state_dict())
    assert list(ours.state_dict()) == list(theirs.state_dict())
    for name, value in ours.state_dict().items():
        assert torch.equal(other.state_dict()[name], value)


def test_gradient_of_a_state_is_that_of_its_pruned_copy():
    ours, theirs = twins(0.5)
    x = torch.randn(1, 3, 5, dtype=torch.float64)
    c = torch.randn(1, 3, 7, dtype=torch.float64)
    h = torch.empty(1, 3, 7, dtype=torch.float64).uniform_(-1, 1).requires_grad_()
    hp = torch.where(h.abs() >= 0.5, h, 0).detach().requires_grad_()
    assert 0 < (hp == 0).sum() < hp.numel()
    for module, state in ((ours, h), (theirs, hp)):
        module(x, (state, c))[0].sin().sum().backward()
    assert h.grad is not None
    assert hp.grad is not None
    assert (h.grad != 0).all()
    assert torch.allclose(h.grad, hp.grad)


@pytest.mark.parametrize("threshold", [0.1, 0.25])
def test_pruned_training_step_by_autograd(threshold):
    """Our written-out backward pass against autograd over the same formula.

    At 0.25 so few columns are alive that the short cut around the others is taken.
    """
    torch.manual_seed(2)
    module = SparseStateLSTM(4, 12, threshold=threshold).double()
    x = torch.randn(9, 2, 4, dtype=torch.float64)
    out, _ = module(x)
    out.cos().sum().backward()
    grads = {name: p.grad for name, p in module.named_parameters()}
    module.zero_grad()
    h = c = torch.zeros(2, 12, dtype=torch.float64)
    outputs, alive = [], 0
    for step in x:
        hp = prune(h, threshold)
        alive += int((hp != 0).any(0).sum())
        z = step @ module.weight_ih_l0.t() + hp @ module.weight_hh_l0.t()
        i, f, g, o = (z + module.bias_ih_l0 + module.bias_hh_l0).chunk(4, 1)
        c = f.sigmoid() * c + i.sigmoid() * g.tanh()
        h = o.sigmoid() * c.tanh()
        outputs.append(h)
    assert 0 < alive < (0.5 if threshold == 0.25 else 1) * 9 * 12
    assert torch.allclose(torch.stack(outputs), out)
    torch.stack(outputs).cos().sum().backward()
    for name, p in module.named_parameters():
        assert torch.allclose(p.grad, grads[name]), name


def test_index_input_is_one_hot():
    module, _ = twins(0.2)
    x = torch.randint(5, (6, 3))
    one_hot = torch.nn.functional.one_hot(x, 5).double()
    assert torch.allclose(module(x)[0], module(one_hot)[0])


@pytest.mark.parametrize("seed", range(12))
def test_quantised_forward_is_the_golden_model(seed):
    rng = np.random.default_rng(seed)
    torch.manual_seed(seed)
    batch = int(rng.choice([1, 3]))
    state_bits = int(rng.integers(4, 10))
    weight_bits, weight_frac = int(rng.integers(3, 9)), int(rng.integers(2, 7))
    formats = SparseLstmConfig(
        input_size=int(rng.integers(1, 9)),
        hidden_size=int(rng.integers(1, 12)),
        layers=int(rng.integers(1, 3)),
        bidirectional=bool(rng.integers(2)),
        batch=batch,
        lanes=4 * batch,
        weight_bits=weight_bits,
        weight_frac=weight_frac,
        input_weight_frac=weight_frac - 1,
        input_bits=state_bits,
        input_frac=state_bits - 2,
        state_bits=state_bits,
        bias_frac=2,
        gate_bits=int(rng.integers(5, 13)),
        sigmoid_entries=int(2 ** rng.integers(5, 11)),
        tanh_entries=int(2 ** rng.integers(5, 11)),
        cell_bits=int(rng.integers(8, 17)),
        cell_frac=int(rng.integers(3, 13)),
        threshold=int(rng.integers(0, 1 << state_bits - 2)),
        prune_output=bool(rng.integers(2)),
    )
    module = SparseStateLSTM(
        formats.input_size,
        formats.hidden_size,
        formats.layers,
        bidirectional=formats.bidirectional,
        threshold=formats.threshold * 2.0**-formats.state_frac,
        formats=formats,
    ).double()
    with torch.no_grad():
        for p in module.parameters():
            p.normal_(0, 1)
    limit = 1 << state_bits - 1
    x = rng.integers(-limit, limit, (15, batch, formats.input_size))
    trace = run_network(formats, module.integers(), x)
    out, _ = module(torch.from_numpy(x * 2.0**-formats.input_frac))
    assert not trace.wrapped.any()
    assert np.array_equal(out.detach() * 2.0**formats.state_frac, layer_output(trace))


def test_quantised_index_forward_is_the_golden_model_in_single_precision():
    torch.manual_seed(3)
    formats = SparseLstmConfig(
        input_size=6, hidden_size=20, batch=2, lanes=8, input_kind="index", threshold=9
    )
    module = SparseStateLSTM(6, 20, threshold=9 / 128, formats=formats)
    with torch.no_grad():
        for p in module.parameters():
            p.normal_(0, 0.5)
    x = np.random.default_rng(3).integers(0, 6, (40, 2))
    trace = run(formats, module.integers(), Steps.sequence(formats, x))
    assert np.array_equal(module(torch.from_numpy(x))[0].detach() * 128, trace.h)


def test_quantisation_passes_gradients_straight_until_it_saturates():
    x = torch.tensor([-3.0, -0.6, 0.125, 0.5, 3.0], requires_grad=True)
    y = fake_quantise(x, 3, 2)
    y.sum().backward()
    assert y.tolist() == [-1.0, -0.5, 0.25, 0.5, 0.75]  # a tie goes up
    assert x.grad is not None
    assert x.grad.tolist() == [0, 1, 1, 1, 0]
    assert torch.equal(on_grid(x.detach(), 3, 2), y)


def test_column_cost_is_the_share_of_columns_that_a_batch_keeps():
    torch.manual_seed(4)
    rates = torch.tensor([0.0, 0.05, 0.3, 1.0])
    h = (torch.rand(5000, 8, 4) < rates) * 0.5
    kept = (h.abs() >= 0.2).any(1).double().mean().item()
    assert column_cost(h, 0.2, 8, softness=1e-3).item() == pytest.approx(kept, abs=0.01)


def test_column_cost_presses_on_the_rarely_alive():
    """What a batch would keep anyway costs little more: activity gathers in few units."""
    h = torch.zeros(100, 2)
    h[:50, 0], h[:2, 1] = 0.21, 0.21
    h.requires_grad_()
    column_cost(h, 0.2, 8).backward()
    assert h.grad is not None
    assert 0 < 5 * h.grad[0, 0] < h.grad[0, 1]


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: SparseStateLSTM(4, 6, proj_size=2), "proj_size = 2"),
        (lambda: SparseStateLSTM(4, 6, threshold=1.5)(torch.zeros(1, 1, 4)), "threshold = 1.5"),
        (
            lambda: SparseStateLSTM(4, 6, 2, threshold=0.1)(torch.zeros(1, 1, dtype=torch.long)),
            "pass one-hot vectors",
        ),
        (
            lambda: SparseStateLSTM(4, 6)(
                torch.nn.utils.rnn.pack_sequence([torch.zeros(2, 4)])  # pyright: ignore[reportArgumentType]
            ),
            "PackedSequence",
        ),
        (lambda: SparseStateLSTM(4, 6).integers(), "no formats"),
        (
            lambda: SparseStateLSTM(
                4, 6, formats=SparseLstmConfig(input_size=4, hidden_size=6, product_shift=2)
            )(torch.zeros(1, 1, 4)),
            "product_shift = 2",
        ),
        (
            lambda: SparseStateLSTM(4, 6, formats=SparseLstmConfig(input_size=4, hidden_size=8))(
                torch.zeros(1, 1, 4)
            ),
            "formats.hidden_size = 8 differs from the module's 6",
        ),
    ],
)
def test_errors_name_the_value(build, message):
    with pytest.raises(ValueError, match=message):
        build()


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_quantised_forward_is_the_same_on_cuda():
    torch.manual_seed(5)
    formats = SparseLstmConfig(input_size=6, hidden_size=32, threshold=9)
    module = SparseStateLSTM(6, 32, threshold=9 / 128, formats=formats)
    x = torch.randint(6, (40, 2))
    expected = module(x)[0]
    assert torch.equal(module.cuda()(x.cuda())[0].cpu(), expected)
