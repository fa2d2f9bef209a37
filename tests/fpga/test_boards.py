"""Names of boards, and the pins of their serial lines."""

import pytest

pytest.importorskip("amaranth_boards", reason="needs the extra [fpga]")

from thresher.fpga.boards import board, boards, serial_line


def test_names():
    assert board("ulx3s").module == board("ulx3s_85f").module == "ulx3s"
    assert board("ulx3s_85f").platform().device == "LFE5U-85F"
    assert board("ulx3s").platform().device == "LFE5U-12F", "the first of the variants"
    assert board("orangecrab").name == "orangecrab_r0_2", "the highest revision"
    assert board("upduino").name == "upduino_v3"
    assert {"arty_a7_35", "arty_a7_100", "nitefury_ii", "tang_primer_20k_dock"} <= set(boards())


def test_unknown_boards():
    with pytest.raises(KeyError, match="no board 'ulx4s'; did you mean ulx3s"):
        board("ulx4s")
    with pytest.raises(KeyError, match=r"known: .*icebreaker.*versa_ecp5_5g"):
        board("?")


def test_pins_of_the_serial_line():
    def line(name, pins=None):
        found = serial_line(board(name), board(name).platform(), pins)
        return found.rx, found.tx

    assert line("ulx3s") == ("M1", "L4")
    assert line("ulx3s", "gpio_0:1+,2-") == ("gpio_0:1+", "gpio_0:2-")
    assert line("orangecrab") == ("io_0:0", "io_0:1")
    assert line("fomu_pvt", "A1,pin_0") == ("A1", "pin_0")
