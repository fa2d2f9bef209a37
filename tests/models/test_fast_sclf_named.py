"""List decoders by name, and the names of polar codes."""

import json

import numpy as np
import pytest
from thresher.models.codes.named import code, frozen_set, polar
from thresher.models.codes.polar import order_5g, order_gaussian
from thresher.models.decoders import build
from thresher.models.fast_sclf.decoder import Decoder, Options
from thresher.models.fast_sclf.formats import Formats

CODE = "polar-64-32-crc6"
FROZEN = [0, 1, 2, 3, 4, 8, 5, 6]


@pytest.mark.parametrize(
    ("name", "settings", "expected"),
    [
        ("sc", [], Options(1, 0, leaf=1)),
        ("scl", ["lists=8"], Options(8, 0, leaf=1)),
        ("fast-scl", [], Options(4, 0)),
        ("scl-flip", ["attempts=10", "alpha=1.5"], Options(4, 10, 1.5, leaf=1)),
        ("fast-sclf", ["leaf=8", "lists=2"], Options(2, 50, leaf=8)),
        ("fast-sclf", ["llr_bits=6", "metric_bits=8"], Options(formats=Formats(31, 255))),
        ("sc", ["llr_bits=5"], Options(1, 0, leaf=1, formats=Formats(15))),
    ],
)
def test_decoders_are_built_as_their_options_say(name, settings, expected):
    decoder = build(name, CODE, settings)
    assert isinstance(decoder, Decoder)
    assert decoder.options == expected
    assert decoder.code.name == CODE


def test_different_decoders_have_different_names():
    built = [
        build(name, CODE, settings)
        for name, settings in [
            ("sc", []), ("scl", []), ("fast-scl", []), ("fast-scl", ["leaf=8"]),
            ("fast-scl", ["lists=8"]), ("scl-flip", []), ("fast-sclf", []),
            ("fast-sclf", ["alpha=2"]), ("fast-sclf", ["attempts=3"]),
            ("fast-sclf", ["llr_bits=6", "metric_bits=8"]),
        ]
    ]  # fmt: skip
    built.append(built[-1].with_options(scale=2.0))
    assert len({str(decoder) for decoder in built}) == len(built)


def test_polar_codes_are_those_of_their_name(tmp_path):
    found = polar("polar-64-32-crc6")
    assert found.linear.name == code("polar-64-32-crc6").name == "polar-64-32-crc6"
    assert np.array_equal(found.information, np.sort(order_5g(64)[-38:]))
    for esn0 in (1.5, -2.0):
        found = polar(f"gaussian-64-32-crc6-{esn0}")
        assert (found.n, found.k, found.crc.name) == (64, 32, "crc6")
        assert np.array_equal(found.information, np.sort(order_gaussian(64, esn0)[-38:]))
        assert found.linear.name == f"gaussian-64-32-crc6-{esn0}"
    assert polar("gaussian-64-32-3").crc is None
    assert code("gaussian-64-32-crc6-1.5").k == 32
    flags = np.isin(np.arange(16), FROZEN)
    (tmp_path / "a-b.txt").write_text("# ours\n0, 1,2\n 3 4 8  # spread\n5 6\n")
    (tmp_path / "set.json").write_text(json.dumps(FROZEN))
    np.save(tmp_path / "set.npy", np.array(FROZEN, np.uint16))
    np.save(tmp_path / "flags.npy", flags)
    for name in ("a-b.txt", "set.json", "set.npy", "flags.npy"):
        assert np.array_equal(frozen_set(tmp_path / name, 16), flags)
        found = polar(f"frozen-16-2-crc6-{tmp_path / name}")
        assert np.array_equal(found.frozen, flags)
        assert found.name == f"frozen-16-2-crc6-{name}"
        assert (found.k, found.crc.name) == (2, "crc6")
    assert polar(f"frozen-16-8-{tmp_path / 'set.npy'}").k == 8


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("gausian-64-32-1", "did you mean gaussian"),
        ("gaussian-64-32", "not written like gaussian-512-256-crc24c-1.5"),
        ("gaussian-64-32-crc6", "not dB"),
        ("gaussian-64-32-crc6-x", "'x' is not dB"),
        ("gaussian-64-32-crc6-99", "not from -20 to 20"),
        ("gaussian-64-32-crc6-nan", "not from -20 to 20"),
        ("gaussian-64-32-crc7-1", "did you mean crc"),
        ("gaussian-60-32-crc6-1", "n = 60 is not a power of two"),
        ("gaussian-64-60-crc6-1", "60 bits and a CRC of 6 do not fit"),
        ("polar-64-60-crc6", "60 bits and a CRC of 6 do not fit"),
        ("polar-64-32-crc6-x", "not written like polar"),
        ("frozen-64-32-crc6-nowhere.txt", "nowhere.txt cannot be read: No such file"),
        ("frozen-64-32", "not written like frozen"),
        ("bch-31-21", r"list decoding needs a polar code.*'bch-31-21' is none"),
        ("crc-32-21-crc11", "list decoding needs a polar code"),
    ],
)
def test_wrong_names_are_explained(name, message):
    with pytest.raises(ValueError, match=message):
        polar(name)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("0 1 2 3 4 5 6 16", "freezes bit 16 of a code with bits 0 to 15"),
        ("0 1 2 3 4 5 6 -1", "freezes bit -1 of"),
        ("0 1 2 3 4 5 6 6", "freezes bit 6 twice"),
        ("0 1 2 3 4 5 6", "freezes 7 of 16 bits, but a message of 2 and a CRC of 6 leave 8"),
        ("0 1 2 three", "no list of the frozen bits' indices: .*'three'"),
        ("0 1 2.5", "no list of the frozen bits' indices"),
        ("", "freezes 0 of 16 bits"),
        ("9" * 30, "no list of the frozen bits' indices"),
    ],
)
def test_wrong_frozen_sets_are_explained(text, message, tmp_path):
    (tmp_path / "set.txt").write_text(text)
    with pytest.raises(ValueError, match=message):
        polar(f"frozen-16-2-crc6-{tmp_path / 'set.txt'}")


@pytest.mark.parametrize(
    ("stored", "message"),
    [
        (np.zeros(16), "holds float64 of shape"),
        (np.zeros((4, 4), int), r"of shape \(4, 4\)"),
        (np.zeros(15, bool), r"bool of shape \(15,\)"),
    ],
)
def test_wrong_arrays_are_explained(stored, message, tmp_path):
    np.save(tmp_path / "set.npy", stored)
    with pytest.raises(ValueError, match=message):
        frozen_set(tmp_path / "set.npy", 16)
    (tmp_path / "set.npy").write_bytes(b"no array")
    with pytest.raises(ValueError, match="no list of the frozen bits' indices"):
        frozen_set(tmp_path / "set.npy", 16)
    for text in ('{"a": 1}', "[1, [2]]", "[1.5]", "["):
        (tmp_path / "set.json").write_text(text)
        with pytest.raises(ValueError, match=r"set\.json"):
            frozen_set(tmp_path / "set.json", 16)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (["lists=3"], "3 paths is not a power of two"),
        (["lists=128"], "an integer from 1 to 64"),
        (["alpha=-1"], "alpha = -1 is not"),
        (["llr_bits=1"], "sign without magnitude"),
        (["leaf=12"], "12 bits is not a power of two"),
        (["paths=4"], "there is no parameter 'paths'"),
    ],
)
def test_wrong_options_are_explained(settings, message):
    with pytest.raises(ValueError, match=message):
        build("fast-sclf", CODE, settings)
