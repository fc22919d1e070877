"""Pages in a real browser: nothing overflows, all can be read, named and reached by the keyboard, nothing is loaded."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
from demo_results import demo_results

import cortexc
from cortexc.compiler.bench import sweep as sweeps
from cortexc.compiler.experiments.fitting import fit_experiment
from cortexc.compiler.report.demo_page import demo_page

CHECKS = (Path(__file__).parent / "checks.js").read_text()
SETTINGS = [(width, mode) for width in (1280, 390) for mode in ("light", "dark")]
SMALL = {"run.backend": "native", "run.seeds": [1, 2], "data.limits": {"train": 60, "valid": 10, "test": 30}, "protocol.epochs": 3,
         "protocol.test_every": 1, "protocol.settling_steps": 0}
FOCUSABLE = "a[href], button, summary, [tabindex='0'], pre[tabindex]"


@pytest.fixture(scope="module")
def browser() -> Any:
    webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed")
    program, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if not program or not driver:
        pytest.skip("chromium and chromedriver are not installed")
    options = webdriver.ChromeOptions()
    options.binary_location = program
    for each in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu", "--force-prefers-reduced-motion"):
        options.add_argument(each)
    started = webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))
    yield started
    started.quit()


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Of real runs, a fit, a sweep and the recorded demo."""
    folder = tmp_path_factory.mktemp("pages")
    brunel = {"model.order": 20, "protocol.duration_ms": 60, "protocol.warm_up_ms": 20}
    for name, table in (("pal_digits", SMALL), ("pal_yinyang", SMALL), ("brunel", brunel)):
        cortexc.run(cortexc.load(name, table), folder / name)
    fit_experiment(cortexc.load("pal_digits", {"model.variant": "FA"}), ["loihi2", "loihi1"], folder=folder / "fit")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sweeps, "in_processes", one_by_one)
        sweeps.sweep("pal_yinyang", ["run.seeds=[5, 6]", "model.eta_bw=[0.1, 0.3, \"high\"]"], folder / "sweep",
                     {**SMALL, "data.limits": {"train": 20, "test": 20}})
    (folder / "demo.html").write_text(demo_page(demo_results()))
    return {"pal_digits": folder / "pal_digits" / "report.html", "pal_yinyang": folder / "pal_yinyang" / "report.html",
            "brunel": folder / "brunel" / "report.html", "fit": folder / "fit" / "fit.html",
            "sweep": folder / "sweep" / "sweep.html", "demo": folder / "demo.html"}


def one_by_one(call: Any, jobs: Any, workers: int, lost: Any, ended: Any) -> list[Any]:
    """What the processes of a sweep do, in this one."""
    found = [call(*job) for job in jobs]
    for number, results in enumerate(found):
        ended(number, results)
    return found


def opened(browser: Any, page: Path, width: int = 1280, mode: str = "light") -> Any:
    setting(browser, width, mode)
    browser.get(page.as_uri())
    return browser


def setting(browser: Any, width: int, mode: str) -> None:
    size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    wanted = [{"name": "prefers-color-scheme", "value": mode}]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": wanted})


NAMES = ("pal_digits", "pal_yinyang", "brunel", "fit", "sweep", "demo")


@pytest.mark.parametrize("name", NAMES)
def test_pages_are_read_at_every_width_in_light_and_dark(browser, pages, name) -> None:
    opened(browser, pages[name])
    grounds = set()
    for width, mode in SETTINGS:
        setting(browser, width, mode)
        assert browser.execute_script(CHECKS) == [], (width, mode)
        grounds.add(browser.execute_script("return getComputedStyle(document.body).backgroundColor"))
    assert len(grounds) == 2, "dark is not light"
    assert browser.get_log("browser") == []
    assert pages[name].stat().st_size < 500_000


@pytest.mark.parametrize(("fault", "words"), [
    ("document.querySelector('main').insertAdjacentHTML('beforeend', '<div style=\"width:1400px\">wide</div>')", "overflow: page"),
    ("document.querySelector('h2').style.color = '#bbb'", "contrast: 1.9"),
    ("document.querySelector('.drawing .title').style.fill = '#8cf'", "contrast: "),
    ("document.querySelector('.plot .line').style.stroke = '#cde'", "contrast: "),
    ("document.querySelector('img').alt = ''", "name: img"),
    ("document.querySelector('.plot').removeAttribute('aria-label')", "name: div.plot"),
    ("new Image().src = 'http://127.0.0.1:9/x.png'; await new Promise(done => setTimeout(done, 200))", "request: http://127.0.0.1")])
def test_the_checks_find_what_is_planted(browser, pages, fault, words) -> None:
    opened(browser, pages["pal_digits"])
    found = browser.execute_async_script(f"const done = arguments[0]; (async () => {{ {fault} }})().then(done)")
    found = browser.execute_script(CHECKS)
    assert found and all(each.startswith(words.split(":")[0]) for each in found) and any(each.startswith(words) for each in found)


