"""The page of a sweep, in a browser: it draws, hovers, filters, sorts, and complains of nothing."""

import json
import shutil

import pytest
from thresher.bench.sweeps.output import draw
from thresher.bench.sweeps.report import page
from thresher.bench.sweeps.space import Space
from thresher.bench.sweeps.stages import Measure
from thresher.bench.sweeps.sweep import Outcome, Sweep

pytest.importorskip("plotly", reason="needs the extra [pictures]")


def figures(config):
    return {
        "cycles": 1024 // config.lanes,
        "lut": 10 * config.lanes + 3 * config.threshold,
        "register.wait_input": 77,
        "toggles": 4321,
        "toggles.core": 4000,
        "error": 0.25,
        "wide": 10.0**-config.lanes,
    }


def mapped(config):
    if config.lanes == 16:
        raise RuntimeError("no </script> fits <16> lanes")
    return {"lut": 9 * config.lanes, "place": "left" if config.lanes < 8 else "right"}


@pytest.fixture(scope="module")
def found(tmp_path_factory) -> Outcome:
    monkeypatch = pytest.MonkeyPatch()
    monkeypatch.setenv("THRESHER_CACHE", str(tmp_path_factory.mktemp("cache")))
    space = Space({"lanes": [4, 8, 16, 32], "threshold": [0, 2, 64]}, presets=("small",),
                  when={"few" + " of many" * 50: lambda c: c["threshold"] < 64})  # fmt: skip
    stages = (
        Measure("estimate", f"{__name__}:figures", ("cycles", "lut"), cheap=True),
        Measure("synthesise", f"{__name__}:mapped", ("lut",)),
    )
    yield Sweep("sparse_lstm", space, stages, {"cycles": "min", "lut": "min"}).run()
    monkeypatch.undo()


def test_the_page_needs_no_network(found) -> None:
    text = page(found, "A <title>", "why & how")
    assert "A &lt;title&gt;" in text
    assert "why &amp; how" in text
    for element in ("<script src", '<link rel="stylesheet', "@import"):
        assert element not in text
    start = text.index('id="data">') + len('id="data">')
    data = json.loads(text[start : text.index("</script>", start)])
    assert len(data["rows"]) == len(data["trials"]) == 8
    assert data["varied"] == ["config.lanes", "config.threshold"]
    assert [row["trial"] for row in data["rows"] if row["front"]] == [
        t.number for t in found.front
    ]  # fmt: skip
    assert data["groups"] == {
        "speed": ["cycles"],
        "stalls and counters": ["register.wait_input"],
        "resources": ["lut"],
        "toggles": ["toggles", "toggles.core"],
        "others": ["error", "place", "wide"],
    }
    assert "not few" in text


def test_pictures_of_the_front(found, tmp_path) -> None:
    pytest.importorskip("matplotlib", reason="needs the extra [pictures]")
    for number in (1, 2):
        (tmp_path / str(number)).mkdir()
        files = draw(found, tmp_path / str(number) / "front", "title")
    assert [f.name for f in files] == ["front.svg", "front.png"]
    for name in ("front.svg", "front.png"):
        first, second = ((tmp_path / n / name).read_bytes() for n in ("1", "2"))
        assert first == second
    assert b"front" in (tmp_path / "1" / "front.svg").read_bytes()


@pytest.fixture
def browser(found, tmp_path):
    webdriver = pytest.importorskip("selenium.webdriver", reason="needs selenium")
    chromium, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if not (chromium and driver):
        pytest.skip("needs chromium and chromedriver on PATH")
    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for argument in (
        "--headless", "--no-sandbox", "--enable-unsafe-swiftshader",
        "--disable-background-networking",
        "--window-size=1400,2400", f"--user-data-dir={tmp_path / 'profile'}",
    ):  # fmt: skip
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    service = webdriver.ChromeService(executable_path=driver)
    made = webdriver.Chrome(options=options, service=service)
    (tmp_path / "report.html").write_text(page(found, "sweep"), encoding="utf-8")
    made.get(f"file://{tmp_path / 'report.html'}")
    yield made
    logs = made.get_log("browser")
    made.quit()
    # Chromium itself remarks on WebGL without a graphics card.
    said = [e for e in logs if e["level"] in ("SEVERE", "WARNING") and e["source"] != "rendering"]
    assert said == []


def test_the_page_works_in_a_browser(browser) -> None:
    def all_of(selector: str):
        return browser.find_elements("css selector", selector)

    def text(selector: str) -> str:
        return browser.find_element("css selector", selector).text

    assert len(all_of("#scatter .scatterlayer .points path")) == 8
    assert len(all_of("#parallel .parcoords-line-layers, #parallel canvas")) > 0
    assert len(all_of("#body tr")) == 8
    assert len(all_of("#body tr.front")) == 3

    # Long reasons and provenance do not widen the page.
    assert browser.execute_script("return document.body.scrollWidth <= innerWidth")

    # Hover: what plotly shows beside the point.
    browser.execute_script("Plotly.Fx.hover('scatter', [{curveNumber: 0, pointNumber: 0}])")
    assert "lanes: " in text("#scatter .hoverlayer")

    # Filters leave rows and points.
    box = browser.find_element("css selector", 'input[data-column="config.lanes"]')
    box.send_keys(">= 16")
    assert len(all_of("#body tr")) == 4
    assert len(all_of("#scatter .scatterlayer .points path")) == 4
    assert text("#count") == "4 of 8 trials"
    box.clear()
    box.send_keys(" ")
    assert len(all_of("#body tr")) == 8

    # Sorting, both ways.
    def first() -> str:
        return browser.find_element("css selector", "#body tr td").text

    def head(name: str):
        return next(cell for cell in all_of("#head th") if cell.text.split(" ")[0] == name)

    head("lanes").click()
    assert first() in ("0", "1")
    head("lanes").click()
    assert first() in ("6", "7")

    # A trial in full: figures in groups, a column for every stage.
    next(row for row in all_of("#body tr.front")).click()
    titles = ["configuration", "speed", "stalls and counters", "resources", "toggles", "others"]
    assert [title.text for title in all_of("#trial h3")] == [*titles, "stages"]
    groups = {
        box.find_element("css selector", "h3").text: box.text
        for box in all_of("#trial .columns > div")
    }
    assert "wait_input 77" in groups["stalls and counters"]
    assert "toggles.core 4,000" in groups["toggles"]
    assert groups["resources"].splitlines()[1].split() == ["estimate", "synthesise"]

    # And with the log of what failed.
    next(row for row in all_of("#body tr") if "failed" in row.text).click()
    assert "RuntimeError: no </script> fits <16> lanes" in text("#trial")

    # Another axis.
    browser.find_element("css selector", '#x option[value="config.lanes"]').click()
    assert text("#scatter .xtitle") == "lanes"

    # Logarithms where figures spread, and where they are asked for.
    log = browser.find_element("css selector", "#logx")
    assert not log.is_selected()
    browser.find_element("css selector", '#x option[value="wide"]').click()
    assert log.is_selected()
    log.click()
    axis = "return document.getElementById('scatter').layout.xaxis.type"
    assert browser.execute_script(axis) == "linear"
    log.click()
    assert browser.execute_script(axis) == "log"
