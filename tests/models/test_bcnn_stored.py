"""Trained binary networks give what FPGA boards gave."""

import numpy as np
from thresher.models import data
from thresher.models.bcnn.stored import cnv, lfc


def test_class_scores_of_images():
    stored = cnv()
    assert stored.answers.shape == (2, 10)
    assert (stored.read(stored.network(stored.inputs)) == stored.answers).all()
    products = [
        kind.pixels * node.operation.products
        for node, kind in zip(stored.network.nodes, stored.network.kinds, strict=True)
        if hasattr(node.operation, "products")
    ]
    lost = 54 * 512  # of the last layer's 64 outputs
    assert sum(products) + lost == 59_489_024


def test_predictions_of_digits():
    stored = lfc()
    found = stored.read(stored.network(stored.inputs))
    assert len(found) == 1000
    assert (found == stored.answers).all()
    assert (found == data.load("binary_lfc_mnist.npz")["labels"]).mean() == 0.983


def test_digits_as_upstream_counts():
    """Popcounts of packed words, padded, with all 64 outputs."""
    file, stored = data.load("binary_lfc_mnist.npz"), lfc()
    images = file["images"][:50].reshape(50, -1)
    bits = np.zeros((50, 832), np.uint8)
    bits[:, :784] = images / 255 * 2 - 1 >= 0
    trace = stored.network.trace(stored.inputs[:50])
    for layer in range(4):
        packed, products = np.packbits(bits, axis=1), bits.shape[1]
        equal = np.bitwise_count(~(packed[:, None] ^ file[f"w{layer}"])).sum(axis=2, dtype=int)
        assert products % 8 == 0
        bits = (equal > file[f"t{layer}"]).astype(np.uint8)
        ours = trace[2 * layer + 2].reshape(50, -1)
        assert (2 * bits.astype(int)[:, : ours.shape[1]] - 1 == ours).all()
        assert not bits[:, ours.shape[1] :].any()
