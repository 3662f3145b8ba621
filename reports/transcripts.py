"""Transcripts in the documents: what `discover.py` prints, made by running it.

    python -m reports.transcripts README.md docs/discover.md

runs every command `python discover.py …` that stands last in a block of commands, and puts what it prints into the
block behind it.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from foundation.files import replace_file

__all__ = ["main", "with_transcripts"]

_WIDTH = 110  # columns of the terminal
_PAIR = re.compile(
    r"(?P<head>^```bash\n(?:[^`]*\n)?(?P<command>python discover\.py [^\n]*)\n```\n\n```\n).*?(?=^```$)",
    re.MULTILINE | re.DOTALL,
)
"""A block of commands, and the block of output behind it."""


def with_transcripts(text: str, folder: Path) -> str:
    """The text of a document with the output of its commands.

    Args:
        text: Markdown.
        folder: directory to run the commands in.

    Raises:
        subprocess.CalledProcessError: a command failed.
    """

    def written(found: re.Match[str]) -> str:
        words = [sys.executable, *shlex.split(found["command"], comments=True)[1:]]
        environment = os.environ | {"COLUMNS": str(_WIDTH)}
        done = subprocess.run(words, cwd=folder, env=environment, capture_output=True, text=True, check=True)
        lines = [line.rstrip() for line in done.stdout.splitlines()]
        return found["head"] + "\n".join(lines) + "\n"

    return _PAIR.sub(written, text)


def main(arguments: Sequence[str]) -> None:
    """Write transcripts into documents.

    Args:
        arguments: files of Markdown.
    """
    for name in arguments:
        path = Path(name)
        replace_file(path, with_transcripts(path.read_text("utf-8"), Path.cwd()).encode())


if __name__ == "__main__":
    main(sys.argv[1:])
