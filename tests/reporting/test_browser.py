"""The report's page in headless Chromium: sliders, graph, keyboard, narrow screens, and nothing asked of a network."""

import subprocess
from pathlib import Path

import numpy as np
import pytest

from tests.reporting.chromium import Browser, executable
from tests.reporting.networks import report_of_broken, report_of_large, report_of_residual

SCRIPT = Path(__file__).with_name("install_chromium.sh")


@pytest.fixture(scope="module")
def browser():
    if executable() is None:
        subprocess.run(["bash", SCRIPT], check=False, capture_output=True, timeout=300)
    path = executable()
    if path is None:
        pytest.skip("there is no Chromium, and its package could not be installed")
    with Browser(path) as opened:
        yield opened


@pytest.fixture
def show(browser, tmp_path):
    def open_report(report, **options):
        report.save(tmp_path / "report.html")
        browser.page = tmp_path / "report.html"
        browser.open(browser.page, **options)
        return browser

    yield open_report
    assert browser.requests() == []
    assert browser.complaints() == []


def drawn(browser, side):
    """The drawn curve as values of C: the page's coordinates turned back."""
    path = browser.evaluate("document.getElementById('curve').getAttribute('d')")
    points = np.array([[float(v) for v in point.split(",")] for point in path[1:].split("L")])
    return 1 - 2 * (points[:, 1] - side["top"]) / side["size"]


def slide(browser, name, value):
    """Move a slider to a whole number by the arrow keys."""
    browser.evaluate(f"document.getElementById('{name}').focus()")
    at = f"Number(document.getElementById('{name}').value)"
    steps = round((value - browser.evaluate(at)) / browser.evaluate(f"Number(document.getElementById('{name}').step)"))
    for _ in range(abs(steps)):
        browser.key(*(("ArrowRight", None, 39) if steps > 0 else ("ArrowLeft", None, 37)))
    assert browser.evaluate(at) == pytest.approx(value)


def test_sliders_draw_the_maps_of_the_library(show):
    report = report_of_residual()
    browser = show(report)
    side = browser.evaluate("({...JSON.parse(document.getElementById('view').textContent)}).chart")
    grid = report.data["maps"]
    reached = [k for k, one in enumerate(grid["shaped"]) if "reason" not in one]
    seen = []
    for k, stop in ((reached[0], 0), (reached[-1], len(grid["stops"]) - 1), (reached[1], 1)):
        slide(browser, "zeta", k)
        slide(browser, "depth", stop)
        curve = drawn(browser, side)
        np.testing.assert_allclose(curve, grid["shaped"][k]["C"][stop], atol=0.011 / side["size"])
        assert grid["stops"][stop]["node"] in browser.evaluate("document.getElementById('depth-value').textContent")
        seen.append(curve)
    assert np.abs(seen[0] - seen[1]).max() > 0.05
    missing = next(k for k, one in enumerate(grid["shaped"]) if "reason" in one)
    slide(browser, "zeta", missing)
    assert browser.evaluate("document.getElementById('curve').getAttribute('d')") == ""
    assert grid["shaped"][missing]["reason"] in browser.evaluate("document.getElementById('map-reason').textContent")


def test_the_graph_zooms_and_its_nodes_are_reached_by_keys(show):
    browser = show(report_of_residual())
    width = "Number(document.querySelector('#canvas svg:not([hidden])').getAttribute('viewBox').split(' ')[2])"
    before = browser.evaluate(width)
    browser.evaluate("document.getElementById('zoom-in').click()")
    assert browser.evaluate(width) < before
    browser.evaluate("document.getElementById('zoom-fit').click()")
    assert browser.evaluate(width) == before
    browser.evaluate("document.getElementById('canvas').focus()")
    browser.key("n", code="KeyN", number=78)
    assert "image" in browser.evaluate("document.getElementById('chosen').textContent")
    browser.key("n", code="KeyN", number=78)
    assert "stem" in browser.evaluate("document.getElementById('chosen').textContent")


VIEW = "document.querySelector('#canvas svg:not([hidden])').getAttribute('viewBox').split(' ').map(Number)"
BOX = """(() => {
    const {left, top, width, height} = document.getElementById('canvas').getBoundingClientRect();
    return [left, top, width, height];
})()"""
NODES = "[...document.querySelectorAll('#canvas svg:not([hidden]) .node')]"
SPOT = f"""(() => {{
    const middle = (e) => {{
        const {{left, top, width, height}} = e.getBoundingClientRect();
        return [left + width / 2, top + height / 2];
    }};
    return middle({NODES}.find((e) => document.elementFromPoint(...middle(e))?.closest('.node') === e));
}})()"""
"""The middle of a node that nothing covers."""
FILLS = f"[...new Set({NODES}.map((e) => getComputedStyle(e).fill))].join()"
UNNAMED = """[...document.querySelectorAll('input, select, button')]
    .filter((e) => !e.labels?.length && !e.ariaLabel && !e.textContent.trim()).length"""
