"""What a mapped design occupies, in each family's own units."""

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from fractions import Fraction
from math import ceil
from typing import Literal

Family = Literal["ecp5", "ice40", "gowin", "xc7", "xcup"]


@dataclass(frozen=True)
class Resources:
    """Sites that a design occupies; :data:`UNITS` says what a site is in each family."""

    lut: int = 0
    """Look-up tables that compute."""
    ff: int = 0
    """Flip-flops and latches."""
    carry: int = 0
    """Carry cells."""
    dsp: int = 0
    """Multiplier blocks."""
    bram: int = 0
    """Memory blocks."""
    lutram: int = 0
    """Look-up tables that store."""
    spram: int = 0
    """Large memory blocks without initial contents."""

    def to_json(self) -> dict[str, int]:
        """All counts by name."""
        return asdict(self)


_XILINX_UNITS = {
    "lut": "6-input look-up tables",
    "carry": "4-bit carry cells (half a CARRY8 on UltraScale+)",
    "bram": "blocks of 18 Kbit; one of 36 Kbit is two",
    "lutram": "look-up tables that store or shift",
}

UNITS: Mapping[Family, Mapping[str, str]] = {
    "ecp5": {
        "lut": "4-input look-up tables, two in each carry cell included",
        "carry": "2-bit carry cells (CCU2C)",
        "dsp": "18x18 multipliers",
        "bram": "blocks of 18 Kbit",
        "lutram": "look-up tables that store, 16 bits each",
        "spram": "none in this family",
    },
    "ice40": {
        "lut": "4-input look-up tables",
        "carry": "1-bit carry cells, which share logic cells with look-up tables",
        "dsp": "16x16 multiply-accumulators (SB_MAC16)",
        "bram": "blocks of 4 Kbit",
        "lutram": "none in this family",
        "spram": "blocks of 256 Kbit (UltraPlus only)",
    },
    "gowin": {
        "lut": "4-input look-up tables, one in each carry cell included",
        "carry": "1-bit carry cells (ALU)",
        "dsp": "18x18 multipliers; two of 9x9 share one",
        "bram": "blocks of 18 Kbit",
        "lutram": "look-up tables that store, 16 bits each",
        "spram": "none in this family",
    },
    "xc7": _XILINX_UNITS | {"dsp": "DSP48E1", "spram": "none in this family"},
    "xcup": _XILINX_UNITS | {"dsp": "DSP48E2", "spram": "UltraRAM of 288 Kbit"},
}
"""What one of each resource is, by family; ``ff`` is a flip-flop everywhere."""

_XILINX: dict[str, dict[str, int | Fraction]] = {
    r"LUT[1-6]|LUT6_2|INV": {"lut": 1},
    r"MUXF[789]|GND|VCC|[IO]BUF|OBUFT|IOBUF|BUFG": {},
    r"CARRY4": {"carry": 1},
    r"CARRY8": {"carry": 2},
    r"FD[CPRS]E(_1)?|LD[CP]E": {"ff": 1},
    r"RAM(32|64)X1S|SRL16E|SRLC16E|SRLC32E": {"lutram": 1},
    r"RAM128X1S|RAM(32|64)X1D": {"lutram": 2},
    r"RAM256X1S|RAM128X1D|RAM(32|64)M": {"lutram": 4},
    r"RAM512X1S|RAM256X1D|RAM32M16|RAM64M8|RAM32X16DR8|RAM64X8SW": {"lutram": 8},
    r"RAMB18E[12]": {"bram": 1},
    r"RAMB36E[12]": {"bram": 2},
    r"URAM288\w*": {"spram": 1},
    r"DSP48E[12]": {"dsp": 1},
}

# Sites that a cell takes, by a pattern that its whole type matches.  Multiplexers between
# look-up tables, constants and pads take none of what is counted.
_CELLS: Mapping[Family, Mapping[str, Mapping[str, int | Fraction]]] = {
    "ecp5": {
        r"LUT4": {"lut": 1},
        r"PFUMX|L6MUX21|TRELLIS_IO": {},
        r"CCU2C": {"lut": 2, "carry": 1},
        r"TRELLIS_FF": {"ff": 1},
        r"TRELLIS_DPR16X4": {"lutram": 4},
        r"DP16KD": {"bram": 1},
        r"MULT18X18D": {"dsp": 1},
    },
    "ice40": {
        r"SB_LUT4": {"lut": 1},
        r"SB_IO|SB_GB": {},
        r"SB_CARRY": {"carry": 1},
        r"SB_DFF[NESR]*": {"ff": 1},
        r"SB_RAM40_4K(NR)?(NW)?": {"bram": 1},
        r"SB_SPRAM256KA": {"spram": 1},
        r"SB_MAC16": {"dsp": 1},
    },
    "gowin": {
        r"LUT[1-4]|INV": {"lut": 1},
        r"MUX2_LUT[5-8]|GND|VCC|GSR|[IO]BUF|TBUF|IOBUF": {},
        r"ALU": {"lut": 1, "carry": 1},
        r"DFFN?[SRPC]?E?|DLN?[PC]?E?": {"ff": 1},
        r"RAM16S(DP)?1": {"lutram": 1},
        r"RAM16S(DP)?2": {"lutram": 2},
        r"RAM16S(DP)?4": {"lutram": 4},
        r"S?DP(B|X9B)|SP(X9)?|pROM(X9)?": {"bram": 1},
        r"MULT9X9": {"dsp": Fraction(1, 2)},
        r"MULT18X18": {"dsp": 1},
        r"MULT36X36": {"dsp": 4},
    },
    "xc7": _XILINX,
    "xcup": _XILINX,
}


def count(family: Family, cells: Mapping[str, int]) -> Resources:
    """Resources of so many ``cells`` of each type.

    Raises :class:`ValueError` naming the types whose cost is not known.
    """
    total: Counter[str] = Counter()
    unknown: list[str] = []
    for cell, number in cells.items():
        if cell == "$scopeinfo":  # Yosys' note of what was flattened
            continue
        cost = next((c for kind, c in _CELLS[family].items() if re.fullmatch(kind, cell)), None)
        if cost is None:
            unknown.append(f"{cell} ({number})")
            continue
        for resource, amount in cost.items():
            total[resource] += number * amount  # pyright: ignore[reportArgumentType]
    if unknown:
        raise ValueError(
            f"{family} cells of unknown cost: {', '.join(unknown)}; "
            "the table in thresher/fpga/resources.py must say what each takes"
        )
    return Resources(**{name: ceil(amount) for name, amount in total.items()})
