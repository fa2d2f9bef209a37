"""Configurations of the engine for binary networks."""

import pytest
from thresher.models.bcnn.config import NETWORKS, BcnnConfig
from thresher.models.bcnn.drawn import chain, drawn
from thresher.models.bcnn.files import digest, save


@pytest.mark.parametrize("name", BcnnConfig.presets)
def test_presets(name, tmp_path):
    config = BcnnConfig.preset(name)
    file = tmp_path / "config.toml"
    file.write_text(config.to_toml(), encoding="utf-8")
    assert BcnnConfig.load(file=file) == config


def test_networks_by_name_and_seed():
    for name, make in NETWORKS.items():
        content = BcnnConfig(network=name, seed=3).content
        assert digest(content) == digest(make(3)) != digest(make(4))


def test_interval_or_lanes():
    config = BcnnConfig(interval=1000)
    assert (config.interval, config.lanes) == (1000, 0)
    assert config.replace(interval=0).lanes == BcnnConfig().lanes
    assert BcnnConfig.preset("small", interval=1000, lanes=0).interval == 1000
    for fields in ({"lanes": 0}, {"lanes": 4, "interval": 9}):
        with pytest.raises(ValueError, match=r"interval = \d and lanes = \d: one of the two"):
            BcnnConfig.preset(**fields)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"network": "chains"}, "network = 'chains' is not one of chain, residual, drawn"),
        ({"lanes": -1}, "lanes = -1 is not an integer from 0 to"),
        ({"lanes_in": 2}, "lanes_in = 2 does not divide a pixel's 3 channels; take a divisor"),
        ({"digest": "ab"}, "a digest is a file's"),
        ({"file": "nowhere.npz"}, "'nowhere.npz' cannot be read"),
    ],
)
def test_what_does_not_fit(fields, message):
    with pytest.raises(ValueError, match=message):
        BcnnConfig.preset(**fields)


def test_files(tmp_path):
    file = tmp_path / "net.npz"
    save(drawn(5), file)
    config = BcnnConfig(file=str(file))
    assert config.digest == digest(config.content) == digest(drawn(5))
    assert BcnnConfig.load(settings=[f"file={file}", f"digest={config.digest}"]) == config
    file.unlink()
    save(chain(), file)
    with pytest.raises(ValueError, match=f"has the digest {digest(chain())}, not {config.digest}"):
        _ = config.content
    with pytest.raises(ValueError, match="it has changed; leave digest out"):
        BcnnConfig.preset(file=str(file), digest=config.digest)
    file.write_text("hello")
    with pytest.raises(ValueError, match="does not hold a network"):
        BcnnConfig.preset(file=str(file))
