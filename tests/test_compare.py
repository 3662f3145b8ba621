"""compare.py reads whatever lies on the disk, and its report is one file that runs and fetches nothing."""

import json
import re
import subprocess
import sys
import time
from html.parser import HTMLParser

import pytest

import compare
from expressions.expression import Expression
from expressions.operators import OPERATORS
from foundation.errors import UserError
from reports import run_comparison
from reports.html_parts.curves import curves_svg
from reports.html_parts.typesetting import typeset
from runs.reader import find_runs, read_front, read_run

PIXEL = bytes.fromhex(
    "89504e470d0a1a0a0000000d49484452000000010000000108060000001f15c4890000000d49444154789c626001000000ffff03000006000557bfabd4"
    "0000000049454e44ae426082"
)


def results(seed=0, r2=0.9, **metrics):
    """The content of a results.json."""
    equation = {
        "problem": "california",
        "target": "latent_0",
        "infix": "0.5*HouseAge + 2",
        "complexity": 5,
        "train_r2": r2,
        "latex": r"0.5 \, \mathrm{HouseAge} + 2",
        "test_r2": r2,
        "test_mse": 0.1,
        "recovered": None,
        "equivalent": None,
        "seconds": 3.0,
        "evaluations": 1000,
    }
    return {
        "schema": 1,
        "model": "autoencoder",
        "data": "california",
        "seed": seed,
        "wandb_run_id": "abc",
        "seconds": {"fit": 10.0 + seed, "test": 1.0, "search": 5.0},
        "metrics": {"test/r2_median": r2, "search/seconds": 5.0 + seed, **metrics},
        "equations": [equation],
    }


def make(root, name, content, text=None):
    """A run directory; `content` None: unfinished."""
    path = root / name
    (path / ".hydra").mkdir(parents=True)
    (path / ".hydra" / "config.yaml").write_text("seed: 7\n")
    (path / ".hydra" / "hydra.yaml").write_text(
        "hydra:\n  runtime:\n    choices:\n      model: gmeql\n      data: tabular\n"
    )
    (path / "metrics.csv").write_text("epoch,step,fit/loss\n0,1,1.5\n1,2,0.25\n")
    if content is not None or text is not None:
        (path / "results.json").write_text(json.dumps(content) if text is None else text)
    return path


@pytest.fixture
def logs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    root = tmp_path / "logs"
    make(root, "autoencoder/good", results(0, 0.9))
    make(root, "autoencoder/better", results(1, 0.99, **{"test/only_here": 3.0}))
    make(root, "gmeql/unfinished", None)
    make(root, "gmeql/torn", None, json.dumps(results())[:200])
    (root / "wandb").mkdir()
    (root / "wandb" / "results.json").write_text("{}")
    return root


def test_all_runs_are_found_and_those_of_wandb_are_not(logs):
    assert [path.name for path in find_runs(logs)] == ["better", "good", "torn", "unfinished"]


def test_states(logs):
    good, torn, unfinished = (
        read_run(logs / name) for name in ("autoencoder/good", "gmeql/torn", "gmeql/unfinished")
    )
    assert (good.state, good.model, good.data, good.seed, good.metrics["seconds/fit"]) == (
        "finished",
        "autoencoder",
        "california",
        "0",
        10.0,
    )
    assert torn.state == "torn"
    assert "not whole" in torn.problem
    assert unfinished.state == "unfinished"
    for run in (torn, unfinished):  # what Hydra and the logger left is shown
        assert (run.model, run.data, run.seed) == ("gmeql", "tabular", "7")
        assert run.metrics == {"fit/loss": 0.25}


