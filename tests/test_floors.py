"""Imports run downwards only, and the lower floors know no framework that they do not need."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
FLOORS = {
    "foundation": 0,
    "expressions": 1,
    "searches": 2,
    "modules": 2,
    "datamodules": 2,
    "distillation": 3,
    "runs": 3,
    "reports": 3,
    "callbacks": 4,
    "configs": 4,
    "rediscover": 5,
    "train": 6,
    "discover": 6,
    "compare": 6,
    "benchmarks": 6,
}
# Rooms of one floor that may be imported by the rooms named behind them; all others of a floor stand apart.
BESIDE = {"modules": {"datamodules"}, "runs": {"reports"}, "callbacks": {"configs"}}
FORBIDDEN = {
    "searches": {"lightning", "torch", "wandb", "hydra", "omegaconf"},
    "expressions": {"lightning", "wandb", "hydra", "omegaconf"},
    "modules": {"wandb", "hydra", "omegaconf"},
    "datamodules": {"wandb", "hydra", "omegaconf"},
    "foundation": {"torch", "lightning", "wandb", "hydra", "omegaconf"},
    "distillation": {"lightning", "wandb", "hydra", "omegaconf", "matplotlib"},
    "runs": {"torch", "lightning", "wandb", "hydra", "omegaconf", "matplotlib"},
    "reports": {"torch", "lightning", "wandb", "hydra", "omegaconf"},
    "callbacks": {"hydra", "omegaconf"},
    "modules/networks": {"lightning", "wandb"},
}


def sources() -> list[Path]:
    rooms = [path for name in FLOORS if (ROOT / name).is_dir() for path in sorted((ROOT / name).rglob("*.py"))]
    doors = [ROOT / f"{name}.py" for name in FLOORS if (ROOT / f"{name}.py").is_file()]
    return [path.relative_to(ROOT) for path in rooms + doors]


def imports(path: Path) -> Iterator[str]:
    """Every module that a file imports, anywhere in it."""
    for node in ast.walk(ast.parse((ROOT / path).read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: write imports in full"
            yield node.module or ""


def room(path: Path) -> str:
    return path.parts[0].removesuffix(".py")


@pytest.mark.parametrize("path", sources(), ids=str)
def test_imports_run_downwards(path: Path) -> None:
    mine = room(path)
    for module in imports(path):
        theirs = module.split(".")[0]
        if theirs not in FLOORS or theirs == mine:
            continue
        assert FLOORS[theirs] <= FLOORS[mine], f"{path} on floor {FLOORS[mine]} imports {module} from above"
        if FLOORS[theirs] == FLOORS[mine] < 6:
            assert mine in BESIDE.get(theirs, ()), f"{path} imports {module} from the room beside it"


@pytest.mark.parametrize("path", sources(), ids=str)
def test_frameworks_stay_out_of_lower_floors(path: Path) -> None:
    for prefix, forbidden in FORBIDDEN.items():
        if path.as_posix().startswith(f"{prefix}/"):
            found = {module.split(".")[0] for module in imports(path)} & forbidden
            assert not found, f"{path} imports {found}"


def test_every_top_level_package_has_a_floor() -> None:
    packages = {path.parent.name for path in ROOT.glob("*/__init__.py")}
    assert packages - {"tests"} <= set(FLOORS)


def imported_files(path: Path, files: set[Path]) -> set[Path]:
    """The files of the project that a file imports, anywhere in it, also under `TYPE_CHECKING`."""
    found = set()
    for node in ast.walk(ast.parse((ROOT / path).read_text(encoding="utf-8"))):
        names = []
        if isinstance(node, ast.Import):
            names = [name.name for name in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [node.module or "", *(f"{node.module}.{name.name}" for name in node.names)]
        found |= {Path(*name.split(".")).with_suffix(".py") for name in names}
    return (found & files) - {path}


def circle(graph: dict[Path, set[Path]]) -> list[Path]:
    """Files that import each other in a circle, the first one repeated at the end; empty where there is none."""
    done: set[Path] = set()

    def visit(path: Path, trail: list[Path]) -> list[Path]:
        if path in trail:
            return [*trail[trail.index(path) :], path]
        if path in done:
            return []
        for other in sorted(graph[path]):
            if found := visit(other, [*trail, path]):
                return found
        done.add(path)
        return []

    return next((found for path in sorted(graph) if (found := visit(path, []))), [])


def test_no_two_files_import_each_other() -> None:
    files = set(sources())
    graph = {path: imported_files(path, files) for path in files}
    assert sum(map(len, graph.values())) > 300
    assert circle(graph) == [], "files import each other in a circle"


def test_a_circle_is_seen_however_long() -> None:
    a, b, c, d = (Path(f"{name}.py") for name in "abcd")
    assert circle({a: {b}, b: {c}, c: {d}, d: {b}}) == [b, c, d, b]
    assert circle({a: {b, c}, b: {d}, c: {d}, d: set()}) == []
