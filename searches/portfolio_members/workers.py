"""Crews in other processes, which work on their turns while this process works on its own."""

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
from searches.latent_space.equation_map import EquationMap, MapFile
from searches.portfolio_members.crew import Crew, Report
from searches.portfolio_members.member import Offer

__all__ = ["RemoteCrew", "open_crews"]


class RemoteCrew:
    """A crew in a process of its own.

    Args:
        task: data of the search.
        offer: what every member needs to begin.
        latent_map: map of equations, or the file to load it from; None: there is none.
    """

    def __init__(self, task: RegressionTask, offer: Offer, latent_map: EquationMap | MapFile | None) -> None:
        # `spawn`: a forked child of a process that runs torch or BLAS threads can hang.
        context = multiprocessing.get_context("spawn")
        self._connection, theirs = context.Pipe()
        own = definitions()
        self._process: Any = context.Process(
            target=_serve, args=(own, theirs, task, offer, latent_map), daemon=True
        )
        with starting_processes():
            self._process.start()
        theirs.close()
        self._is_up = False

    def is_up(self, wait: bool) -> bool:
        """Whether the process has begun to listen.

        Args:
            wait: whether to wait until it does.
        """
        if not self._is_up and (wait or self._connection.poll()):
            self._received()
            self._is_up = True
        return self._is_up

    def begin_turn(self, method: str, equations: Sequence[Expression], seconds: float | None) -> None:
        """Let a method search; see `Crew.turn`."""
        try:
            self._connection.send((method, equations, seconds))
        except ConnectionError:
            raise died(self._process) from None

    def has_report(self) -> bool:
        """Whether `report` would return at once."""
        return self._connection.poll()

    def report(self) -> Report:
        """Wait for the end of the turn.

        Raises:
            ProcessKilledError: the process was killed.
        """
        answer: Report = self._received()
        return answer

    def _received(self) -> Any:
        try:
            kind, answer = self._connection.recv()
        except (EOFError, ConnectionError):
            raise died(self._process) from None
        if kind == "error":
            raise answer
        return answer

    def end(self) -> None:
        """End the process; what it knows has been reported, or is not wanted any more."""
        self._process.kill()


def _serve(
    own: Definitions,
    connection: Connection,
    task: RegressionTask,
    offer: Offer,
    latent_map: EquationMap | MapFile | None,
) -> None:
    """Main loop of a process; `own`, unpickled first, has brought the operators of one's own."""
    end_with_parent()
    crew = Crew(task, offer, latent_map)
    connection.send(("up", None))
    while True:
        try:
            turn = connection.recv()
        except EOFError:  # the parent was killed
            return
        try:
            answer: tuple[str, Any] = ("report", crew.turn(*turn))
        except Exception as error:
            answer = ("error", error)
        connection.send(answer)


@contextmanager
def open_crews(
    task: RegressionTask,
    offers: Sequence[Offer],
    latent_map: EquationMap | MapFile | None,
) -> Iterator[list[RemoteCrew]]:
    """Crews in processes of their own, one for every offer, which end with this block."""
    crews: list[RemoteCrew] = []
    try:
        crews.extend(RemoteCrew(task, offer, latent_map) for offer in offers)
        yield crews
    finally:
        for crew in crews:
            crew.end()
