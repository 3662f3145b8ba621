"""The autoencoder: raw units in and out, a checkpoint that needs nothing beside it, loaders that repeat."""

from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from datamodules.loading.batch_loader import BatchLoader
from datamodules.tabular import TabularData
from foundation.errors import UserError
from modules.autoencoder import Autoencoder


def trainer(**options: Any) -> pl.Trainer:
    return pl.Trainer(
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
        **options,
    )


def fitted(decode: str, scaling: str, epochs: int) -> tuple[Autoencoder, TabularData]:
    data = TabularData("sklearn:diabetes", target="target", features=["bmi", "bp", "s5"], batch_size=32)
    data.setup()
    pl.seed_everything(0, verbose=False)
    model = Autoencoder(**Autoencoder.data_arguments(data), decode=decode, scaling=scaling, learning_rate=1e-2)
    trainer(max_epochs=epochs, num_sanity_val_steps=0).fit(model, data)
    return model, data


@pytest.mark.parametrize(("decode", "r2"), [("inputs", 0.6), ("target", 0.3)])
def test_learns(decode: str, r2: float) -> None:
    model, data = fitted(decode, "standard", 25)
    results = trainer().test(model, data, verbose=False)[0]
    assert results["test/r2"] > r2
    assert set(results) == {"test/reconstruction_mse", "test/r2", "test/mse"}
    outputs = model(torch.from_numpy(data.table("test").inputs.astype(np.float32))).detach().numpy()
    table = data.table("test")
    wanted = table.inputs if decode == "inputs" else table.target[:, None]
    assert outputs.shape == wanted.shape
    assert results["test/mse"] == pytest.approx(np.mean((outputs - wanted) ** 2), rel=1e-4)


@pytest.mark.parametrize("scaling", ["standard", "minmax", "none"])
def test_raw_units_and_a_checkpoint_that_stands_alone(scaling: str, tmp_path: Path) -> None:
    model, data = fitted("inputs", scaling, 1)
    raw = torch.from_numpy(data.table("test").inputs.astype(np.float32))
    statistics = data.input_statistics(scaling)
    by_hand = model.encoder((raw - torch.tensor(statistics["offset"])) / torch.tensor(statistics["scale"]))
    torch.testing.assert_close(model.encode(raw), by_hand)
    assert model.encode(raw).shape == (len(raw), 2)

    path = tmp_path / "model.ckpt"
    torch.save({"state_dict": model.state_dict(), "hyper_parameters": dict(model.hparams)}, path)
    state = torch.load(path, weights_only=True)
    again = Autoencoder(**state["hyper_parameters"])
    again.load_state_dict(state["state_dict"])
    assert torch.equal(again.encode(raw), model.encode(raw))


@given(
    features=st.integers(1, 6),
    latents=st.integers(1, 4),
    hidden=st.lists(st.integers(1, 9), max_size=3),
    decode=st.sampled_from(["inputs", "target"]),
)
@settings(max_examples=25, deadline=None)
def test_any_sizes(features: int, latents: int, hidden: list[int], decode: str) -> None:
    model = Autoencoder(features, latents=latents, hidden="-".join(map(str, hidden)), decode=decode)
    inputs = torch.randn(5, features)
    assert model.encode(inputs).shape == (5, latents)
    assert model(inputs).shape == (5, features if decode == "inputs" else 1)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"activation": "tan"}, "did you mean tanh?"),
        ({"decode": "price"}, "must be one of inputs, target"),
        ({"hidden": "16,8"}, "16-8"),
        ({"latents": 0}, "from 1 to"),
        ({"scaling": "minmx"}, "minmax"),
    ],
)
def test_bad_values_are_named(wrong: dict[str, Any], words: str) -> None:
    with pytest.raises(UserError, match=words):
        Autoencoder(2, **wrong)


def test_a_target_is_needed_to_decode_it() -> None:
    with pytest.raises(UserError, match="target"):
        Autoencoder(2, decode="target").set_statistics({"offset": [0, 0], "scale": [1, 1]})


# ------------------------------------------------------------------------------------------- the loader


def test_workers_cut_the_same_batches_and_epochs_differ() -> None:
    table = (torch.randn(50, 2), torch.randn(50))
    loaders = [BatchLoader(table, 8, True, 3, num_workers=workers) for workers in (0, 2)]
    orders = []
    for epoch in (0, 4):
        for loader in loaders:
            loader.set_epoch(epoch)
        ours, theirs = (list(loader) for loader in loaders)
        assert all(torch.equal(a, b) for x, y in zip(ours, theirs, strict=True) for a, b in zip(x, y, strict=True))
        orders.append(torch.cat([x for _, x in ours]))
    assert not torch.equal(*orders)
    generator = torch.random.get_rng_state()
    list(loaders[1])
    assert torch.equal(generator, torch.random.get_rng_state()), "workers must not draw from the global stream"
