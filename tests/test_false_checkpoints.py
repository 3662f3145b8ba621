"""Checkpoints that are whole but false, or of another model: refused in one sentence before anything is used."""

from __future__ import annotations

import copy
import json
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.optim.lr_scheduler import CosineAnnealingLR, LambdaLR

from foundation.errors import UserError
from foundation.schema import FormatError
from modules.autoencoder import Autoencoder
from modules.gmeql import GMEQL
from modules.weights_to_tokens import WeightsToTokens
from rediscover.training import compose, train
from rediscover.wiring.checkpoint_content import check_resumable
from rediscover.wiring.checkpoint_reading import check_fit, check_model, take_weights
from runs.directory import RunDirectoryError
from tests.fuzz import stored
from tests.stored_checkpoints import resumable

State = dict[str, Any]
READER: State = {
    "width": 8,
    "heads": 2,
    "decoder_layers": 1,
    "encoder_layers": 1,
    "encoder_width": 8,
    "latents": 8,
}


@pytest.fixture(scope="module")
def good() -> State:
    """A checkpoint of a GMEQLPaper, with the states of all callbacks that have one but a search's."""
    found: State = stored.of_json(json.loads(stored.resumable_checkpoint()))
    return found


def checked(state: State, folder: Path) -> int:
    path = folder / "last.ckpt"
    torch.save(state, path)
    return check_fit(path, stored._model(), 10, stored._callbacks()[1])


