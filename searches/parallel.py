"""Several searches at once, a process each, with progress messages while they run."""

from __future__ import annotations

import multiprocessing
import os
import queue
import signal
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

_THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
_POLL_SECONDS = 0.2


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
        The results, in the order of `jobs`. After Ctrl-C the jobs are asked to stop, and what they return counts.

    Raises:
        Exception: what a job raised, with its traceback as a note.
    """
    context = multiprocessing.get_context("spawn")  # a fork of a process that runs torch threads can hang
    messages = context.Queue()
    stop = context.Event()
    waiting = list(enumerate(jobs))
    running: dict[int, Any] = {}
    results: dict[int, Any] = {}
    with _single_threaded():
        try:
            while len(results) < len(jobs):
                while waiting and len(running) < workers and not (stop.is_set() and results):
                    number, job = waiting.pop(0)
                    running[number] = context.Process(
                        target=_work, args=(function, number, dict(job), messages, stop, os.getpid())
                    )
                    running[number].start()
                if not running:  # stopped before the rest began
                    break
                try:
                    _receive(messages, running, results, on_message)
                except KeyboardInterrupt:
                    if stop.is_set():  # the second Ctrl-C means now
                        raise
                    stop.set()
        finally:
            for process in running.values():
                process.terminate()
                process.join(timeout=5)
    return [results[number] for number in range(len(jobs)) if number in results]


def _receive(
    messages: Any, running: dict[int, Any], results: dict[int, Any], on_message: Callable[[int, Any], None]
) -> None:
    """Take one message, or find that a process died without a word."""
    try:
        number, kind, content = messages.get(timeout=_POLL_SECONDS)
    except queue.Empty:
        for number, process in running.items():
            if process.exitcode is not None and messages.empty():
                raise RuntimeError(
                    f"search process {number} ended with exit code {process.exitcode} (-9: killed)"
                ) from None
        return
    if kind == "message":
        on_message(number, content)
        return
    running.pop(number).join()
    if kind == "error":
        error, trace = content
        error.add_note(trace)
        raise error
    results[number] = content


def _work(
    function: Callable[..., Any], number: int, job: dict[str, Any], messages: Any, stop: Any, parent: int
) -> None:
    """Body of a worker process. Ctrl-C goes to the parent, which sets `stop`."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)

    def should_stop() -> bool:
        if os.getppid() != parent:  # the parent was killed: nobody waits for the result
            os._exit(1)
        return bool(stop.is_set())

    def report(content: Any) -> None:
        messages.put((number, "message", content))

    try:
        messages.put((number, "result", function(**job, report=report, should_stop=should_stop)))
    except Exception as error:
        messages.put((number, "error", (error, traceback.format_exc())))


@contextmanager
def _single_threaded() -> Iterator[None]:
    """Processes started in here use one thread each: as many as cores would only get in each other's way."""
    before = {name: os.environ.get(name) for name in _THREAD_VARIABLES}
    os.environ.update(dict.fromkeys(_THREAD_VARIABLES, "1"))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