@pytest.mark.parametrize("name", NAMES)
def test_the_keyboard_reaches_everything(browser, pages, name) -> None:
    from selenium.webdriver.common.action_chains import ActionChains
    from selenium.webdriver.common.keys import Keys

    opened(browser, pages[name])
    count = browser.execute_script("""
        window.reached = new Set(); window.unseen = [];
        document.addEventListener("focusin", event => {
            reached.add(event.target);
            const style = getComputedStyle(event.target);
            if (style.outlineStyle === "none" && style.strokeWidth !== "3px") unseen.push(event.target.outerHTML.slice(0, 80));
        });
        return document.querySelectorAll(arguments[0]).length""", FOCUSABLE)
    ActionChains(browser).send_keys(Keys.TAB * (count + 2)).perform()
    missed = browser.execute_script("""
        const shut = each => each.closest("details:not([open])") && each.tagName !== "SUMMARY";
        return [...document.querySelectorAll(arguments[0])].filter(each => !reached.has(each) && !shut(each))
            .map(each => each.outerHTML.slice(0, 80))""", FOCUSABLE)
    assert missed == [] and count > 10 and browser.execute_script("return unseen") == []


def test_tables_sort_by_values(browser, pages) -> None:
    from selenium.webdriver.common.keys import Keys

    opened(browser, pages["demo"])
    heads = browser.find_elements("css selector", "table:first-of-type th button")
    column = [head.text for head in heads].index("test accuracy")
    shown = lambda: browser.execute_script(  # noqa: E731
        "return [...document.querySelector('tbody').rows].map(row => row.cells[arguments[0]].textContent)", column)
    before = shown()
    heads[column].click()
    up = shown()
    heads[column].send_keys(Keys.ENTER)
    assert up == sorted(before, key=lambda text: float(text.rstrip("%"))) and shown() == up[::-1] != before
    assert heads[column].find_element("xpath", "..").get_attribute("aria-sort") == "descending"
    heads[0].click()
    names = browser.execute_script("return [...document.querySelector('tbody').rows].map(row => row.cells[0].textContent)")
    assert names == sorted(names, key=str.lower)


def test_a_chart_tells_its_values(browser, pages) -> None:
    from selenium.webdriver.common.keys import Keys

    opened(browser, pages["pal_digits"])
    tests = json.loads((pages["pal_digits"].parent / "results.json").read_text())["tests"]
    plot = browser.find_element("css selector", ".plot")
    plot.send_keys(Keys.ARROW_RIGHT)
    told = plot.find_element("css selector", ".tip").text
    assert re.fullmatch(r"2 epoch\ntest: ([\d.]+)", told), told
    assert float(told.split()[-1]) == pytest.approx(100 * tests[1]["mean"], abs=0.06)
    ticks = lambda: [each.text for each in browser.find_elements("css selector", ".chart:first-of-type .xs span")]  # noqa: E731
    assert ticks()[:3] == ["1", "2", "3"]
    plot.send_keys("+")
    assert ticks()[:1] == ["2"]
    plot.send_keys(Keys.ESCAPE)
    assert ticks()[:3] == ["1", "2", "3"]


def test_a_legend_hides_lines_and_the_theme_is_chosen(browser, pages) -> None:
    opened(browser, pages["demo"])
    seen = "return [...document.querySelectorAll('.chart')[0].querySelectorAll('.line')].filter(e => e.getBoundingClientRect().width).length"
    assert browser.execute_script(seen) == 3
    browser.find_element("css selector", ".legend button").click()
    assert browser.execute_script(seen) == 2
    ground = lambda: browser.execute_script("return getComputedStyle(document.body).backgroundColor")  # noqa: E731
    light, button = ground(), browser.find_element("id", "theme")
    button.click()
    assert ground() != light and button.text == "Light" and browser.execute_script(CHECKS) == []
    browser.refresh()
    assert ground() != light, "it is remembered"
    browser.execute_script("localStorage.clear()")


def test_a_drawing_tells_what_is_pointed_at(browser, pages) -> None:
    from selenium.webdriver.common.keys import Keys

    opened(browser, pages["pal_digits"])
    node = browser.find_element("css selector", "[data-node='input']")
    browser.execute_script("arguments[0].focus()", node)
    told = lambda: browser.find_element("css selector", ".drawing output").text  # noqa: E731
    lit = "return [...document.querySelectorAll('.flow.lit title')].map(each => each.textContent)"
    assert told().startswith("input: 64 cells")
    assert browser.execute_script(lit) == ["WPP_0: rate of input to basal of P0, dense, plastic"]
    browser.switch_to.active_element.send_keys(Keys.ARROW_RIGHT)
    assert told().startswith("P0: 30 cells") and len(browser.execute_script(lit)) == 5
