"""The packer against exhaustive enumeration, published instances and mutation."""

import random
import threading
import time

import pytest
from thresher.mapper.pack import (
    Rectangle,
    greedy_by_size,
    height,
    lower_bound,
    minimise,
    pack,
    read_csv,
    validate,
)
from thresher.mapper.pack import kernel as pack_kernel
from thresher.models import data, native


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


def published(name):
    try:
        return read_csv(data.path(f"packing/{name}.1048576.csv"))
    except data.MissingData as missing:
        pytest.skip(str(missing))


@pytest.mark.parametrize("name", "ABCDEF")
def test_published_instances(name):
    rectangles, capacity = published(name)
    found = pack(rectangles, capacity)
    assert found.status == "packed"
    validate(rectangles, found.offsets, capacity)
    # Peers' greedy does not do it.
    for gap in ("first", "best"):
        offsets = greedy_by_size(rectangles, gap=gap)
        validate(rectangles, offsets, height(rectangles, offsets))
        assert height(rectangles, offsets) > 1.1 * capacity


def test_least_capacity_of_c():
    rectangles, _ = published("C")
    seen = []
    found = minimise(rectangles, limit=20, watch=lambda *args: seen.append(args))
    assert found.capacity == found.bound == 1_039_360
    validate(rectangles, found.offsets, found.capacity)
    assert seen[0][1] > seen[-1][1] == found.capacity
    assert pack(rectangles, found.capacity - 1, explain=False).status == "infeasible"


@pytest.mark.slow
def test_least_capacity_of_d():
    rectangles, capacity = published("D")
    found = minimise(rectangles, limit=120)
    validate(rectangles, found.offsets, found.capacity)
    assert 986_112 == found.bound <= found.capacity < 1_046_528 < capacity


def test_minimise_against_enumeration():
    rng = random.Random(3)
    above = 0
    for number in range(60):
        rectangles, _ = drawn(rng, **({"fixed": 0.2} if number % 3 == 0 else {}))
        bank = rng.choice((None, 4))
        try:
            found = minimise(rectangles, limit=10, bank=bank)
        except ValueError:
            assert not packable(rectangles, 40, bank)
            continue
        assert found.bound == found.capacity == height(rectangles, found.offsets)
        validate(rectangles, found.offsets, found.capacity, bank)
        assert not packable(rectangles, found.capacity - 1, bank)
        above += found.capacity > lower_bound(rectangles)
    assert above > 3


def guillotine(rng, pieces, steps, capacity):
    """Rectangles that fill steps × capacity without a gap."""
    boxes = [(0, steps, capacity)]
    while len(boxes) < pieces:
        start, stop, size = boxes.pop(max(range(len(boxes)), key=lambda i: rng.random()))
        if rng.random() < 0.5 and stop - start > 1:
            middle = rng.randrange(start + 1, stop)
            boxes += [(start, middle, size), (middle, stop, size)]
        elif size > 1:
            part = rng.randrange(1, size)
            boxes += [(start, stop, part), (start, stop, size - part)]
        else:
            boxes.append((start, stop, size))
    return [Rectangle(*box) for box in boxes]


@pytest.mark.parametrize("pieces", [20, 60])
def test_nothing_to_spare(pieces):
    rng = random.Random(pieces)
    for _ in range(10):
        rectangles = guillotine(rng, pieces, 100, 1 << 16)
        assert lower_bound(rectangles) == 1 << 16
        found = pack(rectangles, 1 << 16, limit=30)
        assert found.status == "packed"
        validate(rectangles, found.offsets, 1 << 16)
        less = pack(rectangles, (1 << 16) - 1)
        assert less.status == "infeasible"
        # All that lives at one time, and just enough of it.
        conflict = [rectangles[i] for i in less.conflict]
        assert less.irreducible
        assert max(r.start for r in conflict) < min(r.stop for r in conflict)


