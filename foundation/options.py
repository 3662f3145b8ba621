"""Options of the doors: what cannot be understood is one sentence, like everything else that the user can mend."""

from __future__ import annotations

import argparse
import sys
from typing import NoReturn

from foundation.terminal import printable

__all__ = ["Options"]


class Options(argparse.ArgumentParser):
    """A parser that refuses in one line."""

    def error(self, message: str) -> NoReturn:
        """Say what is wrong, and where to read on, and end with exit code 2."""
        sentence = " ".join(message.split())
        print(printable(f"error: {sentence}; {self.prog} --help says what there is"), file=sys.stderr, flush=True)
        raise SystemExit(2)
