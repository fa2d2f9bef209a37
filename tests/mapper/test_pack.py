"""The packer against exhaustive enumeration, published instances and mutation."""

import random

import pytest
from thresher.mapper.pack import (
    Rectangle,
    lower_bound,
    pack,
    validate,
)


def packable(rectangles, capacity, bank=None):
    """By trying every offset of every rectangle."""

    def free(r, offset, placed):
        if offset % r.alignment or (r.fixed is not None and offset != r.fixed):
            return False
        if bank and r.size:
            first, last = offset // bank, (offset + r.size - 1) // bank
            if (offset % bank) if r.size > bank else first != last:
                return False
        return not any(
            q.start < r.stop and r.start < q.stop and at < offset + r.size and offset < at + q.size
            for q, at in placed
        )

    def rest(i, placed):
        if i == len(rectangles):
            return True
        r = rectangles[i]
        return any(
            free(r, offset, placed) and rest(i + 1, [*placed, (r, offset)])
            for offset in range(capacity - r.size + 1)
        )

    return rest(0, [])


def drawn(rng, alignments=(1,), fixed=0.0, most=7):
    """Rectangles, and a capacity near their load."""
    steps = rng.randint(1, 7)
    found = []
    for _ in range(rng.randint(1, most)):
        start = rng.randrange(steps)
        alignment = rng.choice(alignments)
        at = rng.randrange(3) * alignment if rng.random() < fixed else None
        size = rng.randint(1, 5)
        found.append(
            Rectangle(start, rng.randint(start + 1, steps), size, alignment=alignment, fixed=at)
        )
    return found, max(lower_bound(found) + rng.choice((-1, 0, 0, 0, 1, 2)), 1)


KINDS = {
    "plain": {},
    "alignment": {"alignments": (1, 1, 2, 3, 4)},
    "bank": {"bank": (2, 3, 4, 5)},
    "fixed": {"fixed": 0.3},
    "all": {"alignments": (1, 1, 2, 4), "bank": (3, 4, 8), "fixed": 0.2},
}


@pytest.mark.parametrize("kind", KINDS)
def test_agrees_with_enumeration(kind):
    options = dict(KINDS[kind])
    banks = options.pop("bank", (None,))
    rng = random.Random(kind)
    counts = {"packed": 0, "infeasible": 0}
    for _ in range(150):
        rectangles, capacity = drawn(rng, **options)
        bank = rng.choice(banks)
        found = pack(rectangles, capacity, bank=bank, seed=rng.randrange(5))
        said = f"{rectangles} {capacity} {bank}"
        assert (found.status == "packed") == packable(rectangles, capacity, bank), said
        counts[found.status] += 1
        if found.status == "packed":
            validate(rectangles, found.offsets, capacity, bank)
            continue
        assert found.irreducible
        conflict = [rectangles[i] for i in found.conflict]
        assert not packable(conflict, capacity, bank), said
        for i in range(len(conflict)):
            assert packable(conflict[:i] + conflict[i + 1 :], capacity, bank), said
    assert min(counts.values()) > 15, counts
