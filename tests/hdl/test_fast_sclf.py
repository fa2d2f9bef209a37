"""What is special to the engine; the rest is in test_engines.py."""

import numpy as np
import pytest
from thresher.hdl.engine import engine
from thresher.hdl.fast_sclf.beats import llr_beats, messages_of, program_beats
from thresher.hdl.fast_sclf.compiler import compile_program
from thresher.hdl.fast_sclf.component import FastSclf
from thresher.hdl.fast_sclf.cycles import timing
from thresher.hdl.fast_sclf.shape import Shape
from thresher.hdl.fast_sclf.workloads import quantiser, workload
from thresher.models.codes.channel import Awgn
from thresher.models.codes.crc import crc
from thresher.models.codes.polar import PolarCode, order_gaussian, polar_5g
from thresher.models.fast_sclf.config import FastSclfConfig
from thresher.models.fast_sclf.decoder import Decoder, Options
from thresher.sim import Session, simulate

SMALL = FastSclfConfig.preset("small")
SHAPE = Shape(SMALL)


def sent_and_received(code, frames, ebn0, seed=0):
    rng = np.random.default_rng(seed)
    messages = rng.integers(0, 2, (frames, code.k), np.uint8)
    noisy = Awgn.at(ebn0, code.rate).send(code.encode(messages), rng)
    return messages, quantiser(SMALL)(noisy)


def run(code, received, attempts=50, **how):
    chosen = workload("test", SMALL, code, received, attempts)
    report = simulate(engine("fast_sclf"), workload=chosen, **how)
    assert report.holds, report.failures()
    return report


def test_codes_follow_one_another():
    """Other lengths, rates and constructions on the same engine, without a reset."""
    codes = [
        polar_5g(32, 16, SMALL.check),
        polar_5g(8, 1, SMALL.check),
        PolarCode.of_order(order_gaussian(16, 3.0), 7, SMALL.check),
        polar_5g(32, 25, SMALL.check),
    ]
    with Session(FastSclf(SMALL)) as session:
        for code in [*codes, *reversed(codes)]:
            messages, received = sent_and_received(code, 5, 12.0)
            program = compile_program(SHAPE, code.frozen)
            session.push("program", program_beats(SHAPE, program, code))
            session.tick(len(session.ports.inputs) + program.cycles + 20)
            session.push("llr", llr_beats(SMALL, received))
            beats = session.pop("message", 5 * -(-code.k // SMALL.beat))
            given, found = messages_of(SMALL, code.k, beats)
            np.testing.assert_array_equal(given, messages)
            assert found.all()


def test_nothing_is_taken_before_a_program():
    with Session(FastSclf(SMALL)) as session:
        session.push("llr", np.zeros((1, SMALL.lanes), int))
        session.tick(10)
        assert session["llr__ready"] == 0
        assert session["program__ready"] == 1


def test_flips_save_frames_and_a_frame_is_given_up_after_the_last():
    code = polar_5g(32, 16, SMALL.check)
    messages, received = sent_and_received(code, 300, 2.5)
    reports = [run(code, received, attempts) for attempts in (0, 1, 50)]
    given_up = [report.registers["given_up"] for report in reports]
    assert given_up[0] > given_up[1] > given_up[2] > 0
    made = reports[2].registers["attempts_made"]
    selections = compile_program(SHAPE, code.frozen).selections
    assert given_up[2] * selections < made < given_up[0] * selections
    given, found = messages_of(SMALL, code.k, reports[2].outputs["message"])
    first, _ = messages_of(SMALL, code.k, reports[0].outputs["message"])
    # Given up, it is the first decoding's best path; saved, it is mostly right.
    np.testing.assert_array_equal(given[~found], first[~found])
    saved = found & (given != first).any(1)
    assert (given[saved] == messages[saved]).all(1).mean() > 0.5


def test_a_frame_takes_its_decodings_and_a_constant():
    """The closed form without a decoder: what one frame alone takes."""
    code = polar_5g(32, 16, SMALL.check)
    _, received = sent_and_received(code, 1, 12.0)
    program = compile_program(SHAPE, code.frozen)
    # Half the rows and one more come first; then, behind the last instruction: four cycles, three
    # rows that the transform holds, eight chunks of 4 bits and one cycle; four beats.
    rows = SHAPE.rows
    assert run(code, received).cycles == rows // 2 + 1 + program.cycles - 1 + 4 + 3 + 9 + 4
    decoded = Decoder(code, Options.of(SMALL, 50, 1.1875))(np.repeat(received, 50, 0))
    many = timing(SHAPE, program, code.n, code.k, decoded, 50)
    assert many.cycles - 50 * program.cycles < 40


def test_other_crc():
    code = polar_5g(32, 10, crc("crc11"))
    program = compile_program(SHAPE, code.frozen)
    with pytest.raises(ValueError, match=r"has the CRC .*crc11.*the engine checks .*crc6"):
        program_beats(SHAPE, program, code)
    bare = PolarCode(code.frozen)
    with pytest.raises(ValueError, match="None"):
        program_beats(SHAPE, program, bare)


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"list_size": 3}, "list_size"),
        ({"length": 500}, "length = 500 is not a power of two; the next are 256 and 512"),
        ({"pes": 512}, "pes = 512 is more than half of length = 512; 256"),
        ({"leaf": 128}, "leaf = 128 exceeds pes = 64"),
        ({"crc": "crc13"}, "crc13"),
        ({"length": 16, "pes": 8, "leaf": 4, "lanes": 4, "beat": 4}, "crc24c has 24 bits"),
    ],
)
def test_bad_configurations(settings, text):
    with pytest.raises(ValueError, match=text):
        FastSclfConfig.preset("default", **settings)