WORDS = r"""(() => {
    const bright = (rgb) => rgb.match(/[\d.]+/g).slice(0, 3).map(Number).map((v) => v / 255)
        .map((v) => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
        .reduce((sum, v, k) => sum + v * [0.2126, 0.7152, 0.0722][k], 0);
    const clear = (e) => /rgba\(.*, 0\)|transparent/.test(getComputedStyle(e).backgroundColor);
    const behind = (e) => {
        while (e && clear(e)) e = e.parentElement;
        return bright(getComputedStyle(e || document.documentElement).backgroundColor);
    };
    const contrast = (e) => {
        const [low, high] = [bright(getComputedStyle(e).color), behind(e)].sort((a, b) => a - b);
        return [(high + 0.05) / (low + 0.05), e.tagName, e.textContent.slice(0, 40)];
    };
    const seen = [...document.querySelectorAll('h1, h2, p, td, th, summary, button, label, a')]
        .filter((e) => e.textContent.trim() && e.checkVisibility());
    return [behind(document.body), seen.map(contrast)];
})()"""
"""How bright the page is, and for each element with words its contrast, tag and text."""
CONTROL = 2  # a modifier of the protocol


@pytest.fixture
def canvas(show):
    """The browser, and the middle and size of the graph's canvas, zoomed in once and in sight."""
    browser = show(report_of_residual())
    browser.evaluate("document.getElementById('canvas').scrollIntoView({block: 'center'})")
    browser.evaluate("document.getElementById('zoom-in').click()")
    left, top, width, height = browser.evaluate(BOX)
    return browser, (left + width / 2, top + height / 2), (width, height)


def test_the_wheel_zooms_about_the_pointer_when_control_is_held(canvas):
    browser, (x, y), (width, height) = canvas
    x, y = x + width / 8, y - height / 8  # 5/8 and 3/8 of the canvas
    before = browser.evaluate(VIEW)
    browser.mouse("Wheel", x, y, deltaX=0, deltaY=-120, modifiers=CONTROL)
    browser.settle()
    after = browser.evaluate(VIEW)
    assert after[2] == pytest.approx(before[2] * np.exp(-0.4), rel=1e-3)
    for k, part in ((0, 5 / 8), (1, 3 / 8)):
        assert after[k] + part * after[k + 2] == pytest.approx(
            before[k] + part * before[k + 2], abs=before[k + 2] / 100
        )
    browser.mouse("Wheel", x, y, deltaX=0, deltaY=120)  # without it, the page scrolls
    browser.settle()
    assert browser.evaluate(VIEW) == after


def test_a_pointer_pans_and_a_click_does_not(canvas):
    browser, (x, y), (width, _) = canvas
    browser.evaluate("document.getElementById('zoom-in').click()")  # room to the sides
    before = browser.evaluate(VIEW)
    browser.mouse("Pressed", x, y, button="left", buttons=1, clickCount=1)
    for step in range(1, 5):
        browser.mouse("Moved", x - 10 * step, y - 5 * step, button="left", buttons=1)
    browser.mouse("Released", x - 40, y - 20, button="left", clickCount=1)
    after, unit = browser.evaluate(VIEW), before[2] / width
    assert after[:2] == pytest.approx([before[0] + 40 * unit, before[1] + 20 * unit], abs=5 * unit)
    assert after[2:] == before[2:]
    browser.mouse("Moved", x, y)  # nothing is held
    assert browser.evaluate(VIEW) == after
    assert browser.evaluate("document.getElementById('canvas').classList.contains('dragging')") is False
    x, y = browser.evaluate(SPOT)
    browser.mouse("Pressed", x, y, button="left", buttons=1, clickCount=1)
    browser.mouse("Released", x, y, button="left", clickCount=1)
    assert browser.evaluate(VIEW) == after
    assert browser.evaluate("document.querySelectorAll('#canvas .selected').length") == 1


def test_two_fingers_zoom(canvas):
    browser, (x, y), _ = canvas
    before = browser.evaluate(VIEW)
    browser.touch("Start", (x - 40, y), (x + 40, y))
    browser.touch("Move", (x - 60, y), (x + 60, y))
    browser.touch("End")
    assert browser.evaluate(VIEW)[2] == pytest.approx(before[2] * 80 / 120, rel=0.02)


def test_dark_pages_are_dark_and_words_stand_out(show):
    """Contrast of at least 4.5 to 1, as WCAG 2 asks, between the words of the page and what is behind them."""
    browser = show(report_of_broken(), dark=True)
    dark, found = browser.evaluate(WORDS)
    assert dark < 0.05
    assert len(found) > 50
    assert min(found)[0] >= 4.5, min(found)
    drawn = browser.evaluate(FILLS)
    browser.open(browser.page, dark=False)
    assert browser.evaluate(WORDS)[0] > 0.9
    assert min(browser.evaluate(WORDS)[1])[0] >= 4.5
    assert browser.evaluate(FILLS) != drawn


@pytest.mark.parametrize("width", [1400, 400])
@pytest.mark.parametrize("make", [report_of_residual, report_of_broken])
def test_no_page_is_wider_than_its_screen(show, make, width):
    browser = show(make(), width=width)
    assert browser.evaluate("document.documentElement.scrollWidth") <= width
    assert browser.evaluate(UNNAMED) == 0


def test_a_thousand_nodes_are_a_page_below_2_mb(show):
    report = report_of_large()
    assert len(report.html.encode()) < 2_000_000
    browser = show(report)
    assert browser.evaluate("document.querySelectorAll('#canvas svg:not([hidden]) .node').length") > 500
