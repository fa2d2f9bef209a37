"""Cycles that the parts of a pipeline take, which the hardware keeps and the timing counts on."""

WINDOW = 3
"""From the cycle in which a tap is issued to that in which its word stands on the walker's output:
the program, the address, the memory."""
WRITE = -1
"""A word that enters a memory in a cycle may be issued in this many later, or any later cycle."""
