"""Generated files: complete, described, the same bytes for the same configuration."""

import json
import re

import pytest
from amaranth.lib import data
from thresher.hdl.engine import Engine
from thresher.hdl.generate import generate, layout
from thresher.hdl.lib.uart import Line
from thresher.hdl.verilog import emit
from thresher.models.config import EngineConfig, parameter


class AdderConfig(EngineConfig):
    """Nothing that changes the circuit, so that ``identity`` is what differs."""

    size: int = parameter(3, ge=1)
    """A number."""


@pytest.fixture
def adder(accumulator):
    return Engine(
        name="adder",
        summary="Adds up packets.",
        paper="None",
        headline="1 value a cycle",
        config=AdderConfig,
        component=lambda config: accumulator(),
        workloads={},
        registers=accumulator.TEXTS,
        random_config=lambda rng: AdderConfig(),
        cycles="values",
    )


def contents(paths):
    return {path.name: path.read_bytes() for path in paths}


def test_axi_files(adder, tmp_path):
    paths = generate(adder, AdderConfig(), tmp_path / "new" / "folder")
    assert sorted(path.name for path in paths) == ["adder.h", "adder.json", "adder.v"]
    assert sorted(paths) == sorted(paths[0].parent.iterdir()), "nothing else is left behind"
    described = json.loads((paths[0].parent / "adder.json").read_text())
    assert described["configuration"] == {"size": 3}
    assert described["cycles"] == "values"
    assert described["generator"]["name"] == "thresher"
    source, result = described["streams"]
    assert source["signals"] == {
        "tdata": "s_axis_i_tdata", "tlast": "s_axis_i_tlast",
        "tvalid": "s_axis_i_tvalid", "tready": "s_axis_i_tready",
    }  # fmt: skip
    assert source["tdata_bits"] == 16
    assert source["layout"]["bits"] == 13
    assert [(f["name"], f["offset"], f["bits"]) for f in source["layout"]["fields"]] == [
        ("value", 0, 11),
        ("tag", 11, 2),
    ]
    assert result["layout"] == {"bits": 45, "signed": True}
    offsets = {r["name"]: r["offset"] for r in described["registers"]["map"]}
    header = (paths[0].parent / "adder.h").read_text()
    for name, offset in offsets.items():
        assert f"#define ADDER_{name.upper()}_OFFSET {offset:#x}u\n" in header
    verilog = (paths[0].parent / "adder.v").read_text()
    for stream_ in described["streams"]:
        for signal in stream_["signals"].values():
            assert re.search(rf"^  (input|output) .*\b{signal};", verilog, re.M)
    assert re.search(r"^module adder\(", verilog, re.M)


def test_stream_files(adder, accumulator, tmp_path):
    paths = generate(adder, AdderConfig(), tmp_path, bus="stream", name="plain")
    assert sorted(path.name for path in paths) == ["plain.json", "plain.v"]
    assert (tmp_path / "plain.v").read_text() == emit(accumulator(), "plain")
    described = json.loads((tmp_path / "plain.json").read_text())
    assert described["streams"][0]["signals"]["payload"] == "i__payload"
    registers = {r["name"]: r for r in described["registers"]["signals"]}
    assert registers["threshold"]["init"] == -5
    assert registers["beats"]["direction"] == "out"


@pytest.mark.parametrize("bus", ["lite", "uart"])
def test_streams_in_the_address_map(adder, tmp_path, bus):
    paths = generate(adder, AdderConfig(), tmp_path, bus=bus, depth=64)
    assert sorted(path.name for path in paths) == ["adder.h", "adder.json", "adder.v"]
    described = json.loads((tmp_path / "adder.json").read_text())
    assert [stream_["mailbox"] for stream_ in described["streams"]] == [
        {"offset": 0x1000, "words": 1, "depth_words": 64},
        {"offset": 0x1010, "words": 2, "depth_words": 64},
    ]
    assert described["streams"][0]["layout"]["bits"] == 14, "last is part of the word"
    assert described["registers"]["address_bits"] == 13
    verilog = (tmp_path / "adder.v").read_text()
    module = verilog[verilog.index("module adder(") :]
    inputs = re.findall(r"^  input (?:\[\d+:0\] )?(\w+);", module.split("endmodule")[0], re.M)
    if bus == "lite":
        assert "  input [12:0] s_axil_awaddr;\n" in verilog
        assert all(re.match("clk|rst|s_axil_", name) for name in inputs)
    else:
        assert described["uart"] == {"divisor": 100, "timeout_cycles": 1 << 20}
        assert inputs == ["clk", "rst", "rx"]


def test_lines_that_cannot_be(adder, tmp_path):
    with pytest.raises(ValueError, match="divisor = 3 clock cycles a bit; at least 4: a lower"):
        generate(adder, AdderConfig(), tmp_path, bus="uart", line=Line(divisor=3))
    with pytest.raises(ValueError, match="timeout = 99 cycles; at least 100, what a byte takes"):
        Line(divisor=10, timeout=99)
    with pytest.raises(ValueError, match="depth = 1 words"):
        generate(adder, AdderConfig(), tmp_path, bus="lite", depth=1)
    assert not list(tmp_path.iterdir())


def test_bytes_follow_the_configuration_alone(adder, tmp_path):
    first = contents(generate(adder, AdderConfig(), tmp_path / "a"))
    again = contents(generate(adder, AdderConfig(), tmp_path / "b"))
    other = contents(generate(adder, AdderConfig(size=4), tmp_path / "b"))
    assert first == again
    assert all(first[name] != other[name] for name in first)
    assert not any(str(tmp_path).encode() in text for text in first.values())


def test_layout_of_nested_shapes():
    pair = data.StructLayout({"a": data.ArrayLayout(data.ArrayLayout(4, 2), 3), "b": 1})
    inner = {"bits": 8, "length": 2, "element": {"bits": 4, "signed": False}}
    assert layout(pair) == {
        "bits": 25,
        "fields": [
            {"name": "a", "offset": 0, "bits": 24, "length": 3, "element": inner},
            {"name": "b", "offset": 24, "bits": 1, "signed": False},
        ],
    }


def test_failures_leave_what_was_there(adder, tmp_path):
    generate(adder, AdderConfig(), tmp_path)
    before = contents(tmp_path.iterdir())
    with pytest.raises(ValueError, match="bus 'pci' is not one of axi, lite, uart, stream"):
        generate(adder, AdderConfig(size=5), tmp_path, bus="pci")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="not a Verilog identifier"):
        generate(adder, AdderConfig(size=5), tmp_path, name="a/b")
    (tmp_path / "adder.json").unlink()
    (tmp_path / "adder.json").mkdir()
    with pytest.raises(IsADirectoryError, match=r"adder\.json is a folder"):
        generate(adder, AdderConfig(size=5), tmp_path)
    (tmp_path / "adder.json").rmdir()
    before.pop("adder.json")
    assert contents(tmp_path.iterdir()) == before


def test_a_file_where_the_folder_should_be(adder, tmp_path):
    (tmp_path / "taken").write_text("")
    with pytest.raises(OSError, match="taken"):
        generate(adder, AdderConfig(), tmp_path / "taken")
