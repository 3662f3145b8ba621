"""System 3: what its encoders see, that it learns, resumes and reads networks through the real command."""

import contextlib
import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from callbacks.checkpoints import EpochCheckpoint
from callbacks.random_state import RandomState
from datamodules.network_weights import NetworkWeights
from datamodules.zoo import shards
from datamodules.zoo.equations import draw_equations
from datamodules.zoo.network_zoo import trained
from datamodules.zoo.settings import ZooSettings
from foundation.errors import UserError
from modules.networks.weights.encoders import build_encoder
from modules.networks.weights.reader import (
    PRETRAINED,
    WeightReader,
    load_reader,
    r2_rows,
    read_reader_weights,
    save_reader,
)
from modules.networks.weights.small_networks import NetworkShape, shuffled
from modules.settings.weights_to_tokens import ENCODER_NAMES, ReaderSize, ReadingTask
from modules.weights_to_tokens import ReadingMeasures, WeightsToTokens

TINY: dict[str, Any] = {"latents": 16, "encoder_width": 32, "encoder_layers": 1, "probes": 6}
TINY |= {"width": 16, "heads": 2, "decoder_layers": 1, "prefix": 1}


def new_reader(**size: Any) -> WeightReader:
    return WeightReader(ReadingTask(), ReaderSize(**TINY | size))


