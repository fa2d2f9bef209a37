"""How the ``thresher`` command shows switching activity."""

from rich.table import Table

from .console import cell, table
from .sim.activity import Activity


def by_submodule(activity: Activity) -> Table:
    """A row for every submodule of the top that switches, and one for the whole."""
    parts = {name or "(top)": part for name, part in activity.parts().items() if part[0]}
    parts["all"] = activity.toggles, activity.bits
    rows = [
        [
            name,
            cell(toggles),
            cell(toggles / activity.cycles),
            f"{toggles / max(activity.toggles, 1):.1%}",
            cell(bits),
        ]
        for name, (toggles, bits) in parts.items()
    ]
    columns = "submodule", "register toggles", "a cycle", "share", "register bits"
    return table(columns, rows)
