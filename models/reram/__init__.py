"""In-situ computing in ReRAM crossbars: polarised fragments, bit-serial inputs, narrow ADCs."""
