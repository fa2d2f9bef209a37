"""Packing against a reference in Python integers, over random layouts."""

import numpy as np
import pytest
from amaranth.hdl import signed, unsigned
from amaranth.lib import data
from hypothesis import given, settings
from hypothesis import strategies as st
from thresher.sim import beats

plain = st.builds(
    lambda w, s: signed(w) if s and w else unsigned(w), st.integers(0, 90), st.booleans()
)
shapes = st.recursive(
    plain,
    lambda inner: st.one_of(
        st.builds(data.ArrayLayout, inner, st.integers(1, 4)),
        st.builds(
            lambda fields: data.StructLayout(dict(zip("abc", fields, strict=False))),
            st.lists(inner, min_size=1, max_size=3),
        ),
    ),
    max_leaves=6,
)


def random_beats(shape, count, rng):
    """Numbers over the whole range of each field, extremes among them."""

    def numbers(leaf):
        low = -(1 << leaf.width - 1) if leaf.signed else 0
        high = low + (1 << leaf.width) - 1
        size = int(np.prod((count, *leaf.lengths)))
        values = [low + int.from_bytes(rng.bytes(12)) % (high - low + 1) for _ in range(size)]
        values[:2] = [low, high][: len(values)]
        return np.array(values, dtype=leaf.dtype).reshape(count, *leaf.lengths)

    result = {}
    for leaf in beats.leaves(shape):
        if not leaf.path:
            return numbers(leaf)
        place = result
        for name in leaf.path[:-1]:
            place = place.setdefault(name, {})
        place[leaf.path[-1]] = numbers(leaf)
    return result


def as_integers(shape, data_, count):
    """What Amaranth's own ``const`` makes of each beat."""

    def pick(value, at):
        if isinstance(value, dict):
            return {name: pick(inner, at) for name, inner in value.items()}
        return value[at]

    def constant(layout, value):
        if isinstance(layout, data.StructLayout):
            return sum(constant(field.shape, value[name]) << field.offset for name, field in layout)
        if isinstance(layout, data.ArrayLayout):
            step = beats.width(layout.elem_shape)

            def element(k):
                if isinstance(value, dict):
                    return {name: at(inner, k) for name, inner in value.items()}
                return value[k]

            def at(inner, k):
                if isinstance(inner, dict):
                    return {name: at(deeper, k) for name, deeper in inner.items()}
                return inner[k]

            return sum(
                constant(layout.elem_shape, element(k)) << (k * step) for k in range(layout.length)
            )
        return int(value) & ((1 << beats.width(layout)) - 1)

    return [constant(shape, pick(data_, i)) for i in range(count)]


@given(shapes, st.integers(1, 5), st.integers(0, 2**32))
@settings(max_examples=60, deadline=None)
def test_pack_agrees_with_integers_and_unpack_inverts(shape, count, seed):
    given_beats = random_beats(shape, count, np.random.default_rng(seed))
    words = beats.pack(shape, given_beats)
    assert words.shape == (count, -(-beats.width(shape) // 32))
    got = [sum(int(word) << 32 * k for k, word in enumerate(row)) for row in words]
    assert got == as_integers(shape, given_beats, count)
    back = beats.unpack(shape, words)
    assert beats.count(back) == count
    for leaf in beats.leaves(shape):
        np.testing.assert_array_equal(
            beats.select(back, leaf.path), beats.select(given_beats, leaf.path)
        )


def test_chunks_join(monkeypatch):
    shape = data.ArrayLayout(signed(5), 7)
    numbers = np.random.default_rng(0).integers(-16, 16, (40, 7))
    whole = beats.pack(shape, numbers)
    monkeypatch.setattr(beats, "_CHUNK_BITS", 100)
    np.testing.assert_array_equal(beats.pack(shape, numbers), whole)
    np.testing.assert_array_equal(beats.unpack(shape, whole), numbers)


def test_empty_arrays_stand_for_any_payload():
    shape = data.StructLayout({"a": signed(40), "b": data.ArrayLayout(unsigned(3), 2)})
    assert beats.pack(shape, np.empty(0)).shape == (0, 2)
    assert beats.pack(shape, []).shape == (0, 2)


STRUCT = data.StructLayout({"a": signed(4), "b": data.ArrayLayout(unsigned(3), 2)})


@pytest.mark.parametrize(
    ("given_beats", "error", "words"),
    [
        ({"a": [7, 8], "b": [[0, 0]] * 2}, ValueError, r"a of beat 1 is 8; it holds -8\.\.7"),
        ({"a": [0], "b": [[0, -1]]}, ValueError, r"b\[1\] of beat 0 is -1; it holds 0\.\.7"),
        ({"a": [0, 0], "b": [[0, 0]]}, ValueError, "differ in their number of beats"),
        ({"a": [0], "b": [[0, 0, 0]]}, ValueError, r"shape \(1, 3\); expected \(1, 2\)"),
        ({"a": [0.5], "b": [[0, 0]]}, ValueError, "beats are integers"),
        ({"a": [0]}, KeyError, "field 'b' is missing"),
        ([1, 2], TypeError, "needs a mapping"),
    ],
)
def test_bad_beats_are_named(given_beats, error, words):
    with pytest.raises(error, match=words):
        beats.pack(STRUCT, given_beats)


def test_union_has_no_beats():
    with pytest.raises(TypeError, match="UnionLayout"):
        beats.leaves(data.UnionLayout({"a": 3, "b": 5}))
