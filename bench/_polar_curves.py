"""List decoders of a polar code over Eb/N0: one point, all curves, and the curves as a figure."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch

from ..models.codes.channel import Quantiser
from ..models.codes.crc import crc
from ..models.codes.polar import polar_5g
from ..models.error_rates import Point, error_rates
from ..models.fast_sclf.decoder import Decoder, Options
from ._curves import Figure, Panel
from ._points import costs, published, published_costs, published_rates, rates
from .report import Progress

PAPER = "Doan, Hashemi, Gross"
CODE = polar_5g(512, 256, crc("crc24c"))
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
FAST, FSCL_4, FSCL_32 = "Fast-SCLF-4", "FSCL-4", "FSCL-32"
DECODERS = {
    "FSCL-1": Options(1, 0),
    "FSCL-2": Options(2, 0),
    FSCL_4: Options(4, 0),
    "FSCL-8": Options(8, 0),
    FSCL_32: Options(32, 0),
    FAST: Options(4),
    "Fast-SCLF-8": Options(8),
}
"""FSCL is fast SCL without flips; the number is the list's."""
_FRAMES = {
    "FSCL-1": {2.0: 4096, 2.5: 4096, 3.0: 4096},
    "FSCL-2": {1.5: 4096, 2.0: 4096, 2.5: 8192},
    FSCL_4: {1.5: 4096, 2.0: 24_576, 2.25: 57_344},
    "FSCL-8": {1.5: 4096, 2.0: 8192},
    FSCL_32: {1.75: 4096, 2.0: 12_288},
    FAST: {1.75: 4096, 2.0: 16_384, 2.25: 16_384},
    "Fast-SCLF-8": {1.75: 4096, 2.0: 4096},
}
"""Of the quick curves, by Eb/N0 in dB."""
_ERRORS = {
    "FSCL-1": dict.fromkeys((2.0, 2.25, 2.5, 2.75, 3.0), 500),
    "FSCL-2": dict.fromkeys((1.5, 1.75, 2.0, 2.25, 2.5, 2.75), 500),
    FSCL_4: dict.fromkeys((1.5, 1.75, 2.0, 2.25, 2.5, 2.75), 1500),
    "FSCL-8": dict.fromkeys((1.5, 1.75, 2.0, 2.25, 2.5), 500),
    FSCL_32: dict.fromkeys((1.5, 1.75, 2.0, 2.25, 2.5), 500),
    FAST: dict.fromkeys((1.5, 1.75, 2.0, 2.25, 2.5, 2.75), 500),
    "Fast-SCLF-8": dict.fromkeys((1.5, 1.75, 2.0, 2.25, 2.5), 300),
}
"""Of the full curves, likewise."""
_REFERENCES = {  # of the table: how a legend calls it, and whose colour it takes
    "FSCL L=4": ("FSCL-4, reference run", FSCL_4),
    "CA-SCL L=8": ("SCL-8, AFF3CT", "FSCL-8"),
    "FSCL L=32": ("FSCL-32, reference run", FSCL_32),
    "list-flip L=4 m=50 alpha=1.2": ("Fast-SCLF-4, reference run", FAST),
    "list-flip L=8 m=50 alpha=1.2": ("Fast-SCLF-8, reference run", "Fast-SCLF-8"),
}


@dataclass(frozen=True)
class Meter:
    """Measures a decoder; each draws the same frames."""

    options: Options
    quantiser: Quantiser | None = None

    def first(self, ebn0: float, frames: int) -> Point:
        """Of the first ``frames``, rounded up to whole blocks of 4,096."""
        return self.count(ebn0, frames, frames)

    def count(self, ebn0: float, errors: int, frames: int = 10_000_000) -> Point:
        """Of frames until there are so many ``errors``."""
        decoder = Decoder(CODE, self.options, DEVICE)
        how = {"quantiser": self.quantiser, "block": 4096, "seed": 2}
        return next(error_rates(decoder, [ebn0], errors=errors, frames=frames, **how))


def measure(quick: bool, progress: Progress) -> Iterator[tuple[str, Point]]:
    """Every point of every curve, with its name in :data:`DECODERS`."""
    for label, amounts in (_FRAMES if quick else _ERRORS).items():
        meter = Meter(DECODERS[label])
        for ebn0, amount in amounts.items():
            progress(f"{label} at {ebn0} dB")
            yield label, (meter.first if quick else meter.count)(ebn0, amount)


def at(points: list[Point], ebn0: float) -> Point:
    """The point of that Eb/N0."""
    return next(p for p in points if p.ebn0 == ebn0)


def fers(points: list[Point]) -> dict[float, float]:
    """Error rates by Eb/N0."""
    return {p.ebn0: p.fer for p in points}


def figure(curves: dict[str, list[Point]]) -> Figure:
    """Error rates, average steps and attempts of ``curves``, beside those of reference runs."""
    known = [(*how, published(name, "(512,256")) for name, how in _REFERENCES.items()]
    panels = {
        "frame error rate": [
            *(rates(label, points) for label, points in curves.items()),
            *(published_rates(label, rows, like) for label, like, rows in known),
        ]
    }
    for title, cost, column in (
        ("average time steps of a frame", "steps", "avg_steps"),
        ("average flips tried", "attempts", "avg_extra_attempts"),
    ):
        panels[title] = [
            *(costs(label, points, cost) for label, points in curves.items()),
            *(published_costs(label, rows, column, like) for label, like, rows in known),
        ]
    return Figure(
        "5G polar (512, 256 + CRC24C): FSCL and, with up to 50 flips, Fast-SCLF",
        "Eb/N0 of information bits, dB",
        [Panel(title, [s for s in series if s.x]) for title, series in panels.items()],
    )
