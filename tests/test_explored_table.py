"""A table is data for a map of equations like for any other model: its search explains the target of the table."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from lightning.pytorch import LightningModule
from lightning.pytorch import Trainer as LightningTrainer

from callbacks.cmaes_search import CMAESSearch
from configs.systems import SYSTEMS
from configs.validation import ConfigError, check_config
from datamodules.explored_table import ExploredTable
from datamodules.problem_data import ProblemData
from datamodules.tabular import TabularData
from rediscover.training import compose
from rediscover.wiring.building import build_data
from tests.test_wrong_commands import own_keys

SMALL = {"workers": 1, "seconds": None, "method": "none", "polish": "gp", "polish_generations": 2}


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """y is a product of two columns."""
    rng = np.random.default_rng(0)
    a, b = rng.uniform(1, 3, (2, 80))
    np.savetxt(
        tmp_path / "own.csv", np.column_stack([a, b, 3 * a * b]), delimiter=",", header="a,b,y", comments=""
    )
    return tmp_path / "own.csv"


def test_the_configured_data_bring_the_equations_and_the_table(table: Path) -> None:
    assert SYSTEMS["cvae"].explores_tables
    config = own_keys(compose(["model=cvae", "data=tabular", f"data.path={table}", "data.target=y", "seed=3"]))
    check_config(config)
    datamodule = build_data(config)
    assert isinstance(datamodule, ExploredTable)
    assert (datamodule.seed, datamodule.variables) == (3, 5), "as the packaged map has them"
    assert isinstance(datamodule.explored, TabularData)
    assert len(datamodule.explored.table("train")) == 56
    assert not isinstance(build_data(own_keys(compose(["data=problem"]))), ExploredTable)


def test_the_search_explains_the_table_and_no_generated_equation(table: Path, tmp_path: Path) -> None:
    search = CMAESSearch(str(tmp_path / "run"), deferred=True, heldout=6, **SMALL)
    trainer = LightningTrainer(accelerator="cpu", logger=False, default_root_dir=str(tmp_path))
    (finding,) = search.search(trainer, LightningModule(), ExploredTable(TabularData(str(table), "y")))
    assert (finding.target, finding.names) == ("y", ("a", "b"))
    assert finding.chosen.error < 1e-12


def test_of_a_problem_the_truth_is_known(tmp_path: Path) -> None:
    search = CMAESSearch(str(tmp_path), deferred=True, problems=["b1", "I.12.1"], **SMALL)
    explored = ProblemData("I.12.1", seed=5)
    searched = search._tables(ExploredTable(explored))
    assert [label for label, *_ in searched] == ["I.12.1", "b1"], "no two searches have files of one name"
    _, tables, problem = searched[0]
    assert problem is not None
    assert problem.truth is not None
    assert np.array_equal(tables["train"].inputs, explored.table("train").inputs)


def test_there_is_something_to_search_for_and_one_table(table: Path) -> None:
    words = ["model=cvae", "data=tabular", f"data.path={table}", "data.target=y"]
    check_config(own_keys(compose([*words, "search.heldout=0"])))
    with pytest.raises(ConfigError, match="two tables"):
        check_config(own_keys(compose([*words, f"search.table={table}", "search.target=a"])))
    with pytest.raises(ConfigError, match="nothing to search for"):
        check_config(own_keys(compose(["model=cvae", "search.heldout=0"])))


def test_numbers_that_single_precision_cannot_hold_are_searched(tmp_path: Path) -> None:
    rows = "".join(f"{i},{i + 1}e29\n" for i in range(20))
    (tmp_path / "large.csv").write_text(f"a,y\n{rows}")
    words = ["data=tabular", f"data.path={tmp_path / 'large.csv'}", "data.target=y"]
    check_config(own_keys(compose(["model=cvae", *words])))
