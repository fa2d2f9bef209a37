"""The golden decoders end to end: against one frame and one flip at a time, and measured rates."""

import numpy as np
import pytest
import torch
from thresher.models import data
from thresher.models.codes.channel import Awgn, Bsc, Quantiser, hard, magnitude
from thresher.models.codes.montecarlo import random_bits, simulate
from thresher.models.codes.named import polar
from thresher.models.codes.polar import PolarCode, is_word
from thresher.models.fast_sclf.config import FastSclfConfig
from thresher.models.fast_sclf.decoder import Decoder, Options
from thresher.models.fast_sclf.formats import Formats
from thresher.models.fast_sclf.selection import Evidence
from thresher.models.threads import one_thread

CODE = "polar-512-256-crc24c"
TABLE = "decoder_monte_carlo.csv"


def frames(code, count, channel, seed=0):
    rng = np.random.default_rng(seed)
    words = code.encode(random_bits(rng, count, code.k))
    return words, channel.send(words, rng)


def attempt(decoder, y, flip, evidence=None):
    """The words of one decoding of one frame."""
    with one_thread():
        paths = decoder.lists(torch.from_numpy(y[None]), torch.tensor([flip]), evidence)
    return (paths.signs[0] < 0).numpy().astype(np.uint8)


def plain(decoder, y):
    """Word, found, flip, slot, attempts."""
    if y.dtype.kind != "f":
        y = np.copysign(magnitude(y).astype(np.float32), np.where(hard(y), -1, 1))
    most = decoder.options.formats.llr
    y = y if most is None else np.clip(y, -most, most)
    evidence = Evidence()
    first = words = attempt(decoder, y, -1, evidence)
    flips = []
    if decoder.options.attempts:
        judged = decoder.alpha * evidence.dropped - evidence.kept
        flips = np.argsort(judged.numpy()[0], kind="stable")[: decoder.options.attempts].tolist()
    for count, flip in enumerate([-1, *flips]):
        words = words if flip < 0 else attempt(decoder, y, flip)
        right = is_word(decoder.polar, words)
        if right.any():
            return words[right.argmax()], True, flip, right.argmax(), count
    return first[0], False, -1, 0, len(flips)


def assert_plain(decoder, received):
    decoded = decoder(received)
    rows = [plain(decoder, y) for y in received]
    words, found, flips, slots, attempts = (list(column) for column in zip(*rows, strict=True))
    assert np.array_equal(decoded.words, words)
    assert decoded.found.tolist() == found
    assert decoded.flips.tolist() == flips
    assert decoded.slots.tolist() == slots
    assert decoded.costs["attempts"].tolist() == attempts
    assert decoded.costs["steps"].tolist() == [decoder.steps * (1 + a) for a in attempts]
    return decoded


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("polar-64-32-crc6", {"lists": 2, "attempts": 6}),
        ("polar-64-32-crc11", {"lists": 4, "attempts": 25}),
        ("polar-64-24-crc11", {"lists": 1, "attempts": 9, "leaf": 8}),
        ("polar-32-10-crc6", {"lists": 2, "attempts": 5, "leaf": 1, "alpha": 2.0}),
        ("polar-64-32-crc6", {"lists": 8, "attempts": 0}),
    ],
)
def test_decoders_are_what_they_say(name, options):
    code = polar(name)
    decoder = Decoder(code, Options(**options))
    _, received = frames(code, 24, Awgn.at(1.5, code.rate))
    decoded = assert_plain(decoder, received)
    assert 0 < decoded.found.sum() < 24
    assert (decoded.flips.max() > 0) == (decoder.options.attempts > 0)
    engine = Decoder(code, Options(**options, formats=Formats.of_bits(5, 6)))
    assert_plain(engine, Quantiser(5, 0.15)(received))
    assert_plain(engine, frames(code, 5, Bsc(0.12))[1])  # nothing but ties
    assert_plain(engine, np.zeros((2, code.n), np.int64))


def test_a_frame_is_decoded_alike_in_any_company():
    code = polar("polar-64-32-crc6")
    decoder = Decoder(code, Options(attempts=20))
    _, received = frames(code, 700, Awgn.at(1.0, code.rate))
    whole = decoder(received)
    assert (~whole.found | (whole.flips >= 0)).sum() > 200  # too many to be tried side by side
    for size in (1, 7, 90):
        parts = [decoder(received[i : i + size]) for i in range(0, 90, size)]
        for name in ("words", "found", "flips", "slots"):
            joined = np.concatenate([getattr(part, name) for part in parts])
            assert np.array_equal(joined[:90], getattr(whole, name)[:90])
        attempts = np.concatenate([part.costs["attempts"] for part in parts])
        assert np.array_equal(attempts[:90], whole.costs["attempts"][:90])


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")
def test_a_frame_is_decoded_alike_on_any_device():
    code = polar(CODE)
    _, received = frames(code, 300, Awgn.at(1.5, code.rate))
    options = Options(formats=Formats.of_bits(6, 8))
    here, there = (Decoder(code, options, device) for device in ("cpu", "cuda"))
    received = Quantiser(6, 0.15)(received)
    one, other = here(received), there(received)
    assert np.array_equal(one.words, other.words)
    assert np.array_equal(one.flips, other.flips)


