"""What measures: every figure a row, measured afresh."""
