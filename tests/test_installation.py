"""The installed package: our packages and nobody else's, one command, every data file."""

import ast
import os
import subprocess
import sys
import sysconfig
import textwrap
import venv
import zipfile
from functools import cache
from importlib import import_module
from pathlib import Path

import pytest

import rediscover
from rediscover import command
from rediscover.installation import ForeignPackageError, check_packages

ROOT = Path(__file__).resolve().parents[1]
ROOMS = (
    "foundation", "expressions", "searches", "modules", "datamodules", "distillation", "runs", "reports",
    "callbacks", "configs", "rediscover", "benchmarks",
)  # fmt: skip
DOORS = ("train.py", "compare.py", "discover.py")


# ------------------------------------------------------------------------------------------- whose package it is


def test_our_own_packages_pass() -> None:
    check_packages(ROOMS)


@pytest.mark.parametrize("theirs", ["callbacks.py", "configs/__init__.py"])
def test_a_file_in_the_way_is_named(theirs: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / theirs
    file.parent.mkdir(exist_ok=True)
    file.touch()
    name = theirs.removesuffix(".py").removesuffix("/__init__")
    import_module(name)  # ours, but a process that is started later would find theirs
    monkeypatch.syspath_prepend(tmp_path)
    place = file if file.parent == tmp_path else file.parent
    with pytest.raises(
        ForeignPackageError, match=rf"^{name} belongs to rediscover, and {place} stands in its way: "
    ):
        check_packages(["expressions", name])
    check_packages(["expressions"])  # what is not needed may be anybody's
    with pytest.raises(ForeignPackageError, match=str(place)):
        rediscover.train  # noqa: B018


def test_a_package_that_was_imported_from_elsewhere_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "callbacks.py").touch()
    ours = sys.modules.pop("callbacks", None)
    with monkeypatch.context() as path:
        path.syspath_prepend(tmp_path)
        __import__("callbacks")
    try:
        with pytest.raises(ForeignPackageError, match=r"callbacks\.py stands in its way"):
            check_packages(["callbacks"])
    finally:
        del sys.modules["callbacks"]
        if ours is not None:
            sys.modules["callbacks"] = ours


def test_a_folder_without_an_init_is_in_nobodys_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "configs").mkdir()
    monkeypatch.syspath_prepend(tmp_path)
    check_packages(["configs"])


def test_a_package_that_is_missing_is_named() -> None:
    with pytest.raises(ForeignPackageError, match=r"^nowhere belongs to rediscover, and is missing .*install"):
        check_packages(["nowhere"])


@cache
def imported(path: Path) -> tuple[Path, ...]:
    """Files of ours that a file imports, anywhere in it but for type checkers."""
    tree = ast.parse(path.read_text("utf-8"))
    unread = {
        node for guard in ast.walk(tree) if isinstance(guard, ast.If) and "TYPE_CHECKING" in ast.dump(guard.test)
        for node in ast.walk(guard)
    }  # fmt: skip
    found = []
    for node in set(ast.walk(tree)) - unread:
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        for name in names:
            file = ROOT / f"{name.replace('.', '/')}.py"
            if file.is_file():
                found.append(file)
    return tuple(found)


def reached(file: Path) -> set[str]:
    """Packages that a file imports, directly or by way of others."""
    waiting, seen = [file], {file}
    while waiting:
        for found in imported(waiting.pop()):
            if found not in seen:
                seen.add(found)
                waiting.append(found)
    return {found.relative_to(ROOT).parts[0] for found in seen} - {"rediscover", file.name}


FACE = {ROOT / f"{module.replace('.', '/')}.py": packages for module, packages in rediscover._PACKAGES.items()}
BEHIND = {ROOT / f"{door}.py": packages for door, packages in command.PACKAGES.items()}


@pytest.mark.parametrize(
    "file", [file for file in {**FACE, **BEHIND} if file.is_file()], ids=lambda file: file.name
)
def test_every_package_behind_a_door_is_checked(file: Path) -> None:
    missing = reached(file) - set({**FACE, **BEHIND}[file])
    assert not missing, f"{file.name} imports {missing}: add them to the packages that are checked for it"


def test_every_name_of_the_face_has_its_packages() -> None:
    assert set(rediscover._PLACES) == set(rediscover.__all__)
    assert set(rediscover._PLACES.values()) == set(rediscover._PACKAGES)


# ----------------------------------------------------------------------------------------------------- the command


def test_help_names_every_verb_and_imports_nothing_heavy() -> None:
    code = (
        "import sys; from rediscover.command import main; code = main(['--help'])\n"
        "sys.exit(code or any(name in sys.modules for name in ('numpy', 'argparse', 'rich', 'hydra')))"
    )
    ended = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert ended.returncode == 0, ended.stderr
    assert all(f"rediscover {verb}" in ended.stdout for verb in ("TABLE", "predict", "network", *command.PACKAGES))