def test_a_run_in_the_middle_of_its_search_shows_what_it_has(tmp_path):
    path = make(tmp_path, "run", results() | {"phase": "search"})
    (path / "metrics.csv").unlink()
    for attempt, loss in (
        ("9", 0.5),
        ("10", 0.125),
    ):  # not merged yet, and to be read in the order of their numbers
        (path / "attempts" / attempt).mkdir(parents=True)
        (path / "attempts" / attempt / "metrics.csv").write_text(f"epoch,fit/loss\n{attempt},{loss}\n")
    run = read_run(path)
    assert (run.state, run.problem) == ("unfinished", "in its search phase")
    assert run.metrics["test/r2_median"] == 0.9
    assert run.metrics["fit/loss"] == 0.125
    make(tmp_path, "done", results() | {"phase": "done"})
    assert read_run(tmp_path / "done").state == "finished"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "null",
        "{}",
        '{"metrics": [1]}',
        '{"metrics": {"a": "x"}}',
        "[" * 100_000,
        "\x00",
        '{"metrics": {"test/r2_median": NaN}}',
        '{"metrics": {"a": true, "b": 1e999}, "equations": [1, null]}',
    ],
)
def test_any_content_is_survived(tmp_path, text):
    make(tmp_path, "run", None, text)
    (tmp_path / "run" / "equations.csv").write_bytes(b"\xff,\x00\n" + text.encode()[:50])
    run = read_run(tmp_path / "run", curves=True)
    assert run.state in ("finished", "torn")
    assert "test/r2_median" not in run.metrics
    assert compare.main([str(tmp_path), "--html", str(tmp_path / "r.html")]) == 0


def test_best_is_first_whichever_way_is_better(logs):
    runs = run_comparison.collect([logs])
    assert [run.name for run in run_comparison.order(runs)][:2] == ["autoencoder/better", "autoencoder/good"]
    assert [run.name for run in run_comparison.order(runs, "seconds/fit")][:2] == [
        "autoencoder/good",
        "autoencoder/better",
    ]
    assert run_comparison.order(runs, "test/r2_median", ascending=True)[0].name == "autoencoder/good"
    assert run_comparison.best(runs, "test/r2_median") == 0.99
    assert run_comparison.best(runs, "search/seconds") == 5.0


@pytest.mark.parametrize(
    ("metric", "lower"),
    [
        ("test/r2_median", False),
        ("search/1-r2_median", True),
        ("test/reconstruction_mse", True),
        ("search/seconds", True),
        ("zoo/networks_per_second", False),
        ("fit/samples_per_second", False),
        ("test/accuracy_rate", False),
        ("search/complexity_median", True),
        ("test/something", None),
    ],
)
def test_which_way_is_better(metric, lower):
    assert run_comparison.lower_is_better(metric) is lower


def test_the_table_marks_the_best_and_shows_the_unfinished(logs, capsys):
    assert compare.main([]) == 0
    shown = capsys.readouterr().out
    assert "0.99 *" in shown
    assert "0.9 *" not in shown
    assert re.search(r"gmeql/unfinished \(unfinished\): epoch 1: fit/loss 0.25", shown)
    assert "results.json is not whole" in shown


def test_sorting_by_any_metric_shows_its_column(logs, capsys):
    assert compare.main(["--sort", "test/only_here"]) == 0
    assert "only_here" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--sort", "test/r2_medain"], "did you mean test/r2_median"),
        (["nowhere"], "no directory 'nowhere'"),
        (["empty"], "holds no run"),
        (["--html", "nowhere/r.html"], "cannot be written"),
    ],
)
def test_mistakes_end_with_a_sentence_and_code_2(logs, capsys, arguments, sentence):
    (logs.parent / "empty").mkdir()
    assert compare.main(arguments) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert sentence in error
    assert error.count("\n") == 1


def test_a_hundred_runs_take_less_than_a_second_and_no_torch(tmp_path):
    for index in range(100):
        make(tmp_path, f"run{index}", results(index) if index % 2 else None)
    code = (
        "import sys, time; start = time.perf_counter(); import compare; compare.main(sys.argv[1:])\n"
        "taken = time.process_time(); print(taken, file=sys.stderr)\n"
        "sys.exit(any(name in sys.modules for name in ('torch', 'matplotlib', 'lightning')))"
    )
    begin = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    assert float(done.stderr) < 2.0, (
        time.perf_counter() - begin
    )  # CPU seconds, start of Python included; alone 0.5


