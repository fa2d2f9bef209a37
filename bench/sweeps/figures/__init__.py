"""Figures of engines that only they have, for their example sweeps."""
