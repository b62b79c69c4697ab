"""The population's decisions, on synthetic outcomes: exploitation, fitness by evaluators, verdicts, lineages."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import numpy as np
import pytest

from qcmap.errors import ArgumentError
from qcmap.nn.train.population import PAPER, Population, PopulationSettings, scaled
from qcmap.nn.train.population._members import Lineage, Piece, Point, State, Task

RATES = (1e-5, 1.0)


class World:
    """Runs that are functions of their learning rates: a value for each state, changed step by step."""

    def __init__(self, change: Callable[[float, float], float], begin: float = -3.0) -> None:
        self.change, self.values = change, dict[State | None, float]({None: begin})

    def outcomes(self, population: Population) -> dict[int, tuple[Point, ...]]:
        every = population.settings.report_every
        return {worker: self.train(worker, task, population.step, every) for worker, task in population.tasks().items()}

    def train(self, worker: int, task: Task, step: int, every: int) -> tuple[Point, ...]:
        value, points = self.values[task.start], []
        for at in range(step + every, task.until + 1, every):
            value = self.change(value, task.rate)
            points.append((at, value))
        self.values[worker, task.until] = value
        return tuple(points)


def improving(value: float, rate: float) -> float:
    """Quick at a rate of 1e-2, slower elsewhere, and diverging above 0.3."""
    return -math.inf if rate > 0.3 else value + 0.05 / (1 + math.log10(rate / 1e-2) ** 2)


def plain(workers: int = 8, **changes) -> PopulationSettings:
    return PopulationSettings(
        sub_populations=(workers,), evaluators=0, min_steps_before_eval=(), ready_every=10, report_every=2, **changes
    )


def fire(**changes) -> PopulationSettings:
    given = {
        "sub_populations": (4, 4), "evaluators": 3, "min_steps_before_eval": (20,), "ready_every": 10,
        "report_every": 1, "max_eval_steps": 40,
    }  # fmt: skip
    return PopulationSettings(**{**given, **changes})


def ran(population: Population, world: World) -> Population:
    while not population.finished:
        population.advance(world.outcomes(population))
    return population


def at_step(population: Population, values: Mapping[int, float]) -> None:
    """A round in which each worker's curve is constant."""
    population.advance({worker: ((task.until, values[worker]),) for worker, task in population.tasks().items()})


def test_the_papers_constants():
    """DKS, section 27.4."""
    for name, ready, longest, first in (("imagenet", 500, 7200, (5000, 10000)), ("cifar10", 50, 360, (250, 500))):
        settings = PAPER[name]
        assert settings.workers == 36
        assert settings.sub_populations == (8, 8, 8)
        assert settings.evaluators == 12
        assert (settings.ready_every, settings.max_eval_steps, settings.min_steps_before_eval) == (
            ready,
            longest,
            first,
        )
        assert settings.explore == (0.8, 1.25)
        assert settings.fraction == 0.25
        assert settings.rates_for("sgd") == settings.rates_for("adam") == (1e-5, 1)
        assert settings.rates_for("kfac") == (1e-7, 1e-3)


def test_scaled_keeps_the_papers_proportions():
    assert scaled(25_000, 36, choices=500) == PAPER["cifar10"]
    small = scaled(300, 9)
    assert small.sub_populations == (2, 2, 2)
    assert small.evaluators == 3
    assert (small.ready_every, small.report_every, small.max_eval_steps) == (10, 2, 72)
    assert small.min_steps_before_eval == (50, 100)
    assert scaled(300, 4).sub_populations == (4,)
    assert scaled(10, 4).ready_every == 5
    assert scaled(300, 4, objective="validation").objective == "validation"


REFUSED = [
    ({"sub_populations": ()}, "sub_populations"),
    ({"sub_populations": (8, 0, 8)}, "sub_populations"),
    ({"sub_populations": (8,)}, "evaluators: 12 evaluators do not fit 1 sub-populations"),
    ({"evaluators": 0}, "evaluators"),
    ({"evaluators": -1}, "evaluators"),
    ({"min_steps_before_eval": (250,)}, "min_steps_before_eval: 1 numbers do not fit 2"),
    ({"min_steps_before_eval": (250, -1)}, "min_steps_before_eval"),
    ({"ready_every": 0}, "ready_every"),
    ({"report_every": 7}, "report_every: 7 does not divide ready_every, 50"),
    ({"fraction": 0.6}, "fraction"),
    ({"fraction": math.nan}, "fraction"),
    ({"significance": 0.0}, "significance"),
    ({"rates": (1.0, 0.1)}, "rates"),
    ({"explore": (0.0, 1.0)}, "explore"),
    ({"objective": "test"}, "objective"),
    ({"seed": -1}, "seed"),
    ({"sub_populations": "8"}, "sub_populations"),
]


