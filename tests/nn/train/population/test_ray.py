"""A population on Ray Tune: the same result as in one process, though a worker is killed on the way."""

from __future__ import annotations

import os

import pytest

from qcmap.nn.train.population import train_population
from tests.nn.train.population.killed import DRIVER, MARKER
from tests.nn.train.population.test_train import few, records, tiny

ray = pytest.importorskip("ray")


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_four_workers_on_two_processors_one_of_which_is_killed(tmp_path, monkeypatch):
    settings = tiny(model={"name": "import", "path": "tests.nn.train.population.killed:Killed"})
    marker = tmp_path / "marker"
    monkeypatch.setenv(DRIVER, str(os.getpid()))
    monkeypatch.setenv(MARKER, str(marker))
    found = train_population(settings, few(), output=tmp_path / "ray", retries=1)
    assert int(marker.read_text()) != os.getpid()
    assert not ray.is_initialized()
    alone = train_population(settings, few(), output=tmp_path / "alone", parallel=False)
    assert found == alone
    assert records(tmp_path / "ray") == records(tmp_path / "alone")
    names = [{path.name for path in (tmp_path / folder).rglob("*")} for folder in ("ray", "alone")]
    assert names[0] == names[1]
