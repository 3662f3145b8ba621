"""Several searches at once, a process each, with progress messages while they run."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import signal
import threading
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from types import FrameType
from typing import Any

from expressions.own_operators import Definitions, definitions
from foundation.child_processes import environment, isolated_children
from foundation.errors import UserError

_THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
_POLL_SECONDS = 0.2


class ProcessKilledError(UserError):
    """A process of a search was killed from outside."""


@dataclass(frozen=True)
class _Worker:
    """A process that runs one job, and our end of its pipe.

    A pipe a job, not a queue for all: a process that is killed in the middle of a message takes only its own pipe
    with it, and the end of that pipe tells us at once.
    """

    process: Any
    connection: Connection


def run_jobs(
    function: Callable[..., Any],
    jobs: Sequence[Mapping[str, Any]],
    workers: int,
    on_message: Callable[[int, Any], None],
) -> list[Any]:
    """Run `function(**job, report=…, should_stop=…)` for every job, at most `workers` at a time.

    Args:
        function: a module-level function, so that a fresh process can import it. It sends messages by
            `report(content)` and ends early once `should_stop()` is true.
        jobs: keyword arguments of every job; they are pickled.
        workers: processes at a time. Each job gets one thread for linear algebra.
        on_message: called in this process with the job's number and what the job reported.

    Returns:
        The results, in the order of `jobs`. After Ctrl-C the jobs are asked to stop, what they return counts, and
        jobs that had not begun have the result None; a second Ctrl-C is a KeyboardInterrupt.

    Raises:
        ProcessKilledError: a job's process was killed.
        Exception: what a job raised, with its traceback as a note.
    """
    context = multiprocessing.get_context("spawn")  # a fork of a process that runs torch threads can hang
    with starting_processes():  # of which a semaphore needs one that tracks it
        stop = context.Event()
    waiting = list(enumerate(jobs))
    running: dict[int, _Worker] = {}
    results: list[Any] = [None] * len(jobs)
    # One thread each: as many as cores would only get in each other's way.
    with environment(dict.fromkeys(_THREAD_VARIABLES, "1")), _interrupts_counted() as interrupts:
        try:
            while running or (waiting and not interrupts):
                if interrupts:
                    stop.set()
                    waiting = []
                while waiting and len(running) < workers:
                    number, job = waiting.pop(0)
                    running[number] = _started(context, function, job, stop)
                _receive(running, results, on_message)
        finally:
            for worker in running.values():
                worker.process.terminate()
            for worker in running.values():
                worker.process.join(timeout=5)
                if worker.process.is_alive():
                    worker.process.kill()
    return results


def _started(context: Any, function: Callable[..., Any], job: Mapping[str, Any], stop: Any) -> _Worker:
    ours, theirs = context.Pipe()
    process = context.Process(target=_work, args=(definitions(), function, dict(job), theirs, stop))
    with starting_processes():
        process.start()
    theirs.close()  # or its end would not be noticed
    return _Worker(process, ours)


def _receive(running: dict[int, _Worker], results: list[Any], on_message: Callable[[int, Any], None]) -> None:
    """Take a message of every worker that has one; a worker with a result or an error has ended."""
    ready = set(wait([worker.connection for worker in running.values()], timeout=_POLL_SECONDS))
    for number, worker in list(running.items()):
        if worker.connection not in ready:
            continue
        try:
            kind, content = worker.connection.recv()
        except (EOFError, OSError):
            raise died(worker.process) from None
        if kind == "message":
            on_message(number, content)
            continue
        del running[number]
        worker.process.join()
        worker.connection.close()
        if kind == "error":
            error, trace = content
            error.add_note(trace)
            raise error
        results[number] = content


def died(process: Any) -> Exception:
    """What to raise about a process that ended without a word."""
    process.join(timeout=5)
    if process.exitcode is not None and process.exitcode < 0:
        name = signal.Signals(-process.exitcode).name
        return ProcessKilledError(
            f"a search process was killed ({name}), as happens when the memory is full: resume the run, "
            "if need be with fewer search.workers"
        )
    return RuntimeError(
        f"a search process ended with exit code {process.exitcode}; a script that starts searches in several "
        'processes must do so under `if __name__ == "__main__":`'
    )


def _work(
    own: Definitions, function: Callable[..., Any], job: dict[str, Any], connection: Connection, stop: Any
) -> None:
    """Body of a worker process; `own`, unpickled first, has brought the operators of one's own."""
    end_with_parent()

    def report(content: Any) -> None:
        connection.send(("message", content))

    try:
        answer = ("result", function(**job, report=report, should_stop=lambda: bool(stop.is_set())))
        connection.send(answer)
    except Exception as error:
        connection.send(("error", (_portable(error), traceback.format_exc())))


def _portable(error: Exception) -> Exception:
    """The error, or one that says the same if it cannot be sent to another process."""
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        return RuntimeError(f"{type(error).__name__}: {error}")
    return error


def end_with_parent() -> None:
    """End this process as soon as the one that started it is gone, even by SIGKILL: nobody waits for it."""
    parent = multiprocessing.parent_process()

    def watch() -> None:
        if parent is not None:
            parent.join()
            os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


@contextmanager
def starting_processes() -> Iterator[None]:
    """Start processes that never hear of Ctrl-C, which is for us, nor of modules in the working directory.

    Ctrl-C waits until the end of this block.
    """
    with isolated_children():
        resource_tracker.ensure_running()  # its start, with that of the first process, would end the hold
        before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
        try:
            yield
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def _interrupts_counted() -> Iterator[list[int]]:
    """A list that the first Ctrl-C adds to; the second raises KeyboardInterrupt.

    An exception at the first could strike between taking a result from its pipe and keeping it.
    """
    received: list[int] = []

    def count(number: int, frame: FrameType | None) -> None:
        if received:
            raise KeyboardInterrupt
        received.append(number)

    before: Any = None
    with suppress(ValueError):  # only the main thread may set handlers; in another, Ctrl-C is the caller's affair
        before = signal.signal(signal.SIGINT, count)
    try:
        yield received
    finally:
        if before is not None:
            signal.signal(signal.SIGINT, before)
