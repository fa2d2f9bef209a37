"""How well the layers of a binary network keep pace."""

import pytest
from thresher.bench.sweeps.figures.bcnn_conv import balance
from thresher.hdl.bcnn_conv.workloads import pipeline
from thresher.models.bcnn.config import BcnnConfig


@pytest.mark.parametrize("lanes", [10, 47, 92, 95])
def test_it_is_the_timeline_of_the_hardware(lanes: int) -> None:
    config = BcnnConfig(network="residual", lanes=lanes)
    found, made = balance(config), pipeline(config)
    assert found["utilisation"] == made.timeline.utilisation
    assert found["latency"] == made.timeline.latency
    assert found["spare_lanes"] == lanes - made.lanes
    assert found["least_utilisation"] <= found["utilisation"]
    shares = dict(zip((s.name for s in made.stages), made.timeline.utilisations, strict=True))
    assert shares[found["bottleneck"]] == max(shares.values()) == 1
