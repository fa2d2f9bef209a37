"""N:M sparse training: bidirectional weight pruning (BDWP) and the array that runs it."""
