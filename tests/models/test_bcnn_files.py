"""Binary networks as files."""

import zipfile

import numpy as np
import pytest
from thresher.models.amu.examples import mlp
from thresher.models.amu.files import save as save_lookup
from thresher.models.bcnn.drawn import chain, drawn, residual
from thresher.models.bcnn.files import digest, load, save


@pytest.mark.parametrize(
    "make", [chain, residual, *[lambda s, k=k: drawn(s + k) for k in range(9)]]
)
def test_files_give_back_the_network(make, tmp_path):
    network = make(2)
    save(network, tmp_path / "a")
    save(make(2), tmp_path / "b")
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    back = load(tmp_path / "a")
    assert back.kinds == network.kinds
    assert [(n.name, n.sources) for n in back.nodes] == [(n.name, n.sources) for n in network.nodes]
    for one, two in zip(back.nodes, network.nodes, strict=True):
        ours, theirs = vars(one.operation), vars(two.operation)
        for field in theirs:
            assert np.array_equal(ours[field], theirs[field]), (one.name, field)
    assert digest(back) == digest(network) != digest(make(3))


def test_one_weight_makes_another_digest():
    network = chain()
    before = digest(network)
    network.nodes[1].operation.weights[0, 0, 0, 0] *= -1
    assert digest(network) != before


def test_files_that_hold_no_network(tmp_path):
    save(chain(), tmp_path / "good")
    with np.load(tmp_path / "good") as file:
        arrays = dict(file)

    def written(name, **changes):
        np.savez(tmp_path / name, **{k: v for k, v in (arrays | changes).items() if v is not None})
        return tmp_path / f"{name}.npz"

    text = str(arrays["network"])
    for file, message in [
        (written("version", network=np.array(text.replace('"version": 1', '"version": 2'))),
         "version 2, not 1: written by another release"),
        (written("kind", network=np.array(text.replace("MaxPool", "MinPool"))),
         "no operation is called 'MinPool'"),
        (written("json", network=np.array(text[:-1])), "does not hold a network"),
        (written("none", network=None), "network"),
        (written("lacks", **{"1.weights": None}), "weights are"),
        (written("fewer", **{"1.weights": arrays["1.weights"][..., :2]}),
         "node 'convolution1': reads 2 channels, but its source has 3"),
        (written("beyond", **{"2.thresholds": arrays["2.thresholds"].astype(int) + 10**6}),
         "node 'threshold2': the threshold .* clip it"),
    ]:  # fmt: skip
        with pytest.raises(ValueError, match=rf"{file.name} does not hold a network: .*{message}"
                           if "hold" not in message else message):  # fmt: skip
            load(file)
    save_lookup(mlp(), tmp_path / "lookup")
    with pytest.raises(ValueError, match="lookup does not hold a network"):
        load(tmp_path / "lookup")
    with pytest.raises(FileNotFoundError):
        load(tmp_path / "absent")


def test_a_damaged_file(tmp_path):
    save(chain(), tmp_path / "good")
    content = bytearray((tmp_path / "good").read_bytes())
    with zipfile.ZipFile(tmp_path / "good") as file:
        entry = max(file.infolist(), key=lambda e: e.compress_size)
    lengths = content[entry.header_offset + 26 : entry.header_offset + 30]
    start = entry.header_offset + 30 + sum(np.frombuffer(lengths, "<u2").tolist())
    for place in range(start, start + entry.compress_size - 1, 7):  # the last may be padding
        damaged = content.copy()
        damaged[place] ^= 0xFF
        (tmp_path / "bad").write_bytes(damaged)
        with pytest.raises(ValueError, match="bad does not hold a network"):
            load(tmp_path / "bad")
