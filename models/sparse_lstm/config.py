"""Configuration and arithmetic of the sparse-state LSTM engine.

Every number is a two's-complement integer with an implied binary point; "frac"
is the number of bits after it.  With ``R(v, n)`` = ``v >> n`` rounded half up
(``(v + (1 << n >> 1)) >> n``; for ``n < 0`` the exact ``v << -n``) and
``S(v, b)`` = ``v`` clamped to ``b`` signed bits, one step of one context
(layer, direction) and one batch element is::

    acc[u, gate]  =  sum_j R(wx[gate, u, j] * x[j], product_shift - input_shift)
                   + sum_j R(wh[gate, u, j] * hp[j], product_shift)
                     (each product rounded by itself; the sum wraps to
                     ``accumulator_bits``: a final value that fits is exact
                     whatever happened on the way, and in any order)
    z             =  acc + (bias[gate, u] << (accumulator_frac - bias_frac))   (exact)
    i, f, o       =  SIGMOID(z),   g = TANH(z)            (gate_bits frac bits)
    c'            =  S(R((f*c << s1) + (i*g << s2), n), cell_bits)
                     with s1 = max(gate_bits - cell_frac, 0), s2 = max(cell_frac - gate_bits, 0),
                     n = gate_bits + max(gate_bits, cell_frac) - cell_frac
    h             =  S(R(o * TANH(c'), 2 * gate_bits - state_frac), state_bits)
    hp            =  h if abs(h) >= threshold else 0      (what the next step multiplies)

The activation tables.  ``SIGMOID`` has N = ``sigmoid_entries`` entries over
[-8, 8), ``TANH`` N = ``tanh_entries`` over [-4, 4).  The argument with F frac bits is
brought to the table's grid, ``a = S(R(z, F - log2(N) + log2(range)), log2(N))`` with
``range`` 16 or 8, and entry ``a`` is ``round_half_up(fn(a * range / N) * 2**gate_bits)``
clamped: sigmoid to [0, 2**gate_bits - 1], tanh to +-(2**gate_bits - 1).
So ``i, f, o`` are unsigned gate_bits wide and ``g``, ``tanh`` signed, gate_bits + 1 wide.

``input_kind = "index"``: the input is a column number a batch element (one-hot),
there are no input products, and ``bias[index]`` is a row of a table (the caller folds
``W_x[:, index] + b`` into it).

Batch elements marked ``start`` in a step's header begin a sequence there: their
``c`` and ``hp`` from before count as 0.
"""

from math import ceil
from typing import Any, ClassVar, Literal, Self

from pydantic import model_validator

from ..config import EngineConfig, parameter


