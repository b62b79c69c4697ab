"""A population on Ray Tune: the same result as in one process, though a worker is killed on the way."""

from __future__ import annotations

import gc
import os
import sys

import pytest

from qcmap.errors import MissingExtra, QCMapError
from qcmap.nn.train.population import train_population
from tests.nn.train.population.killed import DRIVER, MARKER
from tests.nn.train.population.test_train import few, records, tiny

ray = pytest.importorskip("ray")


@pytest.fixture
def deadly(tmp_path, monkeypatch):
    """Settings of a run that kills the first process of Ray's that comes to its ninth step; and where that is noted."""
    marker = tmp_path / "marker"
    monkeypatch.setenv(DRIVER, str(os.getpid()))
    monkeypatch.setenv(MARKER, str(marker))
    yield tiny(model={"name": "import", "path": "tests.nn.train.population.killed:Killed"}), marker
    gc.collect()  # Ray leaves processes behind, of which Python warns where it finds them


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_four_workers_on_two_processors_one_of_which_is_killed(deadly, tmp_path):
    settings, marker = deadly
    found = train_population(settings, few(), output=tmp_path / "ray", retries=1)
    assert int(marker.read_text()) != os.getpid()
    assert not ray.is_initialized()
    alone = train_population(settings, few(), output=tmp_path / "alone", parallel=False)
    assert found == alone
    assert records(tmp_path / "ray") == records(tmp_path / "alone")
    names = [{path.name for path in (tmp_path / folder).rglob("*")} for folder in ("ray", "alone")]
    assert names[0] == names[1]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_a_worker_that_fails_too_often_ends_the_run_which_can_be_resumed(deadly, tmp_path):
    settings, marker = deadly
    with pytest.raises(QCMapError, match=r"worker \d: it failed more than 0 times .*; resume the run"):
        train_population(settings, few(), output=tmp_path / "ray", retries=0)
    assert marker.exists()
    assert not ray.is_initialized()
    assert not (tmp_path / "ray" / "summary.json").exists()
    resumed = train_population(settings, few(), output=tmp_path / "ray", resume=True, parallel=False)
    assert resumed == train_population(settings, few(), output=tmp_path / "alone", parallel=False)


def test_without_ray_it_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    monkeypatch.delitem(sys.modules, "qcmap.nn.train.population._ray", raising=False)
    with pytest.raises(MissingExtra, match=r"parallel: it needs ray; pip install 'qcmap\[tune\]'"):
        train_population(tiny(), few(), output=tmp_path / "out")
    assert not (tmp_path / "out").exists()
