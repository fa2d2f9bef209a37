"""Decoders by name, and their error rates over Eb/N0."""

import json

import pytest
from thresher.models.codes.channel import Awgn, Quantiser
from thresher.models.codes.montecarlo import simulate
from thresher.models.decoders import DECODERS, build, describe, kind
from thresher.models.error_rates import error_rates
from thresher.models.grand.decoder import Grand, step_grand
from thresher.models.grand.one_line import OneLine
from thresher.models.grand.patterns import STEP_GRAND, Staircase

CODE = "bch-32-21"
FEW = {"frames": 4096, "block": 1024}


def test_decoders_are_built_as_their_options_say():
    decoder = build("orbgrand", CODE, ["lw_max=20", "p=4", "skip_parity=true"])
    assert isinstance(decoder, Grand)
    assert decoder.staircase == Staircase.orbgrand(32, 20, 4)
    assert decoder.skip_parity
    decoder = build("one-line", CODE, ["lw_max=20", "p=4", "max_queries=99"])
    assert isinstance(decoder, OneLine)
    assert decoder.worst == {"queries": 99}
    decoder = build("step-grand", CODE, ["limits=[20, 20, 18, 14]", "prefixes=[2]", "reach=9"])
    assert decoder.staircase == Staircase(32, (20, 20, 18, 14), (2,), 9)
    decoder = build("step-grand", "polar-128-105-crc11")
    assert decoder.staircase == STEP_GRAND


def test_every_decoder_decodes_and_is_described():
    for described, name in zip(describe(), DECODERS, strict=True):
        assert described["name"] == name
        assert described["summary"]
        assert all(option["description"] for option in described["options"])
        decoder = build(name, "polar-32-15-crc6")
        (point,) = error_rates(decoder, [9.0], frames=64, block=64)
        assert point.fer < 0.1
        for estimate in described["estimates"]:
            estimator = kind(name).estimator(estimate)
            (point,) = error_rates(decoder, [9.0], estimator=estimator, frames=64, block=64)
            assert point.fer < 0.1


def test_points_are_what_was_counted(tmp_path):
    decoder, quantiser = step_grand(build("orbgrand", CODE).code), Quantiser(4, 0.2)
    told = []
    found = list(
        error_rates(
            decoder,
            [3.0, 5.0],
            quantiser=quantiser,
            errors=50,
            seed=3,
            state=tmp_path / "counts",
            progress=lambda what, done: told.append((what, done)),
            **FEW,
        )
    )
    for point in found:
        channel = Awgn.at(point.ebn0, decoder.code.rate)
        more = {"quantiser": quantiser, "errors": 50, "seed": 3, **FEW}
        tally = simulate(decoder.code, channel, decoder, **more)
        assert (point.frames, point.errors, point.fer) == (tally.frames, tally.errors, tally.fer)
        assert (point.low, point.high) == tally.interval()
        assert point.undetected == tally.undetected / tally.frames
        assert point.abandoned == tally.abandoned / tally.frames
        assert point.costs["cycles"] == {
            "average": tally.mean("cycles"),
            "quantile": tally.quantile("cycles"),
            "worst": tally.worst("cycles"),
        }
    assert found[0].frames < found[1].frames
    shares = [done for _, done in told]
    assert shares == sorted(shares)
    assert shares[-1] == 1
    assert told[0][0].startswith("3 dB, ")


def test_counts_are_gone_on_from(tmp_path):
    decoder = build("orbgrand", CODE)
    counts = {"errors": 10**6, "block": 1024, "state": tmp_path}
    (short,) = error_rates(decoder, [4.0], frames=2048, **counts)
    (long,) = error_rates(decoder, [4.0], frames=4096, **counts)
    whole = next(error_rates(decoder, [4.0], errors=10**6, block=1024, frames=4096))
    assert (short.frames, long) == (2048, whole)
    # Another quantiser, seed or decoder has a file of its own.
    next(error_rates(decoder, [4.0], frames=1024, quantiser=Quantiser(), **counts))
    next(error_rates(decoder, [4.0], frames=1024, seed=1, **counts))
    next(error_rates(build("orbgrand", CODE, ["p=3"]), [4.0], frames=1024, **counts))
    files = list(tmp_path.glob("bch-32-21_4dB_*.json"))
    assert len(files) == 4
    assert json.loads(files[0].read_text())["about"]["channel"].startswith("Awgn")


def test_estimates_give_what_they_know():
    decoder = build("step-grand", CODE)
    full, noise = (
        next(error_rates(decoder, [5.0], estimator=kind("step-grand").estimator(name), **FEW))
        for name in ("stratified", "noise-only")
    )
    assert (full.errors, full.abandoned) == (None, None)
    assert full.low < full.fer < full.high
    assert 0 < full.undetected < full.fer
    assert set(full.costs) == {"queries", "cycles"}
    assert set(full.costs["cycles"]) == {"average"}
    assert (noise.undetected, noise.costs) == (None, {})
    assert noise.fer == pytest.approx(noise.parts["miss"] + noise.parts["union"])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: build("orbgrant", CODE), "no decoder 'orbgrant'; did you mean orbgrand"),
        (lambda: build("orbgrand", "bhc-32-21"), "did you mean bch"),
        (lambda: build("orbgrand", CODE, ["lwmax=9"]), "did you mean lw_max"),
        (lambda: build("orbgrand", CODE, ["p=17"]), "p = 17 is not an integer from 1 to 16"),
        (lambda: build("step-grand", CODE, ["limits=[20, 20, 18, 9]"]), "limit 9 of Hamming"),
        (lambda: build("step-grand", CODE, ["reach=9"]), "go with limits"),
        (lambda: kind("one-line").estimator("noise-only"), "known: stratified"),
        (lambda: next(error_rates(build("orbgrand", CODE), [4.0], errors=0)), "errors = 0"),
        (lambda: next(error_rates(build("orbgrand", CODE), [4.0], frames=-1)), "frames = -1"),
    ],
)
def test_wrong_uses_are_explained(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_an_estimate_keeps_no_state(tmp_path):
    estimator = kind("orbgrand").estimator("stratified")
    with pytest.raises(ValueError, match="keeps no state"):
        next(error_rates(build("orbgrand", CODE), [4.0], estimator=estimator, state=tmp_path))
