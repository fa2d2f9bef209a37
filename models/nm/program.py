"""What the array is told to do: instructions, their effect, and the layouts of its memories.

With the names of :class:`~.config.NmConfig`: R ``rows``, C ``columns``, N ``kept``, M ``group``,
G = R / N ``clusters``, I ``interleave``, E ``beat_entries``.

Four memories
-------------
*External memory*, addressed in beats of ``beat_bits``, reached through the engine's memory ports.

*Left memory*: G banks of ``left_depth`` words.  A left operand [rows r][groups q] of words lies

* by group (for weight-stationary products): bank ``q mod G``, address
  ``base + r * blocks + q div G`` with ``blocks = ceil(groups / G)``;
* by row (for output-stationary products): bank ``r mod G``, address
  ``base + (r div G) * groups + q``.

*Right memory*: C banks of ``right_depth`` words of N entries (entry j in bits
``j * entry_bits`` and up).  Which entries make a word depends on the dataflow, see :class:`Gemm`.

*Sums memory*: two halves of C banks of ``sums_depth`` sums.  A result [rows r][columns n] lies in
bank ``n mod C`` at address ``base + (n div C) * rows + r``, whatever the dataflow.  ``n div C`` is
called a block.

Order of additions
------------------
A sum starts at +0 (or at what is there, :attr:`Gemm.accumulate`) and takes one product at a time;
each step is one fused ``sum + left * right``, rounded once to FP32, to nearest even, with
subnormal numbers, infinities and NaN (always 0x7FC00000) as of IEEE 754; int8: int32 that wraps.
For two FP16 operands that equals a product and a sum each rounded to FP32.  Products come in
ascending k, but for dense weight-stationary ones: there, with ``k = (b * G + g) * M + s * N + j``,
in ascending (b, s, g, j).

Units and semaphores
--------------------
Instructions are taken in order and queued at three units, ``load`` (:class:`Load`), ``gemm``
(:class:`Gemm`) and ``out`` (:class:`Store`, :class:`Update`, :class:`Fence`), each of which runs
its own in order, at the same time as the other units.  An instruction begins once all semaphores
of its mask ``wait`` are above 0, takes 1 from each, and adds 1 to those of its mask ``signal``
when all its effects are there.
"""

from dataclasses import dataclass, fields
from typing import ClassVar, Literal, get_args

SEMAPHORES = 8
"""Counters from 0 to 15, all 0 after reset."""

LOOPS = 4
"""Loops of an address pattern."""

ADDRESS_BITS = 32
COUNT_BITS = 16

Dataflow = Literal["weight", "output"]
"""What is stationary."""


@dataclass(frozen=True)
class Pattern:
    """Addresses of beats: ``address + sum of i_x * stride_x`` modulo 2**32, last loop fastest."""

    address: int = 0
    loops: tuple[tuple[int, int], ...] = ((1, 1),)
    """At most :data:`LOOPS` pairs (count, stride), outermost first; a count is 1 to 65,535."""


@dataclass(frozen=True)
class Instruction:
    """What all instructions have: masks of semaphores."""

    unit: ClassVar[str]

    wait: int = 0
    signal: int = 0


@dataclass(frozen=True)
class Load(Instruction):
    """Beats of external memory to a local one.

    ``left``: the beats are words, row by row: for each row, ``groups / port_words`` beats of
    ``port_words`` consecutive groups; or, with ``rows_in_beat``, for each block of ``port_words``
    rows, ``groups`` beats of those rows' words of one group.  The dimension along the beat is a
    multiple of ``port_words``.  ``dataflow`` says how they lie in the left memory.  A beat takes
    a cycle where its words go to different banks (groups in a beat by group, rows in a beat by
    row), else ``port_words`` cycles.

    ``right``: for each of ``words`` addresses from ``base`` on, all C columns: beats of E / N whole
    words (``entry = None``; [column][j]), or of the entries number ``entry`` of E columns.  A
    beat a cycle.

    ``masters``: the beats are passed on to the next :class:`Update`, a beat a cycle.
    """

    unit = "load"

    target: Literal["left", "right", "masters"] = "left"
    pattern: Pattern = Pattern()
    base: int = 0
    dataflow: Dataflow = "weight"
    rows_in_beat: bool = False
    rows: int = 1
    groups: int = 1
    words: int = 1
    entry: int | None = None


