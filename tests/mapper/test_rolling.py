"""Packing stretch by stretch."""

import random

import pytest
from thresher.mapper import pack, rolling
from thresher.mapper.pack import Rectangle


def tiled(rng: random.Random, steps: int, capacity: int) -> list[Rectangle]:
    """Rectangles that fill all but the edges of the scratchpad: there is a packing."""
    found: list[Rectangle] = []

    def cut(start: int, stop: int, low: int, high: int) -> None:
        long, tall = stop - start, high - low
        if long * tall < 2 * rng.randint(8, 60) or (long < 2 and tall < 2):
            found.append(Rectangle(start, stop, tall))
        elif long >= 2 and (tall < 4 or rng.random() < 0.6):
            middle = rng.randrange(start + 1, stop)
            cut(start, middle, low, high)
            cut(middle, stop, low, high)
        elif tall >= 2:
            middle = rng.randrange(low + 1, high)
            cut(start, stop, low, middle)
            cut(start, stop, middle, high)
        else:
            found.append(Rectangle(start, stop, tall))

    for begin in range(0, steps, 20):
        cut(begin, min(begin + 20, steps), 0, capacity)
    rng.shuffle(found)
    return found


@pytest.mark.parametrize("seed", range(4))
def test_stretches_make_a_valid_packing(seed) -> None:
    rng = random.Random(seed)
    rectangles = tiled(rng, 200, 16)
    offsets = rolling.stretches(rectangles, 16, 40)
    assert offsets is not None
    pack.validate(rectangles, offsets, 16)


def test_what_does_not_fit_is_none_or_proved() -> None:
    rectangles = [*tiled(random.Random(1), 60, 12), Rectangle(30, 31, 1)]
    assert rolling.stretches(rectangles, 12, 20) is None
    found = rolling.place(rectangles, 12, limit=5)
    assert found.status == "infeasible"
    assert all(rectangles[i].start <= 30 < rectangles[i].stop for i in found.conflict)


def test_long_schedules_go_to_stretches(monkeypatch) -> None:
    real, asked = pack.pack, []

    def pack_of_some(rectangles, capacity, **options):
        asked.append(len(rectangles))
        if len(rectangles) > 150:
            return pack.Packing("unknown", (), (), False, 0.0, 1)
        return real(rectangles, capacity, **options)

    monkeypatch.setattr(pack, "pack", pack_of_some)
    rectangles = tiled(random.Random(3), 600, 20)
    found = rolling.place(rectangles, 20, limit=20)
    assert found.status == "packed"
    pack.validate(rectangles, found.offsets, 20)
    assert asked[0] == len(rectangles) > 150


def test_given_offsets_stay() -> None:
    rectangles = [Rectangle(0, 40, 4, fixed=6), Rectangle(0, 20, 6), Rectangle(20, 40, 6)]
    assert rolling.stretches(rectangles, 10, 10) == (6, 0, 0)
