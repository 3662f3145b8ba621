"""Fuzz readers for as long as you like.

    python -m tests.fuzz                        names of the readers
    python -m tests.fuzz onnx --minutes 60      one of them; `all` for each in turn

With the package `atheris` installed (`pip install atheris`) the coverage of our own code guides the changes;
without it they are made at random. Ends with exit code 1 where a reader raises anything but a UserError, or takes
too long or too much memory, and leaves the content in `fuzz-READER-NUMBER`.
"""

from __future__ import annotations

import argparse
import importlib.util
import random
import subprocess
import sys
import time
from collections.abc import Sequence

from tests.fuzz.mutations import mutated
from tests.fuzz.trial import Course, one_input

_MOST_KEPT = 50  # accepted contents, which are changed further


def by_chance(name: str, seconds: float, seed: int) -> int:
    """Fuzz one reader by random changes; the number of contents that it did not take well."""
    from tests.fuzz.readers import READERS

    course, rng = Course(name, READERS[name]), random.Random(seed)
    kept = [course.reader.valid()]
    one_input(course.reader, kept[0])  # what it imports and remembers is no content's fault
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        content = mutated(rng.choice(kept), rng)
        if course.take(content) and len(kept) < _MOST_KEPT and len(content) < 4 * len(kept[0]):
            kept.append(content)
    print(course, flush=True)
    return course.failures


def by_coverage(name: str, arguments: argparse.Namespace) -> int:
    """Fuzz one reader in a process of its own, in which our modules are not yet imported; its exit code."""
    command = [sys.executable, "-m", "tests.fuzz", name, "--here"]
    command += ["--minutes", str(arguments.minutes), "--seed", str(arguments.seed)]
    code = subprocess.run(command, check=False).returncode
    if code not in (0, 1):
        print(f"{name}: ended by {code}, in its start-up or by a content that took too long", flush=True)
    return code


def parsed(words: Sequence[str] | None = None) -> argparse.Namespace:
    """The arguments of the command."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description="Fuzz the readers of files.")
    parser.add_argument("reader", nargs="?", help="name of a reader, or all")
    parser.add_argument("--minutes", type=float, default=1.0, help="time for a reader")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--chance", action="store_true", help="changes at random, even with atheris installed")
    parser.add_argument("--here", action="store_true", help=argparse.SUPPRESS)
    return parser.parse_args(words)


def main() -> None:
    arguments = parsed()
    if arguments.here:  # before anything of ours is imported
        from tests.fuzz.guided import fuzz

        fuzz(arguments.reader, 60 * arguments.minutes, arguments.seed)
    from tests.fuzz.readers import READERS

    if arguments.reader is None:
        print("\n".join(READERS))
        return
    if arguments.reader not in (*READERS, "all"):
        sys.exit(f"there is no reader {arguments.reader}: choose all, or one of {', '.join(READERS)}")
    names = list(READERS) if arguments.reader == "all" else [arguments.reader]
    guided = importlib.util.find_spec("atheris") is not None and not arguments.chance
    failed = [
        by_coverage(name, arguments) if guided else by_chance(name, 60 * arguments.minutes, arguments.seed)
        for name in names
    ]
    sys.exit(1 if any(failed) else 0)


if __name__ == "__main__":
    main()
