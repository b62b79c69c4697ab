"""The population itself: who trains what next, and who copies whom. Nothing here trains, waits or writes.

All workers train to the same step, then everything is decided at once. So the decisions follow from the settings and
the outcomes alone, whichever worker was faster, or was killed and did its task again.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np

from qcmap.nn.train.population._curves import advantage, chance, overlap
from qcmap.nn.train.population._members import Evaluation, Lineage, Member, Point, Task
from qcmap.nn.train.population._settings import PopulationSettings


@dataclass(frozen=True)
class Decision:
    """What was decided for a worker.

    Attributes
    ----------
    step
        When.
    kind
        ``"exploit"``: a member copies a better one of its sub-population and explores its rate; ``"evaluate"``: an
        evaluator copies a member and takes a rate from the sub-population before; ``"overtaken"``: a member takes the
        weights of an evaluator that trained better with its rate; ``"stopped"``: an evaluator gives up.
    worker
        Whose next task changes.
    source
        Whose weights are copied; None for an evaluator that stops.
    rate
        The learning rate that the worker goes on with.
    """

    step: int
    kind: Literal["exploit", "evaluate", "overtaken", "stopped"]
    worker: int
    source: int | None
    rate: float

    def to_dict(self) -> dict[str, Any]:
        """The decision as JSON-ready data."""
        return asdict(self)


class Population:
    """Members and evaluators of FIRE PBT, DKS, section 27.4; with one sub-population, of PBT.

    Parameters
    ----------
    settings
        What the population is made of.
    rates
        Between which learning rates workers start, log-uniformly.
    steps
        Of the run.

    Attributes
    ----------
    members
        By worker: those of P1 first, then those of P2, ...
    evaluations
        By worker, after the members; None for an evaluator without work.
    step
        Up to where all have trained.
    decisions
        All so far, in order.
    """

    def __init__(self, settings: PopulationSettings, rates: tuple[float, float], steps: int) -> None:
        self.settings, self.steps, self.step = settings, steps, 0
        groups = [group for group, size in enumerate(settings.sub_populations) for _ in range(size)]
        low, high = map(math.log, rates)
        self.members: dict[int, Member] = {
            worker: Member(group, math.exp(self._random(worker).uniform(low, high)))
            for worker, group in enumerate(groups)
        }
        first = len(groups)
        self.evaluations: dict[int, Evaluation | None] = dict.fromkeys(range(first, first + settings.evaluators))
        self.decisions: list[Decision] = []

    @property
    def finished(self) -> bool:
        """Whether all steps are trained."""
        return self.step == self.steps

    def tasks(self) -> dict[int, Task]:
        """What each worker does until the next choice; an evaluator without work is left out."""
        until = min(self.step + self.settings.ready_every, self.steps)
        workers = {**self.members, **self._busy()}
        return {worker: Task(held.lineage.state, held.rate, until) for worker, held in workers.items()}

    def advance(self, outcomes: Mapping[int, tuple[Point, ...]]) -> tuple[Decision, ...]:
        """Take the points that each task gave, and decide what comes next; nothing is decided at the end."""
        tasks, before = self.tasks(), len(self.decisions)
        for worker, member in self.members.items():
            member.lineage = member.lineage.extended(worker, tasks[worker].until, member.rate, outcomes[worker])
            member.unseen += 1
        for worker, held in self._busy().items():
            self.evaluations[worker] = held.extended(worker, tasks[worker].until, outcomes[worker])
        self.step = next(iter(tasks.values())).until
        if not self.finished:
            replaced = {
                worker for group in range(len(self.settings.sub_populations)) for worker in self._exploit(group)
            }
            self._judge(replaced)
            self._assign(replaced)
        return tuple(self.decisions[before:])

    def best(self) -> Lineage:
        """What led to the best objective now, of all members and evaluators; of diverged ones, the first."""
        held = [*self.members.values(), *self._busy().values()]
        return max((one.lineage for one in held), key=lambda lineage: lineage.objective)

    def fitness(self, group: int) -> dict[int, float]:
        """The fitness of those members of a sub-population that have one.

        In P1 it is the objective. Elsewhere it is a sum of advantages: of a member's evaluator over those of each other
        member that is being evaluated. Diverged members are the worst everywhere.
        """
        own = {worker: member for worker, member in self.members.items() if member.group == group}
        if group == 0:
            return {worker: member.lineage.objective for worker, member in own.items()}
        curves = {
            held.parent: held.curve
            for held in self._busy().values()
            if held.parent in own and held.curve and not held.lineage.diverged
        }
        found = {
            worker: math.fsum(advantage(curve, other) for rival, other in curves.items() if rival != worker)
            for worker, curve in curves.items()
        }
        return {**found, **{worker: -math.inf for worker, member in own.items() if member.lineage.diverged}}

    def _random(self, worker: int) -> np.random.Generator:
        """What a worker draws at this step."""
        return np.random.default_rng([self.settings.seed, self.step, worker])

    def _exploit(self, group: int) -> list[int]:
        """The worst members of a sub-population copy random ones of the best; returns who did.

        So many on either side as the fraction says, one at least; nothing happens before twice as many have a fitness.
        """
        fitness = self.fitness(group)
        count = max(1, math.floor(self.settings.fraction * self.settings.sub_populations[group]))
        order = sorted(fitness, key=lambda worker: (fitness[worker], worker))
        if len(order) < 2 * count:
            return []
        best = [worker for worker in order[-count:] if math.isfinite(fitness[worker])]
        if not best:
            return []
        for worker in order[:count]:
            random = self._random(worker)
            source = best[int(random.integers(len(best)))]
            rate = self.members[source].rate * random.uniform(*self.settings.explore)
            self.members[worker].take(self.members[source].lineage, rate)
            self._decide("exploit", worker, source, rate)
        return order[:count]

    def _judge(self, replaced: set[int]) -> None:
        """End evaluations that are decided, then those whose parent or child was replaced; adds to the replaced."""
        for worker, held in self._busy().items():
            verdict = self.verdict(held) if replaced.isdisjoint((held.parent, held.child)) else None
            if verdict == "overtaken":
                self.members[held.child].take(held.lineage, held.rate, held.since)
                replaced.add(held.child)
                self._decide("overtaken", held.child, worker, held.rate)
                self._end(worker, held)
            elif verdict == "stopped":
                self._decide("stopped", worker, None, held.rate)
                self._end(worker, held)
        for worker, held in self._busy().items():
            if not replaced.isdisjoint((held.parent, held.child)):
                self._decide("stopped", worker, None, held.rate)
                self._end(worker, held)

    def _end(self, worker: int, held: Evaluation) -> None:
        """Give an evaluator no work; its member has been seen."""
        self.evaluations[worker] = None
        self.members[held.parent].unseen = 0

    def _busy(self) -> dict[int, Evaluation]:
        """The evaluations there are, by evaluator."""
        return {worker: held for worker, held in self.evaluations.items() if held is not None}

    def verdict(self, held: Evaluation) -> Literal["overtaken", "stopped"] | None:
        """How an evaluation ends, if it does.

        The child is overtaken once the evaluator's curve is better and above its own significantly often. It is given
        up if it has diverged; if it never reached the child's curve in ``max_eval_steps``; or if the p value exceeds
        what is still allowed, which falls from 1 to the level of significance in that time.
        """
        if held.lineage.diverged:
            return "stopped"
        curve, rival = held.curve, self.members[held.child].curve
        if not curve or not rival:
            return None
        if self.members[held.child].lineage.diverged:
            return "overtaken"
        done = (self.step - held.begun) / self.settings.max_eval_steps
        level = self.settings.significance
        p = chance(curve, rival)
        if p < level and advantage(curve, rival) > 0:
            return "overtaken"
        allowed = level + max(0.0, 1 - done) if overlap(curve, rival) is not None else math.inf
        return "stopped" if p > allowed or (math.isinf(allowed) and done > 1) else None

    def _assign(self, replaced: set[int]) -> None:
        """Give evaluators without work the members that have waited longest, with the best child there is for each."""
        idle = [worker for worker, held in self.evaluations.items() if held is None]
        seen = {held.parent for held in self._busy().values()}
        waiting = [
            worker
            for worker, member in self.members.items()
            if member.group > 0
            and worker not in seen
            and not member.lineage.diverged
            and self.step >= self.settings.min_steps_before_eval[member.group - 1]
        ]
        waiting.sort(key=lambda worker: -self.members[worker].unseen)
        for worker, parent in zip(idle, waiting, strict=False):
            source = self.members[parent]
            child = self._child(source.group - 1, replaced)
            if child is not None:
                rate, since = self.members[child].rate, len(source.lineage.points)
                self.evaluations[worker] = Evaluation(parent, child, rate, self.step, source.lineage, since)
                self._decide("evaluate", worker, parent, rate)

    def _child(self, group: int, replaced: set[int]) -> int | None:
        """The fittest member of a sub-population that was not replaced just now; by objective if none has a fitness."""
        fit = {
            worker: value
            for worker, value in self.fitness(group).items()
            if worker not in replaced and math.isfinite(value)
        }
        if not fit:
            fit = {
                worker: member.lineage.objective
                for worker, member in self.members.items()
                if member.group == group and worker not in replaced and not member.lineage.diverged
            }
        return max(fit, key=lambda worker: fit[worker], default=None)

    def _decide(
        self, kind: Literal["exploit", "evaluate", "overtaken", "stopped"], worker: int, source: int | None, rate: float
    ) -> None:
        self.decisions.append(Decision(self.step, kind, worker, source, rate))