def test_without_a_word_the_command_says_what_it_wants(capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main([]) == 2
    assert capsys.readouterr().err == command.HELP


def test_compare_gets_the_words_behind_its_verb(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["compare", str(tmp_path / "nowhere")]) == 2
    assert "there is no directory" in capsys.readouterr().err
    with pytest.raises(SystemExit) as ended:
        command.main(["compare", "--help"])
    assert ended.value.code == 0
    assert capsys.readouterr().out.startswith("usage: rediscover compare ")


def test_train_keeps_every_override(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["rediscover", "untouched"])
    assert command.main(["train", "model=gmeql", "seed=12345", "--cfg", "job"]) == 0
    shown = capsys.readouterr().out
    assert "seed: 12345" in shown
    assert "modules.gmeql" in shown
    assert sys.argv == [str(ROOT / "train.py"), "--cfg", "job", "model=gmeql", "seed=12345"], (
        "by which Lightning starts the other processes of a run"
    )


def test_a_file_in_the_way_of_the_command_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "callbacks.py").touch()
    monkeypatch.syspath_prepend(tmp_path)
    assert command.main(["train"]) == 2
    assert capsys.readouterr().err == (
        f"error: callbacks belongs to rediscover, and {tmp_path / 'callbacks.py'} stands in its way: rename it, "
        "or run from another folder\n"
    )


# ------------------------------------------------------------------------------------------------------- the wheel


def source(folder: Path) -> Path:
    """A copy of what the wheel is built from: a build leaves its traces beside it."""
    from shutil import copy, copytree, ignore_patterns

    for room in ROOMS:
        copytree(ROOT / room, folder / room, ignore=ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE", *DOORS):
        if (ROOT / name).is_file():
            copy(ROOT / name, folder)
    return folder


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built without a network."""
    pip = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-index", "--no-deps", "--no-build-isolation"]
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run([*pip, "--wheel-dir", str(folder), str(source(tmp_path_factory.mktemp("source")))], check=True)
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def environment(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fresh environment with the wheel in it; packages of other people are looked up in this one."""
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder, with_pip=False, symlinks=True)
    python = folder / "bin" / "python"
    (site,) = folder.glob("lib/*/site-packages")
    (site / "others.pth").write_text(sysconfig.get_path("purelib"), "utf-8")
    pip = [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet", "--no-index", "--no-deps"]
    subprocess.run([*pip, str(wheel)], check=True)
    return folder


@pytest.fixture
def person(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with somebody's `configs/` and `callbacks.py`, which may never be run."""
    (tmp_path / "configs").mkdir()
    for name in ("callbacks.py", "configs/__init__.py"):
        (tmp_path / name).write_text("raise SystemError('not ours')\n", "utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PYTHONPATH", raising=False)
    return tmp_path


def run(*words: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        list(map(str, words)), capture_output=True, text=True, timeout=120, env={**os.environ, **environment}
    )


@pytest.mark.slow
def test_the_wheel_holds_every_file_that_is_not_python(wheel: Path) -> None:
    held = set(zipfile.ZipFile(wheel).namelist())
    for room in ROOMS:
        for file in (ROOT / room).rglob("*"):
            if file.is_file() and file.suffix not in (".pyc", ".md"):
                assert file.relative_to(ROOT).as_posix() in held
    assert {door for door in DOORS if (ROOT / door).is_file()} <= held
    assert not any(name.startswith(("tests/", "docs/", "logs/")) for name in held)


@pytest.mark.slow
def test_the_installed_command_ignores_what_lies_in_a_persons_folder(environment: Path, person: Path) -> None:
    tool = environment / "bin" / "rediscover"
    assert run(tool, "--help").stdout == command.HELP
    small = [
        "experiment=smoke",
        "search=none",
        "logger=csv",
        "trainer.max_epochs=1",
        "data.max_rows=100",
        "seed=7",
    ]
    ended = run(tool, "train", *small, "trainer.accelerator=cpu")
    assert ended.returncode == 0, ended.stderr
    (results,) = person.glob("logs/autoencoder/*/results.json")
    assert "seed: 7" in (results.parent / ".hydra" / "config.yaml").read_text("utf-8")
    shown = run(tool, "compare")
    assert results.parent.name in shown.stdout
    refused = run(tool, "train", PYTHONPATH=str(person))
    assert (refused.returncode, refused.stdout) == (2, "")
    assert refused.stderr.startswith(
        f"error: callbacks belongs to rediscover, and {person / 'callbacks.py'} stands"
    )


@pytest.mark.slow
def test_a_script_in_a_persons_folder_uses_what_it_can(environment: Path, person: Path) -> None:
    script = """
        import rediscover
        assert not rediscover.__file__.startswith(ROOT), rediscover.__file__
        from rediscover.installation import check_packages
        check_packages(["foundation", "expressions", "searches"])
        import searches.genetic_programming
        try:
            rediscover.train
        except ImportError as error:
            print(error)
    """
    (person / "script.py").write_text(f"ROOT = {str(ROOT)!r}\n{textwrap.dedent(script)}", "utf-8")
    ended = run(environment / "bin" / "python", "script.py")
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.startswith(
        f"callbacks belongs to rediscover, and {person / 'callbacks.py'} stands in its way"
    )
