"""What does not fit: which resource, by how much, and what would hold it."""

import pytest
from thresher.fpga.devices import DEVICES, device
from thresher.fpga.fit import DoesNotFit, check_fit, excess
from thresher.fpga.resources import Resources


def test_a_full_device_holds_its_design():
    for target in DEVICES.values():
        if target.capacity:
            full = target.capacity.to_json()
            full["lut"] -= full["lutram"]
            check_fit(Resources(**full), target)


@pytest.mark.parametrize("name", [n for n, d in DEVICES.items() if d.capacity])
@pytest.mark.parametrize("resource", Resources().to_json())
def test_one_too_many_of_anything_does_not_fit(name, resource):
    there = device(name).capacity.to_json()[resource]
    over = excess(Resources(**{resource: there + 1}), device(name))
    assert over[resource] == (there + 1, there)


def test_tables_that_store_are_those_that_compute():
    assert excess(Resources(lut=24000, lutram=289), device("ecp5-25k")) == {"lut": (24289, 24288)}


def test_where_no_part_is_chosen_everything_fits():
    check_fit(Resources(lut=10**9), device("xc7"))


def test_the_error_says_what_by_how_much_and_what_to_do():
    need = Resources(lut=6000, dsp=70, bram=100)
    with pytest.raises(
        DoesNotFit,
        match=r"^thing does not fit ecp5-25k: it needs 70 dsp of 28 \(2\.50x\), "
        r"100 bram of 56 \(1\.79x\); ecp5-45k may hold it; or take a smaller preset",
    ):
        check_fit(need, device("ecp5-25k"), "thing")
    with pytest.raises(DoesNotFit, match=r"170 dsp of 156 \(1\.09x\); take a smaller preset"):
        check_fit(Resources(dsp=170), device("ecp5-85k"))
    with pytest.raises(DoesNotFit, match=r"needs 1 dsp of 0; take a smaller preset"):
        check_fit(Resources(dsp=1), device("ice40-hx8k"))


def test_an_unknown_device_lists_those_there_are():
    with pytest.raises(KeyError, match=r"'ecp5-25'; did you mean ecp5-25k .*known: .*, xcup"):
        device("ecp5-25")
    with pytest.raises(KeyError, match=r"no device 'stratix'; known: ecp5-25k, ecp5-45k"):
        device("stratix")
