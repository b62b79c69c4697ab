"""Populations of real runs in this process: replay, going on, what is written and refused."""

from __future__ import annotations

import json
import math

import pytest

from qcmap.errors import ArgumentError, DataError, NumericalError
from qcmap.nn.train import RunSettings, read_run, run, settings_from
from qcmap.nn.train.population import PopulationSettings, train_population
from qcmap.nn.train.population._rounds import Rounds


def tiny(**changes) -> RunSettings:
    """Ten steps of a small network on a teacher's labels."""
    return settings_from(
        {
            "model": {"name": "zoo", "architecture": "mlp:depth=3,width=8,activation=tanh", "zeta": 1.2},
            "data": {"name": "teacher", "examples": 64, "channels": 5, "outputs": 3},
            "epochs": 5, "batch_size": 32, "evaluate": ("validation",),
            "optimizer": {"name": "sgd", "learning_rate": 0.1, "momentum": 0.9}, **changes,
        }
    )  # fmt: skip


def few(**changes) -> PopulationSettings:
    """Four workers of FIRE PBT, five rounds."""
    given = {
        "sub_populations": (2, 1), "evaluators": 1, "min_steps_before_eval": (2,), "ready_every": 2, "report_every": 1,
        "max_eval_steps": 4, "rates": (1e-2, 1.0), "objective": "validation",
    }  # fmt: skip
    return PopulationSettings(**{**given, **changes})


RATES = {"sgd": (1e-2, 1.0), "kfac": None}


def records(folder) -> list[dict]:
    return [json.loads(line) for line in (folder / "records.jsonl").read_text().splitlines()]


@pytest.mark.parametrize("optimizer", ["sgd", "kfac"])
def test_a_replay_is_the_run_that_was_found(optimizer, tmp_path):
    """Bit by bit: losses of the engine's own run with the schedule, from the file that the population wrote."""
    settings = tiny(optimizer={"name": optimizer, "momentum": 0.9})
    found = train_population(settings, few(rates=RATES[optimizer]), output=tmp_path, parallel=False)
    again = run(read_run(tmp_path / "replay.json"))
    assert again.status == "finished"
    assert again.curve("validation.loss")[-1] == -found.objective
    assert [step for step, _ in found.points] == list(range(1, 11))
    by_epoch = {step: -value for step, value in found.points}
    assert again.curve("validation.loss") == tuple(by_epoch[row["step"]] for row in again.epochs)
    assert found.schedule.options["factors"] == tuple(piece.rate for piece in found.pieces)


def test_the_training_loss_is_that_of_the_steps_since_the_last_report(tmp_path):
    found = train_population(tiny(), few(objective="train", report_every=2), output=tmp_path, parallel=False)
    again = run(read_run(tmp_path / "replay.json", ["record_every=1"]))
    losses = [row["loss"] for row in again.steps]
    pairs = zip(losses[::2], losses[1::2], strict=True)
    assert [-value for _, value in found.points] == [(a + b) / 2 for a, b in pairs]


def test_a_run_that_was_broken_off_goes_on(tmp_path):
    whole = train_population(tiny(), few(), output=tmp_path / "whole", parallel=False)
    rounds = Rounds(tiny(), few(), tmp_path / "broken", resume=False)
    for _ in range(3):
        rounds.finish({worker: rounds.segments.run(worker, task) for worker, task in rounds.tasks().items()})
    with open(tmp_path / "broken" / "records.jsonl", "a") as stream:
        stream.write('{"kind": "task", "worker": 0, "sta')
    with pytest.raises(ArgumentError, match="it holds a run"):
        train_population(tiny(), few(), output=tmp_path / "broken", parallel=False)
    with pytest.raises(ArgumentError, match="seed"):
        train_population(tiny(seed=1), few(), output=tmp_path / "broken", parallel=False, resume=True)
    with pytest.raises(ArgumentError, match="explore"):
        train_population(tiny(), few(explore=(0.5, 2.0)), output=tmp_path / "broken", parallel=False, resume=True)
    found = train_population(tiny(), few(), output=tmp_path / "broken", parallel=False, resume=True)
    assert found == whole
    assert records(tmp_path / "broken") == records(tmp_path / "whole")


