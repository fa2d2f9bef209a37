"""Payloads as NumPy arrays ("beats"), and as the words that a simulator takes ("words").

*Beats* of a port: an integer array whose first axis is the beat and whose further
axes follow the payload's ``ArrayLayout``; for a ``StructLayout`` a mapping from
field name to such an array (a struct inside an array keeps the array's axes in
its fields).  *Words*: ``uint32 [beats, ceil(width / 32)]``, low end first, bits
above the width zero.

Fields of more than 64 bits are arrays of Python integers (``dtype=object``).
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from amaranth.hdl import Shape, ShapeCastable, ShapeLike
from amaranth.lib import data
from numpy.typing import NDArray

from ..hdl.engine import Beats

Words = NDArray[np.uint32]

_CHUNK_BITS = 1 << 26
"""Bits (one byte each while packing) that are handled at once, to bound memory."""


@dataclass(frozen=True)
class Leaf:
    """A field of plain numbers in a payload, with the array axes above it."""

    path: tuple[str, ...]
    """Field names from the outside in; empty for a payload that is no struct."""
    offset: int
    """Lowest bit of the first element."""
    width: int
    signed: bool
    axes: tuple[tuple[int, int], ...] = ()
    """Length and stride in bits of each array axis."""

    @property
    def lengths(self) -> tuple[int, ...]:
        """Shape of one beat's array."""
        return tuple(length for length, _ in self.axes)

    @property
    def contiguous(self) -> bool:
        """Elements lie next to each other in order."""
        stride = self.width
        for length, actual in reversed(self.axes):
            if length > 1 and actual != stride:
                return False
            stride *= length
        return True

    def offsets(self) -> NDArray[np.int64]:
        """Lowest bit of every element, in C order."""
        grid = np.full(self.lengths, self.offset, dtype=np.int64)
        for axis, (length, stride) in enumerate(self.axes):
            steps = np.arange(length, dtype=np.int64) * stride
            grid += steps.reshape(-1, *[1] * (len(self.axes) - axis - 1))
        return grid.ravel()

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of the array that :func:`unpack` returns."""
        if self.width > 64:
            return np.dtype(object)
        return np.dtype(np.uint64 if self.width == 64 and not self.signed else np.int64)


def width(shape: ShapeLike) -> int:
    """Bits of a payload."""
    return Shape.cast(shape).width


def leaves(shape: ShapeLike) -> list[Leaf]:
    """The fields of plain numbers in ``shape``, in order of declaration.

    Raises :class:`TypeError` for layouts that are neither array nor struct.
    """
    return list(_leaves(shape, (), 0, ()))


def select(beats: Beats, path: tuple[str, ...]) -> Any:
    """The array at ``path`` in ``beats``; an empty array stands for all its fields."""
    for name in path:
        if not isinstance(beats, Mapping):
            if len(beats) == 0:
                return np.empty(0, dtype=np.int64)
            raise TypeError(f"a struct needs a mapping of field arrays; field {name!r} is missing")
        if name not in beats:
            raise KeyError(f"field {name!r} is missing; given: {', '.join(map(str, beats))}")
        beats = beats[name]
    return beats


def count(beats: Beats) -> int:
    """Number of beats.  Raises :class:`ValueError` where the fields of a struct disagree."""
    if not isinstance(beats, Mapping):
        return len(beats)
    counts = {name: count(field) for name, field in beats.items()}
    if len(set(counts.values())) > 1:
        raise ValueError(f"fields differ in their number of beats: {counts}")
    return next(iter(counts.values()), 0)


def pack(shape: ShapeLike, beats: Beats) -> Words:
    """The words of ``beats``.

    Raises :class:`ValueError` for a number outside its field's range or an array of
    the wrong shape, :class:`KeyError` or :class:`TypeError` for a wrong structure.
    """
    total, bits = count(beats), width(shape)
    words = np.zeros((total, -(-bits // 32)), dtype=np.uint32)
    if not total or not bits:
        return words
    fields = [(leaf, _checked(leaf, select(beats, leaf.path), total)) for leaf in leaves(shape)]
    target = words.view(np.uint8)
    if all(_bytewise(leaf) for leaf, _ in fields):
        for leaf, array in fields:
            _byte_view(target, leaf)[:] = array.reshape(total, -1).astype(f"<u{leaf.width // 8}")
        return words
    step = max(_CHUNK_BITS // bits, 1)
    for low in range(0, total, step):
        high = min(low + step, total)
        grid = np.zeros((high - low, bits), dtype=np.uint8)
        for leaf, array in fields:
            _put(grid, leaf, _to_bits(array[low:high].reshape(high - low, -1), leaf.width))
        packed = np.packbits(grid, axis=1, bitorder="little")
        target[low:high, : packed.shape[1]] = packed
    return words


def unpack(shape: ShapeLike, words: Words) -> Beats:
    """The beats that ``words`` stand for, as ``int64`` (``uint64`` and ``object`` where needed)."""
    total, bits = len(words), width(shape)
    fields = leaves(shape)
    arrays = [np.zeros((total, *leaf.lengths), dtype=leaf.dtype) for leaf in fields]
    if total and bits:
        source = np.ascontiguousarray(words).view(np.uint8)
        slow: list[tuple[Leaf, NDArray[Any]]] = []
        for leaf, array in zip(fields, arrays, strict=True):
            if _bytewise(leaf):
                values = _byte_view(source, leaf)
                if leaf.signed:
                    values = values.view(f"<i{leaf.width // 8}")
                array[:] = values.reshape(array.shape)
            elif leaf.width:
                slow.append((leaf, array))
        step = max(_CHUNK_BITS // bits, 1)
        for low in range(0, total if slow else 0, step):
            part = source[low : low + step]
            grid = np.unpackbits(part, axis=1, count=bits, bitorder="little")
            for leaf, array in slow:
                values = _from_bits(_take(grid, leaf), leaf)
                array[low : low + step] = values.reshape(len(part), *leaf.lengths)
    result: dict[str, Any] = {}
    for leaf, array in zip(fields, arrays, strict=True):
        if not leaf.path:
            return array
        place = result
        for name in leaf.path[:-1]:
            place = place.setdefault(name, {})
        place[leaf.path[-1]] = array
    return result


def _leaves(
    shape: ShapeLike, path: tuple[str, ...], offset: int, axes: tuple[tuple[int, int], ...]
) -> Iterator[Leaf]:
    layout: Any = shape
    while isinstance(layout, ShapeCastable) and not isinstance(layout, data.Layout):
        layout = layout.as_shape()  # a data.Struct class, an enumeration
    if isinstance(layout, data.ArrayLayout):
        stride = width(layout.elem_shape)
        yield from _leaves(layout.elem_shape, path, offset, (*axes, (layout.length, stride)))
    elif isinstance(layout, data.StructLayout):
        for name, field in layout:
            yield from _leaves(field.shape, (*path, str(name)), offset + field.offset, axes)
    elif isinstance(layout, data.Layout):
        raise TypeError(
            f"payload layout {type(layout).__name__} has no beats; use StructLayout or ArrayLayout"
        )
    else:
        plain = Shape.cast(layout)
        yield Leaf(path, offset, plain.width, plain.signed, axes)


def _checked(leaf: Leaf, given: Any, total: int) -> NDArray[Any]:
    array = np.asarray(given)
    name = ".".join(leaf.path) or "payload"
    if array.shape != (total, *leaf.lengths):
        raise ValueError(f"{name} has shape {array.shape}; expected {(total, *leaf.lengths)}")
    if array.dtype.kind not in "biuO":
        raise ValueError(f"{name} has dtype {array.dtype}; beats are integers")
    if array.dtype.kind == "b":
        array = array.view(np.uint8)
    if array.size:
        low = -(1 << (leaf.width - 1)) if leaf.signed and leaf.width else 0
        high = (1 << (leaf.width - leaf.signed)) - 1 if leaf.width else 0
        for extreme, index in ((array.min(), array.argmin()), (array.max(), array.argmax())):
            if not low <= int(extreme) <= high:
                beat, *rest = (int(i) for i in np.unravel_index(index, array.shape))
                at = f"{name}{rest or ''}"
                raise ValueError(f"{at} of beat {beat} is {extreme}; it holds {low}..{high}")
    return array if leaf.width > 64 else array.astype(leaf.dtype, copy=False)


def _bytewise(leaf: Leaf) -> bool:
    return leaf.width in (8, 16, 32, 64) and leaf.offset % 8 == 0 and leaf.contiguous


def _byte_view(target: NDArray[np.uint8], leaf: Leaf) -> NDArray[Any]:
    size = leaf.width // 8
    length = int(np.prod(leaf.lengths, dtype=np.int64))
    low = leaf.offset // 8
    return target[:, low : low + length * size].view(f"<u{size}")


def _put(grid: NDArray[np.uint8], leaf: Leaf, bits: NDArray[np.uint8]) -> None:
    if leaf.contiguous:
        size = bits.shape[1] * bits.shape[2]
        grid[:, leaf.offset : leaf.offset + size] = bits.reshape(len(bits), size)
    else:
        grid[:, leaf.offsets()[:, None] + np.arange(leaf.width)] = bits


def _take(grid: NDArray[np.uint8], leaf: Leaf) -> NDArray[np.uint8]:
    offsets = leaf.offsets()
    if leaf.contiguous:
        size = len(offsets) * leaf.width
        return grid[:, leaf.offset : leaf.offset + size].reshape(len(grid), -1, leaf.width)
    return grid[:, offsets[:, None] + np.arange(leaf.width)]


def _to_bits(array: NDArray[Any], bits: int) -> NDArray[np.uint8]:
    """``[beats, elements]`` numbers to ``[beats, elements, bits]`` bits, low first."""
    if bits <= 64:
        octets = array.astype("<u8" if bits > 32 else "<u4")[..., None].view(np.uint8)
        octets = octets[..., : -(-bits // 8)]
    else:
        size, mask = -(-bits // 8), (1 << bits) - 1
        raw = b"".join((int(v) & mask).to_bytes(size, "little") for v in array.ravel())
        octets = np.frombuffer(raw, dtype=np.uint8).reshape(*array.shape, size)
    return np.unpackbits(octets, axis=-1, count=bits, bitorder="little")


def _from_bits(bits: NDArray[np.uint8], leaf: Leaf) -> NDArray[Any]:
    """The inverse of :func:`_to_bits`, with the leaf's sign."""
    octets = np.packbits(bits, axis=-1, bitorder="little")
    size = octets.shape[-1]
    if leaf.width <= 64:
        room = 4 if size <= 4 else 8
        full = np.zeros((*octets.shape[:-1], room), dtype=np.uint8)
        full[..., :size] = octets
        values = full.view(f"<u{room}")[..., 0]
        if leaf.signed:
            values = values.view(f"<i{room}")
            spare = 8 * room - leaf.width
            values = (values << spare) >> spare
        return values
    flat = octets.reshape(-1, size)
    numbers = np.empty(len(flat), dtype=object)
    for i, row in enumerate(flat):
        number = int.from_bytes(row.tobytes(), "little")
        numbers[i] = number - (1 << leaf.width) * (leaf.signed and number >> (leaf.width - 1))
    return numbers.reshape(octets.shape[:-1])
