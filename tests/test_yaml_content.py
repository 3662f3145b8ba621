"""YAML of a stranger: no aliases, no depth, no size beyond what settings need, and no objects."""

from __future__ import annotations

from pathlib import Path

import pytest

from foundation.files import FileError
from foundation.schema import FormatError
from runs.yaml_content import yaml_content


@pytest.mark.parametrize(
    "text",
    [
        "a: &a [x, x]\nb: &b [*a, *a]\nc: [*b, *b]\n",
        "[" * 41 + "]" * 41,
        "- x\n" * 30_000,
        "a: !!python/object/apply:os.system [echo]\n",
        "a: [\n",
        "? [a]\n: 1\n",
        "a: 2001-99-99\n",
    ],
    ids=["aliases", "depth", "length", "object", "torn", "key", "date"],
)
def test_what_is_no_file_of_settings_is_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(text)
    with pytest.raises(FormatError):
        yaml_content(tmp_path / "a.yaml")


def test_settings_are_read_and_large_files_are_not(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("model: {layers: [1, 2.5, x]}\nseed: 1\n")
    assert yaml_content(tmp_path / "a.yaml") == {"model": {"layers": [1, 2.5, "x"]}, "seed": 1}
    (tmp_path / "a.yaml").write_text("#" * (2 << 20))
    with pytest.raises(FileError):
        yaml_content(tmp_path / "a.yaml")