@dataclass(frozen=True)
class Gemm(Instruction):
    """A product of a left and a right operand, from and to local memories.

    Weight-stationary ("weight"): ``tiles`` tiles of C columns; ``folds`` folds of G right words,
    each held by the array while ``rows`` left rows stream by::

        for fold f, for tile t, for row r:
            left word of cluster g:  left + r * (folds / repeat) + f div repeat   (by group)
            right word of cluster g: right + (t * folds + f) * G + g              column c
            sum:                     sums + t * rows + r                          column c

    Entry j of a right word multiplies the cluster's left element number index.  Sparse: ``repeat
    = 1``, the word has the N entries of group ``f * G + g``, ascending.  Dense: ``repeat = M / N``,
    with f = b * repeat + s the word has the entries k = (b * G + g) * M + s * N + j, j < N, with
    index ``s * N + j``.

    Output-stationary ("output"): ``rows`` row tiles of G * I rows and ``tiles`` tiles of N * C
    columns stay in the array while the steps of ``folds`` groups go by::

        for row tile y, for tile t, for group q, for step s < repeat, for i < I:
            left word of cluster g:  left + (y * I + i) * folds + q               (by row)
            right word:              right + (t * folds + q) * repeat + s         column c
        sum of cluster g, row i, MAC j: row r = (y * I + i) * G + g of rows * I * G,
            block t * N + j, column c:  sums + (t * N + j) * (rows * I * G) + r

    Entry j of a right word is of column ``(t * N + j) * C + c``.  Sparse: ``repeat = N``; dense:
    ``repeat = M``, index s.

    Rows, columns and groups that pad are zeros.
    """

    unit = "gemm"

    dataflow: Dataflow = "weight"
    accumulate: bool = False
    """Start from the sums that are there; weight-stationary only."""
    rows: int = 1
    tiles: int = 1
    folds: int = 1
    repeat: int = 1
    left: int = 0
    right: int = 0
    sums: int = 0
    half: int = 0


@dataclass(frozen=True)
class Store(Instruction):
    """Sums to external memory, converted but for "sums".

    Sums [``blocks``][``rows``][C] are read from ``sums + block * stride + row``.  Values are
    rounded to nearest even: FP32 to FP16 or BF16 (beyond range: infinity; subnormal numbers kept),
    int32 to int8 by ``2**-shift``, saturating; ``relu`` makes what is negative +0 (a NaN stays).

    =========  ==========================================  ===================================
    format     order of beats                              a beat
    =========  ==========================================  ===================================
    sums       for block, for row, C / beat_sums beats     beat_sums columns
    rows       for row, for block, words of M columns      port_words words (across blocks)
    columns    for M rows, for block, a word of those M    port_words words, of as many
               rows for each column                        columns (across blocks)
    words      for block, for N rows, for column,          E entries, column-major: N of each
               N entries                                   of E / N columns
    entries    for block, for row, C / E beats             E columns
    =========  ==========================================  ===================================

    An entry's index is its row modulo M.  So "rows" makes a left operand along the columns,
    "columns" one along the rows (the transpose), "words" and "entries" a dense right operand whose
    k are the rows, for weight- and output-stationary products (see :meth:`Load`).  ``rows`` is a
    multiple of M ("columns") or N ("words"); ``blocks * C / M`` of ``port_words`` ("rows"),
    ``blocks * C`` of ``port_words`` ("columns").
    """

    unit = "out"

    format: Literal["sums", "rows", "columns", "words", "entries"] = "sums"
    pattern: Pattern = Pattern()
    half: int = 0
    sums: int = 0
    rows: int = 1
    stride: int = 1
    blocks: int = 1
    relu: bool = False
    shift: int = 0


@dataclass(frozen=True)
class Update(Instruction):
    """The weight update (WUVE) and the right operands of the next step (SORE).

    Gradients [``blocks``][``rows`` k][C] are read as :class:`Store` reads; k are weights' inputs,
    n = block * C + column their outputs; ``rows`` is a multiple of C.  With L ``lanes``::

        for block, for segment (C / L of them), for k:  L weights

    Each of these steps takes the next L pairs (w, v) of FP32 masters, lane 0 first, w in the low
    half, in ``ceil(L * 64 / beat_bits)`` beats (full but for the last) of a ``masters``
    :class:`Load`, and writes (w', v') alike from ``masters`` on.  Formulas: :mod:`.update`.

    ``forward``: the right operand of k (reduction) x n, from address ``forward`` on; of w' in the
    operands' format, sparse N:M along k, or dense.  With K = rows, A(x) = beats of C entries =
    C / E, the beat address of

    * weight-stationary, sparse: word of (block, group q, column c):
      ``((block * K/M + q) * C + c) * N / E``
    * weight-stationary, dense: word of (block, k div N, c): ``((block * K/N + k div N) * C + c) *
      N / E``
    * output-stationary, sparse: slot s of (block, q): ``((block * K/M + q) * N + s) * C/E + c / E``
    * output-stationary, dense: ``(block * K + k) * C/E + c / E``

    ``backward``: the right operand of n (reduction) x k, alike with the parts exchanged: the
    reduction axis is n of ``blocks * C``, columns are k, blocks of C of them.  An index is the
    position within the group of M of the reduction axis; slots ascend in it.
    """

    unit = "out"

    half: int = 0
    sums: int = 0
    rows: int = 1
    stride: int = 1
    blocks: int = 1
    masters: int = 0
    forward: int = 0
    backward: int = 0
    forward_dataflow: Dataflow = "weight"
    backward_dataflow: Dataflow = "weight"
    forward_sparse: bool = True
    backward_sparse: bool = True