def zoo(count: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Weights and ids."""
    settings = ZooSettings()
    ids = draw_equations(settings, "train", count, np.random.default_rng(seed))
    coefficients = torch.from_numpy(settings.vocabulary.coefficients(ids))
    flat, _ = trained(settings, coefficients, torch.Generator().manual_seed(seed))
    return flat, torch.from_numpy(ids)


# ------------------------------------------------------------------------------------------------ encoders


@pytest.mark.parametrize("name", ENCODER_NAMES)
def test_what_encoders_see(name: str) -> None:
    torch.manual_seed(0)
    reader = new_reader(encoder=name).eval()
    flat, _ = zoo(20)
    biased = torch.where(reader.shape.is_bias, flat + 0.5, flat)
    seen, other = reader.encoder(reader.shape, flat), reader.encoder(reader.shape, shuffled(reader.shape, flat))
    without = reader.encoder(reader.shape, biased)
    assert seen.shape == (20, 16)
    assert torch.allclose(seen, without) == (name == "flat")
    if name in ("probe", "canonical"):  # units may change places, and signs too
        assert torch.allclose(seen, other, atol=1e-3)
    elif name == "graph":  # units may change places
        softplus = NetworkShape(activation="softplus")
        assert torch.allclose(
            reader.encoder(softplus, flat), reader.encoder(softplus, shuffled(softplus, flat)), atol=1e-4
        )
    else:
        assert not torch.allclose(seen, other, atol=1e-2)


@pytest.mark.parametrize("name", ENCODER_NAMES)
def test_every_encoder_learns_through_all_of_its_weights(name: str) -> None:
    torch.manual_seed(0)
    reader = new_reader(encoder=name)
    flat, ids = zoo(8)
    reader.scores(flat, ids).square().mean().backward()
    idle = [n for n, p in reader.named_parameters() if p.grad is None or not p.grad.any()]
    assert idle == []


def test_other_shapes_are_read_or_refused() -> None:
    shape = NetworkShape((1, 5, 1), "gelu")
    flat = torch.randn(3, shape.size)
    for name in ("probe", "graph"):
        assert new_reader(encoder=name).eval().read(shape, flat, 2).greedy.shape == (
            3,
            20,
        )
    with pytest.raises(UserError, match="1-5-1 gelu, but encoder=canonical reads 1-8-7-8-1 tanh alone"):
        new_reader(encoder="canonical").read(shape, flat, 2)


# ------------------------------------------------------------------------------------------------ readings


def test_whatever_is_read_is_an_equation_and_the_search_agrees_better() -> None:
    torch.manual_seed(0)
    reader = new_reader().eval()  # knows nothing
    flat, ids = zoo(64)
    read = reader.read(reader.shape, flat, 4)
    errors = {}
    for way in ("greedy", "beam", "sampled", "refit"):
        equations = getattr(read, way)
        for row in equations:
            reader.vocabulary.encode([reader.vocabulary.text(row)])
        errors[way] = (reader.values(equations) - read.outputs).square().mean(dim=1)
    for worse, better in (("greedy", "beam"), ("greedy", "sampled"), ("beam", "refit"), ("sampled", "refit")):
        assert (errors[better] <= errors[worse]).all()
        assert (errors[better] < errors[worse]).any()
    again = reader.read(reader.shape, flat, 4)
    assert torch.equal(again.sampled, read.sampled)
    assert (read.least_squares == ids).all(dim=1).double().mean() > 0.9


def test_measures_are_what_they_say() -> None:
    reader = new_reader()
    vocabulary = reader.vocabulary
    true = ["+1*x*x", "-2*x+1", "+3", "+0.5*x*x-1*x+2"]
    read = ["+1*x*x", "-2.1*x+1", "-3", "+0.5*x*x+2"]
    ids, found = (torch.from_numpy(vocabulary.encode(texts)) for texts in (true, read))
    measures = ReadingMeasures(vocabulary.longest + 1)
    measures.update(reader, found, ids, reader.values(ids))
    values = {name: float(value) for name, value in measures.compute().items()}
    assert values["exact_match"] == 0.25
    assert values["structure_accuracy"] == 0.75
    assert values["sign_accuracy"] == 0.5
    assert values["coefficient_mae"] == pytest.approx((0.1 + 6 + 1) / 12)
    assert values["r2_above_0.99_rate"] == 0.5
    assert values["exact_match_length_6"] == 0.5
    assert r2_rows(torch.full((1, 4), 3.0), torch.full((1, 4), -3.0)).item() == pytest.approx(-3.0)


def test_a_reader_in_a_file(tmp_path: Path) -> None:
    torch.manual_seed(0)
    reader = new_reader().eval()
    save_reader(reader, tmp_path / "reader.safetensors", {"steps": 0})
    again = load_reader(tmp_path / "reader.safetensors")
    flat, ids = zoo(4)
    assert torch.equal(again.scores(flat, ids), reader.scores(flat, ids))
    with pytest.raises(UserError, match="there is no file"):
        load_reader(tmp_path / "none")
    save_file({"a": torch.zeros(1)}, tmp_path / "other.safetensors")
    with pytest.raises(UserError, match="holds no reader"):
        load_reader(tmp_path / "other.safetensors")


# ------------------------------------------------------------------------------------------ training, resuming


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("zoo")


def data(cache: Path, batch_size: int = 64) -> NetworkWeights:
    counts = {"networks": 512, "validation_networks": 64, "test_networks": 64}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shards, "SHARD", 256)
        module = NetworkWeights(**counts, batch_size=batch_size, cache=str(cache), processes=1, seed=5)
        module.prepare_data()
        module.setup()
    return module


def fit(
    folder: Path, module: NetworkWeights, cut: int | None = None, processes: int = 1
) -> dict[str, torch.Tensor]:
    pl.seed_everything(3, verbose=False)
    model = WeightsToTokens(**module.task().as_mapping(), **TINY, augment=True, warmup_steps=2)
    last = folder / "checkpoints" / "last.ckpt"
    trainer = pl.Trainer(
        accelerator="cpu",
        devices=processes,
        strategy="ddp_fork" if processes > 1 else "auto",
        max_epochs=3,
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
        num_sanity_val_steps=0,
        callbacks=[RandomState(), EpochCheckpoint(folder / "checkpoints"), *([] if cut is None else [Cut(cut)])],
        default_root_dir=str(folder),
    )
    end = contextlib.nullcontext() if cut is None else pytest.raises(RuntimeError, match="cut")
    with end:
        trainer.fit(model, module, ckpt_path=last if last.is_file() else None, weights_only=True)
    state: dict[str, torch.Tensor] = torch.load(last, weights_only=True)["state_dict"] if last.is_file() else {}
    return state


class Cut(pl.Callback):
    """Breaks the fit off in the middle of an epoch."""

    def __init__(self, epoch: int) -> None:
        self.epoch = epoch

    def on_train_batch_end(self, trainer: pl.Trainer, *rest: Any) -> None:
        if trainer.current_epoch == self.epoch and rest[-1] == 2:
            raise RuntimeError("cut")


@pytest.fixture
def small_shards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shards, "SHARD", 256)


@pytest.mark.usefixtures("small_shards")
def test_resumed_equals_uninterrupted(cache: Path, tmp_path: Path) -> None:
    module = data(cache)
    whole = fit(tmp_path / "whole", module)
    fit(tmp_path / "cut", module, cut=1)
    cut = fit(tmp_path / "cut", module)
    assert whole.keys() == cut.keys()
    assert all(torch.equal(whole[name], cut[name]) for name in whole)


@pytest.mark.usefixtures("small_shards")
def test_two_processes_share_the_batches(cache: Path, tmp_path: Path) -> None:
    module = data(cache, batch_size=32)
    assert fit(tmp_path, module, processes=2)
    steps = torch.load(tmp_path / "checkpoints" / "last.ckpt", weights_only=True)["global_step"]
    assert steps == 3 * 512 // 64


def test_a_small_reader_learns_a_small_zoo() -> None:
    torch.manual_seed(0)
    flat, ids = zoo(128)
    reader = new_reader(latents=64, encoder_width=128, probes=8, width=32)
    optimizer = torch.optim.AdamW(reader.parameters(), lr=5e-3)
    for _ in range(300):
        optimizer.zero_grad()
        scores = reader.scores(flat, ids)
        nn.functional.cross_entropy(scores.transpose(1, 2), ids[:, 1:], ignore_index=0).backward()
        optimizer.step()
    read = reader.eval().read(reader.shape, flat, 1).greedy
    assert (read == ids).all(dim=1).double().mean() > 0.7


# --------------------------------------------------------------------------------------- the real command

FEW = ("logger=csv", "trainer.accelerator=cpu", "data.networks=2048", "data.validation_networks=64")
FEW += ("data.test_networks=64", "data.processes=1", "trainer.max_epochs=1", "search.examples=3")
SIZES = tuple(f"model.{name}={value}" for name, value in TINY.items())


def test_the_whole_way_and_a_network_of_somebody_else(tmp_path: Path, command: Callable) -> None:
    ended = command("model=weights_to_tokens", *FEW, *SIZES, "hydra.run.dir=run")
    assert ended.code == 0, ended.err
    results = json.loads((tmp_path / "run" / "results.json").read_text())
    assert results["phase"] == "done"
    wanted = {"test/exact_match", "test/token_accuracy", "test/structure_accuracy", "test/r2_above_0.99_rate"}
    wanted |= {"zoo/networks_per_second", "test/exact_match_least_squares", "test/r2_median"}
    assert wanted <= set(results["metrics"])
    assert len(results["equations"]) == 3
    assert len(list(csv.DictReader((tmp_path / "run" / "equations.csv").open()))) == 3
    assert len(list((tmp_path / "run" / "plots").glob("network_*.png"))) == 3
    torch.manual_seed(0)
    layers = [nn.Linear(1, 6), nn.GELU(), nn.Linear(6, 1)]
    torch.save(nn.Sequential(*layers).state_dict(), tmp_path / "mine.pt")
    checkpoint = "ckpt_path=run/checkpoints/last.ckpt"
    before = (tmp_path / "run" / "results.json").read_text()
    reading = ("data.network=mine.pt", "data.network_activation=gelu", "hydra.run.dir=read")
    ended = command("model=weights_to_tokens", checkpoint, *reading)
    assert ended.code == 2, "a checkpoint brings no settings"
    assert "other sizes" in ended.err
    ended = command("model=weights_to_tokens", checkpoint, *reading, *SIZES)
    assert ended.code == 0, ended.err
    assert "mine: y = " in ended.out
    assert "R2 to the network" in ended.out
    results = json.loads((tmp_path / "read" / "results.json").read_text())
    assert [equation["problem"] for equation in results["equations"]] == ["mine"]
    assert (tmp_path / "run" / "results.json").read_text() == before


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["data.network=nowhere.pt"], ["nowhere.pt", "does not exist"]),
        (["data.network=file.pt", "model.init=scratch"], ["needs a trained reader", "ckpt_path"]),
        (["data.network=file.pt"], ["file.pt", "cannot be read safely"]),
        (["data.widths=8-7-1"], ["data.widths=8-7-1", "1-8-7-8-1"]),
        (["data.activation=tan"], ["data.activation=tan", "tanh"]),
        (["data.x_low=2"], ["data.x_low=2", "less than"]),
        (["data.target_size=0"], ["data.target_size=0", "above 0"]),
        (["data.degree=9"], ["data.degree=9", "1 to 6"]),
        (["data.functions=['sin(2*y)']"], ["data.functions", "sin(2*y)", "unknown name 'y'"]),
        (["data.functions=['log(x)']"], ["log(x)", "not finite", "-1.0 to 1.0"]),
        (["data.functions=['exp(x)']", "data.equations=slides"], ["canonical spelling"]),
        (["data.functions=[1]"], ["data.functions=[1]", "list of functions"]),
        (["data.terms=0"], ["data.terms=0", "at least 1"]),
        (["model.encoder=prob"], ["model.encoder=prob", "probe"]),
        (["search.beams=0"], ["search.beams=0"]),
    ],
    ids=lambda value: " ".join(value) if "=" in value[0] else None,
)
def test_refused_in_one_sentence(
    arguments: list[str], words: list[str], tmp_path: Path, command: Callable
) -> None:
    (tmp_path / "file.pt").write_text("text")
    ended = command("model=weights_to_tokens", "logger=csv", "trainer.accelerator=cpu", *arguments)
    lines = [line for line in ended.err.splitlines() if line]
    assert ended.code == 2, ended.err
    assert len(lines) == 1, ended.err
    for word in words:
        assert word in lines[0]


@pytest.mark.skipif(not PRETRAINED.is_file(), reason="no weights in this installation")
def test_the_weights_of_the_package_read_at_once(tmp_path: Path, command: Callable) -> None:
    assert read_reader_weights(PRETRAINED).card["exact_match"] > 0.5
    settings = ZooSettings(zoo_seed=99)
    flat, _ = trained(settings, torch.tensor([[0.7, -1.2, 3.4]]), torch.Generator().manual_seed(0))
    names = [f"{2 * layer}.{part}" for layer in range(4) for part in ("weight", "bias")]
    parts = [part[0].contiguous() for layer in settings.shape.split(flat) for part in layer if part is not None]
    save_file(dict(zip(names, parts, strict=True)), tmp_path / "mine.safetensors")
    ended = command(
        "model=weights_to_tokens", "logger=csv", "trainer.accelerator=cpu", "data.network=mine.safetensors"
    )
    assert ended.code == 0, ended.err
    assert "mine: y = +3.4*x*x-1.2*x+0.7" in ended.out
    assert "warning" not in ended.err
    torch.manual_seed(1)
    untrained = nn.Sequential(nn.Linear(1, 8), nn.Tanh(), nn.Linear(8, 1))
    state = {name: 40 * value for name, value in untrained.state_dict().items()}
    torch.save(state, tmp_path / "wild.pt")
    ended = command("model=weights_to_tokens", "logger=csv", "trainer.accelerator=cpu", "data.network=wild.pt")
    assert ended.code == 0, ended.err
    assert "this network's best equation explains only R2 =" in ended.err


def test_rows_are_in_units_of_all_that_training_has_shown() -> None:
    """Not of a batch: what is said of one network must not depend on the others beside it."""
    shape = NetworkShape.of("1-8-7-8-1", "tanh", True)
    size = ReaderSize(encoder="flat_bias", latents=8, encoder_width=16, encoder_layers=1, probes=4)
    encoder = build_encoder(size, shape, low=-1.0, high=1.0, scale=1.0)
    rows = 1.0 + 1e-3 * torch.randn(600, shape.size, generator=torch.Generator().manual_seed(0))
    for batch in rows.split(100):
        encoder(shape, batch)
    row = encoder.norm.eval()(rows)  # type: ignore[operator, union-attr]
    assert row.mean(dim=0).abs().max() < 1e-3
    assert (row.std(dim=0) - 1).abs().max() < 1e-2
    encoder.eval()
    assert torch.allclose(encoder(shape, rows)[:3], encoder(shape, rows[:3]), atol=1e-5)
