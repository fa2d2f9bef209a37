"""Amaranth generators: one module or folder an engine, and what they share in ``lib``."""
