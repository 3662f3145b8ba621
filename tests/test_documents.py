"""The documents: every link leads somewhere, every command is one that the program takes, every block of Python
runs."""

import os
import re
import shlex
import shutil
import subprocess
import sys
import textwrap
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.house import ROOMS, ROOT

DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")), *sorted((ROOT / "modules").rglob("*.md"))]
PLACES = re.compile(rf"`((?:{'|'.join((*ROOMS, 'rediscover', 'benchmarks', 'tests', 'docs'))})/[\w./*]*)`")
CONTRIBUTING = (ROOT / "docs" / "contributing.md").read_text("utf-8")

# Commands that are run for real, with the overrides that make them small. All others are composed and checked.
RUN = {
    "python train.py model=gmeql data=tabular data.path=docs/gas.csv data.target=pressure search.seconds=20": (
        "logger=csv",
        "search.seconds=3",
        "search.simplify_seconds=0",
    ),
    "python compare.py --sort test/r2_median --html report.html": (),
    "python -m reports.table_picture RUN_DIR docs/gas.csv docs/table_to_equation.png": (),
}
# Commands of the recipes, for what a reader of docs/contributing.md has added: run together, in a copy.
RECIPES = (
    "python train.py data=diabetes experiment=smoke",
    "python train.py search=single_column trainer.max_epochs=1 data.max_rows=500",
)
PATTERNS = ("python train.py GROUP=PRESET KEY=VALUE", "python -m benchmarks SUITE")


def unfenced(text: str) -> str:
    return re.sub(r"^ *```.*?^ *```", "", text, flags=re.DOTALL | re.MULTILINE)


