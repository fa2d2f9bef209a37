"""What rows of area count, with synthesis that tells what it is given."""

from types import SimpleNamespace

import pytest
from thresher.bench import _reram_area
from thresher.fpga.resources import Resources
from thresher.hdl.reram.array import Array
from thresher.hdl.reram.component import Reram


def synthesised(design, device):
    """A thousand tables in a whole, ten in an array, and one in any other unit."""
    lut = {Reram: 1000, Array: 10}.get(type(design), 1)
    return SimpleNamespace(resources=Resources(lut=lut, bram=lut // 10, carry=lut), device=device)


@pytest.fixture
def laid_out(monkeypatch):
    """LUTs of what was laid out."""
    found = []

    def place(synthesis, timeout):
        found.append(synthesis.resources.lut)
        return SimpleNamespace(fmax_mhz=100.0)

    monkeypatch.setattr(_reram_area, "synthesise", synthesised)
    monkeypatch.setattr(_reram_area, "place_and_route", place)
    return found


def test_every_fragment_has_every_unit_on_every_device(laid_out):
    rows = [row.what for row in _reram_area.area_rows(False, lambda what: None)]
    assert len(set(rows)) == len(rows)
    for m in (4, 8, 16):
        for name in _reram_area.DEVICES:
            of = [w for w in rows if w.startswith(f"m = {m}:") and w.endswith(f"on {name}")]
            assert len(of) == (8 if m == 8 else 6)
    assert 1000 in laid_out


def test_the_periphery_is_the_whole_without_both_arrays(laid_out):
    rows = list(_reram_area.area_rows(True, lambda what: None))
    whole = [row.measured for row in rows if "less 2 arrays" in row.what]
    assert whole == ["980 LUT, 98 BRAM"] * 2
    assert sum(bool(row.skipped) for row in rows) == 4
    assert 1000 not in laid_out
