"""ORBGRAND and step-GRAND over Eb/N0: one point each way, and the curves as a figure."""

from dataclasses import dataclass, replace

import torch

from ..models.codes.channel import Quantiser
from ..models.decoders import CodeDecoder, build, kind
from ..models.error_rates import Point, error_rates
from ._curves import Figure, Panel
from ._points import costs, published, published_costs, published_rates, rates

CODE = "polar-128-105-crc11"
QUANTISER = Quantiser()
EBN0 = (4.0, 4.5, 5.0, 5.5, 6.0, 6.5, 7.0, 7.5, 8.0)
_COUNTED = 5.5
"""Up to here errors are counted; beyond, rates are estimated."""
_OTHERS = {  # of the table, and how a legend calls it
    "ORBGRAND LWmax=64 P=6 float": "ORBGRAND, unquantised (reference run)",
    "CA-SCL L=8": "CA-SCL, list of 8 (AFF3CT)",
    "CA-SCL L=32": "CA-SCL, list of 32 (AFF3CT)",
}


@dataclass(frozen=True)
class Meter:
    """Measures one decoder, on the GPU where there is one."""

    name: str
    """Of :mod:`..models.decoders`."""
    quick: bool
    quantiser: Quantiser | None = QUANTISER
    code: str = CODE

    @property
    def decoder(self) -> CodeDecoder:
        return build(self.name, self.code, (), "cuda" if torch.cuda.is_available() else "cpu")

    def count(self, ebn0: float, errors: int, frames: int = 20_000_000) -> Point:
        """By decoding until so many errors."""
        return self._point(ebn0, errors=errors, frames=frames)

    def decoded(self, ebn0: float, frames: int) -> Point:
        """An estimate by decoding so many frames."""
        return self._estimate("stratified", ebn0, frames)

    def noise(self, ebn0: float) -> Point:
        """An estimate of the error rate without decoding."""
        return self._estimate("noise-only", ebn0, 60_000 if self.quick else 2_000_000)

    def best(self, ebn0: float, frames: int) -> Point:
        """The best estimate of the error rate that there is time for, by so many frames at most."""
        return self.noise(ebn0) if self.quick else self.decoded(ebn0, frames)

    def point(self, ebn0: float) -> Point:
        """Error rate, queries and cycles."""
        if ebn0 <= _COUNTED:
            return self.count(ebn0, *((300, 150_000) if self.quick else (2000, 20_000_000)))
        costs = self.decoded(ebn0, 16_000 if self.quick else 400_000)
        rate = self.noise(ebn0)
        return replace(costs, fer=rate.fer, low=rate.low, high=rate.high)

    def _estimate(self, how: str, ebn0: float, frames: int) -> Point:
        block = 2048 if frames < 100_000 else 8192
        estimator = kind(self.name).estimator(how)
        return self._point(ebn0, estimator=estimator, frames=frames, block=block)

    def _point(self, ebn0: float, **more) -> Point:
        return next(error_rates(self.decoder, [ebn0], quantiser=self.quantiser, seed=2, **more))


def figure(curves: dict[str, list[Point]]) -> Figure:
    """Error rates and average cycles of ``curves``, and published ones where they are at hand."""
    fers = [rates(label, points) for label, points in curves.items()]
    cycles = [costs(label, points, "cycles") for label, points in curves.items()]
    for name, label in _OTHERS.items():
        known = published(name, "(128,105")
        fers.append(published_rates(label, known))
        cycles.append(published_costs(label, known, "avg_cycles_D3model"))
    return Figure(
        f"5G polar (128, 105 + CRC11): counted up to {_COUNTED} dB, estimated beyond",
        "Eb/N0 of information bits, dB",
        [
            Panel("frame error rate", [series for series in fers if series.x]),
            Panel("average cycles a word", [series for series in cycles if series.x]),
        ],
    )
