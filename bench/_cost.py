"""What engines occupy and how fast they run, as rows."""

from collections.abc import Iterator

from ..fpga.results import Results
from .report import Row


def cost_rows(found: Results) -> Iterator[Row]:
    """Resources, Fmax where there is one, and cycles of every preset in ``found``."""
    for cost in found.costs:
        where = f"{cost.engine} {cost.preset} on {cost.device}"
        amounts = {name: n for name, n in cost.resources.to_json().items() if n}
        yield Row(where, ", ".join(f"{n:,} {name}" for name, n in amounts.items()))
        if cost.fmax_mhz is not None:
            yield Row(f"{where}: Fmax, MHz", cost.fmax_mhz)
    for duration in found.durations:
        what = f"{duration.engine} {duration.preset}: cycles of {duration.workload}"
        yield Row(what, duration.cycles, None, f"{duration.ideal_cycles:,} (work bound)")
