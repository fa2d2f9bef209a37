"""Sparse-state LSTM: recurrent states below a threshold are zero, and zeros cost nothing.

From "Learning to Skip Ineffectual Recurrent Computations in LSTMs" (Ardakani, Ji, Gross,
DATE 2019).
"""

from .engine import ENGINE

__all__ = ["ENGINE"]
