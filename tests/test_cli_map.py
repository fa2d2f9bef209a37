"""``thresher map`` and ``thresher sweep``."""

import json

import pytest
from thresher import cli
from thresher.mapper.graph import Graph, Op, Tensor
from thresher.mapper.graph_json import to_json
from thresher.mapper.replay import replay
from thresher.mapper.schedule import Schedule


@pytest.fixture
def model(tmp_path):
    sizes = {"x": 4, "a": 8, "b": 6, "b2": 6, "c": 2, "d": 4}
    ops = [
        Op("x", "load", (), ("x",)),
        Op("a", "conv2d", ("x",), ("a",), 10),
        Op("b", "conv2d", ("a",), ("b",), 3),
        Op("b2", "relu", ("b",), ("b2",)),
        Op("c", "conv2d", ("a",), ("c",), 5),
        Op("d", "add", ("b2", "c"), ("d",)),
    ]
    graph = Graph("diamond", [Tensor(n, s) for n, s in sizes.items()], ops)
    path = tmp_path / "diamond.json"
    path.write_text(json.dumps(to_json(graph)))
    return path, graph


def run(*arguments) -> int:
    try:
        return cli.main([str(a) for a in arguments])
    except SystemExit as error:
        return int(error.code or 0)


def test_a_network_is_mapped(model, tmp_path, capsys) -> None:
    path, graph = model
    schedule, page = tmp_path / "out" / "s.json", tmp_path / "p.html"
    code = run(
        "map", path, "--json", "-o", schedule, "--page", page, "--pictures", tmp_path / "svg"
    )
    said = json.loads(capsys.readouterr().out)
    assert code == 0
    assert (said["status"], said["objective"], said["budget"]) == ("optimal", 4, 14)
    assert replay(graph, Schedule.read(schedule)).non_compulsory == 4
    assert "diamond" in page.read_text()
    assert sorted(f.name for f in (tmp_path / "svg").iterdir()) == [
        "memory.svg", "order.svg", "traffic.svg",
    ]  # fmt: skip
    assert said["coverage"]["shares"]["host"]["operators"] == 5


def test_a_given_order_moves_more(model, capsys) -> None:
    assert run("map", model[0], "--json", "--method", "exact", "--budget", "14") == 0
    assert json.loads(capsys.readouterr().out)["objective"] == 28


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["nowhere.onnx"], "nowhere.onnx"),
        (["MODEL", "--budget", "9"], "needs 14 bytes at once, the budget is 9"),
        (["MODEL", "--budget", "little"], "neither bytes nor M_R"),
        (["MODEL", "--method", "exakt"], "did you mean exact"),
        (["MODEL", "--method", "exact", "--order", "min-peek"], "did you mean min-peak"),
        (["MODEL", "--dimension", "batch"], "not of the form name=size"),
    ],
)
def test_bad_input_is_a_sentence(arguments, text, model, capsys, tmp_path) -> None:
    given = [str(model[0]) if a == "MODEL" else a for a in arguments]
    assert run("map", *given, "-o", tmp_path / "s.json") != 0
    assert text in " ".join(capsys.readouterr().err.split())
    assert not (tmp_path / "s.json").exists()


SPEC = """
engine = "sparse_lstm"
objectives = { lut = "min" }
[space]
presets = ["small"]
[space.axes]
lanes = [4, 8]
[[stages]]
kind = "measure"
name = "guess"
function = "guessed:lut"
gives = ["lut"]
"""


def test_a_sweep_is_run_and_resumed(tmp_path, monkeypatch, capsys) -> None:
    (tmp_path / "guessed.py").write_text("def lut(config):\n    return {'lut': config.lanes}\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("THRESHER_CACHE", str(tmp_path / "cache"))
    (tmp_path / "spec.toml").write_text(SPEC)
    arguments = ["sweep", tmp_path / "spec.toml", "-o", tmp_path / "out", "--json", "--jobs", "1"]
    assert run(*arguments) == 0
    said = json.loads(capsys.readouterr().out)
    assert [t["config"]["lanes"] for t in said["front"]] == [4]
    for name in ("trials.csv", "trials.jsonl", "report.html", "front.svg", "journal.jsonl"):
        assert (tmp_path / "out" / name).is_file()
    assert run(*arguments) != 0
    assert "resume that sweep" in " ".join(capsys.readouterr().err.split())
    assert run(*arguments, "--resume") == 0
    assert json.loads(capsys.readouterr().out)["front"] == said["front"]
