"""The sparse-state LSTM in the registry: its texts, its random configurations."""

import numpy as np

from ...models.sparse_lstm.config import SparseLstmConfig
from ..engine import Engine
from .component import SparseLstm
from .estimate import estimate
from .workloads import WORKLOADS


def random_config(rng: np.random.Generator) -> SparseLstmConfig:
    """A small configuration, anything that the rules allow."""
    while True:
        batch, banks = int(rng.choice([1, 1, 2, 3, 4])), int(rng.choice([1, 1, 1, 2, 3]))
        rows = 4 * int(rng.integers(banks, banks + 4))
        units = int(rng.integers(1, rows // 4 + 1))
        parallel = [e for e in range(1, batch + 1) if batch % e == 0] + [batch * units]
        kind = rng.choice(["vector", "vector", "vector", "index"])
        streamed = banks == 1 and rng.random() < 0.3
        ports = [p for p in range(1, rows * banks + 1) if rows * banks % p == 0]
        weight_bits, state_bits, input_bits = (int(b) for b in rng.integers(2, 10, 3))
        entries = 1 << rng.integers(4, 9, 2)
        cell_bits = int(rng.integers(4, 17))
        fields = {
            "input_size": int(rng.integers(1, 20)),
            "hidden_size": int(rng.integers(1, 20)),
            "layers": int(rng.choice([1, 1, 2])),
            "bidirectional": bool(rng.random() < 0.3),
            "batch": batch,
            "banks": banks,
            "lanes": rows * batch * banks,
            "elements": int(rng.choice(parallel)),
            "window": int(rng.integers(1, 5)),
            "queue": int(rng.integers(2, 9)),
            "dsp_pack": bool(rng.random() < 0.3),
            "input_kind": str(kind),
            "weights": "streamed" if streamed else "on_chip",
            "weight_port": int(rng.choice(ports)),
            "weight_bits": weight_bits,
            "weight_frac": weight_bits - int(rng.integers(0, 3)),
            "input_weight_frac": weight_bits - int(rng.integers(1, 4)),
            "input_bits": input_bits,
            "input_frac": state_bits - int(rng.integers(1, 4)),
            "state_bits": state_bits,
            "accumulator_bits": int(rng.integers(6, 30)),
            "product_shift": int(rng.choice([0, 0, 1, 3])),
            "bias_bits": int(rng.integers(2, 17)),
            "bias_frac": int(rng.integers(0, 6)),
            "gate_bits": int(rng.integers(2, 13)),
            "sigmoid_entries": int(entries[0]),
            "tanh_entries": int(entries[1]),
            "cell_bits": cell_bits,
            "cell_frac": int(rng.integers(0, cell_bits)),
            "threshold": int(rng.integers(0, (1 << (state_bits - 1)) // 2 + 1)),
            "skip_inputs": bool(rng.random() < 0.8),
            "skip_states": bool(rng.random() < 0.8),
            "prune_output": bool(rng.random() < 0.5),
        }
        try:
            return SparseLstmConfig(**fields)
        except ValueError:
            continue


ENGINE = Engine(
    name="sparse_lstm",
    summary="LSTM layers that multiply only nonzero states and inputs",
    paper="Ardakani, Ji, Gross: Learning to Skip Ineffectual Recurrent Computations in LSTMs "
    "(DATE 2019)",
    headline="over 90 % of states pruned without loss of accuracy; up to 5.2x over dense states",
    config=SparseLstmConfig,
    component=SparseLstm,
    workloads=WORKLOADS,
    registers={
        "threshold": "states of smaller magnitude count as zero in the next step",
        "skip_inputs": "skip zero input columns",
        "skip_states": "skip zero state columns",
        "steps": "steps begun",
        "input_passes": "passes over input columns",
        "state_passes": "passes over state columns",
        "wait_input": "cycles idle for want of input",
        "wait_state": "cycles idle until the step before has its states",
        "wait_weights": "cycles idle for want of streamed weights",
        "wait_results": "cycles idle because the cell unit has not read the results before",
        "wait_output": "cycles in which a beat of h was held up",
    },
    random_config=random_config,
    cycles="a step of n passes over nonzero columns: about max(n * groups, emissions * folds); "
    "exactly: thresher.hdl.sparse_lstm.cycles.timing",
    estimate=estimate,
)  # fmt: skip
