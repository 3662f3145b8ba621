"""Where islands live: in this process, or spread over worker processes that step in lockstep.

Both kinds give the same results in the same order, so that the number of workers never changes what is found.
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from multiprocessing.connection import Connection
from typing import Any

from expressions.expression import Expression
from expressions.own_operators import Definitions, definitions
from searches.common.parallel import died, end_with_parent, starting_processes
from searches.common.regression_task import RegressionTask
from searches.direct.first_equations import first_equations
from searches.evolution.island import Island
from searches.evolution.seeding import adapted
from searches.evolution.settings import GeneticProgrammingSettings
from searches.links.sums import seconds_of_sums

Report = dict[str, Any]


class LocalIslands:
    """Some of the islands of a search, in this process."""

    def __init__(
        self,
        task: RegressionTask,
        settings: GeneticProgrammingSettings,
        seed: int,
        seeds: Sequence[Expression],
        numbers: Sequence[int],
    ) -> None:
        self._task, self._settings, self._seeds, self._numbers = task, settings, seeds, numbers
        self.islands = [Island(task, settings, (seed, number)) for number in numbers]

    def begin(self) -> list[Report]:
        """First populations: that of island 0 holds the seeds; the others stay independent until a migration."""
        for number, island in zip(self._numbers, self.islands, strict=True):
            island.begin(self._first_seeds() if number == 0 else ())
        return self.reports()

    def _first_seeds(self) -> list[Expression]:
        task, settings = self._task, self._settings
        count = settings.linked_sums if settings.constants else 0
        seconds = seconds_of_sums(settings.seconds)
        sums = first_equations(task.search_inputs, task.search_target, settings.operators, count, seconds)
        return adapted(
            [*self._seeds, *sums],
            settings.operators,
            constants=settings.constants,
            linear_scaling=settings.linear_scaling,
        )

    def step(self) -> list[Report]:
        """One generation of every island."""
        for island in self.islands:
            island.step()
        return self.reports()

    def reports(self) -> list[Report]:
        """What the islands found so far."""
        return [{"evaluations": island.evaluations, "best": island.best} for island in self.islands]

    def emigrants(self, count: int) -> list[list[Expression]]:
        """The best of every island."""
        return [island.emigrants(count) for island in self.islands]

    def immigrate(self, groups: Sequence[Sequence[Expression]]) -> list[Report]:
        """Hand every island its immigrants."""
        for island, group in zip(self.islands, groups, strict=True):
            island.immigrate(group)
        return self.reports()

    def states(self) -> list[dict[str, Any]]:
        """State of every island."""
        return [island.state() for island in self.islands]

    def load(self, states: Sequence[dict[str, Any]]) -> list[Report]:
        """Go on from `states()`."""
        for island, state in zip(self.islands, states, strict=True):
            island.load_state(state)
        return self.reports()

    def migrate(self, count: int) -> list[Report]:
        """Send the best of island k to island k + 1, around the ring."""
        groups = self.emigrants(count)
        return self.immigrate([groups[k - 1] for k in range(len(groups))])


class RemoteIslands:
    """The islands of a search in worker processes; the same methods as `LocalIslands`."""

    def __init__(
        self,
        task: RegressionTask,
        settings: GeneticProgrammingSettings,
        seed: int,
        seeds: Sequence[Expression],
        workers: int,
    ) -> None:
        # `spawn`: a forked child of a process that runs torch or BLAS threads can hang.
        context = multiprocessing.get_context("spawn")
        self._connections: list[Connection] = []
        self._processes: list[Any] = []
        # Consecutive numbers per worker keep the order of reports that of the islands.
        bounds = [round(k * settings.islands / workers) for k in range(workers + 1)]
        self._shares = [list(range(bounds[k], bounds[k + 1])) for k in range(workers)]
        try:
            for share in self._shares:
                ours, theirs = context.Pipe()
                own = definitions()
                process = context.Process(target=_serve, args=(own, theirs, task, settings, seed, seeds, share))
                with starting_processes():
                    process.start()
                self._processes.append(process)
                self._connections.append(ours)
                theirs.close()
        except BaseException:
            self.close()
            raise

    def _ask(self, method: str, arguments: Sequence[tuple[Any, ...]] | None = None) -> list[Any]:
        answers: list[Any] = []
        try:
            for k, connection in enumerate(self._connections):
                failed = k
                connection.send((method, arguments[k] if arguments else ()))
            for k, connection in enumerate(self._connections):
                failed = k
                kind, answer = connection.recv()
                if kind == "error":
                    raise answer
                answers += answer
        except (EOFError, ConnectionError):
            raise died(self._processes[failed]) from None
        return answers

    def _split(self, items: Sequence[Any]) -> list[tuple[Any, ...]]:
        return [([items[n] for n in share],) for share in self._shares]

    def begin(self) -> list[Report]:
        """First populations."""
        return self._ask("begin")

    def step(self) -> list[Report]:
        """One generation of every island."""
        return self._ask("step")

    def reports(self) -> list[Report]:
        """What the islands found so far."""
        return self._ask("reports")

    def states(self) -> list[dict[str, Any]]:
        """State of every island."""
        return self._ask("states")

    def load(self, states: Sequence[dict[str, Any]]) -> list[Report]:
        """Go on from `states()`."""
        return self._ask("load", self._split(states))

    def migrate(self, count: int) -> list[Report]:
        """Send the best of island k to island k + 1, around the ring."""
        groups = self._ask("emigrants", [(count,)] * len(self._connections))
        return self._ask("immigrate", self._split([groups[k - 1] for k in range(len(groups))]))

    def close(self) -> None:
        """End the workers at once: what they know is in the state on disk, or not wanted any more."""
        for process in self._processes:
            process.terminate()
        for process in self._processes:
            process.join(timeout=5)
            if process.is_alive():
                process.kill()
                process.join()


def _serve(
    own: Definitions,
    connection: Connection,
    task: RegressionTask,
    settings: GeneticProgrammingSettings,
    seed: int,
    seeds: Sequence[Expression],
    numbers: Sequence[int],
) -> None:
    """Main loop of a worker; `own`, unpickled first, has brought the operators of one's own."""
    end_with_parent()
    islands: LocalIslands | None = None
    while True:
        try:
            method, arguments = connection.recv()
        except EOFError:  # the parent was killed
            return
        try:
            islands = islands or LocalIslands(task, settings, seed, seeds, numbers)
            answer = ("ok", getattr(islands, method)(*arguments))
        except Exception as error:
            answer = ("error", error)
        connection.send(answer)


@contextmanager
def open_hosts(
    task: RegressionTask,
    settings: GeneticProgrammingSettings,
    seed: int,
    seeds: Sequence[Expression],
    workers: int,
) -> Iterator[LocalIslands | RemoteIslands]:
    """The islands of a search, in this process for one worker, else in `workers` processes."""
    if workers <= 1:
        yield LocalIslands(task, settings, seed, seeds, range(settings.islands))
        return
    hosts = RemoteIslands(task, settings, seed, seeds, workers)
    try:
        yield hosts
    finally:
        hosts.close()
