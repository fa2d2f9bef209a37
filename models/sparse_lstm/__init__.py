"""Golden model, training and conversion of the sparse-state LSTM."""