def blocks(path: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", path.read_text("utf-8"), flags=re.DOTALL | re.MULTILINE)


def anchors(path: Path) -> set[str]:
    """The anchors that GitHub gives a page's headings."""
    headings = re.findall(r"^#+ (.+)$", unfenced(path.read_text("utf-8")), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def scripts() -> list[str]:
    return [block for path in DOCUMENTS for block in blocks(path, "bash") if block.startswith("#!")]


def shown(path: Path) -> Iterator[str]:
    """Every command of a page: the lines of its blocks, without comments, and what stands in the text."""
    for block in blocks(path, "bash"):
        if not block.startswith("#!"):
            for line in block.splitlines():
                yield from re.split(r" && ", re.sub(r"\s#\s.*", "", line).strip())
    for code in re.findall(r"`([^`]+)`", unfenced(path.read_text("utf-8"))):
        command = " ".join(code.split())
        if command.startswith(("python ", "pip ")):
            yield command


COMMANDS = sorted({command for path in DOCUMENTS for command in shown(path) if command})


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_every_link_leads_to_a_file_and_a_heading(path: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", unfenced(path.read_text("utf-8"))):
        if target.startswith("https://"):
            continue
        name, _, anchor = target.partition("#")
        file = (path.parent / name).resolve() if name else path
        assert file.is_file(), f"{path.name} links to {target}"
        assert not anchor or anchor in anchors(file), f"{path.name} links to {target}: {sorted(anchors(file))}"


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_every_file_that_is_named_exists(path: Path) -> None:
    for name in PLACES.findall(path.read_text("utf-8")):
        new = name in recipe_files() or "NAME" in name
        assert new or list(ROOT.glob(name.rstrip("/"))), f"{path.name} names {name}"


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_every_row_of_a_table_has_as_many_cells_as_its_head(path: Path) -> None:
    rows = [
        (number, line) for number, line in enumerate(path.read_text("utf-8").splitlines()) if line.startswith("|")
    ]
    width, last = 0, -2
    for number, line in rows:
        cells = re.sub(r"`[^`]*`", "", line).count("|")
        width = cells if number != last + 1 else width
        assert cells == width, f"{path.name}:{number + 1} {line}"
        last = number


def test_the_front_page_is_short() -> None:
    assert len((ROOT / "README.md").read_text("utf-8").splitlines()) <= 200


# ------------------------------------------------------------------------------------------- commands


@pytest.fixture
def checked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[list[str]], None]]:
    """`checked(arguments of train.py)` composes the configuration and checks it; the files it names are there."""
    import hydra
    from hydra.core.global_hydra import GlobalHydra

    from configs.validation import check_config
    from datamodules.tables.problems import names_of

    (tmp_path / "docs").symlink_to(ROOT / "docs")
    houses = "".join(f"{row % 5},{row % 7},{row * row}\n" for row in range(40))
    (tmp_path / "houses.csv").write_text("rooms,age,price\n" + houses, encoding="utf-8")
    (tmp_path / "net.safetensors").write_bytes((2).to_bytes(8, "little") + b"{}")
    (tmp_path / "net.pt").write_bytes(b"PK\x03\x04")  # what torch saves is a zip archive
    (tmp_path / "net.onnx").touch()
    monkeypatch.chdir(tmp_path)

    def check(arguments: list[str]) -> None:
        overrides = []
        for argument in arguments:
            key, equals, value = argument.partition("=")
            if key in ("-m", "--help", "resume", "ckpt_path", "hydra/launcher", "hydra/sweeper"):
                continue
            if key.startswith("hydra.launcher."):  # tests/test_sweeps.py
                continue
            assert equals, argument
            if "-m" in arguments:
                value = value.split(",")[0]
            if key == "data.problem":
                value = names_of(value)[0]
            overrides.append(f"{'model.init' if key == 'init' else key}={value}")
        GlobalHydra.instance().clear()
        with hydra.initialize_config_dir(str(ROOT / "configs"), version_base="1.3"):
            check_config(hydra.compose("train", overrides))

    yield check
    GlobalHydra.instance().clear()


def check_benchmark(arguments: list[str]) -> None:
    """The suite, its methods, problems and settings exist."""
    from benchmarks.__main__ import _parser, _settings
    from benchmarks.suites import suite

    options = _parser().parse_args(arguments)
    chosen = suite(options.suite)
    cells = chosen.cells(
        methods=options.methods,
        problems=options.problems,
        seeds=options.seeds or chosen.seeds,
        settings=_settings(chosen, options),
        out="logs",
    )
    assert cells


def check_install(arguments: list[str]) -> None:
    """The constraints and the extra exist."""
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["optional-dependencies"]
    assert arguments[:4] == ["install", "-c", "constraints.txt", "-e"]
    assert (ROOT / "constraints.txt").is_file()
    assert arguments[4] == "." or arguments[4].removeprefix(".[").removesuffix("]") in extras


def check_comparison(arguments: list[str]) -> None:
    import compare

    with pytest.raises(SystemExit) as ended:  # after the arguments are understood, before any run is read
        compare.main([*arguments, "--help"])
    assert ended.value.code == 0


def check_discovery(arguments: list[str]) -> None:
    """Every word is one that the door understands, and a table that is named is there."""
    import discover

    verb = arguments[0] if arguments[0] in discover.VERBS else "discover"
    parser, _ = discover.VERBS[verb]
    given = parser("discover.py").parse_args(arguments[verb != "discover" :])
    if str(getattr(given, "table", "")).startswith("docs/"):
        assert (ROOT / given.table).is_file()


def check_installed(arguments: list[str], checked: Callable[[list[str]], None]) -> None:
    """The verb exists, and its door takes the words behind it."""
    from rediscover.command import main

    if arguments[0] == "train":
        checked(arguments[1:])
    elif arguments[0] == "compare":
        check_comparison(arguments[1:])
    elif arguments == ["--help"]:
        assert main(arguments) == 0
    elif (ROOT / "discover.py").is_file():
        with pytest.raises(SystemExit) as ended:
            main([*arguments, "--help"])
        assert ended.value.code == 0


@pytest.mark.parametrize("text", COMMANDS)
def test_every_command_is_one_that_the_program_takes(text: str, checked: Callable[[list[str]], None]) -> None:
    words = shlex.split(text)
    if text in RECIPES or text in PATTERNS:
        return
    if words[:2] == ["python", "train.py"]:
        checked(words[2:])
    elif words[:3] == ["python", "-m", "benchmarks"]:
        check_benchmark(words[3:])
    elif words[:2] == ["python", "compare.py"]:
        check_comparison(words[2:])
    elif words[:2] == ["python", "discover.py"]:
        check_discovery(words[2:])
    elif words[0] == "rediscover":
        check_installed(words[1:], checked)
    elif words[0] == "pip":
        check_install(words[1:])
    elif words[:3] == ["python", "-m", "reports.table_picture"]:
        assert len(words) == 6
    elif words[:3] == ["python", "-m", "tests.fuzz"]:
        from tests.fuzz.__main__ import parsed
        from tests.fuzz.readers import READERS

        arguments = parsed(words[3:])
        assert arguments.minutes > 0
        assert arguments.readers
        assert set(arguments.readers) <= {*READERS, "all"}
    elif words[:3] == ["python", "-m", "tests.murder"]:
        from tests.murder.__main__ import parsed as parsed_murder

        assert parsed_murder(words[3:]).moments > 0
    elif words[:3] == ["python", "-m", "benchmarks.trust_calibration"]:
        from benchmarks.trust_calibration import parsed as parsed_calibration

        assert parsed_calibration(words[3:]).judge
    elif words[:3] == ["python", "-m", "reports.transcripts"]:
        assert all((ROOT / page).is_file() for page in words[3:])
    else:
        assert text in ("pytest", "mypy", "ruff check .", "ruff format --check ."), (
            f"{text}: say how to check this"
        )


@pytest.mark.parametrize("script", scripts(), ids=range(len(scripts())))
def test_every_script_is_sound(script: str, checked: Callable[[list[str]], None], tmp_path: Path) -> None:
    """A script for SLURM or torchrun: Bash reads it, and what it starts is a configuration."""
    (tmp_path / "launchers").mkdir()
    for name in ("torchrun", "srun", "python"):
        (tmp_path / "launchers" / name).write_text(
            '#!/bin/bash\nprintf "%s\\n" "$@" > started\n', encoding="utf-8"
        )
        (tmp_path / "launchers" / name).chmod(0o755)
    environment = {"PATH": f"{tmp_path / 'launchers'}:{os.environ['PATH']}", "SLURM_ARRAY_TASK_ID": "3"}
    ended = subprocess.run(["bash"], input=script, text=True, capture_output=True, env=environment, cwd=tmp_path)
    assert ended.returncode == 0, ended.stderr
    started = (tmp_path / "started").read_text("utf-8").splitlines()
    door = started.index("train.py")
    checked([word for word in started[door + 1 :] if not word.startswith("hydra.")])


def test_commands_of_the_front_page_run(command: Callable, tmp_path: Path) -> None:
    """Your own table, the comparison of runs, and the picture of the table."""
    import compare
    from reports.table_picture import main as draw

    assert set(RUN) <= set(COMMANDS), "a command that is run here is no longer shown"
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "gas.csv").write_bytes((ROOT / "docs" / "gas.csv").read_bytes())
    for text, small in RUN.items():
        words = shlex.split(text)
        if words[1] == "train.py":
            ended = command(*words[2:], *small)
            assert ended.code == 0, ended.err
        elif words[1] == "compare.py":
            assert compare.main(words[2:]) == 0
            assert (tmp_path / "report.html").stat().st_size > 10_000
        else:
            run = next((tmp_path / "logs" / "gmeql").iterdir())
            draw([str(run), *words[4:]])
            assert (tmp_path / words[5]).read_bytes().startswith(b"\x89PNG")


