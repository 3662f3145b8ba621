"""compare.py reads whatever lies on the disk, and its report is one file that runs and fetches nothing."""

import io
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
from reports.html_parts import run_groups
from reports.html_parts.allowance import Allowance
from reports.html_parts.curves import curves_svg
from reports.html_parts.formulas import equation
from reports.html_report import write_report
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


def test_a_terminal_without_unicode_is_shown_the_table(logs, monkeypatch):
    narrow = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr(sys, "stdout", narrow)
    assert compare.main([]) == 0
    narrow.flush()
    assert b"runs" in narrow.buffer.getvalue()


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
    assert [tag for tag, _ in page.seen if tag in ("math", "svg")] == ["math", "svg"]
    assert len(read_front(path)) == 1  # not the row that was cut short


def test_equations_are_typeset_for_every_operator():
    for operator in OPERATORS:
        expression = Expression.apply(operator.name, *(Expression.variable(j) for j in range(operator.arity)))
        drawn = equation("y", expression.infix(["House_Age", "x_1"]), Allowance(5000), 100)
        assert drawn.startswith("<math"), operator.name
        assert "<mi>y</mi><mo>=</mo>" in drawn
        assert "as text" in drawn
        Tags(drawn)


@pytest.mark.parametrize(
    ("infix", "room"),
    [
        (EVIL, 5000),
        ("", 5000),
        ("sin(", 5000),
        (" + ".join(["sin(1.5*x)"] * 500), 10**6),  # nobody reads it typeset
        ("x*2", 20),
    ],
)
def test_what_cannot_be_typeset_is_shown_as_text(infix, room):
    left = Allowance(room)
    drawn = equation(EVIL, infix, left, 100)
    assert drawn.startswith("<code>")
    assert len(Tags(drawn).text) <= 101
    assert left.left == room, "what is not shown takes no room"


MEGABYTE = 1_000_000
LONG = " + ".join(f"{k}.123456789*sin({k}.5*HouseAge)" for k in range(1, 40))


def record(root, number, *, data="california", settings=(), long=True):
    """A run directory as a long search leaves it: a long equation, a front, a history, a plot."""
    content = results(number, 0.9 + number / 1e4, **{f"test/other_{k}": k / 7 for k in range(30)})
    content["data"] = data
    content["equations"][0] |= {"infix": LONG} if long else {}
    path = make(root, f"{data}_{number}", content)
    (path / ".hydra" / "overrides.yaml").write_text(json.dumps(["model=autoencoder", f"seed={number}", *settings]))
    (path / "metrics.csv").write_text(
        "epoch,step,fit/loss,fit/other_loss\n" + "".join(f"{k},{k},{1 + k % 7},{k}.5\n" for k in range(200))
    )
    head = "problem,target,trial,chosen,infix,complexity,train_r2,validation_r2,test_r2,test_mse\n"
    row = f"p,latent_0,0,False,{LONG},99,0.5,0.5,0.5,0.1\n"
    (path / "equations.csv").write_text(head + row * 30)
    (path / "plots").mkdir()
    (path / "plots" / "values.png").write_bytes(PIXEL + bytes(50_000))
    return path


def written(root):
    """The report of all runs in a directory, as text."""
    runs = run_comparison.order(run_comparison.collect([root], curves=True))
    write_report(runs, run_comparison.columns(runs), root / "report.html")
    return (root / "report.html").read_text()


@pytest.mark.parametrize("kind", ["one sweep of seeds", "every run other data and settings"])
def test_a_report_of_500_runs_is_below_a_megabyte(kind, tmp_path):
    for number in range(500):
        sweep = kind == "one sweep of seeds"
        data, settings = ("california", []) if sweep else (f"table_{number // 5}", [f"model.latents={number}"])
        record(tmp_path, number, data=data, settings=settings)
    text = written(tmp_path)
    assert 300_000 < len(text.encode()) < MEGABYTE
    page = Tags(text)
    assert page.open == []
    anchors = {attributes["id"] for _, attributes in page.seen if "id" in attributes}
    links = {attributes["href"] for tag, attributes in page.seen if tag == "a"}
    assert links
    assert links <= {f"#{anchor}" for anchor in anchors}, "every link leads somewhere"
    assert "for which this page has no room" in page.text
    assert any(tag == "math" for tag, _ in page.seen)


