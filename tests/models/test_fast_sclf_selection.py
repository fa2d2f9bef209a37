"""The order of flips against its formula."""

import numpy as np
import torch
from thresher.models.fast_sclf.selection import Evidence, order


def test_evidence_is_of_the_best_candidates_on_either_side():
    rng = np.random.default_rng(0)
    metrics = np.sort(rng.exponential(5, (3, 7, 8)), axis=2)
    offset = rng.exponential(9, (3, 7))
    evidence, exact = Evidence(), Evidence(0.7)
    for m, o in zip(metrics, offset, strict=True):
        evidence(torch.from_numpy(m), torch.from_numpy(o))
        exact(torch.from_numpy(m), torch.from_numpy(o))
    assert np.array_equal(evidence.kept.numpy(), (metrics[..., 0] + offset).T)
    assert np.array_equal(evidence.dropped.numpy(), (metrics[..., 4] + offset).T)
    sums = np.exp(-0.7 * (metrics + offset[..., None])).reshape(3, 7, 2, 4).sum(3)
    assert np.allclose(exact.kept.numpy(), -np.log(sums[..., 0]).T / 0.7)
    assert np.allclose(exact.dropped.numpy(), -np.log(sums[..., 1]).T / 0.7)


def test_likeliest_selections_come_first():
    kept = torch.tensor([[0.0, 3.0, 9.0, 4.0], [0.0, 0.0, 0.0, 0.0]])
    dropped = torch.tensor([[2.0, 4.0, 9.5, 6.0], [1.0, 1.0, 0.5, 1.0]])
    assert order(kept, dropped, 1.0, 3).tolist() == [[2, 1, 0], [2, 0, 1]]  # equal: earlier
    assert order(kept, dropped, 2.0, 9).tolist() == [[0, 1, 3, 2], [2, 0, 1, 3]]
    assert torch.equal(order(kept, dropped, 1.2, 4), order(8 * kept, 8 * dropped, 1.2, 4))