@pytest.mark.parametrize(("changes", "message"), REFUSED, ids=[str(number) for number in range(len(REFUSED))])
def test_what_is_refused(changes, message):
    with pytest.raises(ArgumentError, match=message):
        PopulationSettings(**changes)
    with pytest.raises(ArgumentError, match="workers"):
        scaled(100, 0)


def test_rates_begin_log_uniformly():
    """Kolmogorov's distance of 2,000 draws; exceeded with probability 1e-6 (one fixed seed)."""
    population = Population(plain(2000), RATES, 100)
    places = np.sort([math.log(member.rate / 1e-5) / math.log(1e5) for member in population.members.values()])
    assert np.max(np.abs(places - (np.arange(2000) + 0.5) / 2000)) < 2.7 / math.sqrt(2000)


def test_the_worst_quarter_copies_one_of_the_best_and_explores():
    population = Population(plain(8), RATES, 100)
    before = {worker: member.rate for worker, member in population.members.items()}
    at_step(population, {worker: -float(worker) for worker in range(8)})
    assert [(d.kind, d.worker) for d in population.decisions] == [("exploit", 7), ("exploit", 6)]
    for decision in population.decisions:
        assert decision.source in (0, 1)
        assert 0.8 <= decision.rate / before[decision.source] <= 1.25
        task = population.tasks()[decision.worker]
        assert task == Task((decision.source, 10), decision.rate, 20)
    for worker in range(6):
        assert population.tasks()[worker] == Task((worker, 10), before[worker], 20)


@pytest.mark.parametrize(("workers", "copies"), [(1, 0), (2, 1), (3, 1), (7, 1), (8, 2), (13, 3)])
def test_how_many_copy(workers, copies):
    population = Population(plain(workers), RATES, 100)
    at_step(population, {worker: -float(worker) for worker in range(workers)})
    assert len(population.decisions) == copies


def test_explored_rates_are_uniform_between_the_factors():
    factors = []
    for seed in range(400):
        population = Population(plain(2, seed=seed), RATES, 100)
        at_step(population, {0: -1.0, 1: -2.0})
        factors.append(population.decisions[0].rate / population.members[0].rate)
    places = (np.sort(factors) - 0.8) / 0.45
    assert np.max(np.abs(places - (np.arange(400) + 0.5) / 400)) < 2.7 / math.sqrt(400)


def test_diverged_members_are_replaced_and_never_copied():
    population = Population(plain(8), RATES, 100)
    at_step(population, {worker: -1.0 if worker == 3 else -math.inf for worker in range(8)})
    assert {d.source for d in population.decisions} == {3}
    lost = Population(plain(8), RATES, 20)
    at_step(lost, dict.fromkeys(range(8), -math.inf))
    assert lost.decisions == []
    at_step(lost, dict.fromkeys(range(8), -math.inf))
    assert lost.best().diverged


def test_nothing_is_decided_at_the_end_and_the_last_round_may_be_shorter():
    population = Population(plain(8), RATES, 17)
    at_step(population, {worker: -float(worker) for worker in range(8)})
    assert {task.until for task in population.tasks().values()} == {17}
    assert population.advance(dict.fromkeys(range(8), ((17, -1.0),))) == ()
    assert population.finished


def test_a_lineage_is_what_its_weights_went_through():
    """Replaying the pieces of the best lineage gives its points, whoever trained them."""
    world = World(improving)
    for settings in (plain(8), fire()):
        population = ran(Population(settings, RATES, 200), world)
        best = population.best()
        value, points = -3.0, []
        for piece in best.pieces:
            for step in range(piece.start + settings.report_every, piece.stop + 1, settings.report_every):
                value = improving(value, piece.rate)
                points.append((step, value))
        assert best.points == tuple(points)
        assert [piece.start for piece in best.pieces] == [0, *(piece.stop for piece in best.pieces[:-1])]
        assert best.step == 200


def test_neighbouring_pieces_with_one_rate_are_one():
    lineage = Lineage().extended(0, 10, 0.1, ()).extended(0, 20, 0.1, ()).extended(1, 30, 0.2, ())
    assert lineage.pieces == (Piece(0, 20, 0.1), Piece(20, 30, 0.2))
    assert lineage.state == (1, 30)


