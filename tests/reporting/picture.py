"""Makes docs/figures/report.png: ``python -m tests.reporting.picture`` from the root of the repository."""

import tempfile
from pathlib import Path

import qcmap as qc
from tests.reporting.chromium import Browser, executable

HEIGHT = 1230


def main():
    path = executable()
    if path is None:
        raise SystemExit("there is no Chromium; tests/reporting/install_chromium.sh installs Debian's")
    net = qc.zoo.resnet_v2(depth=50, residual_weight=0.2236, activation="softplus")
    with tempfile.TemporaryDirectory() as folder, Browser(path) as browser:
        page = Path(folder) / "report.html"
        qc.report(net).save(page)
        browser.open(page, width=1200)
        browser.screenshot("docs/figures/report.png", height=HEIGHT)


if __name__ == "__main__":
    main()