class Tags(HTMLParser):
    """Collects a page's tags and checks that they close."""

    VOID = ("meta", "img", "wbr", "link", "br")

    def __init__(self, text):
        super().__init__()
        self.open, self.seen, self.text = [], [], ""
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.seen.append((tag, dict(attributes)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.seen.append((tag, dict(attributes)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data


EVIL = "<script>alert(1)</script>\" onload='x' &amp; <img src=http://example.org/x.png>"


def test_the_report_is_one_file_that_runs_and_fetches_nothing(tmp_path):
    content = results()
    content["model"] = content["data"] = content["wandb_run_id"] = EVIL
    content["metrics"][EVIL] = 1.0
    content["equations"] += [dict.fromkeys(content["equations"][0], EVIL)]
    path = make(tmp_path, "a & b <i>", content)
    (path / "plots").mkdir()
    (path / "plots" / "latent_0_front.png").write_bytes(PIXEL)
    (path / "plots" / "torn.png").write_bytes(b"")
    (path / "metrics.csv").write_text("epoch,<img onerror=x>_loss\n0,1\n1,2\n")
    (path / "equations.csv").write_text(
        "problem,target,trial,chosen,infix,latex,complexity,train_r2,validation_r2,test_r2,test_mse\n"
        'p,latent_0,0,True,"<b>x</b>",x,1,0.5,0.5,0.5,0.1\np,latent_0,0,Fal'
    )
    report = tmp_path / "report.html"
    assert compare.main([str(tmp_path), "--html", str(report)]) == 0
    text = report.read_text()
    page = Tags(text)
    assert page.open == []
    names = {tag for tag, _ in page.seen}
    assert not names & {"script", "link", "iframe", "object", "i", "base"}
    for _, attributes in page.seen:
        assert not any(name.startswith("on") for name in attributes)
        assert attributes.get("src", "data:image/png;base64,").startswith("data:image/png;base64,")
        assert attributes.get("href", "#").startswith("#")
    assert sum(tag == "img" for tag, _ in page.seen) == 1
    assert "torn.png is not a whole PNG file" in page.text
    assert EVIL in page.text
    assert "prefers-color-scheme:dark" in text
    assert [attributes.get("class") for tag, attributes in page.seen if tag == "svg"] == ["math", "curves"]
    assert len(read_front(path)) == 1  # not the row that was cut short


def test_equations_are_typeset_for_every_operator():
    for operator in OPERATORS:
        expression = Expression.apply(operator.name, *(Expression.variable(j) for j in range(operator.arity)))
        assert typeset(expression.latex(["House_Age", "x_1"])) is not None, operator.name


def test_long_equations_are_broken_and_impossible_ones_left_as_text():
    term = r"1.25 \, \mathrm{HouseAge}^{2} \sin\left(x + 1\right)"
    drawn = typeset(" + ".join([term] * 12))
    assert drawn is not None
    assert drawn.count("<path") >= 3
    assert float(re.search(r'width="([\d.]+)em"', drawn)[1]) < 60
    assert typeset(r"\begin{cases} x") is None
    assert typeset("") is None
    assert typeset("x + " * 2000) is None


@pytest.mark.parametrize(
    "points", [[(0, 1), (1, 1)], [(0, -1), (5, 3)], [(0, 1e-30), (3, 1e30)], [(2, 0), (2, 0)]]
)
def test_curves_of_any_range_are_drawn(points):
    drawn = curves_svg({"a": [(float(x), float(y)) for x, y in points]})
    assert "nan" not in drawn
    assert "polyline" in drawn
    Tags(drawn)


def test_a_single_run_directory_may_be_given(logs):
    assert [run.name for run in run_comparison.collect([logs / "autoencoder" / "good"])] == ["good"]
    with pytest.raises(UserError):
        run_comparison.collect([logs / "wandb" / "nothing"])


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (0.9999963, "0.9999963"),
        (0.99961, "0.99961"),
        (0.998, "0.998"),
        (1.0, "1"),
        (12345.0, "12,345"),
        (0.5, "0.5"),
    ],
)
def test_r2_near_1_is_told_from_1(value: float, shown: str) -> None:
    from runs.reader import digits

    assert digits(value) == shown
