"""Primitive narrow-sense BCH codes, and their extension by a parity bit."""

import numpy as np

from .linear import LinearCode

# x^m + ... + 1, the lexicographically first primitive polynomial of each degree.
_PRIMITIVE = {3: 0xB, 4: 0x13, 5: 0x25, 6: 0x43, 7: 0x83, 8: 0x11D, 9: 0x211, 10: 0x409}


def bch(n: int, k: int) -> LinearCode:
    """The BCH code (n, k) for n = 2**m - 1, or extended to even weight for n = 2**m; m is 3..10.

    Systematic, the message first.  Raises :class:`ValueError` that names the k there are.
    """
    extended = n & n - 1 == 0
    length = n - 1 if extended else n
    m = length.bit_length()
    if length != (1 << m) - 1 or m not in _PRIMITIVE:
        raise ValueError(f"n = {n} is neither 2**m - 1 nor 2**m for m from 3 to 10")
    generators = {length - degree(g): g for g in _generators(m)}
    if k not in generators:
        raise ValueError(
            f"there is no BCH code ({n}, {k}); k is one of {', '.join(map(str, generators))}"
        )
    word, rows = generators[k], []
    for i in range(k):  # x**(k - 1 - i) * g: bit 0 of a word is the highest power of x
        shifted = word << k - 1 - i
        rows.append([shifted >> length - 1 - j & 1 for j in range(length)])
    G = np.array(rows, np.uint8)
    if extended:
        G = np.concatenate([G, G.sum(1, keepdims=True, dtype=np.uint8) & 1], axis=1)
    return LinearCode(LinearCode.generated(G).H, name=f"bch-{n}-{k}")


def degree(polynomial: int) -> int:
    """The highest power of x in a polynomial written as bits."""
    return polynomial.bit_length() - 1


def _generators(m: int) -> list[int]:
    """Generator polynomials for t = 1, 2, ...: products of minimal polynomials of a, a**3, ..."""
    order = (1 << m) - 1
    exponents = [1]  # of the primitive element a, as polynomials in it
    for _ in range(order - 1):
        x = exponents[-1] << 1
        exponents.append(x ^ _PRIMITIVE[m] if x >> m else x)
    logarithm = {x: i for i, x in enumerate(exponents)}

    def product(a: int, b: int) -> int:
        return exponents[(logarithm[a] + logarithm[b]) % order] if a and b else 0

    generator, roots, found = 1, set(), []
    for root in range(1, order, 2):
        if root not in roots:
            coset = {root * 2**i % order for i in range(m)}
            roots |= coset
            minimal = [1]  # its coefficients in GF(2**m), the lowest first
            for i in coset:
                up = [0, *minimal]
                scaled = [*(product(c, exponents[i]) for c in minimal), 0]
                minimal = [a ^ b for a, b in zip(up, scaled, strict=True)]
            generator = _multiply(generator, sum(c << i for i, c in enumerate(minimal)))
            if degree(generator) >= order:
                break
            found.append(generator)
    return found


def _multiply(a: int, b: int) -> int:
    """The product of two polynomials over GF(2)."""
    result = 0
    for i in range(b.bit_length()):
        result ^= (a << i) * (b >> i & 1)
    return result
