"""Fuzzing of one reader by `atheris`, guided by the coverage of our own code; `python -m tests.fuzz` calls it."""

from __future__ import annotations

import contextlib
import io
import os
import random
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import atheris

from tests.fuzz.mutations import mutated
from tests.fuzz.trial import Course, chosen_readers, one_input

__all__ = ["fuzz"]

OWN = (
    "foundation", "expressions", "searches", "modules", "datamodules", "distillation", "runs", "reports",
    "callbacks", "configs", "rediscover", "benchmarks",
)  # fmt: skip
START_UP_SECONDS = 300  # of this process' own time: what is longer hangs
_ONE_CONTENT_SECONDS = 30
_LONGEST_CONTENT = 65_536


def fuzz(chosen: Sequence[str], seconds: float, seed: int) -> int:
    """Fuzz some readers, one after another, each in a process of its own.

    Only our own modules are instrumented, as they are imported: beginning takes seconds, and reading one content
    milliseconds, which with torch and SymPy instrumented they do not.

    Args:
        chosen: names of the readers, or `all`.
        seconds: time of the fuzzing of a reader on a core, counted from the first content.
        seed: random seed for the changes.

    Returns:
        The number of readers that failed.
    """
    signal.setitimer(signal.ITIMER_PROF, START_UP_SECONDS)
    with _instrumented():
        from tests.fuzz.readers import READERS
    failed = 0
    for name in chosen_readers(chosen, READERS):
        child = os.fork()  # libFuzzer ends its process, and what is imported needs no second import
        if not child:
            signal.setitimer(signal.ITIMER_PROF, START_UP_SECONDS)
            _fuzz_one(Course(name, READERS[name]), seconds, seed)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        if code not in (0, 1):
            print(f"{name}: ended by {code}, in its start-up or by a content that took too long", flush=True)
        failed += code != 0
    return failed


def _instrumented() -> contextlib.ExitStack:
    """Instrument what is imported inside, without a line for every module."""
    stack = contextlib.ExitStack()
    stack.enter_context(contextlib.redirect_stderr(io.StringIO()))
    stack.enter_context(atheris.instrument_imports(include=OWN))
    return stack


def _fuzz_one(course: Course, seconds: float, seed: int) -> None:
    """Fuzz a reader, then end the process, with exit code 1 where anything failed."""
    name = course.name
    with _instrumented():  # the valid file is read inside, for what a reader imports late
        valid = course.reader.valid()
        course.reader.read(valid)  # the time of its imports is not that of the reader
    one_input(course.reader, valid)
    signal.setitimer(signal.ITIMER_PROF, 0)
    corpus = Path(f"fuzz-corpus-{name}")
    corpus.mkdir(exist_ok=True)
    (corpus / "valid").write_bytes(valid)
    end = time.process_time() + seconds

    def take(content: bytes) -> None:
        if time.process_time() > end:  # libFuzzer's own end runs nothing of Python
            print(course, flush=True)
            sys.stderr.flush()
            os._exit(1 if course.failures else 0)
        course.take(content)

    def changed(content: bytes, most: int, seed: int) -> bytes:
        """Our own changes keep JSON JSON, libFuzzer's know what the code compares."""
        rng = random.Random(seed)
        if rng.random() < 0.5:
            return bytes(atheris.Mutate(content, most))
        return mutated(content, rng)[:most]

    options = [
        f"-seed={seed + 1}",
        f"-max_len={max(_LONGEST_CONTENT, 2 * len(valid))}",
        f"-timeout={_ONE_CONTENT_SECONDS}",
        "-rss_limit_mb=6000",
        f"-artifact_prefix=fuzz-{name}-",
        "-verbosity=0",
    ]
    atheris.Setup([sys.argv[0], *options, str(corpus)], take, custom_mutator=changed)
    atheris.Fuzz()
