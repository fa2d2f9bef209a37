"""thresher: generate, simulate and measure accelerators that skip the chaff."""
