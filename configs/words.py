"""The words of a command line, looked at one by one before Hydra reads them.

Hydra takes `key=value` and some options of its own. What comes from another habit (a bare file name, `--lr 0.1`, a
group set to null) is answered here with what to type instead.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path

from configs.complaints import GROUPS, choices_of, suggestion
from foundation.errors import UserError, near
from foundation.folders import check_folder

__all__ = ["WordError", "checked_words"]

FLAGS = ("-m", "--multirun", "-r", "--run", "-h", "--help", "--hydra-help", "--version", "--resolve")
"""Hydra's options without a value."""
OPTIONS = {
    "-c": ("job", "hydra", "all"),
    "--cfg": ("job", "hydra", "all"),
    "-i": ("all", "config", "defaults", "defaults-tree", "plugins", "searchpath"),
    "--info": ("all", "config", "defaults", "defaults-tree", "plugins", "searchpath"),
    "-p": (),
    "--package": (),
}
"""Hydra's options with a value -> the values that there are; any where none is named."""
NONE_OF = {"search": "search=none", "logger": "logger=csv", "experiment": "no experiment=…"}
"""Group -> what stands for none of its choices."""
FOLDERS = ("hydra.run.dir", "hydra.sweep.dir")
TABLES = (".csv", ".tsv", ".tab", ".txt", ".dat", ".parquet", ".pq", ".xlsx", ".gz")


class WordError(UserError):
    """A word that is no `key=value`, or says what no run can have."""


def checked_words(words: Sequence[str]) -> list[str]:
    """The words as Hydra takes them, options first.

    Args:
        words: words behind the command.

    Raises:
        WordError: a word cannot be understood; the sentence says what to type.
        FolderError: the run directory is a file, or cannot be written to.
    """
    options, settings = [], []
    rest = iter(words)
    for word in rest:
        if word.startswith("-"):
            options += _option(word, rest, words)
        else:
            _check_setting(word, words)
            settings.append(word)
    return [*options, *settings]


def _option(word: str, rest: Iterator[str], words: Sequence[str]) -> list[str]:
    """An option of Hydra's with its value."""
    name, equals, value = word.partition("=")
    if name in FLAGS and not equals:
        return [name]
    if name not in OPTIONS:
        raise WordError(_instead_of_option(name.lstrip("-"), value or next(rest, ""), words))
    allowed = OPTIONS[name]
    value = value or next(rest, "")
    if not value or (allowed and value not in allowed):
        raise WordError(f"{name} {value} is not allowed: it must be one of {', '.join(allowed) or 'its packages'}")
    return [name, value]


def _instead_of_option(name: str, value: str, words: Sequence[str]) -> str:
    """What to type in place of an option that there is not."""
    table = next((each for each in (value, *words) if _is_table(each)), None)
    if table is not None:
        return _about_table(table)
    key = name.replace("-", "_")
    typed = f"{key}={value}" if value and "=" not in value and not value.startswith("-") else f"{key}=…"
    known = key in GROUPS or key == "seed" or key in ("resume", "ckpt_path", "threads", "optimize")
    what = f"write {typed}" if known else f"settings are key=value; {suggestion(key)}"
    return f"--{name} is not an option: {what}"


def _check_setting(word: str, words: Sequence[str]) -> None:
    """Refuse a word that Hydra would not understand, or that takes away what every run has."""
    key, equals, value = word.partition("=")
    if key.startswith("~"):
        if key.count(".") != 1 or key.endswith("._target_"):
            raise WordError(f"{word} takes away what a run needs: leave it out")
        return
    if not equals:
        raise WordError(_instead_of_word(word))
    if not key:
        raise WordError(f"{word} sets no key: write key=value")
    if key in GROUPS:
        _check_choice(key, value)
    if key in FOLDERS:
        _check_folder(key, value)


def _instead_of_word(word: str) -> str:
    """What to type in place of a word without `=`."""
    if _is_table(word):
        return _about_table(word)
    groups = [group for group in GROUPS if word in choices_of(group)]
    if groups:
        return f"{word} is not key=value: write {' or '.join(f'{group}={word}' for group in groups)}"
    other = re.fullmatch(r"([\w.]+):(.+)", word)
    typed = f"{other[1]}={other[2]}" if other else f"{word}=…"
    return f"{word} is not key=value: write {typed}, or see --help"


def _is_table(word: str) -> bool:
    return "=" not in word and word.lower().endswith(TABLES)


def _about_table(path: str) -> str:
    shown = shlex.quote(path)
    door = "python discover.py" if Path("discover.py").is_file() else "rediscover"
    return (
        f"{path} is a table: for the formula of a column write {door} {shown} COLUMN; to train on it, "
        f"data=tabular data.path={shown} data.target=COLUMN"
    )


def _check_choice(group: str, value: str) -> None:
    """Refuse what is no name of a preset; a name that does not exist is for `configs.complaints`."""
    text = value.strip("'\"")
    if text and text != "null" and text[0] not in "[{":
        return
    instead = f"for none, write {NONE_OF[group]}; " if group in NONE_OF else ""
    raise WordError(f"{group}={value} names no preset: {instead}{near('', choices_of(group))}")


def _check_folder(key: str, value: str) -> None:
    text = value.strip("'\"")
    if text in ("", "null"):
        raise WordError(f"{key}={value} names no directory: give one, or leave it out")
    if not re.search(r"[$,()]", text):  # what only Hydra understands
        check_folder(key, text)