def test_a_population_finds_the_best_rate():
    best = ran(Population(plain(8, seed=2), RATES, 400), World(improving)).best()
    assert 3e-3 < best.pieces[-1].rate < 3e-2


def test_decisions_follow_from_outcomes_alone():
    one, other = (ran(Population(fire(), RATES, 120), World(improving)) for _ in range(2))
    assert one.decisions == other.decisions
    assert one.decisions != ran(Population(fire(seed=1), RATES, 120), World(improving)).decisions


def test_evaluators_take_who_waited_longest_with_the_best_childs_rate():
    population = Population(fire(), RATES, 200)
    values = {worker: -1.0 - worker for worker in range(8)}
    at_step(population, values)
    assert all(d.kind == "exploit" for d in population.decisions)  # before min_steps_before_eval
    at_step(population, values)
    given = {worker: held for worker, held in population.evaluations.items() if held is not None}
    assert [held.parent for held in given.values()] == [4, 5, 6]
    assert {held.child for held in given.values()} == {0}
    for worker, held in given.items():
        assert population.tasks()[worker] == Task((held.parent, 20), population.members[0].rate, 30)
    assert set(population.tasks()) == set(range(11))


def test_fitness_of_p2_is_the_sum_of_advantages():
    population = Population(fire(), RATES, 200)
    for _ in range(2):
        at_step(population, dict.fromkeys(range(8), -2.0))
    slopes = {8: 0.1, 9: 0.2, 10: 0.05}
    outcomes = {}
    for worker, task in population.tasks().items():
        slope = slopes.get(worker, 0.0)
        outcomes[worker] = tuple((21 + k, -2.0 + slope * k) for k in range(task.until - 20))
    for worker, held in population._busy().items():
        population.evaluations[worker] = held.extended(worker, 30, outcomes[worker])
    best = {worker: -2.0 + 9 * slope for worker, slope in slopes.items()}
    parents = {worker: held.parent for worker, held in population._busy().items()}
    found = population.fitness(1)
    for worker, parent in parents.items():
        assert found[parent] == pytest.approx(sum(best[worker] - best[rival] for rival in slopes), abs=1e-12)
    assert set(found) == set(parents.values())


class Evaluated:
    """A population at step 20 whose members' curves begin anew at -2 there; then all of a kind improve alike."""

    def __init__(self, **changes) -> None:
        self.population = Population(fire(**changes), RATES, 400)
        for _ in range(2):
            at_step(self.population, dict.fromkeys(range(8), -2.0))
        for member in self.population.members.values():
            member.since = len(member.lineage.points)
        self.evaluators = list(self.population._busy())

    def go(self, member: Callable[[int], float], evaluator: Callable[[int], float]) -> set[str]:
        """A round with curves that are functions of the steps since 21; returns what became of evaluators."""
        tasks, step = self.population.tasks(), self.population.step
        decided = self.population.advance(
            {
                worker: tuple(
                    (at, (evaluator if worker in self.evaluators else member)(at - 21))
                    for at in range(step + 1, task.until + 1)
                )
                for worker, task in tasks.items()
            }
        )
        return {decision.kind for decision in decided} - {"exploit", "evaluate"}


def test_a_faster_evaluator_overtakes_its_child():
    world = Evaluated()
    held = world.population.evaluations[8]
    assert held is not None
    assert "overtaken" in world.go(lambda k: -2 + 0.05 * k, lambda k: -2 + 0.2 * k)
    overtaken = [d for d in world.population.decisions if d.kind == "overtaken"]
    assert {d.worker for d in overtaken} == {held.child}
    child = world.population.members[held.child]
    assert child.lineage.state == (overtaken[0].source, 30)
    assert child.rate == held.rate
    assert child.curve == pytest.approx([-2 + 0.2 * k for k in range(10)])


def test_a_slower_evaluator_is_given_up():
    """A p value of 1 is allowed until max_eval_steps have begun to pass."""
    world = Evaluated()
    assert world.go(lambda k: -2 + 0.05 * k, lambda k: -2 + 0.01 * k) == {"stopped"}


