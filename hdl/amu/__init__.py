"""Matrix multiplication by table lookup, in hardware."""
