"""Options of the doors: what cannot be understood is one sentence, like everything else that the user can mend."""

from __future__ import annotations

import argparse
from typing import NoReturn

from foundation.terminal import warn

__all__ = ["Options"]


class Options(argparse.ArgumentParser):
    """A parser that refuses in one line."""

    def error(self, message: str) -> NoReturn:
        """Say what is wrong, and where to read on, and end with exit code 2."""
        sentence = " ".join(message.split())
        warn(f"error: {sentence}; {self.prog} --help says what there is")
        raise SystemExit(2)
