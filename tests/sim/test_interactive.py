"""Driving a component by hand."""

import numpy as np
import pytest
from thresher.sim import Session


def test_push_pop_poke_peek(blend):
    config = blend.config(depth=2, lanes=1)
    with Session(blend.component(config)) as sim:
        assert sim.cycle == 0
        assert sim["offset"] == -2  # its initial value
        sim["offset"] = -5
        sim["odd__ready"] = 1
        sim.push("taps", np.array([[3], [-4]]))
        sim.push("x", {"row": [0, 1, 1], "samples": np.array([1, 2, 3]).repeat(3).reshape(3, 1, 3)})
        found = sim.pop("y", 3)
        np.testing.assert_array_equal(found["products"][:, 0], [3 - 5, -8 - 5, -12 - 5])
        sim.tick()
        assert sim["beats"] == 3
        assert sim["lowest"] == -17
        assert sim["y__valid"] == 0
        before = sim.cycle
        sim.tick(10)
        assert sim.cycle == before + 10
        sim.reset()
        assert sim["beats"] == 0
        with pytest.raises(TimeoutError, match="output y delivered 0 of 1 beats"):
            sim.pop("y", timeout=20)


def test_combinational_outputs_follow_at_once(blend):
    with Session(blend.component(blend.config())) as sim:
        assert sim["taps__ready"] == 1
        sim["rst"] = 1
        sim.tick()
        assert sim["x__ready"] == 0
        assert "x__payload" in list(sim)


def test_sessions_do_not_share_state(blend):
    with (
        Session(blend.component(blend.config())) as a,
        Session(blend.component(blend.config())) as b,
    ):
        a["offset"] = 7
        assert b["offset"] == -2


def test_bad_use_is_named(blend):
    sim = Session(blend.component(blend.config()))
    with pytest.raises(KeyError, match="no pin called 'z'"):
        sim["z"]
    with pytest.raises(ValueError, match="beats is driven by the component"):
        sim["beats"] = 1
    with pytest.raises(ValueError, match=r"offset = 40 is outside -32\.\.31"):
        sim["offset"] = 40
    with pytest.raises(KeyError, match="'y' is not an input"):
        sim.push("y", [1])
    with pytest.raises(KeyError, match="'x' is not an output"):
        sim.pop("x")
    with pytest.raises(ValueError, match="holds -256"):
        sim.push("taps", [[999, 0, 0, 0]])
    sim.close()
    with pytest.raises(ValueError, match="closed"):
        sim.tick()
