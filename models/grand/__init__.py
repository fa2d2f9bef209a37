"""Guessing random additive noise: ORBGRAND and step-GRAND, their cycles and error rates."""
