"""Where a layer's operands lie in external memory, and the products of a step as addresses.

With the names of :mod:`.program`; P is ``port_words``, channels are padded to multiples of
max(C, P * M), images are a multiple of M.  Regions, in beats:

``x_left``: inputs [image][height][width][channels / (P * M)], zeros of ``padding`` around them.
``x_right``: the same as a dense right operand [channels / C][height][width][image / M][lines].
``dy_left``: gradients of the output, as ``x_left``, zeros around them where a kernel reaches.
``dy_columns``: their transpose, [height][width][image / M][channels / P], words along images.
``y_left``, ``y_right``: the output as ``x_left`` and ``x_right``, without padding.
``dx_left``, ``dx_columns``: the input's gradient as ``dy_left`` and ``dy_columns``, the same.
``masters``, ``forward``, ``backward``: weights, fragment by fragment.
``zeros``: a word of zeros in all columns.

A *fragment* of the weights is what one :class:`.program.Update` learns: ``fragment_rows`` outputs
by ``fragment_blocks`` blocks of C inputs of one tap.  The gradient's rows are outputs and its
columns inputs, so the update's ``forward`` operand is the layer's backward one.  Fragments follow
each other by tap, inputs, outputs.
"""

from dataclasses import dataclass
from functools import cached_property
from math import prod
from typing import Literal

import numpy as np

from .config import NmConfig
from .layers import Layer, Pass
from .program import Dataflow, Update
from .update_cycles import step_beats


@dataclass(frozen=True)
class Output:
    """A store of a product's sums: addresses of a row unit are ``outer + inner``, of a block
    ``blocks``.  A unit is as many rows as the format writes at once."""

    format: Literal["rows", "columns", "words", "entries"]
    unit: int
    outer: np.ndarray
    inner: np.ndarray
    blocks: np.ndarray
    """Of each block or, in formats that go by row, of each beat of a row unit."""
    beats: int
    """Next to each other of a unit and block."""


@dataclass(frozen=True)
class Product:
    """A product, as the addresses of its operands.

    The left beat of row (o, i) and place q along the reduction axis lies at ``outer[o] + inner[i]
    + left[q]``: of P groups or, with ``rows_in_beat``, of P rows and one group.  The right words or
    slots of group q and line s lie at ``columns[block] + right[q, s]``, ``beats`` of them.
    """

    kind: Pass
    sparse: bool
    dataflow: Dataflow
    outer: np.ndarray
    inner: np.ndarray
    left: np.ndarray
    rows_in_beat: bool
    columns: np.ndarray
    right: np.ndarray
    beats: int
    outputs: tuple[Output, ...] = ()
    taps: np.ndarray | None = None
    """Of a gradient: the tap of the weights in outer rows o and column blocks of one tap."""

    @property
    def groups(self) -> int:
        """Along the reduction axis."""
        return len(self.right)