def places(content: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Paths to all values, but of lists to the first alone."""
    pairs = content.items() if isinstance(content, dict) else list(enumerate(content))[:1]
    for key, value in pairs:
        yield (*path, key)
        if isinstance(value, dict | list):
            yield from places(value, (*path, key))


def changed(state: State, path: tuple[Any, ...], value: Any) -> State:
    """A copy in which one value is another one; tensors are shared."""
    found = copy.deepcopy(state, {id(one): one for one in tensors(state)})
    place: Any = found
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    return found


def tensors(content: Any) -> Iterator[torch.Tensor]:
    for value in content.values() if isinstance(content, dict) else content if isinstance(content, list) else ():
        if isinstance(value, torch.Tensor):
            yield value
        else:
            yield from tensors(value)


FREE = {  # what is shown or noted at most, and never computed with
    "hyper_parameters", "dirpath", "monitor", "current_score", "best_model_path", "kth_best_model_path",
    "last_model_path", "model_class",
}  # fmt: skip


def test_no_value_of_another_kind_is_let_through(good: State, tmp_path: Path) -> None:
    assert checked(good, tmp_path) == 4
    strange: list[Any] = [{"a": 1}, "§", -1.5, float("nan"), torch.zeros(7, 7), [[]]]
    model, callbacks = stored._model(), stored._callbacks()[1]
    taken = []
    for path in places(good):
        for number, value in enumerate(strange):
            if path == ("callbacks",) or (path[0] == "state_dict" and number == 4):
                continue  # a callback that this run lacks; shapes, which are compared before
            state = changed(good, path, value)
            try:
                check_resumable(state, model, callbacks)
            except FormatError:
                continue
            taken.append((path, number))
    assert [one for one in taken if not FREE & set(one[0])] == []


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        (("loops", "fit_loop", "epoch_progress", "current", "processed"), -(10**9), "processed is -1000000000"),
        (("loops", "fit_loop", "epoch_progress", "current", "processed"), 10**9, "has done 1000000000 epochs"),
        (("loops", "fit_loop", "epoch_progress", "current", "_more"), 1, "'_more', which is none of its keys"),
        (("optimizer_states", 0, "param_groups", 0, "lr"), float("inf"), r"param_groups\[0\]\.lr is inf"),
        (("optimizer_states", 0, "param_groups", 0, "betas"), [2.0, 2.0], "betas"),
        (("optimizer_states", 0, "param_groups", 0, "params"), [0, 0], "another list of parameters"),
        (("optimizer_states", 0, "state", 0, "exp_avg"), torch.zeros(3), r"exp_avg is a tensor float32 \(3,\)"),
        (("optimizer_states", 0, "state", 77), {}, "77, which is none of its keys"),
        (("lr_schedulers",), [{"T_max": 0}], r"lr_schedulers\[0\]"),
        (("pytorch-lightning_version",), "0.9", "'0.9'"),
        (("callbacks", "RandomState", "ranks"), [], "ranks"),
        (("callbacks", "RandomState", "ranks", 0, "torch"), torch.zeros(5056, dtype=torch.uint8), "torch"),
        (("callbacks", "RandomState", "ranks", 0, "numpy", 1), 625, "numpy"),
        (("callbacks", "RunRecord", "fit_seconds"), -1.0, r"RunRecord\.fit_seconds is -1\.0"),
        (("callbacks", "EliteRepository", "elites", "slots"), torch.full((2, 3), 9), "slots"),
        (("callbacks", "EliteRepository", "elites", "slots"), torch.zeros(2, 3, dtype=torch.int64), "slots"),
        (
            ("callbacks", "EliteRepository", "elites", "errors"),
            torch.tensor([[3.0, 2, 1]] * 2),
            "errors that rise",
        ),
        (("callbacks", "EliteRepository", "elites", "errors"), torch.full((2, 3), -1.0), "errors that rise"),
        (("callbacks", "EliteRepository", "elites", "keys"), torch.zeros(2, 3, dtype=torch.int64), "twice"),
        (("callbacks", "EliteRepository", "elites", "fields", "weights"), torch.zeros(2, 3, 1), "weights"),
        (("callbacks", "EliteRepository", "curve"), [[5, 1, 0.1]], "curve"),
        (("state_dict", "iterations"), torch.tensor(-5), "iterations has counts out of their range"),
        (("global_step",), 10**400, "global_step"),
        (("native_amp_scaling_state",), {}, "native_amp_scaling_state"),
        (("equation",), {"tokens": [1], "constants": [], "numbers": {"x0": 1000}}, ""),
    ],
    ids=lambda value: ".".join(map(str, value)) if isinstance(value, tuple) else None,
)
def test_the_sentence_names_the_key(
    path: tuple[Any, ...], value: Any, words: str, good: State, tmp_path: Path
) -> None:
    state = changed(good, path, value)
    if path == ("equation",):
        model: Any = GMEQL(in_features=2)
        torch.save(resumable(model, equation=value), tmp_path / "last.ckpt")
        with pytest.raises(UserError, match="the checkpoint's equation"):
            check_fit(tmp_path / "last.ckpt", model)
        return
    with pytest.raises(RunDirectoryError, match=words) as raised:
        checked(state, tmp_path)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("model", "schedule"),
    [
        (lambda: Autoencoder(in_features=2), lambda optimizer: CosineAnnealingLR(optimizer, 5)),
        (lambda: WeightsToTokens(**READER), lambda optimizer: LambdaLR(optimizer, lambda step: 1.0)),
        (lambda: GMEQL(in_features=2), None),
    ],
    ids=["autoencoder", "weights_to_tokens", "gmeql"],
)
def test_what_a_run_writes_is_taken(model: Any, schedule: Any, tmp_path: Path) -> None:
    module = model()
    optimizer = module.optimizer()
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            parameter.grad = torch.zeros_like(parameter)
    schedulers = [] if schedule is None else [schedule(optimizer)]
    optimizer.step()
    states = {"lr_schedulers": [one.state_dict() for one in schedulers]}
    torch.save(resumable(module, optimizer_states=[optimizer.state_dict()], **states), tmp_path / "last.ckpt")
    assert check_fit(tmp_path / "last.ckpt", module) == 4


@pytest.mark.parametrize("key", ["epoch", "loops", "callbacks", "optimizer_states", "lr_schedulers", "state_dict"])
def test_a_missing_key_is_named(key: str, good: State, tmp_path: Path) -> None:
    state = {name: value for name, value in good.items() if name != key}
    with pytest.raises(RunDirectoryError, match=f"has no '{key}'|holds weights alone"):
        checked(state, tmp_path)


def test_weights_that_are_no_weights(tmp_path: Path) -> None:
    model = Autoencoder(in_features=2)
    before = copy.deepcopy(model.state_dict())
    name = next(iter(before))
    for value in (1.0, "x", torch.zeros(1).expand(2), before[name].to_sparse(), before[name].to(torch.complex64)):
        state = resumable(model, state_dict={**before, name: value})
        torch.save(state, tmp_path / "last.ckpt")
        with pytest.raises(RunDirectoryError, match=f"is not a Lightning checkpoint .*{name}"):
            take_weights(tmp_path / "last.ckpt", model)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_a_checkpoint_that_unpacks_to_more_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "last.ckpt"
    torch.save(resumable(Autoencoder(in_features=2)), path)
    with zipfile.ZipFile(path) as stored_file, zipfile.ZipFile(tmp_path / "bomb.ckpt", "w") as bomb:
        for entry in stored_file.infolist():
            bomb.writestr(entry.filename, stored_file.read(entry) + bytes(1 << 20), zipfile.ZIP_DEFLATED)
    with pytest.raises(RunDirectoryError, match="not a whole checkpoint"):
        check_model(tmp_path / "bomb.ckpt", "modules.autoencoder.Autoencoder")


@pytest.mark.parametrize("named", [True, False], ids=["named", "by its settings"])
def test_another_models_checkpoint_is_refused_before_the_data(
    named: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    state = resumable(Autoencoder(in_features=2))
    if not named:  # as the weights of the best epoch are
        del state["model_class"]
    torch.save(state, tmp_path / "one.ckpt")
    check_model(tmp_path / "one.ckpt", "modules.autoencoder.Autoencoder")
    built: list[Any] = []
    monkeypatch.setattr("rediscover.wiring.building.build_data", built.append)
    words = ["model=gmeql", "data.problem=b1", "logger=csv", "trainer.accelerator=cpu", "search.seconds=1"]
    config = compose([*words, f"ckpt_path={tmp_path}/one.ckpt", f"hydra.run.dir={tmp_path}/run"])
    with pytest.raises(RunDirectoryError, match=r"one\.ckpt is a checkpoint of Autoencoder, not of GMEQL"):
        train(config)
    assert not built
    assert not (tmp_path / "run").exists()


def test_random_numbers_come_back_from_what_is_let_through(good: State) -> None:
    from callbacks.random_state import RandomState

    check = RandomState().state_check(stored._model())
    own = RandomState().state_dict()
    assert check(own)["ranks"][0]["numpy"][0] == own["ranks"][0]["numpy"][0]
    assert np.isfinite(own["ranks"][0]["numpy"][3])