def test_what_a_folder_holds(tmp_path):
    found = train_population(tiny(), few(), output=tmp_path, parallel=False)
    assert {path.name for path in tmp_path.iterdir()} == {
        "configuration.json", "records.jsonl", "replay.json", "summary.json", "states",
    }  # fmt: skip
    assert len(list((tmp_path / "states").iterdir())) == 1
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert summary["objective"] == found.objective
    assert summary["pieces"][-1]["stop"] == 10
    rows = records(tmp_path)
    assert [row["step"] for row in rows if row["kind"] == "round"] == [2, 4, 6, 8, 10]
    assert sum(summary["decisions"].values()) == len([row for row in rows if row["kind"] == "decision"])
    assert len(found.trained) == len([row for row in rows if row["kind"] == "task"])
    assert repr(found).startswith("<population's schedule of ")


def test_diverged_workers_are_replaced(tmp_path):
    """Most rates are far too large: the objective is null in the records, and such workers copy another."""
    alone = {"evaluators": 0, "min_steps_before_eval": ()}
    settings = few(sub_populations=(4,), rates=(1e-3, 1e20), seed=7, **alone)
    found = train_population(tiny(loss="squared_error"), settings, output=tmp_path / "some", parallel=False)
    first = [row["points"][-1][1] for row in records(tmp_path / "some") if row["kind"] == "task"][:4]
    assert 1 <= first.count(None) <= 3
    assert math.isfinite(found.objective)
    settings = few(sub_populations=(2,), rates=(1e20, 1e20), **alone)
    with pytest.raises(NumericalError, match="all workers diverged"):
        train_population(tiny(loss="squared_error"), settings, output=tmp_path / "none", parallel=False)


def test_what_is_refused(tmp_path):
    with pytest.raises(ArgumentError, match="schedule: the run has a schedule of its own, cosine"):
        train_population(tiny(schedule="cosine"), few(), output=tmp_path / "a", parallel=False)
    with pytest.raises(ArgumentError, match="data"):
        train_population(tiny(data="digitz"), few(), output=tmp_path / "b", parallel=False)
    for retries in (-1, 0.5):
        with pytest.raises(ArgumentError, match=f"retries: .* not {retries}"):
            train_population(tiny(), few(), output=tmp_path / "b", parallel=False, retries=retries)
    for name, rule in (
        ("configuration.json", "it is no configuration of a run"),
        ("records.jsonl", "it cannot be read"),
    ):
        (tmp_path / name).mkdir()
        (tmp_path / name / name).write_bytes(b"\xff{")
        with pytest.raises(DataError, match=f"{name}: {rule}"):
            train_population(tiny(), few(), output=tmp_path / name, parallel=False, resume=True)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"at": (0.5,)}, "schedule.factors: 1 factors do not fit 1 changes"),
        ({"at": (0.5, 0.2), "factors": (1.0, 2.0, 3.0)}, r"schedule.at: \(0.5, 0.2\) are not in order"),
        ({"factors": (1,), "when": 2}, "schedule.when"),
    ],
    ids=["count", "order", "name"],
)
def test_schedules_of_pieces_are_checked(options, message):
    with pytest.raises(ArgumentError, match=message):
        tiny(schedule={"name": "pieces", **options})


def test_a_schedule_of_pieces():
    """Changes fall between the steps that are told."""
    schedule = {"name": "pieces", "at": (3 / 10, 7 / 10), "factors": (1.0, 0.5, 0.25)}
    result = run(tiny(schedule=schedule, record_every=1))
    assert [row["learning_rate"] for row in result.steps] == [0.1] * 3 + [0.05] * 4 + [0.025] * 3