# -------------------------------------------------------------------------------------------- recipes


def recipes() -> list[tuple[str, str]]:
    """The steps that write something: the file that a step begins with, and its first block."""
    steps = re.split(r"^\d+\. ", CONTRIBUTING, flags=re.MULTILINE)[1:]
    found = [
        (re.match(r"`([\w./]+)`", step), re.search(r"^( *)```\w+\n(.*?)^ *```", step, re.DOTALL | re.MULTILINE))
        for step in steps
    ]
    return [(file[1], textwrap.dedent(block[2])) for file, block in found if file and block]


def recipe_files() -> set[str]:
    return {file for file, _ in recipes()}


def add_to(path: Path, before: str, text: str) -> None:
    old = path.read_text("utf-8")
    assert before in old, f"{path.name} has no {before!r}"
    path.write_text(old.replace(before, f"{text}{before}", 1), encoding="utf-8")


def test_recipes_work_as_they_are_written(tmp_path: Path) -> None:
    """An operator, a data set and a search, added to a copy of the house as the page says, and used together."""
    without = shutil.ignore_patterns("__pycache__", "*.safetensors")
    for room in (*ROOMS, "rediscover"):
        shutil.copytree(ROOT / room, tmp_path / room, ignore=without)
    shutil.copy(ROOT / "train.py", tmp_path)
    for file, block in recipes():
        path = tmp_path / file
        old = path.read_text("utf-8") if path.exists() else ""
        path.write_text(f"{old}\n\n{block}" if old else block, encoding="utf-8")
    registry = tmp_path / "configs" / "registry.py"
    rows = re.findall(r'`("[\w.]+": \(.+?\)\),)`', CONTRIBUTING.replace("\n", " "))
    imports = re.findall(r"the import `(from [\w.]+ import \w+)`", CONTRIBUTING)
    assert len(rows) == len(imports) == 2
    add_to(registry, '}\n"""', "".join(f"    {row}\n" for row in rows))
    add_to(registry, "\n__all__", "".join(f"{line}\n" for line in imports))
    operator = re.search(r"^   (Operator\(\n.*?^   \))$", CONTRIBUTING, re.DOTALL | re.MULTILINE)
    assert operator is not None
    add_to(tmp_path / "expressions" / "operators.py", ")  # fmt: skip\n", f"{operator[1]},\n")
    arguments = [word for text in RECIPES for word in shlex.split(text)[2:] if not word.startswith("experiment=")]
    use = """
import sys, numpy as np, train
from expressions.parsing import parse
print("asinh", parse("asinh(x0)")(np.array([[1.0]]))[0])
train.main()
"""
    ended = subprocess.run(
        [sys.executable, "-c", use, *arguments, "logger=csv"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
    )
    assert ended.returncode == 0, ended.stderr
    assert "asinh 0.88137358" in ended.stdout
    assert "autoencoder on diabetes" in ended.stdout
    assert "target = " in ended.stdout


# --------------------------------------------------------------------------------------------- Python


PYTHON = [(path.name, block) for path in DOCUMENTS for block in blocks(path, "python")]
SMALLER = {
    "(seconds=10)": "(seconds=1, simplify_seconds=0)",
    "seconds=5,": "seconds=1, simplify_seconds=0,",
    "max_epochs=5": "max_epochs=1",
    '"search.seconds=10"': '"search.seconds=1", "search.simplify_seconds=0"',
}


def test_every_block_of_python_runs(tmp_path: Path) -> None:
    """One after the other, as a reader would, each on its own."""
    (tmp_path / "docs").symlink_to(ROOT / "docs")
    assert all(any(long in block for _, block in PYTHON) for long in SMALLER)
    lines = []
    for number, (name, block) in enumerate(PYTHON):
        for long, short in SMALLER.items():
            block = block.replace(long, short)
        lines.append(f"exec(compile({block!r}, {f'{name} block {number}'!r}, 'exec'), {{'__name__': 'block'}})")
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    ended = subprocess.run(
        [sys.executable, "-c", "\n".join(lines)], cwd=tmp_path, capture_output=True, text=True, env=environment
    )
    assert ended.returncode == 0, ended.stderr
    assert "mass/distance**2" in ended.stdout