@dataclass(frozen=True)
class Fence(Instruction):
    """Offers ``tag`` on the engine's port ``done``; the instruction ends when it is taken."""

    unit = "out"

    tag: int = 0


_PATTERN = {"address": ADDRESS_BITS} | {
    f"{part}{x}": bits
    for x in range(LOOPS)
    for part, bits in (("count", COUNT_BITS), ("stride", ADDRESS_BITS))
}

WIDTHS: dict[str, dict[str, int]] = {
    "load": _PATTERN
    | {"target": 2, "base": 16, "dataflow": 1, "rows_in_beat": 1, "rows": 16, "groups": 16}
    | {"words": 16, "single": 1, "entry": 4},
    "gemm": {"dataflow": 1, "accumulate": 1, "rows": 16, "tiles": 16, "folds": 16, "repeat": 8}
    | {"left": 16, "right": 16, "sums": 16, "half": 1},
    "store": _PATTERN
    | {"format": 3, "half": 1, "sums": 16, "rows": 16, "stride": 16, "blocks": 16}
    | {"relu": 1, "shift": 5},
    "update": {"half": 1, "sums": 16, "rows": 16, "stride": 16, "blocks": 16}
    | {"masters": 32, "forward": 32, "backward": 32}
    | {"forward_dataflow": 1, "backward_dataflow": 1}
    | {"forward_sparse": 1, "backward_sparse": 1},
    "fence": {"tag": 16},
}
"""Fields of each instruction, from the low bits of its body, and their widths in bits.

A choice is its position in its ``Literal``; ``single`` says that ``entry`` is not None."""

OPCODES = tuple(WIDTHS)
"""An instruction word is: opcode (3 bits), ``wait`` and ``signal`` (8 bits each), the body."""

HEADER = {"opcode": 3, "wait": SEMAPHORES, "signal": SEMAPHORES}

BODY_BITS = max(sum(widths.values()) for widths in WIDTHS.values())
BITS = sum(HEADER.values()) + BODY_BITS
"""Width of an instruction word."""


def pack(instruction: Instruction) -> int:
    """The instruction word; :class:`ValueError` naming a field that does not fit."""
    name = type(instruction).__name__.lower()
    values: dict[str, int] = {"opcode": OPCODES.index(name)}
    choices = {"target": ("left", "right", "masters"), "dataflow": get_args(Dataflow)}
    choices |= {f"{way}_dataflow": get_args(Dataflow) for way in ("forward", "backward")}
    choices["format"] = ("sums", "rows", "columns", "words", "entries")
    for field in fields(instruction):
        value = getattr(instruction, field.name)
        if isinstance(value, Pattern):
            values["address"] = value.address
            if not 1 <= len(value.loops) <= LOOPS:
                raise ValueError(f"{len(value.loops)} loops; a pattern has 1 to {LOOPS}")
            loops = ((1, 0),) * (LOOPS - len(value.loops)) + value.loops
            for x, (count, stride) in enumerate(loops):
                values[f"count{x}"] = count
                values[f"stride{x}"] = stride % (1 << ADDRESS_BITS)
        elif field.name == "entry":
            values |= {"single": value is not None, "entry": value or 0}
        elif field.name in choices:
            if value not in choices[field.name]:
                raise ValueError(
                    f"{name}: {field.name} = {value!r} is none of {', '.join(choices[field.name])}"
                )
            values[field.name] = choices[field.name].index(value)
        else:
            values[field.name] = int(value)
    word = position = 0
    for key, bits in (HEADER | WIDTHS[name]).items():
        if not 0 <= values[key] < 1 << bits:
            raise ValueError(f"{name}: {key} = {values[key]} exceeds {(1 << bits) - 1}; split it")
        word |= values[key] << position
        position += bits
    return word
