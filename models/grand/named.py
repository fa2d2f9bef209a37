"""GRAND's decoders by name (:mod:`..decoders`) and their options."""

from ..codes.named import code
from ..config import EngineConfig, parameter
from ..decoders import Kind
from .decoder import Grand, step_grand
from .estimate import noise_only, stratified
from .one_line import OneLine
from .patterns import Staircase


class OrbgrandOptions(EngineConfig):
    """Which patterns ORBGRAND tests."""

    lw_max: int = parameter(64, ge=1, le=1023)
    """Largest logistic weight, the sum of the flipped bits' ranks."""
    p: int = parameter(6, unit="bits", ge=1, le=16)
    """Most bits flipped."""
    skip_parity: bool = parameter(False)
    """Skip patterns of the wrong parity; for codes of even weight alone."""


class OneLineOptions(OrbgrandOptions):
    """Which patterns one-line ORBGRAND tests."""

    max_queries: int = parameter(0, ge=0)
    """Most patterns tested in all; 0: every one."""


class StepGrandOptions(EngineConfig):
    """Which patterns step-GRAND tests: by default our own choice for the code."""

    limits: tuple[int, ...] = parameter(())
    """Largest logistic weight for each number of flipped bits from 1; 0: none of that number;
    none given: ours, prefixes and reach included."""
    prefixes: tuple[int, ...] = parameter(())
    """Largest rank in a prefix, for each number of flipped bits from 4; none given: any."""
    reach: int = parameter(0, ge=0, le=2046)
    """Largest sum of the second and third largest rank, the third counted as the largest of
    ``prefixes`` at least; 0: any."""


def _orbgrand(name: str, options: OrbgrandOptions, device: str) -> Grand:
    chosen = code(name)
    staircase = Staircase.orbgrand(chosen.n, options.lw_max, options.p)
    return Grand(chosen, staircase, options.skip_parity, device)


def _one_line(name: str, options: OneLineOptions, device: str) -> Grand:
    chosen = code(name)
    staircase = Staircase.orbgrand(chosen.n, options.lw_max, options.p)
    return OneLine(chosen, staircase, options.skip_parity, device, options.max_queries or None)


def _step_grand(name: str, options: StepGrandOptions, device: str) -> Grand:
    chosen = code(name)
    if options.limits:
        given = Staircase(chosen.n, options.limits, options.prefixes, options.reach)
        return step_grand(chosen, given, device)
    if options.prefixes or options.reach:
        raise ValueError("prefixes and reach go with limits; set these, too")
    return step_grand(chosen, device=device)


KINDS = {
    "orbgrand": Kind(
        "guesses noise by logistic weight",
        OrbgrandOptions,
        _orbgrand,
        {"stratified": stratified, "noise-only": noise_only},
    ),
    "step-grand": Kind(
        "the same within limits by the number of flipped bits",
        StepGrandOptions,
        _step_grand,
        {"stratified": stratified, "noise-only": noise_only},
    ),
    "one-line": Kind(
        "ORBGRAND with a line through the reliabilities",
        OneLineOptions,
        _one_line,
        {"stratified": stratified},
    ),
}
