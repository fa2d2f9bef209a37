"""Whether a device holds a design, as far as counting tells."""

import re

from .devices import DEVICES, Device
from .resources import Resources


class DoesNotFit(RuntimeError):  # noqa: N818  (a condition more than an error)
    """A design needs more of something than a device has."""


def excess(resources: Resources, device: Device) -> dict[str, tuple[int, int]]:
    """Of what more is needed than the device has: needed and there, by resource.

    A lower bound: nextpnr may need more than Yosys counts, never less.
    """
    if device.capacity is None:
        return {}
    needs = resources.to_json()
    needs["lut"] += needs["lutram"]  # both are the same tables
    capacity = device.capacity.to_json()
    return {name: (needs[name], capacity[name]) for name in needs if needs[name] > capacity[name]}


def check_fit(resources: Resources, device: Device, what: str = "the design") -> None:
    """Raises :class:`DoesNotFit` that names each resource, what is needed, what is there, and a
    larger device that would hold it."""
    over = excess(resources, device)
    if not over:
        return
    lacks = [
        f"{need} {name} of {there}" + (f" ({need / there:.2f}x)" if there else "")
        for name, (need, there) in over.items()
    ]
    way = way_out(resources, device)
    raise DoesNotFit(f"{what} does not fit {device.name}: it needs {', '.join(lacks)}; {way}")


def overfull(log: str) -> list[str]:
    """The sites of which nextpnr, by its log, would use more than there are."""
    return [
        f"{used} {site} of {there} ({int(used) / int(there):.2f}x)"
        for site, used, there in re.findall(r"^Info:\s+(\w+):\s+(\d+)/\s*(\d+)", log, re.M)
        if int(used) > int(there) > 0
    ]


def way_out(resources: Resources, device: Device) -> str:
    """What to do where a device does not hold so much: the next larger one that would, if any."""
    # The same mapping: what was counted holds for those devices alone.
    larger = [
        other.name
        for other in DEVICES.values()
        if other.synthesis == device.synthesis
        and _luts(other) > _luts(device)
        and not excess(resources, other)
    ]
    if larger:
        return f"{larger[0]} may hold it; or take a smaller preset or smaller parameters"
    return "take a smaller preset, smaller parameters or a larger family"


def _luts(device: Device) -> int:
    return device.capacity.lut if device.capacity else 0
