# amaranth: UnusedElaboratable=no
"""What a MAC of the systolic array costs, and what sparsity adds to it."""

import pytest
from thresher.fpga.devices import device
from thresher.fpga.resources import Resources
from thresher.fpga.yosys import synthesise
from thresher.hdl.nm_array.cluster import Cluster
from thresher.models.nm.config import NmConfig

INT8 = {"format": "int8", "add_stages": 1}
DENSE = {"kept": 1, "group": 1, "port_words": 16}


def cost(target: str, **shape) -> Resources:
    return synthesise(Cluster(NmConfig(**shape)), device(target)).resources


def test_a_dense_mac_has_no_choice_to_make():
    """Adder, choice of its sum and of what the buffer takes: 3 * 32; four words, two sums."""
    found = cost("ecp5-85k", **DENSE, **INT8)
    assert (found.dsp, found.lutram) == (1, 0)
    assert found.lut <= 97
    assert found.ff <= 134


def test_two_of_eight_cost_a_choice_among_eight():
    dense = cost("ecp5-85k", **DENSE, **INT8)
    sparse = cost("ecp5-85k", kept=2, group=8, **INT8)
    choices = (
        7 * 8
    )  # as many choices of one bit of two, none of which a LUT of 4 joins with another
    assert sparse.dsp == 2
    assert sparse.lut / 2 - dense.lut <= choices
    # Half a left word more than a dense one, index (pair of registers, and passing), late element.
    assert sparse.ff / 2 - dense.ff <= (4 - 1) * 8 + 3 * 3 + 8 / 2


@pytest.mark.slow
def test_sums_wait_in_shift_registers():
    """A buffer is a LUT a bit, however many rows are interleaved; and so is a late element."""
    found = cost("xcup", kept=2, group=8)
    assert found.lutram <= 2 * 32 + 17
    assert found.dsp == 2