def test_conflict_without_too_much_load():
    # Two long ones, at 0 and 3 or next to each other; the middle needs what they leave apart.
    rectangles = [
        Rectangle(0, 4, 2, "low"),
        Rectangle(2, 6, 2, "high"),
        Rectangle(0, 2, 3, "left"),
        Rectangle(4, 6, 3, "right"),
        Rectangle(2, 4, 1, "between"),
        Rectangle(8, 9, 5, "apart"),
        Rectangle(1, 2, 0, "nothing"),
    ]
    assert lower_bound(rectangles) == 5
    assert pack(rectangles, 5).status == "packed"
    fixed = [
        *rectangles[:4],
        Rectangle(2, 4, 1, "between", fixed=0),
        *rectangles[5:],
    ]
    found = pack(fixed, 5)
    assert found.status == "infeasible"
    assert found.irreducible
    assert not packable([fixed[i] for i in found.conflict], 5)
    assert "apart" not in {fixed[i].name for i in found.conflict}
    assert pack(fixed, 5, explain=False).conflict == (0, 1, 2, 3, 4, 5)


def test_greedy_by_hand():
    # 10 at 0; 6 lives with 10: above it; 4 lives with 6 only: at 0; 3 lives with 10, 6 and 4.
    rectangles = [
        Rectangle(0, 2, 10),
        Rectangle(1, 4, 6),
        Rectangle(2, 5, 4),
        Rectangle(3, 6, 3),
        Rectangle(4, 6, 3),
    ]
    # Of the two of 3 the last comes first: beside 4 only, above it; then the other between
    # 4 … 7 and 10 … 16 for their common steps: at 7.
    assert greedy_by_size(rectangles) == (0, 10, 0, 7, 4)
    # In order of starts the first is placed on 4, the second above it.
    assert greedy_by_size(rectangles, gap="best") == (0, 10, 0, 4, 7)
    assert height(rectangles, greedy_by_size(rectangles)) == 16


def test_greedy_gaps():
    # Gaps of 4 (at 6) and 2 (at 16): the first that fits, or the narrowest.
    rectangles = [
        Rectangle(0, 3, 6, fixed=0),
        Rectangle(0, 3, 6, fixed=10),
        Rectangle(0, 3, 5, fixed=18),
        Rectangle(1, 2, 2),
    ]
    assert greedy_by_size(rectangles)[3] == 6
    assert greedy_by_size(rectangles, gap="best")[3] == 16
    aligned = [*rectangles[:3], Rectangle(1, 2, 2, alignment=8)]
    assert greedy_by_size(aligned)[3] == 8
    assert greedy_by_size([rectangles[0], rectangles[3]], bank=7) == (0, 7)
    with pytest.raises(ValueError, match="is fixed at 5, where it overlaps"):
        greedy_by_size([*rectangles, Rectangle(0, 1, 1, fixed=5)])


def test_validator_sees_mutations():
    rng = random.Random(5)
    seen = 0
    for _ in range(60):
        rectangles = guillotine(rng, 12, 20, 64)
        offsets = list(pack(rectangles, 64).offsets)
        validate(rectangles, offsets, 64)
        for i in range(len(offsets)):
            for by in (-1, 1):
                moved = [o + by * (j == i) for j, o in enumerate(offsets)]
                with pytest.raises(ValueError, match=rf"rectangle {i} .* does not lie|overlap"):
                    validate(rectangles, moved, 64)
                seen += 1
    assert seen > 1000


@pytest.mark.parametrize(
    ("rectangle", "offset", "bank", "said"),
    [
        (Rectangle(0, 1, 4), 5, None, r"rectangle 0 .* at 5 does not lie in 0 … 8: it ends at 9"),
        (Rectangle(0, 1, 4, alignment=4), 2, None, "not at a multiple of 4"),
        (Rectangle(0, 1, 4, "x", fixed=2), 3, None, r"rectangle 0 \(x\) at 3 must be at 2"),
        (Rectangle(0, 1, 4), 2, 4, "crosses from a bank of 4 bytes"),
        (Rectangle(0, 1, 5), 2, 4, "crosses from a bank of 4 bytes"),
    ],
)
def test_validator(rectangle, offset, bank, said):
    with pytest.raises(ValueError, match=said):
        validate([rectangle], [offset], 8, bank)