@pytest.mark.parametrize(("rounds", "ends"), [(3, False), (4, False), (5, True)])
def test_an_evaluator_that_never_gets_there_has_max_eval_steps(rounds, ends):
    """Its curve stays below the child's start: no overlap; 40 steps are four rounds."""
    world = Evaluated()
    held = world.population.evaluations[8]
    assert held is not None
    for step in range(20, 20 + 10 * rounds, 10):
        held = held.extended(8, step + 10, tuple((step + k, -9.0 + 1e-4 * (step + k)) for k in range(1, 11)))
    child = world.population.members[held.child]
    child.lineage = child.lineage.extended(0, 30, 0.1, tuple((20 + k, -2.0 + 0.01 * k) for k in range(1, 11)))
    world.population.step = 20 + 10 * rounds
    assert world.population.verdict(held) == ("stopped" if ends else None)


@pytest.mark.parametrize(("done", "allowed"), [(0.25, 0.76), (0.5, 0.51), (0.75, 0.26), (1.0, 0.01), (2.0, 0.01)])
def test_what_is_allowed_falls_to_the_level(done, allowed, monkeypatch):
    """Two curves that overlap, and p values on both sides of what is allowed."""
    world = Evaluated()
    held = world.population.evaluations[8]
    assert held is not None
    held = held.extended(8, 30, tuple((20 + k, -2.0 + 0.1 * k) for k in range(1, 11)))
    child = world.population.members[held.child]
    child.lineage = child.lineage.extended(0, 30, 0.1, tuple((20 + k, -2.0 + 0.05 * k) for k in range(1, 11)))
    world.population.step = held.begun + round(40 * done)
    for p, expected in ((0.009, "overtaken"), (allowed - 1e-6, None), (allowed + 1e-6, "stopped")):
        monkeypatch.setattr("qcmap.nn.train.population._population.chance", lambda *curves, p=p: p)
        if (p < 0.01) == (expected == "overtaken"):
            assert world.population.verdict(held) == expected


def test_a_replaced_child_or_parent_ends_the_evaluation():
    population = Population(fire(), RATES, 400)
    at_step(population, {worker: -1.0 - worker for worker in range(8)})
    at_step(population, {worker: -1.0 - worker for worker in range(8)})
    (child,) = {held.child for held in population._busy().values()}
    values = dict.fromkeys(range(11), -1.0) | {child: -5.0}
    at_step(population, values)
    assert child in {d.worker for d in population.decisions if d.kind == "exploit" and d.step == 30}
    assert {d.worker for d in population.decisions if d.kind == "stopped"} == {8, 9, 10}


def test_a_diverged_evaluator_gives_up_and_a_diverged_child_is_overtaken():
    world = Evaluated()
    held = world.population.evaluations[8]
    assert held is not None
    fine = held.extended(8, 30, ((30, -2.0),))
    assert world.population.verdict(held.extended(8, 30, ((30, -math.inf),))) == "stopped"
    child = world.population.members[held.child]
    child.lineage = child.lineage.extended(0, 30, 0.1, ((30, -math.inf),))
    assert world.population.verdict(fine) == "overtaken"


class Valley:
    """A loss of distance + 3 rate, in which the distance shrinks by a hundredth of the rate in each step.

    A small rate shows the lower loss at once and stays far away; large ones first and small ones last are best. Plain
    populations are greedy here (DKS, section 27.4, after Wu et al. 2018).
    """

    def __init__(self) -> None:
        self.distance: dict[State | None, float] = {None: 5.0}

    def outcomes(self, population: Population) -> dict[int, tuple[Point, ...]]:
        found = {}
        for worker, task in population.tasks().items():
            distance, points, rate = self.distance[task.start], [], min(task.rate, 1.0)
            for at in range(population.step + 1, task.until + 1):
                distance *= 1 - 0.01 * rate
                points.append((at, -distance - 3 * rate))
            self.distance[worker, task.until] = distance
            found[worker] = tuple(points)
        return found


@pytest.mark.parametrize("seed", [0, 1])
def test_evaluators_cure_greed(seed):
    """Twelve workers either way. The best constant rate ends at -5 exp(-6 r) - 3 r, at most -1.65."""
    ends = {}
    for name, settings in {
        "pbt": plain(12, seed=seed),
        "fire": fire(evaluators=4, min_steps_before_eval=(50,), max_eval_steps=72, seed=seed),
    }.items():
        world, population = Valley(), Population(settings, (1e-2, 1.0), 600)
        while not population.finished:
            population.advance(world.outcomes(population))
        ends[name] = population.best().objective
    assert ends["pbt"] < -4
    assert ends["fire"] > -0.3
