"""Design-space exploration: sweeps of configurations through stages, fronts, reports."""
