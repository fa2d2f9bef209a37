"""Error rates of step-GRAND at one signal-to-noise ratio."""

from functools import lru_cache
from typing import Any

from ....models.codes.channel import Awgn, Quantiser
from ....models.codes.named import code
from ....models.grand.config import StepGrandConfig
from ....models.grand.decoder import step_grand
from ....models.grand.estimate import stratified
from ....models.grand.patterns import Staircase


def errors(
    config: StepGrandConfig,
    name: str = "bch-64-51",
    ebn0: float = 5.0,
    frames: int = 200_000,
    seed: int = 0,
) -> dict[str, Any]:
    """What the integer decoder misses of about ``frames`` words of the code called ``name`` at
    ``ebn0`` dB, LLRs quantised to ``config.llr_bits`` bits in steps of 0.1.

    Words are drawn by how many bits the channel has turned, as :func:`.stratified` does: rare
    words are drawn as often as common ones.

    ``fer``, ``fer_low``, ``fer_high``
        The frame error rate and its 95 % confidence interval.
    ``queries``
        Patterns tested, on average of all words.
    """
    return dict(_errors(config.staircase, config.llr_bits, name, ebn0, frames, seed))


@lru_cache(maxsize=256)  # the number of cores changes no error
def _errors(
    staircase: Staircase, llr_bits: int, name: str, ebn0: float, frames: int, seed: int
) -> dict[str, Any]:
    chosen = code(name)
    found = stratified(
        step_grand(chosen, staircase.shortened(chosen.n)),
        Awgn.at(ebn0, chosen.k / chosen.n),
        quantiser=Quantiser(llr_bits, 0.1),
        frames=frames,
        seed=seed,
    )
    low, high = found.interval()
    return {"fer": found.fer, "fer_low": low, "fer_high": high, "queries": found.means["queries"]}
