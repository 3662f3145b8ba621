"""The harness that kills runs: it sees every difference, and a killed run is resumed as if nothing had happened.

All systems, all signals and many moments: `python -m tests.murder`.
"""

import json
import shutil
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from tests.launched import Forked
from tests.murder.blows import Blow, Whole, differences, strike
from tests.murder.systems import COMMANDS


@pytest.mark.slow
def test_killed_while_a_file_is_half_written(tmp_path: Path, command: Callable) -> None:
    arguments = [*COMMANDS["gmeql"], "logger=csv", "search.instances=480", "search.polish_equations=1"]
    assert command(*arguments, "hydra.run.dir=whole").code == 0
    at_once = Blow(signal.SIGKILL, 0.0, while_writing=True)
    outcome = strike(arguments, tmp_path / "cut", at_once, Whole(tmp_path / "whole", 1.0), Forked)
    assert outcome.phase == "fit"
    assert outcome.faults == ()


def test_every_difference_is_seen(tmp_path: Path, command: Callable) -> None:
    arguments = ("experiment=smoke", "search=none", "logger=csv", "trainer.accelerator=cpu")
    assert command(*arguments, "hydra.run.dir=whole").code == 0
    whole, other = tmp_path / "whole", tmp_path / "other"
    shutil.copytree(whole, other)
    assert differences(whole, other) == []

    checkpoint = torch.load(other / "checkpoints" / "last.ckpt", weights_only=True)
    name, weights = next(iter(checkpoint["state_dict"].items()))
    checkpoint["state_dict"][name] = torch.nextafter(weights, weights + 1)
    torch.save(checkpoint, other / "checkpoints" / "last.ckpt")
    (other / "checkpoints" / "best.ckpt").unlink()
    results = json.loads((other / "results.json").read_text())
    results["metrics"]["test/mse"] += 1e-12
    (other / "results.json").write_text(json.dumps(results | {"phase": "search", "equations": [{"infix": "x0"}]}))
    (other / "metrics.csv").write_text((whole / "metrics.csv").read_text().replace(".", ".1", 1))
    (other / "equations.csv").write_text("infix\nx0\n")
    weights_differ = ["weights of last.ckpt", "weights of best.ckpt"]
    assert differences(whole, other) == [
        *weights_differ, "phase", "metrics", "equations", "metrics.csv", "equations.csv",
    ]  # fmt: skip