def test_seeds_are_averaged_and_their_runs_folded_away(tmp_path):
    for number in range(3):
        record(tmp_path, number, long=False)
    text = written(tmp_path)
    page = Tags(text)
    assert "3 runs · seeds 0, 1, 2" in page.text
    assert re.search(r"0\.9001\s*± 0\.0001", page.text), "mean and standard deviation of 0.9, 0.9001, 0.9002"
    folded = text[text.index("<summary>3 single runs") : text.index("<h2>Runs</h2>")]
    assert re.findall(r"california_<wbr>(\d)", folded) == ["2", "1", "0"]
    assert "the best of 3, test R² 0.9002, california_2" in page.text
    assert text.count("<math") == 1, "one equation is typeset, not three"


def test_equations_come_before_all_else(tmp_path):
    record(tmp_path, 0)
    text = written(tmp_path)
    marks = ("<math", 'class="overview"', "single run", 'class="curves"', "<img")
    places = [text.index(mark) for mark in marks]
    assert places == sorted(places)


def test_runs_are_grouped_by_data_model_and_settings(tmp_path):
    for number, (data, settings) in enumerate(
        [("a", []), ("b", []), ("a", ["model.latents=3"]), ("a", []), ("b", ["logger=csv"])]
    ):
        record(tmp_path, number, data=data, settings=settings, long=False)
    groups = run_groups.grouped(run_comparison.order(run_comparison.collect([tmp_path], curves=True)))
    assert [(group.data, group.settings, [run.seed for run in group.runs]) for group in groups] == [
        ("b", "", ["4", "1"]),  # best first; a logger makes no other experiment
        ("a", "", ["3", "0"]),
        ("a", "model.latents=3", ["2"]),
    ]


def test_runs_that_are_not_finished_count_in_no_mean(tmp_path):
    record(tmp_path, 0, long=False)
    unfinished = record(tmp_path, 5, long=False)
    content = json.loads((unfinished / "results.json").read_text())
    (unfinished / "results.json").write_text(json.dumps(content | {"phase": "search"}))
    (group,) = run_groups.grouped(run_comparison.collect([tmp_path], curves=True))
    assert len(group.runs) == 2
    assert group.metric("test/r2_median") == run_groups.Spread(0.9, 0.0, 1)
    assert group.metric("nowhere") is None


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


HIDDEN = "\x1b]0;mine\x07\x1b[2J\u202ekcart \ud800\r"
"""What a terminal obeys, what turns a line around, and half a character."""


def test_one_bad_run_ends_no_report_and_nothing_reaches_the_terminal(tmp_path, capsys, monkeypatch):
    make(tmp_path, "good", results(0, 0.9))
    for number, extreme in enumerate((1.7e308, -1.7e308, 1.7e308)):
        content = results(number, 0.5, **{HIDDEN: 1.0, "test/huge": extreme})
        content |= {"model": HIDDEN, "data": HIDDEN, "seed": HIDDEN, "wandb_run_id": HIDDEN}
        content["equations"] += [
            {"problem": HIDDEN, "target": [HIDDEN], "infix": {"a": HIDDEN}, "test_r2": extreme}
        ]
        path = make(tmp_path, f"bad{number}", content)
        (path / "metrics.csv").write_text("epoch,fit/loss\n0,1.7e308\n1,-1.7e308\n")
    make(tmp_path, "broken", results())
    read = run_comparison.read_run

    def read_but_one(path, *arguments, **options):
        return 1 // 0 if path.name == "broken" else read(path, *arguments, **options)

    monkeypatch.setattr(run_comparison, "read_run", read_but_one)
    report = tmp_path / "report.html"
    assert compare.main([str(tmp_path), "--html", str(report), "--sort", HIDDEN]) == 0
    assert compare.main([str(tmp_path), "--sort", f"{HIDDEN}x"]) == 2
    shown = "".join(capsys.readouterr())
    assert all(letter.isprintable() or letter == "\n" for letter in shown)
    for text in (shown, report.read_text()):
        assert "good" in text
        assert "cannot be read (ZeroDivisionError" in text
    assert Tags(report.read_text()).open == []


def test_a_part_of_the_page_that_fails_is_a_line(tmp_path, monkeypatch):
    record(tmp_path, 0)
    record(tmp_path, 1)
    monkeypatch.setattr("reports.html_report.details_of", lambda run: 1 // (run.seed == "0"))
    page = Tags(written(tmp_path))
    assert page.open == []
    assert page.text.count("What is here cannot be shown (ZeroDivisionError") == 1
    assert "the best of 2" in page.text
