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
        browser.open(tmp_path / "report.html", **options)
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


@pytest.mark.parametrize("width", [1400, 400])
@pytest.mark.parametrize("make", [report_of_residual, report_of_broken])
def test_no_page_is_wider_than_its_screen(show, make, width):
    browser = show(make(), width=width)
    assert browser.evaluate("document.documentElement.scrollWidth") <= width
    unnamed = "[...document.querySelectorAll('input, select, button')].filter((e) => !e.labels?.length && !e.ariaLabel && !e.textContent.trim()).length"  # fmt: skip  # noqa: E501
    assert browser.evaluate(unnamed) == 0


def test_a_thousand_nodes_are_a_page_below_2_mb(show):
    report = report_of_large()
    assert len(report.html.encode()) < 2_000_000
    browser = show(report)
    assert browser.evaluate("document.querySelectorAll('#canvas svg:not([hidden]) .node').length") > 500
