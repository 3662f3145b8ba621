"""Fuzzing of one reader by `atheris`, guided by the coverage of our own code; `python -m tests.fuzz` calls it."""

from __future__ import annotations

import contextlib
import io
import os
import random
import signal
import sys
import time
from pathlib import Path

import atheris

from tests.fuzz.mutations import mutated
from tests.fuzz.trial import Course, one_input

__all__ = ["fuzz"]

OWN = (
    "foundation", "expressions", "searches", "modules", "datamodules", "runs", "reports", "callbacks", "configs",
    "rediscover", "benchmarks",
)  # fmt: skip
START_UP_SECONDS = 300  # of this process' own time: what is longer hangs
_ONE_CONTENT_SECONDS = 30
_LONGEST_CONTENT = 65_536


def fuzz(name: str, seconds: float, seed: int) -> None:
    """Fuzz a reader, then end the process, with exit code 1 where anything failed.

    Only our own modules are instrumented, as they are imported: the time to begin and to read one content are
    seconds and milliseconds, which with torch and SymPy instrumented they are not. The valid file is read inside,
    so that what a reader imports late is instrumented as well.

    Args:
        name: name of the reader.
        seconds: time of the fuzzing, counted from the first content.
        seed: random seed for the changes.
    """
    signal.setitimer(signal.ITIMER_PROF, START_UP_SECONDS)
    with atheris.instrument_imports(include=OWN), contextlib.redirect_stderr(io.StringIO()):
        from tests.fuzz.readers import READERS

        course = Course(name, READERS[name])
        valid = course.reader.valid()
        one_input(course.reader, valid)
    signal.setitimer(signal.ITIMER_PROF, 0)
    corpus = Path(f"fuzz-corpus-{name}")
    corpus.mkdir(exist_ok=True)
    (corpus / "valid").write_bytes(valid)
    end = time.monotonic() + seconds

    def take(content: bytes) -> None:
        if time.monotonic() > end:  # libFuzzer's own end runs nothing of Python
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