def test_limits():
    rectangles = guillotine(random.Random(1), 400, 300, 1 << 20)
    began = time.monotonic()
    found = pack(rectangles, 1 << 20, limit=0.5)
    assert time.monotonic() - began < 5
    assert found.status in ("packed", "unknown")
    assert found.nodes > 0
    found = minimise(rectangles, limit=0.5)
    assert time.monotonic() - began < 10
    assert found.bound == 1 << 20
    validate(rectangles, found.offsets, found.capacity)


def test_threads_and_seeds():
    rectangles, capacity = published("E")
    once = pack(rectangles, capacity, seed=2)
    again = pack(rectangles, capacity, seed=2)
    assert (again.offsets, again.nodes) == (once.offsets, once.nodes)
    both = pack(rectangles, capacity, threads=2)
    assert both.status == "packed"
    validate(rectangles, both.offsets, capacity)


def test_interrupt(monkeypatch):
    rectangles = guillotine(random.Random(1), 400, 300, 1 << 20)

    def interrupted(done):
        raise KeyboardInterrupt

    monkeypatch.setattr(pack_kernel, "_wait", interrupted)
    before = threading.active_count()
    with pytest.raises(KeyboardInterrupt):
        pack(rectangles, 1 << 20, limit=600)
    found = minimise(rectangles, limit=600)
    assert threading.active_count() <= before
    monkeypatch.undo()
    assert found.bound < found.capacity
    validate(rectangles, found.offsets, found.capacity)


def test_nothing_to_pack():
    assert pack([], 0).status == "packed"
    assert minimise([], limit=1) == (0, (), 0)
    nothing = [Rectangle(0, 1, 0), Rectangle(0, 1, 0, fixed=3)]
    assert pack(nothing, 4).offsets == (0, 3)


def test_bad_input(tmp_path, monkeypatch):
    for values, said in (
        ((3, 3, 1), "must live for a step at least"),
        ((0, 1, -1), "has -1 bytes; take 0 at least"),
        ((0, 1, 1, "a", 0), "a has an alignment of 0"),
        ((0, 1, 1, "a", 4, 6), "a is fixed at 6, which is no multiple of its alignment 4"),
    ):
        with pytest.raises(ValueError, match=said):
            Rectangle(*values)
    one = [Rectangle(0, 1, 1)]
    with pytest.raises(ValueError, match="capacity is -1"):
        pack(one, -1)
    with pytest.raises(ValueError, match="threads is 0"):
        pack(one, 1, threads=0)
    with pytest.raises(ValueError, match="banks of 0 bytes"):
        pack(one, 1, bank=0)
    with pytest.raises(ValueError, match="2 offsets for 1 rectangles"):
        validate(one, [0, 0], 4)
    for name, content, said in (
        ("a.csv", "", "does not tell the capacity"),
        ("a.64.csv", "id,lower,upper\n", "has no column size"),
        ("b.64.csv", "id,lower,upper,size\n0,1,x,3\n", "line 2: invalid literal"),
        ("c.64.csv", "id,lower,upper,size\n0,1,2,3\n1,4,2,3\n", "line 3: 1 lives from 4"),
        ("d.64.csv", "id,lower,upper,size,gaps\n0,1,9,3,2-4\n", "gaps in lifetimes"),
    ):
        path = tmp_path / name
        path.write_text(content)
        with pytest.raises(ValueError, match=said):
            read_csv(path)
    path.write_text("id,lower,upper,size,alignment\nx,1,9,3,8\n")
    assert read_csv(path) == ([Rectangle(1, 9, 3, "x", 8)], 64)
    pack_kernel._library.cache_clear()
    monkeypatch.setenv("CXX", "no-such-compiler")
    with pytest.raises(native.KernelMissing, match=r"no-such-compiler.*set CXX"):
        pack(one, 1)
    monkeypatch.undo()
    pack_kernel._library.cache_clear()
