"""Fuzz readers for as long as you like.

    python -m tests.fuzz                        names of the readers
    python -m tests.fuzz onnx --minutes 60      some of them, or `all`, one after another

With the package `atheris` installed (`pip install atheris`) the coverage of our own code guides the changes;
without it they are made at random. Ends with exit code 1 where a reader raises anything but a UserError, or takes
too long or too much memory, and leaves the content in `fuzz-READER-NUMBER`.
"""

from __future__ import annotations

import argparse
import importlib.util
import random
import sys
import time
from collections.abc import Sequence

from tests.fuzz.mutations import mutated
from tests.fuzz.trial import Course, chosen_readers, one_input

_MOST_KEPT = 50  # accepted contents, which are changed further


def by_chance(name: str, seconds: float, seed: int) -> int:
    """Fuzz one reader by random changes; the number of contents that it did not take well."""
    from tests.fuzz.readers import READERS

    course, rng = Course(name, READERS[name]), random.Random(seed)
    kept = [course.reader.valid()]
    one_input(course.reader, kept[0])  # what it imports and remembers is no content's fault
    end = time.process_time() + seconds
    while time.process_time() < end:
        content = mutated(rng.choice(kept), rng)
        if course.take(content) and len(kept) < _MOST_KEPT and len(content) < 4 * len(kept[0]):
            kept.append(content)
    print(course, flush=True)
    return course.failures


def parsed(words: Sequence[str] | None = None) -> argparse.Namespace:
    """The arguments of the command."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description="Fuzz the readers of files.")
    parser.add_argument("readers", nargs="*", metavar="READER", help="name of a reader, or all")
    parser.add_argument("--minutes", type=float, default=1.0, help="time on a core, for a reader")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--chance", action="store_true", help="changes at random, even with atheris installed")
    return parser.parse_args(words)


def main() -> None:
    arguments = parsed()
    seconds = 60 * arguments.minutes
    if arguments.readers and not arguments.chance and importlib.util.find_spec("atheris") is not None:
        from tests.fuzz.guided import fuzz  # before anything of ours is imported

        sys.exit(1 if fuzz(arguments.readers, seconds, arguments.seed) else 0)
    from tests.fuzz.readers import READERS

    if not arguments.readers:
        print("\n".join(READERS))
        return
    names = chosen_readers(arguments.readers, READERS)
    sys.exit(1 if sum(by_chance(name, seconds, arguments.seed) for name in names) else 0)


if __name__ == "__main__":
    main()