class Operands:
    """The memory map of a step of ``layer``, from beat ``start`` on, and its products.

    ``dataflows`` of the passes decide how right operands lie; "weight" where none is named.
    ``shifted``: the gradient has the taps of a kernel's row among its rows, which are more then,
    instead of its columns; ``dy_columns`` has ``kernel - 1`` zeros left and right of each row, over
    which sums go too.  Raises :class:`ValueError` for that with a stride, and for a batch that is
    no multiple of M.
    """

    def __init__(
        self,
        config: NmConfig,
        layer: Layer,
        dataflows: dict[Pass, Dataflow] | None = None,
        shifted: bool = False,
        start: int = 0,
    ) -> None:
        c = self.config = config
        self.layer, self.shifted = layer, shifted
        if shifted and layer.stride > 1:
            raise ValueError(
                f"layer {layer.name}: stride = {layer.stride}, but taps are among a gradient's "
                "rows only where it is 1; leave shifted out"
            )
        self.dataflows: dict[Pass, Dataflow] = {
            "forward": "weight", "backward": "weight", "gradient": "weight"
        }  # fmt: skip
        self.dataflows |= dataflows or {}
        if layer.batch % c.group:
            raise ValueError(
                f"layer {layer.name}: batch = {layer.batch} is not a multiple of group = "
                f"{c.group}; take {-(-layer.batch // c.group) * c.group}"
            )
        self.unit = max(c.columns, c.port_words * c.group)
        self.inputs, self.outputs = (
            -(-channels // self.unit) * self.unit for channels in (layer.inputs, layer.outputs)
        )
        room = min(c.sums_depth, c.left_depth // 2)
        self.fragment_rows = _divisor(self.outputs, c.columns, room)
        blocks = self.inputs // c.columns
        self.fragment_blocks = _divisor(blocks, 1, max(1, c.sums_depth // self.fragment_rows))
        self.regions: dict[str, tuple[int, int]] = {}
        for name, shape in self._shapes().items():
            self.regions[name] = start, prod(shape)
            start += prod(shape)
        self.end = start
        """The first beat beyond."""

    def at(self, region: str) -> int:
        """First beat of ``region``."""
        return self.regions[region][0]

    @property
    def padded(self) -> tuple[int, int]:
        """Height and width of the padded input."""
        around = 2 * self.layer.padding
        return self.layer.height + around, self.layer.width + around

    @cached_property
    def margins(self) -> tuple[int, int, int]:
        """Zeros before, above and after, left and right, of the output's gradient: (before, below,
        right)."""
        y = self.layer
        before = -(-(y.kernel - 1 - y.padding) // y.stride)
        after = [
            max(0, (size - 1 + y.padding) // y.stride + 1 - out)
            for size, out in zip((y.height, y.width), y.output, strict=True)
        ]
        return before, after[0], after[1]

    @property
    def shift_margin(self) -> int:
        """Pixels of zeros left and right in ``dy_columns``."""
        return self.layer.kernel - 1 if self.shifted else 0

    @property
    def fragments(self) -> tuple[int, int, int]:
        """Numbers of fragments: taps, along inputs, along outputs."""
        inputs = self.inputs // self.config.columns // self.fragment_blocks
        return self.layer.taps, inputs, self.outputs // self.fragment_rows

    @property
    def fragment_masters(self) -> int:
        """Beats of a fragment's masters."""
        c = self.config
        steps = self.fragment_blocks * c.columns // c.lanes * self.fragment_rows
        return steps * step_beats(c)

    def lines(self, dataflow: Dataflow, sparse: bool) -> tuple[int, int]:
        """Of a right operand: lines of a group, each a word or slot of C columns; its beats."""
        c = self.config
        if dataflow == "weight":
            return (1 if sparse else c.group // c.kept), c.columns * c.kept // c.beat_entries
        return (c.kept if sparse else c.group), c.columns // c.beat_entries

    def _shapes(self) -> dict[str, tuple[int, ...]]:
        c, y = self.config, self.layer
        ci, co = self.inputs, self.outputs
        (height, width), (oh, ow) = self.padded, y.output
        before, below, right = self.margins
        gy, gx = before + oh + below, before + ow + right
        deep = c.port_words * c.group
        lines, beats = self.lines(self.dataflows["gradient"], False)
        images = y.batch // c.group
        fragments = (*self.fragments, self.fragment_blocks * c.columns * self.fragment_rows)
        back = ("dy_left", "dx_left", "dx_columns")

        def operand(way: Pass) -> tuple[int, ...]:
            lines, beats = self.lines(self.dataflows[way], y.sparse)
            groups = fragments[-1] // c.group // c.columns
            return (*fragments[:-1], groups, lines, beats)

        shapes = {
            "x_left": (y.batch, height, width, ci // deep),
            "x_right": (ci // c.columns, height, width, images, lines, beats),
            "dy_left": (y.batch, gy, gx, co // deep),
            "dy_columns": (oh, ow + 2 * self.shift_margin, images, co // c.port_words),
            "y_left": (y.batch, oh, ow, co // deep),
            "y_right": (co // c.columns, oh, ow, images, lines, beats),
            "dx_left": (y.batch, y.height, y.width, ci // deep),
            "dx_columns": (y.height, y.width, images, ci // c.port_words),
            "masters": (prod(self.fragments), self.fragment_masters),
            "forward": operand("forward"),
            "backward": operand("backward")[0 if y.backward else 3 :],
            "zeros": (c.columns * c.kept // c.beat_entries,),
        }
        return {name: s for name, s in shapes.items() if y.backward or name not in back}

    def fragment_beats(self, way: Pass) -> int:
        """Of a fragment in the region ``way``."""
        return self.regions[way][1] // prod(self.fragments)

    def forward(self) -> Product:
        """Rows (pixel of the output, image); reduction (tap, input); columns outputs."""
        c, y = self.config, self.layer
        deep = self.inputs // (c.port_words * c.group)
        height, width = self.padded
        rows, columns = (np.arange(size) * y.stride for size in y.output)
        tap = np.arange(y.kernel)
        oh, ow = y.output
        out = self.outputs // (c.port_words * c.group)
        lines, beats = self.lines(self.dataflows["gradient"], False)
        unit = c.kept if self.dataflows["gradient"] == "weight" else 1
        pixel, image = np.arange(oh * ow), np.arange(y.batch)
        outputs = (
            Output("rows", 1, pixel * out, self.at("y_left") + image * oh * ow * out,
                   np.arange(out), 1),
            Output("words" if unit == c.kept else "entries", unit,
                   pixel * (y.batch // c.group * lines * beats),
                   self.at("y_right") + np.arange(y.batch // unit) * beats,
                   np.arange(self.outputs // c.columns) * (oh * ow * y.batch // unit * beats),
                   beats),
        )  # fmt: skip
        return Product(
            "forward", y.sparse, self.dataflows["forward"],
            outer=_sum(rows * width * deep, columns * deep),
            inner=self.at("x_left") + np.arange(y.batch) * (height * width * deep),
            left=_sum(tap * width * deep, tap * deep, np.arange(deep)),
            rows_in_beat=False,
            outputs=outputs,
            **self._weights("forward", np.arange(y.taps)),
        )  # fmt: skip

    def backward(self) -> list[Product]:
        """One for each phase of the stride, of those input pixels that lie alike to a kernel's:
        rows (pixel, image); reduction (tap, output); columns inputs.  Phases that no kernel reaches
        are left out: their gradient is 0."""
        c, y = self.config, self.layer
        deep = self.outputs // (c.port_words * c.group)
        out = self.inputs // (c.port_words * c.group)
        before, below, right = self.margins
        width = before + y.output[1] + right
        height = before + y.output[0] + below
        image = np.arange(y.batch)
        found = []
        for phase_y in range(min(y.stride, y.kernel)):
            for phase_x in range(min(y.stride, y.kernel)):
                # Input pixels whose distance from a kernel's first tap is phase + a multiple of
                # stride; taps fall as the output's pixels ascend.
                pixels = [
                    np.arange((phase - y.padding) % y.stride, size, y.stride)
                    for phase, size in ((phase_y, y.height), (phase_x, y.width))
                ]
                taps = [np.arange(phase, y.kernel, y.stride)[::-1] for phase in (phase_y, phase_x)]
                if not all(map(len, pixels)):
                    continue
                first = [
                    (pixel + y.padding - tap[0]) // y.stride + before
                    for pixel, tap in zip(pixels, taps, strict=True)
                ]
                place = _sum(pixels[0] * y.width, pixels[1])
                images = y.batch // c.group
                along = self.inputs // c.port_words
                outputs = (
                    Output("rows", 1, place * out,
                           self.at("dx_left") + image * (y.height * y.width * out),
                           np.arange(out), 1),
                    Output("columns", c.group, place * (images * along),
                           self.at("dx_columns") + np.arange(images) * along,
                           np.arange(along), 1),
                )  # fmt: skip
                product = Product(
                    "backward", y.sparse, self.dataflows["backward"],
                    outer=_sum(first[0] * width * deep, first[1] * deep),
                    inner=self.at("dy_left") + image * (height * width * deep),
                    left=_sum(
                        np.arange(len(taps[0])) * width * deep,
                        np.arange(len(taps[1])) * deep,
                        np.arange(deep),
                    ),
                    rows_in_beat=False,
                    outputs=outputs,
                    **self._weights("backward", _sum(taps[0] * y.kernel, taps[1])),
                )  # fmt: skip
                found.append(product)
        return found

    def gradient(self) -> Product:
        """Rows outputs; reduction (pixel of the output, image); columns (tap, input).

        ``shifted``: rows (tap's column, output), reduction (output's row, pixel of the padded
        input's row, image), columns (tap's row, input).
        """
        c, y = self.config, self.layer
        height, width = self.padded
        lines, beats = self.lines(self.dataflows["gradient"], False)
        images, along = y.batch // c.group, self.outputs // c.port_words
        pixel = images * lines * beats
        rows, columns = (np.arange(size) * y.stride for size in y.output)
        tap, margin = np.arange(y.kernel), self.shift_margin
        taps = tap[:, None] * y.kernel + tap
        outer, across = np.zeros(1, int), tap
        if self.shifted:
            outer, across, taps = (margin - tap) * images * along, tap[:1], taps.T
            columns = np.arange(width)
        line = (y.output[1] + 2 * margin) * images * along
        block = self.at("x_right") + np.arange(self.inputs // c.columns) * (height * width * pixel)
        places = _sum(rows * width * pixel, columns * pixel, np.arange(images) * lines * beats)
        return Product(
            "gradient", False, self.dataflows["gradient"],
            outer=outer,
            inner=self.at("dy_columns") + np.arange(along),
            left=_sum(np.arange(len(rows)) * line, np.arange(len(columns) * images) * along),
            rows_in_beat=True,
            columns=_sum(tap * width * pixel, across * pixel, block),
            right=places[:, None] + np.arange(lines) * beats,
            beats=beats,
            taps=taps.reshape(len(outer), -1),
        )  # fmt: skip

    def update(self, fragment: int, half: int, sums: int, stride: int) -> Update:
        """Learns ``fragment`` by the sums [block][row] from ``sums`` on, blocks ``stride`` apart.

        A layer whose input's gradient is not wanted has its backward operand written all the same,
        over and over to one place.
        """
        y = self.layer
        # The forward operand of an update reduces along the gradient's rows.
        backward = self.at("backward")
        if y.backward:
            backward += fragment * self.fragment_beats("backward")
        return Update(
            half=half, sums=sums, rows=self.fragment_rows, stride=stride,
            blocks=self.fragment_blocks,
            masters=self.at("masters") + fragment * self.fragment_masters,
            forward=backward,
            backward=self.at("forward") + fragment * self.fragment_beats("forward"),
            forward_dataflow=self.dataflows["backward"],
            backward_dataflow=self.dataflows["forward"],
            forward_sparse=y.sparse, backward_sparse=y.sparse,
        )  # fmt: skip

    def _weights(self, way: Pass, taps: np.ndarray) -> dict:
        """``columns``, ``right`` and ``beats`` of a product by the weights of ``taps``."""
        c = self.config
        lines, beats = self.lines(self.dataflows[way], self.layer.sparse)
        _, along_in, along_out = self.fragments
        size = self.fragment_beats(way)
        inputs, outputs = self.fragment_blocks * c.columns, self.fragment_rows
        # The axis that is reduced and the other: size in a fragment, distance of fragments.
        reduced, other = (inputs, along_out * size), (outputs, size)
        if way == "backward":
            reduced, other = other, reduced
        groups = reduced[0] // c.group
        total = (self.inputs if way == "forward" else self.outputs) // c.group
        q = np.arange(total)
        place = q // groups * reduced[1] + q % groups * (lines * beats)
        columns = (self.outputs if way == "forward" else self.inputs) // c.columns
        block, inside = np.arange(columns), other[0] // c.columns
        return {
            "columns": self.at(way)
            + block // inside * other[1]
            + block % inside * (groups * lines * beats),
            "right": _sum(taps * (along_in * along_out * size), place)[:, None]
            + np.arange(lines) * beats,
            "beats": beats,
        }


def _sum(*parts: np.ndarray) -> np.ndarray:
    """Sums of one element of each part, the last part's fastest."""
    total = np.zeros(1, np.int64)
    for part in parts:
        total = (total[:, None] + part).reshape(-1)
    return total


def _divisor(size: int, unit: int, most: int) -> int:
    """The largest divisor of ``size`` that is a multiple of ``unit`` and, if any is, at most
    ``most``."""
    fits = [d for d in range(unit, size + 1, unit) if size % d == 0]
    return max((d for d in fits if d <= most), default=unit)
