"""YAML files of a run directory, which may come from a stranger: plain values of a bounded size, no aliases."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from foundation.files import read_regular
from foundation.schema import FormatError

__all__ = ["yaml_content"]

_LARGEST_FILE = 1 << 20  # bytes
_MOST_NODES, _MOST_DEPTH = 20_000, 40


def yaml_content(path: Path) -> Any:
    """Mappings, lists, texts and numbers of a YAML file.

    Raises:
        FileError: the file is missing, too large or no regular one.
        FormatError: it is no YAML, nested too deeply, or has aliases, by which few lines become many values.
    """
    import yaml  # not quick to import

    content = read_regular(path, most=_LARGEST_FILE)
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    depth = 0
    try:
        for number, event in enumerate(yaml.parse(content, Loader=loader)):
            depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
            if isinstance(event, yaml.AliasEvent) or depth > _MOST_DEPTH or number > _MOST_NODES:
                raise FormatError("has aliases, or more than settings need", "")
        return yaml.load(content, Loader=loader)
    except FormatError:
        raise
    except (yaml.YAMLError, ValueError, TypeError, AttributeError, RecursionError, OverflowError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0][:100]
        raise FormatError(f"is no YAML ({reason})", "") from error
