"""Every public class and function is documented, and every description stands without the name before it."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.house import ROOMS, ROOT

DOORS = ("rediscover", "benchmarks")
SECTIONS = {"Args:", "Attributes:"}
NOT_FIRST = {"of", "that", "as", "by", "in", "for"}  # a description that begins so needs the name before it

Documented = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


def sources() -> list[Path]:
    """All files of the rooms and doors, relative to the root."""
    files = [path for name in ROOMS + DOORS for path in (ROOT / name).rglob("*.py")]
    return sorted(path.relative_to(ROOT) for path in [*files, *ROOT.glob("*.py")])


def vague_descriptions(tree: ast.Module, path: Path) -> Iterator[str]:
    """One message for every argument or attribute whose description begins with a word of `NOT_FIRST`."""
    for node in ast.walk(tree):
        text = ast.get_docstring(node, clean=False) if isinstance(node, Documented) else None
        if text is None:
            continue
        inside, margin = False, 0
        for number, line in enumerate(text.splitlines(), node.body[0].lineno):
            indent = len(line) - len(line.lstrip())
            if line.strip() in SECTIONS:
                inside, margin = True, indent
            elif line.strip() and indent <= margin:
                inside = False
            entry = re.match(r" *\**\w+(?:, \**\w+)*: (\w+)", line) if inside and indent == margin + 4 else None
            if entry and entry[1].lower() in NOT_FIRST:
                yield f"{path}:{number}: {line.strip()!r} must be a noun phrase, not begin with {entry[1]!r}"


def undocumented(body: list[ast.stmt], path: Path, owner: str = "") -> Iterator[str]:
    """One message for every public class, function or method that has no docstring."""
    for node in body:
        if not isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) or node.name.startswith(
            "_"
        ):
            continue
        if ast.get_docstring(node) is None:
            yield f"{path}:{node.lineno}: {owner}{node.name} has no docstring"
        if isinstance(node, ast.ClassDef):
            yield from undocumented(node.body, path, f"{node.name}.")


@pytest.mark.parametrize("path", sources(), ids=str)
def test_public_names_are_documented_by_noun_phrases(path: Path) -> None:
    tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
    faults = [*undocumented(tree.body, path), *vague_descriptions(tree, path)]
    assert not faults, "\n".join(faults)


def test_a_vague_description_and_a_missing_docstring_are_found_with_their_lines() -> None:
    source = (
        '"""A module."""\n'
        "def f(seed, rows):\n"
        '    """A function.\n\n    Args:\n        seed: of the draws.\n        rows: number of rows,\n'
        '            for: a fit.\n\n    Raises:\n        ValueError: for no rows.\n    """\n'
        "class C:\n"
        '    """A class."""\n'
        "    def g(self): ...\n"
        "    def _h(self): ...\n"
    )
    tree, path = ast.parse(source), Path("a.py")
    assert [fault.split(" must")[0] for fault in vague_descriptions(tree, path)] == [
        "a.py:6: 'seed: of the draws.'"
    ]
    assert list(undocumented(tree.body, path)) == ["a.py:15: C.g has no docstring"]
