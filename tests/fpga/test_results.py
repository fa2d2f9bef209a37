"""The published table: written and read back, compared, and true for the small presets."""

from dataclasses import replace
from pathlib import Path

import pytest
from thresher.fpga.resources import Resources
from thresher.fpga.results import Cost, Duration, Results, changes, measure
from thresher.hdl.engine import ENGINES

LARGE = ("nm_array", "wuve", "amu_network", "fast_sclf", "step_grand")
PAGE = Path(__file__).parents[2] / "fpga" / "RESULTS.md"

MADE_UP = Results(
    {"pyosys": "0.70"},
    (
        Cost("e", "small", "ecp5-25k", Resources(lut=1000, ff=20, lutram=40), 100.0),
        Cost("e", "small", "xc7", Resources(lut=500), None),
    ),
    (Duration("e", "small", "random", 123_456, 120_000),),
)


def with_lut(results, lut):
    first, *rest = results.costs
    changed = replace(first, resources=replace(first.resources, lut=lut))
    return replace(results, costs=(changed, *rest))


def test_page_round_trip():
    page = MADE_UP.markdown()
    assert Results.parse(page) == MADE_UP
    assert "1.23 ms" in page  # 123,456 cycles at 100 MHz
    with pytest.raises(ValueError, match="no table of published results"):
        Results.parse("# Something else\n")


def test_changes_show_both_figures():
    assert changes(MADE_UP, MADE_UP) == []
    assert changes(MADE_UP, with_lut(MADE_UP, 1050)) == []
    assert changes(MADE_UP, with_lut(MADE_UP, 1051)) == [
        "e small ecp5-25k lut: 1,051 where 1,000 is published"
    ]
    assert changes(MADE_UP, with_lut(MADE_UP, 949)) != []
    slower = replace(MADE_UP.costs[0], fmax_mhz=94.0)
    (text,) = changes(MADE_UP, replace(MADE_UP, costs=(slower,)))
    assert text == "e small ecp5-25k Fmax: 94.0 where 100.0 is published"
    (text,) = changes(replace(MADE_UP, durations=()), MADE_UP)
    assert text == "e small random cycles: 123,456, never published"


def test_unknown_names():
    with pytest.raises(ValueError, match="no preset 'smal'; did you mean small"):
        measure(presets=["smal"])
    with pytest.raises(ValueError, match="no family 'ecp6'; did you mean ecp5"):
        measure(families=["ecp6"])
    with pytest.raises(KeyError, match="no engine 'sparse_lst'; did you mean sparse_lstm"):
        measure(["sparse_lst"])


@pytest.mark.parametrize(
    # Layouts take longest: Xilinx has none here.
    "families",
    [("xc7",), pytest.param(("ecp5", "ice40", "xcup"), marks=pytest.mark.slow)],
)
@pytest.mark.parametrize(
    "name",
    [
        # Floating-point units, tables and sorters take longest.
        pytest.param(name, marks=[pytest.mark.slow] if name in LARGE else [])
        for name in ENGINES
    ],
)
def test_small_presets_are_as_published(name, families):
    pytest.importorskip("pyosys", reason="needs the extra [fpga]")
    measured = measure([name], ["small"], families)
    assert measured.costs
    assert changes(Results.parse(PAGE.read_text(encoding="utf-8")), measured) == []
