"""A core description for FuseSoC (CAPI2)."""

import json

from ...hdl.generate import Top


def core(name: str, tops: dict[str, Top]) -> str:
    """Targets for each top level by what it is called: ``default``, ``lint`` and ``synth``
    of the first, ``NAME``, ``lint_NAME`` and ``synth_NAME`` of the others."""
    description = next(iter(tops.values())).description
    lines = [
        "CAPI=2:",
        f"name: thresher:engines:{name}:{description['generator']['version']}",
        f"description: {json.dumps(description['summary'], ensure_ascii=False)}",
        "",
        "filesets:",
    ]
    for kind, top in tops.items():
        lines += [
            f"  {kind}:",
            f"    files: [{top.name}.v]",
            "    file_type: verilogSource-2005",
        ]
    lines += ["", "targets:"]
    for number, (kind, top) in enumerate(tops.items()):
        suffix = f"_{kind}" if number else ""
        common = [f"    filesets: [{kind}]", f"    toplevel: {top.name}"]
        lines += [
            f"  {kind if number else 'default'}:",
            f"    description: Sources of {top.name}",
            *common,
            f"  lint{suffix}:",
            f"    description: Verilator's opinion of {top.name}",
            "    flow: lint",
            "    flow_options: {tool: verilator}",
            *common,
            f"  synth{suffix}:",
            f"    description: Yosys on {top.name}, for an ECP5",
            "    flow: generic",
            "    flow_options: {tool: yosys, arch: ecp5}",
            *common,
        ]
    return "\n".join([*lines, ""])