class SparseLstmConfig(EngineConfig):
    """Shape, formats and parallelism of a sparse-state LSTM engine."""

    input_size: int = parameter(32, unit="columns", ge=1, le=4096)
    """Input vector length of layer 0 (``input_kind = "index"``: vocabulary size)."""
    hidden_size: int = parameter(128, unit="units", ge=1, le=4096)
    """Units of each layer and direction."""
    layers: int = parameter(1, ge=1, le=8)
    """Layers whose weights the engine holds; a sequence passes layer by layer."""
    bidirectional: bool = parameter(False)
    """Two directions a layer; the caller interleaves or sequences their steps."""
    batch: int = parameter(1, unit="sequences", ge=1, le=16)
    """Sequences that share each weight fetch; a column is skipped where all are zero."""

    lanes: int = parameter(64, unit="MAC/cycle", ge=4, le=16384)
    """Multipliers: ``rows * batch * banks``, rows a multiple of 4."""
    banks: int = parameter(1, ge=1, le=32)
    """Columns multiplied at once; column j lives in bank j mod banks."""
    elements: int = parameter(1, unit="elements/cycle", ge=1, le=512)
    """Gate/cell evaluations a cycle: a divisor of ``batch``, or ``batch`` times a divisor or
    multiple of ``banks``; at most ``rows / 4 * batch``."""
    window: int = parameter(1, unit="columns/bank", ge=1, le=64)
    """Columns a bank receives in one input beat and scans for nonzeros at once."""
    queue: int = parameter(32, unit="columns/bank", ge=2, le=4096)
    """Nonzero input columns that each bank buffers ahead of the multipliers."""
    dsp_pack: bool = parameter(False)
    """Multiply two rows by one operand in one wide multiplier (DSP48: two int8 MACs)."""

    input_kind: Literal["vector", "index"] = parameter("vector")
    """A dense vector, or one column number (one-hot) a batch element."""
    weights: Literal["on_chip", "streamed"] = parameter("on_chip")
    """Held in block RAM, or fetched column by column through a port."""
    weight_port: int = parameter(0, unit="weights/beat", ge=0, le=16384)
    """Weights in a beat of the weight port; divides ``rows * banks``; 0 = all of them."""

    weight_bits: int = parameter(8, unit="bits", ge=2, le=16)
    """Width of both weight matrices' entries."""
    weight_frac: int = parameter(7, unit="bits", ge=-8, le=24)
    """Fractional bits of the recurrent weights."""
    input_weight_frac: int = parameter(7, unit="bits", ge=-8, le=24)
    """Fractional bits of layer 0's input weights (later layers: see ``input_shift``)."""
    input_bits: int = parameter(8, unit="bits", ge=2, le=16)
    """Width of an input value, signed."""
    input_frac: int = parameter(7, unit="bits", ge=-16, le=24)
    """Fractional bits of layer 0's input."""
    state_bits: int = parameter(8, unit="bits", ge=2, le=16)
    """Width of a hidden state, signed, ``state_bits - 1`` of them fractional."""
    accumulator_bits: int = parameter(24, unit="bits", ge=2, le=40)
    """Width of an accumulator; wraps."""
    product_shift: int = parameter(0, unit="bits", ge=0, le=24)
    """Low bits that each recurrent product is rounded by before it is added."""
    bias_bits: int = parameter(16, unit="bits", ge=2, le=40)
    """Width of a bias (or of an entry of the index table)."""
    bias_frac: int = parameter(7, unit="bits", ge=-8, le=32)
    """Fractional bits of a bias; at most ``accumulator_frac``."""
    gate_bits: int = parameter(8, unit="bits", ge=2, le=16)
    """Fractional bits of the activation functions' values."""
    sigmoid_entries: int = parameter(256, unit="entries", ge=16, le=4096)
    """Table size, a power of two, over [-8, 8)."""
    tanh_entries: int = parameter(256, unit="entries", ge=16, le=4096)
    """Table size, a power of two, over [-4, 4)."""
    cell_bits: int = parameter(16, unit="bits", ge=2, le=16)
    """Width of a cell state; saturates."""
    cell_frac: int = parameter(11, unit="bits", ge=0, le=15)
    """Fractional bits of a cell state."""

    threshold: int = parameter(0, unit="state LSB", ge=0, le=32768)
    """States of smaller magnitude are pruned; initial value of the register."""
    skip_inputs: bool = parameter(True)
    """Skip zero input columns; initial value of the register."""
    skip_states: bool = parameter(True)
    """Skip zero state columns; initial value of the register.  False: a dense engine."""
    prune_output: bool = parameter(False)
    """Deliver pruned states (``hp``) instead of ``h``."""

    presets: ClassVar[dict[str, dict[str, Any]]] = {
        "default": {},
        "small": {
            "input_size": 16, "hidden_size": 32, "lanes": 4, "queue": 4, "weight_bits": 4,
            "weight_frac": 3, "input_weight_frac": 3, "input_bits": 4, "input_frac": 3,
            "state_bits": 4, "accumulator_bits": 16, "bias_bits": 8, "bias_frac": 3, "gate_bits": 6,
            "sigmoid_entries": 64, "tanh_entries": 64, "cell_bits": 12, "cell_frac": 8,
        },
        "large": {
            "input_size": 128, "hidden_size": 1000, "batch": 8, "lanes": 128, "elements": 4,
            "weights": "streamed",
        },
    }  # fmt: skip

    @property
    def contexts(self) -> int:
        """Weight sets with a state of their own: ``layer * directions + direction``."""
        return self.layers * self.directions

    @property
    def directions(self) -> int:
        """1, or 2 if bidirectional."""
        return 2 if self.bidirectional else 1

    @property
    def rows(self) -> int:
        """Gate rows that a pass advances in a cycle."""
        return self.lanes // (self.batch * self.banks)

    @property
    def state_frac(self) -> int:
        """Fractional bits of a hidden state."""
        return self.state_bits - 1

    @property
    def accumulator_frac(self) -> int:
        """Fractional bits of an accumulator."""
        return self.weight_frac + self.state_frac - self.product_shift

    @property
    def input_shift(self) -> int:
        """How far input products are shifted left to meet the recurrent ones, at least 0.

        The same for every context: a later layer, whose input has ``state_frac``
        fractional bits, has ``weight_frac - input_shift`` of them in its input weights.
        """
        return self.weight_frac + self.state_frac - self.input_weight_frac - self.input_frac

    def context_inputs(self, context: int) -> int:
        """Input columns of a context (0 where the input is an index)."""
        if context >= self.directions:
            return self.directions * self.hidden_size
        return 0 if self.input_kind == "index" else self.input_size

    @property
    def port(self) -> int:
        """Weights in a beat of the weight port."""
        return self.weight_port or self.rows * self.banks

    @property
    def groups(self) -> int:
        """Cycles of a pass over one column (of each bank): ``ceil(4 * hidden / rows)``."""
        return ceil(4 * self.hidden_size / self.rows)

    @model_validator(mode="after")
    def _check(self) -> Self:
        per_row = self.batch * self.banks
        if self.lanes % (4 * per_row):
            below = max(self.lanes // (4 * per_row), 1) * 4 * per_row
            raise ValueError(
                f"lanes = {self.lanes} is not a multiple of 4 * batch * banks = {4 * per_row}; "
                f"nearest that fits: {below}"
            )
        self._check_elements()
        if (self.rows * self.banks) % self.port:
            raise ValueError(
                f"weight_port = {self.port} does not divide rows * banks = {self.rows * self.banks}"
            )
        for name in ("sigmoid_entries", "tanh_entries"):
            if (entries := getattr(self, name)) & (entries - 1):
                raise ValueError(f"{name} = {entries} is not a power of two")
        if self.input_kind == "index" and self.layers > 1:
            raise ValueError("input_kind = 'index' serves one layer; set layers = 1")
        if self.weights == "streamed" and self.banks > 1:
            raise ValueError(
                f"banks = {self.banks} needs weights on chip (a streamed column feeds one bank); "
                "set banks = 1 or weights = 'on_chip'"
            )
        if self.layers > 1 and self.input_bits < self.state_bits:
            raise ValueError(
                f"input_bits = {self.input_bits} cannot carry a state of "
                f"{self.state_bits} bits into the next layer; raise input_bits"
            )
        if self.input_kind == "vector" and self.input_shift < 0:
            raise ValueError(
                f"input products have {self.input_weight_frac + self.input_frac} fractional bits, "
                f"recurrent ones {self.weight_frac + self.state_frac}; "
                f"lower input_weight_frac by {-self.input_shift}"
            )
        if self.bias_frac > self.accumulator_frac:
            raise ValueError(
                f"bias_frac = {self.bias_frac} exceeds accumulator_frac = {self.accumulator_frac}"
            )
        operand = max(self.state_bits, self.input_bits if self.input_kind == "vector" else 0)
        if self.dsp_pack and 2 * self.weight_bits + operand > 24:
            raise ValueError(
                f"dsp_pack fits two weights and an operand of 24 bits together, not "
                f"2 * {self.weight_bits} + {operand}; set dsp_pack = false"
            )
        if self.threshold > 1 << (self.state_bits - 1):
            raise ValueError(
                f"threshold = {self.threshold} is above the largest state magnitude "
                f"{1 << (self.state_bits - 1)}"
            )
        return self

    def _check_elements(self) -> None:
        units, row_units = self.elements // self.batch, self.rows // 4
        if self.banks > row_units:
            raise ValueError(
                f"banks = {self.banks} exceeds the {row_units} units that {self.rows} rows "
                "finish at once; use fewer banks or more lanes"
            )
        if units > row_units:
            raise ValueError(
                f"elements = {self.elements} exceeds the {row_units * self.batch} "
                f"that {self.rows} rows finish at once"
            )
        if self.elements < self.batch:
            if self.batch % self.elements:
                raise ValueError(f"elements = {self.elements} does not divide batch = {self.batch}")
        elif self.elements % self.batch or (self.banks % units and units % self.banks):
            raise ValueError(
                f"elements = {self.elements} is not batch = {self.batch} times a divisor or "
                f"multiple of banks = {self.banks}"
            )
