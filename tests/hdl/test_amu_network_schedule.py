# amaranth: UnusedElaboratable=no
"""When pixels pass, by brute force over slots; what waits for what, however slots are held up."""

import numpy as np
import pytest
from thresher.hdl.amu_network.schedule import Arrival, Frame, Raster, rasters, reach
from thresher.hdl.amu_network.window import Window
from thresher.models.amu.convolution import MaxPool
from thresher.models.amu.drawn import drawn
from thresher.models.amu.layer import Format
from thresher.models.amu.network import Network, Node
from thresher.models.amu.operations import Add, Input
from thresher.models.windows import Windows


def pixels(frame, raster, frames):
    """bool [slots]: those with a pixel, of so many frames."""
    down, across = raster.step
    grid = np.zeros((frame.rows, frame.columns), bool)
    grid[::down, ::across] = True
    return np.tile(grid.ravel(), frames)


def some_frame(rng):
    step = (int(rng.integers(1, 4)), int(rng.integers(1, 4)))
    rows, columns = step[0] * int(rng.integers(1, 5)), step[1] * int(rng.integers(1, 5))
    frame = Frame(rows, columns, int(rng.integers(1, 5)), step[0])
    return frame, Raster((rows // step[0], columns // step[1]), step)


def test_most_pixels_in_so_many_slots():
    rng = np.random.default_rng(0)
    for _ in range(100):
        frame, raster = some_frame(rng)
        there = pixels(frame, raster, 4)
        for slots in range(1, 2 * frame.slots):
            windows = np.lib.stride_tricks.sliding_window_view(there, slots)
            assert frame.most(raster, slots) == windows.sum(axis=1).max()


def arrivals(rng, frame, raster):
    """After one way or two, each with windows or none, of any latency."""
    ways = []
    for _ in range(rng.integers(1, 3)):
        way = Arrival().later(int(rng.integers(0, 30)))
        for _ in range(rng.integers(0, 3)):
            windows = Windows((int(rng.integers(1, 4)), int(rng.integers(1, raster.size[1] + 1))))
            way = way.behind(Window(1, windows, raster, frame).behind)
        ways.append(way)
    return Arrival.of_all(ways)


def times(arrival, slots, taken, columns):
    """The cycle of each of the pixels in ``slots``, of which slot n is taken in ``taken[n]``."""
    place = np.arange(len(slots)) % columns
    ways = [(np.resize(late, columns)[place], cycles) for late, cycles in arrival.paths]
    return np.max([taken[slots + late] + cycles for late, cycles in ways], axis=0)


def test_windows_wait_for_the_slot_of_their_last_pixel():
    rng = np.random.default_rng(0)
    uneven = 0
    for _ in range(100):
        frame, raster = some_frame(rng)
        size, stride = (int(rng.integers(1, 4)), int(rng.integers(1, raster.size[1] + 1))), 1
        if raster.size[1] % 2 == 0:
            stride = int(rng.integers(1, 3))
        window = Window(1, Windows(size, (1, stride)), raster, frame)
        slots = np.flatnonzero(pixels(frame, raster, 8))
        before = tuple(rng.integers(0, 9, raster.size[1]).tolist())
        whole = slots + np.resize(before, len(slots))
        found = window.behind(before)
        counted = np.arange(raster.size[1])[::stride]
        assert np.resize(found, len(counted)).tolist() == [
            whole[n + window.pixels] - slots[n] for n in counted
        ]
        uneven += len(window.behind((0,))) > 1
    assert uneven


def most_waiting(first, second):
    """Pixels that came and whose counterparts did not, those of the same cycle counted."""
    waits = first < second
    came = np.searchsorted(first, second, side="right")
    return int(np.max((came - np.arange(len(second))) * waits, initial=0))


@pytest.mark.parametrize("seed", range(4))
def test_no_more_wait_than_is_said(seed):
    rng = np.random.default_rng(seed)
    tight = 0
    for _ in range(60):
        frame, raster = some_frame(rng)
        a, b = arrivals(rng, frame, raster), arrivals(rng, frame, raster)
        slots = np.flatnonzero(pixels(frame, raster, 12))[: -8 * raster.size[1]]
        most = a.waiting(b, frame, raster)
        seen = []
        for held in (0, 0.02, 0.3):
            pauses = rng.integers(1, 60, 12 * frame.slots) * (rng.random(12 * frame.slots) < held)
            taken = np.cumsum(frame.beats + pauses)
            columns = raster.size[1]
            first, second = (times(way, slots, taken, columns) for way in (a, b))
            seen.append(most_waiting(first, second))
            if not held:
                late = (first - taken[slots])[-columns:]
                assert late.tolist() == [a.cycles(frame, column) for column in range(columns)]
        assert max(seen) <= most
        tight += max(seen) == most
    assert tight > 30  # else queues are deeper than they must be


def test_a_path_that_another_exceeds_does_not_count():
    exceeded = Arrival(frozenset({((3,), 5)}))
    other = Arrival(frozenset({((4,), 5)}))
    assert Arrival.of_all([exceeded, other]) == other
    crossed = Arrival(frozenset({((3,), 6)}))
    assert Arrival.of_all([exceeded, other, crossed]).paths == {((4,), 5), ((3,), 6)}
    partly = Arrival(frozenset({((2, 9), 5)}))
    assert Arrival.of_all([partly, other]).paths == {((2, 9), 5), ((4,), 5)}


@pytest.mark.parametrize("seed", range(40))
def test_frames_hold_the_grids_of_all_nodes(seed):
    network = drawn(seed)
    frame, found = rasters(network, 1)
    height, width = network.input.shape[:2] if len(network.input.shape) == 3 else (1, 1)
    assert frame.slots >= height * width
    for raster, kind in zip(found, network.kinds, strict=True):
        if raster is None:
            assert len(kind.shape) == 1
            continue
        assert raster.size == kind.shape[:2]
        assert frame.rows % raster.step[0] == frame.columns % raster.step[1] == 0
        assert frame.block % raster.step[0] == 0
        assert frame.last(raster) < frame.slots


def test_an_image_that_strides_divide_has_no_idle_slots():
    pool = MaxPool((2, 2), (2, 2))
    network = Network((
        Node("x", Input((8, 12, 1))), Node("a", pool, (0,)), Node("b", pool, (1,)),
    ))  # fmt: skip
    frame, found = rasters(network, 3)
    assert frame == Frame(8, 12, 3, 4)
    assert found[-1] == Raster((2, 3), (4, 4))


def test_what_does_not_fit():
    with pytest.raises(ValueError, match=r"padding \(2, 0\) is not less than .* \(2, 1\)"):
        reach(Windows((2, 1), (1, 1), (2, 0)))
    nodes = (
        Node("x", Input((4, 4, 1))),
        Node("strided", MaxPool((1, 1), (2, 2)), (0,)),
        Node("cut", MaxPool((3, 3), (1, 1)), (0,)),
        Node("sum", Add(Format(8)), (1, 2)),
    )
    with pytest.raises(ValueError, match=r"node 'sum' joins branches .* not equally far apart"):
        rasters(Network(nodes), 1)
