"""The commands that are killed: one of each system, small, and with budgets that count."""

from __future__ import annotations

from collections.abc import Mapping

__all__ = ["COMMANDS"]

_ALL = ("trainer.accelerator=cpu", "search.simplify_seconds=0")
_NETWORK = (
    "model.init=scratch", "model.width=16", "model.queries=2", "model.heads=2", "model.encoder_layers=1",
    "model.equation_layers=1", "model.decoder_layers=1", "model.prefix=2", "model.latents=8",
)  # fmt: skip
_STREAM = (
    "data.variables=2", "data.longest=8", "data.batch_size=16", "data.epoch_samples=64",
    "data.held_out_samples=16", "data.programs=2048",
)  # fmt: skip

COMMANDS: Mapping[str, tuple[str, ...]] = {
    "autoencoder": (
        *_ALL, "data.max_rows=500", "trainer.max_epochs=30", "search.seconds=null", "search.generations=30",
        "search.population=50", "search.islands=1", "search.workers=2", "search.stop_when_exact=false",
    ),
    "gmeql": (
        *_ALL, "model=gmeql", "data=problem", "data.problem=b7", "data.noise_level=0.01", "search.seconds=null",
        "search.instances=2400", "search.proposals=60", "model.epoch_steps=4",
    ),
    "weights_to_tokens": (
        "experiment=weights_to_tokens_smoke", "trainer.accelerator=cpu", "data.networks=512",
        "data.validation_networks=64", "data.test_networks=64", "trainer.max_epochs=6",
    ),
    "cvae": (
        *_ALL, *_NETWORK, *_STREAM, "model=cvae", "trainer.max_time=null", "trainer.max_epochs=6",
        "search.problems=[I.12.1]", "search.heldout=1", "search.workers=1", "search.seconds=null",
        "search.decodes=1600", "search.polish=none",
    ),
}  # fmt: skip
"""Words behind `python train.py`, by the name of the system."""
