"""How many bits are set, for any device: what synthesis makes of sums."""

from collections.abc import Sequence

from amaranth.hdl import Cat, Module, Value

from .cells import Bit, later


def count(m: Module, lanes: Sequence[Bit], cycles: int) -> Value:
    """How many ``lanes`` are set; registers make it that of ``cycles - 1`` cycles ago.

    Full adders of three bits, then a tree of sums.
    """
    bits = [lane.value for lane in lanes]
    numbers = [_three(*bits[k : k + 3]) for k in range(0, len(bits), 3)]
    levels = (len(numbers) - 1).bit_length()
    now = 0
    for level in range(1, levels + 1):
        then = level * (cycles - 1) // levels
        numbers = [later(m, number, then - now) for number in numbers]
        pairs = zip(numbers[::2], numbers[1::2], strict=False)
        numbers = [a + b for a, b in pairs] + numbers[len(numbers) & ~1 :]
        now = then
    return later(m, numbers[0], cycles - 1 - now)


def _three(a: Value, b: Value | None = None, c: Value | None = None) -> Value:
    if b is None:
        return a
    if c is None:
        return Cat(a ^ b, a & b)
    return Cat(a ^ b ^ c, (a & b) | (c & (a | b)))