def test_rescued_frames_come_with_what_was_known_of_them():
    code = polar("polar-64-32-crc6")
    decoder = Decoder(code, Options(attempts=20, lists=2))
    _, received = frames(code, 200, Awgn.at(1.0, code.rate))
    decoded = decoder(received)
    at = np.flatnonzero(decoded.flips >= 0)
    assert len(at) > 10
    assert np.array_equal(decoded.rescued.flips, decoded.flips[at])
    for i, kept, dropped in zip(at, decoded.rescued.kept, decoded.rescued.dropped, strict=True):
        evidence = Evidence()
        attempt(decoder, received[i], -1, evidence)
        assert np.array_equal(kept, evidence.kept[0])
        assert np.array_equal(dropped, evidence.dropped[0])
    none = decoder.with_options(attempts=0)(received).rescued
    assert none.kept.shape == none.dropped.shape == (0, decoder.lists.selections)


def test_alpha_may_be_changed_and_is_taken_along():
    code = polar("polar-64-32-crc6")
    decoder = Decoder(code, Options(attempts=20))
    decoder.alpha = 2.0
    _, received = frames(code, 200, Awgn.at(1.0, code.rate))
    expected = Decoder(code, Options(attempts=20, alpha=2.0))
    assert str(decoder) == str(expected) == str(decoder.with_options())
    assert np.array_equal(decoder(received).flips, expected(received).flips)
    assert decoder.with_options(alpha=1.0).alpha == 1.0


def test_the_first_of_several_right_words_wins_and_no_crc_is_right_of_all():
    code = PolarCode(polar("polar-64-32").frozen)
    _, received = frames(code, 50, Awgn.at(0.0, code.rate))
    decoded = Decoder(code, Options(attempts=9))(received)
    assert decoded.found.all()
    assert not decoded.slots.any()
    assert not decoded.costs["attempts"].any()


def test_received_values_may_have_any_scale():
    code = polar("polar-64-32-crc6")
    decoder = Decoder(code, Options(attempts=20))
    _, received = frames(code, 100, Awgn.at(1.0, code.rate))
    assert np.array_equal(decoder(received).flips, decoder(received * 32).flips)


def test_exact_logarithms_need_a_scale():
    code = polar("polar-64-32-crc11")
    channel = Awgn.at(1.0, code.rate)
    _, received = frames(code, 400, channel)
    plain = Decoder(code, Options(attempts=8))
    exact = plain.with_options(scale=channel.llr_scale)
    assert (exact(received).flips != plain(received).flips).any()
    large = plain.with_options(scale=1e3)  # of the logarithms only the largest term is left
    assert np.array_equal(large(received).flips, plain(received).flips)


def test_options_of_an_engine():
    options = Options.of(FastSclfConfig(), 20, 1.25)
    assert options == Options(4, 20, 1.25, 32, Formats(31, 255))


@pytest.mark.parametrize(
    ("received", "message"),
    [
        (np.zeros((3, 63)), r"\[frames, n = 64\], not the shape \(3, 63\)"),
        (np.zeros(64), r"not the shape \(64,\)"),
        (np.full((1, 64), np.nan), "is NaN"),
    ],
)
def test_wrong_values_are_explained(received, message):
    with pytest.raises(ValueError, match=message):
        Decoder(polar("polar-64-32-crc6"))(received)


def references(decoder, ebn0):
    """Errors and frames that others counted."""
    head, *rows = data.table(TABLE)
    at = {name: head.index(name) for name in ("code", "decoder", "ebn0_dB", "frames", "frame_errs")}
    return [
        (int(row[at["frame_errs"]]), int(row[at["frames"]]))
        for row in rows
        if row[at["code"]].startswith("5G polar(512,256+CRC24C")
        and row[at["decoder"]] in decoder
        and float(row[at["ebn0_dB"]]) == ebn0
    ]


def assert_rate(options, ebn0, names, count):
    """Our rate is that of ``names``, but for four standard deviations."""
    code = polar(CODE)
    expected = references(names, ebn0)
    assert expected
    channel = Awgn.at(ebn0, code.rate)
    tally = simulate(code.linear, channel, Decoder(code, options), errors=count, block=2048)
    for errors, total in expected:
        relative = (1 / errors + 1 / tally.errors) ** 0.5
        assert tally.fer == pytest.approx(errors / total, rel=4 * relative)
    return tally


@pytest.mark.parametrize("lists", [2, 4, 8])
def test_error_rates_are_the_published_ones(lists):
    names = (f"CA-SCL L={lists}", f"FSCL L={lists}")
    assert_rate(Options(lists, attempts=0), 2.0, names, 100)


FLIPS = "list-flip L=4 m=50 alpha=1.2"


@pytest.mark.slow
@pytest.mark.parametrize("ebn0", [2.25, 2.5, 2.75])
def test_error_rates_of_list_decoding(ebn0):
    assert_rate(Options(attempts=0), ebn0, ("FSCL L=4",), 400)


@pytest.mark.slow
@pytest.mark.parametrize(("ebn0", "attempts"), [(2.0, 1.224), (2.25, 0.3905), (2.5, 0.0886)])
def test_error_rates_and_attempts_of_flips(ebn0, attempts):
    tally = assert_rate(Options(alpha=1.2), ebn0, (FLIPS,), 150)
    assert tally.mean("attempts") == pytest.approx(attempts, rel=0.15)
