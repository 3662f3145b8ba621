"""System 4's module: what it logs, its average, resuming, starting weights, and every kind of trainer."""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import hydra
import lightning.pytorch as pl
import pytest
import torch
from torch import Tensor, nn

import callbacks.throughput
import modules.cvae
from callbacks.checkpoints import EpochCheckpoint
from callbacks.random_state import RandomState
from callbacks.throughput import Throughput, estimate, matmul_peak
from expressions.skeleton import INTEGERS
from expressions.vocabulary import Vocabulary
from foundation.errors import UserError
from modules.cvae import CVAE, EquationMeasures
from modules.networks.equation_map.conditional_vae import Losses
from modules.networks.equation_map.latent_map import LatentMap
from modules.training.averaged_module import keep_freed_memory, learning_rate_schedule
from rediscover.wiring.building import build_model

OPERATORS, VARIABLES, LONGEST = ["add", "mul", "sin"], 2, 7
SMALL: dict[str, Any] = {
    "variables": VARIABLES,
    "operators": OPERATORS,
    "longest": LONGEST,
    "width": 16,
    "queries": 3,
    "heads": 2,
    "encoder_layers": 1,
    "equation_layers": 1,
    "decoder_layers": 1,
    "prefix": 2,
    "latents": 6,
    "decoder_width": None,
    "warmup_steps": 2,
    "init": "scratch",
}
VOCABULARY = Vocabulary(OPERATORS, VARIABLES, INTEGERS)
CONFIGS = Path(__file__).resolve().parents[1] / "configs"


class Batches:
    """Random problems, a function of seed, epoch and number; points and length differ between batches."""

    def __init__(self, count: int, rows: int = 8, seed: int = 0) -> None:
        self.count, self.rows, self.seed, self.epoch = count, rows, seed, 0

    @property
    def sampler(self) -> "Batches":
        return self

    @property
    def batch_sampler(self) -> "Batches":
        return self

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def __len__(self) -> int:
        return self.count

    def __iter__(self) -> Iterator[tuple[Tensor, ...]]:
        for number in range(self.count):
            yield self.batch(number)

    def batch(self, number: int) -> tuple[Tensor, ...]:
        generator = torch.Generator().manual_seed(self.seed + 1000 * self.epoch + number)
        longest, points = LONGEST - number % 3, 16 + number % 2
        present = torch.rand(self.rows, VARIABLES, generator=generator) < 0.6
        missing, columns = torch.ones(self.rows, dtype=torch.long), [torch.ones(self.rows, dtype=torch.long)]
        for left in range(longest, -1, -1):
            allowed = VOCABULARY.allowed_next(missing, left, present).float()
            columns.append(torch.multinomial(allowed, 1, generator=generator)[:, 0])
            missing = VOCABULARY.advance(missing, columns[-1])
        inputs = torch.randn(self.rows, points, VARIABLES, generator=generator) * present[:, None]
        return inputs, torch.randn(self.rows, points, generator=generator), present, torch.stack(columns, dim=1)


def model(**settings: Any) -> CVAE:
    pl.seed_everything(0, verbose=False)
    return CVAE(**{**SMALL, **settings})


def trainer(**options: Any) -> pl.Trainer:
    settings: dict[str, Any] = {
        "accelerator": "cpu",
        "logger": False,
        "enable_checkpointing": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "use_distributed_sampler": False,
        "num_sanity_val_steps": 0,
        "gradient_clip_val": 1.0,
    }
    return pl.Trainer(**{**settings, **options})


# ---------------------------------------------------------------------------------------------- fitting


def test_everything_is_logged_once_an_epoch() -> None:
    module, throughput = model(), Throughput()
    fitter = trainer(max_epochs=2, callbacks=[throughput])
    fitter.fit(module, Batches(4), Batches(2, seed=7))
    measures = {"prior_cross_entropy", "posterior_cross_entropy", "kl", "active_units"}
    measures |= {"token_accuracy", "expression_accuracy"}
    fitted = {"loss", "prior_cross_entropy", "posterior_cross_entropy", "kl"}
    fitted |= {"samples_per_second", "tokens_per_second", "flops_per_second", "flop_utilisation"}
    expected = {f"fit/{name}" for name in fitted} | {f"validation/{name}" for name in measures}
    assert set(fitter.callback_metrics) == expected
    assert all(value.isfinite() for value in fitter.callback_metrics.values())
    assert 0 < fitter.callback_metrics["fit/flop_utilisation"] < 1
    assert throughput._counted, "operations were counted"

    tested = trainer().test(module, Batches(2, seed=8), verbose=False)[0]
    measures |= {"validity", "exact_skeleton_greedy", "exact_skeleton_beam"}
    assert set(tested) == {f"test/{name}" for name in measures}
    assert tested["test/validity"] == 1.0
    assert tested["test/exact_skeleton_greedy"] <= tested["test/exact_skeleton_beam"]


def test_measures_by_hand() -> None:
    module, batches = model(), [Batches(2, rows=rows, seed=rows).batch(1) for rows in (5, 3)]
    network = module.average
    nats, tokens, right, whole, kl = 0.0, 0, 0, 0, torch.zeros(6)
    measure = EquationMeasures(6)
    for inputs, target, present, ids in batches:
        data = network.encode(modules.cvae.point_features(inputs, target, present))
        prior, posterior = network.prior(data), network.posterior(data, ids)
        scores = network.scores(prior.mean, ids, present)
        p, q = (torch.distributions.Normal(g.mean, (0.5 * g.log_variance).exp()) for g in (prior, posterior))
        divergence = torch.distributions.kl_divergence(q, p)
        measure.update(scores, network.scores(posterior.mean, ids, present), ids, divergence)
        kl += divergence.sum(dim=0)
        logs = scores.log_softmax(dim=-1)
        for row, own in enumerate(ids.tolist()):
            good = [int(scores[row, k].argmax()) == following for k, following in enumerate(own[1:]) if following]
            nats -= sum(float(logs[row, k, following]) for k, following in enumerate(own[1:]) if following)
            tokens, right, whole = tokens + len(good), right + sum(good), whole + all(good)
    values = measure.compute()
    assert float(values["prior_cross_entropy"]) == pytest.approx(nats / tokens, rel=1e-5)
    assert float(values["token_accuracy"]) == pytest.approx(right / tokens)
    assert float(values["expression_accuracy"]) == pytest.approx(whole / 8)
    assert float(values["kl"]) == pytest.approx(float(kl.sum()) / 8, rel=1e-5)
    assert int(values["active_units"]) == int((kl / 8 > 0.01).sum())


def test_the_average_is_the_average_of_the_weights() -> None:
    class Recorded(pl.Callback):
        def __init__(self) -> None:
            self.weights: list[list[Tensor]] = []

        def on_train_batch_end(self, trainer: pl.Trainer, module: pl.LightningModule, *rest: Any) -> None:
            self.weights.append([p.detach().clone() for p in module.network.parameters()])

    module, recorded = model(ema_decay=0.4), Recorded()
    expected = [p.detach().clone() for p in module.network.parameters()]
    trainer(max_epochs=1, callbacks=[recorded], accumulate_grad_batches=2).fit(module, Batches(12))
    for step, weights in enumerate(recorded.weights[1::2]):
        decay = min(0.4, (1 + step) / (10 + step))
        expected = [decay * mean + (1 - decay) * now for mean, now in zip(expected, weights, strict=True)]
    for ours, theirs in zip(module.average.parameters(), expected, strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-6, rtol=1e-5)
        assert not ours.requires_grad
    pairs = zip(module.average.parameters(), module.network.parameters(), strict=True)
    assert any((a != b).any() for a, b in pairs)


def test_validation_uses_the_average() -> None:
    module = model()
    before = trainer().validate(module, Batches(1), verbose=False)[0]
    nn.init.zeros_(module.network.decoder.head.weight)
    assert trainer().validate(module, Batches(1), verbose=False)[0] == before
    nn.init.zeros_(module.average.decoder.head.weight)
    assert trainer().validate(module, Batches(1), verbose=False)[0] != before


class Cut(pl.Callback):
    """Breaks the fit off in the middle of an epoch, as a power cut would."""

    def on_train_batch_end(self, trainer: pl.Trainer, *rest: Any) -> None:
        if trainer.current_epoch == 1 and rest[-1] == 2:
            raise RuntimeError("cut")


def resumable(folder: Path, cut: bool) -> pl.Trainer:
    last = folder / "last.ckpt"
    callbacks = [RandomState(), EpochCheckpoint(folder), *([Cut()] if cut else [])]
    fitter = trainer(max_epochs=3, callbacks=callbacks, enable_checkpointing=True)
    start = last if last.exists() else None
    fitter.fit(model(), Batches(4), Batches(1, seed=9), ckpt_path=start, weights_only=True)
    return fitter


def test_resumed_equals_uninterrupted(tmp_path: Path) -> None:
    whole = resumable(tmp_path / "whole", cut=False)
    with pytest.raises(RuntimeError, match="cut"):
        resumable(tmp_path / "cut", cut=True)
    torch.manual_seed(77)
    resumed = resumable(tmp_path / "cut", cut=False)
    one, other = (
        torch.load(tmp_path / name / "last.ckpt", weights_only=True)["state_dict"] for name in ("whole", "cut")
    )
    assert one.keys() == other.keys()
    assert all(torch.equal(one[key], other[key]) for key in one)
    assert {key.split(".")[0] for key in one} == {"network", "average"}
    timed = ("fit/samples_per_second", "fit/tokens_per_second")
    for name, value in whole.callback_metrics.items():
        assert name in timed or torch.equal(value, resumed.callback_metrics[name]), name


def test_bf16_autocast_with_clipping_and_a_fused_optimizer() -> None:
    module = model()
    fitter = trainer(max_epochs=1, precision="bf16-mixed", callbacks=[Throughput()])
    fitter.fit(module, Batches(2), Batches(1))
    assert all(value.isfinite() for value in fitter.callback_metrics.values())
    assert module.optimizers().optimizer.defaults["fused"]


ABLATIONS = [
    {},
    {"posterior_share": 0.0, "value_weight": 0.0, "presence_weight": 0.0, "checkpoint_activations": True},
]


@pytest.mark.parametrize("settings", ABLATIONS, ids=["all", "ablated"])
def test_two_processes_share_every_gradient(settings: dict[str, Any], tmp_path: Path) -> None:
    module = model(**settings)
    before = {name: value.clone() for name, value in module.state_dict().items()}
    fitter = trainer(max_epochs=1, devices=2, strategy="ddp_fork")  # it raises where a parameter has no gradient
    fitter.fit(module, Batches(3), Batches(1))
    assert fitter.callback_metrics["validation/kl"].isfinite()
    after = module.state_dict()
    assert any((before[name] != after[name]).any() for name in before)


def test_ablations_leave_the_weights_in_place() -> None:
    shapes = {name: value.shape for name, value in model().state_dict().items()}
    for settings in ABLATIONS:
        module = model(**settings)
        assert {name: value.shape for name, value in module.state_dict().items()} == shapes
        trainer(max_epochs=1).fit(module, Batches(2))


def test_a_batch_of_one() -> None:
    trainer(max_epochs=1).fit(model(), Batches(2, rows=1), Batches(1, rows=1))


def test_learning_rate() -> None:
    factor = learning_rate_schedule(10, 110)
    assert [factor(0), factor(4), factor(9)] == pytest.approx([0.1, 0.5, 1.0])
    assert [factor(10), factor(60), factor(110), factor(500)] == pytest.approx([1.0, 0.525, 0.05, 0.05])
    endless = learning_rate_schedule(0, None)
    assert endless(0) == endless(10**6) == 1.0


@pytest.mark.parametrize(
    ("given", "epochs", "expected"), [(None, 3, 12), (None, -1, None), (50, 3, 50)], ids=["trainer", "open", "own"]
)
def test_where_the_cosine_ends(given: int | None, epochs: int, expected: int | None) -> None:
    class Looked(pl.Callback):
        def on_train_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
            assert module._total_steps() == expected
            trainer.should_stop = True

    trainer(max_epochs=epochs, min_epochs=0, callbacks=[Looked()], max_time="00:00:01:00").fit(
        model(total_steps=given), Batches(4)
    )


class Rates(pl.Callback):
    """What the learning rate was, a share of the full one."""

    def __init__(self, steps: int | None) -> None:
        self.steps = steps
        self.seen: list[float] = []

    def on_train_batch_end(self, trainer: pl.Trainer, module: pl.LightningModule, *_: Any) -> None:
        self.seen.append(trainer.optimizers[0].param_groups[0]["lr"] / module.hparams["learning_rate"])
        trainer.should_stop |= len(self.seen) == self.steps


class KLWeight(pl.Callback):
    """Notes the weight that the KL divergence has in the loss of each step."""

    def __init__(self) -> None:
        self.noted: list[float] = []

    def on_train_batch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule, *rest: Any) -> None:
        zero, one = torch.zeros(()), torch.ones(())
        parts = dict.fromkeys(Losses._fields, zero) | {"free_kl": one}
        assert isinstance(pl_module, CVAE)
        self.noted.append(float(pl_module._loss(Losses(**parts))))


def test_the_weight_of_the_kl_divergence_rises_from_the_first_step() -> None:
    weight = KLWeight()
    module = model(kl_weight=0.5, kl_warmup_steps=4)
    trainer(max_epochs=2, callbacks=[weight], limit_val_batches=0).fit(module, Batches(3), Batches(1))
    assert weight.noted == pytest.approx([0.125, 0.25, 0.375, 0.5, 0.5, 0.5])


def test_where_nothing_else_ends_it_the_cosine_ends_with_the_time() -> None:
    rates = Rates(None)
    trainer(max_epochs=-1, callbacks=[rates], max_time="00:00:00:02").fit(
        model(warmup_steps=1, total_steps=None), Batches(100)
    )
    assert rates.seen == sorted(rates.seen, reverse=True)
    assert rates.seen[0] > 0.99
    assert rates.seen[-1] < 0.2


def test_two_processes_agree_about_the_time(tmp_path: Path) -> None:
    class Written(Rates):
        def on_train_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
            weights = torch.cat([p.detach().flatten() for p in module.network.parameters()])
            torch.save((self.seen, weights), tmp_path / f"{trainer.global_rank}.pt")

    fitter = trainer(
        max_epochs=-1, devices=2, strategy="ddp_fork", callbacks=[Written(40)], max_time="00:00:00:20"
    )
    fitter.fit(model(warmup_steps=1, total_steps=None), Batches(100))
    (rates, weights), (others, other_weights) = (torch.load(tmp_path / f"{rank}.pt") for rank in range(2))
    assert rates == others
    assert len(set(rates)) > 1
    assert torch.equal(weights, other_weights)


def test_the_operations_of_shapes_that_are_not_counted_are_estimated() -> None:
    counted = {(4, rows, ids): 100.0 + 7.0 * rows + 3.0 * ids for rows in (16, 50, 200) for ids in (5, 20)}
    assert estimate(counted, (4, 120, 9)) == pytest.approx(100.0 + 7.0 * 120 + 3.0 * 9)
    assert estimate({}, (4, 120, 9)) == 0.0


def test_few_shapes_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    class OfManySizes(Batches):
        def batch(self, number: int) -> Any:
            inputs, target, present, ids = super().batch(number)
            return inputs[:, : 4 + number], target[:, : 4 + number], present, ids

    exact, bounded = Throughput(), Throughput()
    trainer(max_epochs=1, callbacks=[exact]).fit(model(), OfManySizes(6))
    monkeypatch.setattr(callbacks.throughput, "COUNTED_SHAPES", 3)
    trainer(max_epochs=1, callbacks=[bounded]).fit(model(), OfManySizes(6))
    assert (len(exact._counted), len(bounded._counted)) == (6, 3)
    assert bounded._done == pytest.approx(exact._done, rel=0.05)


def test_decay_is_for_matrices_alone() -> None:
    module = model()
    trainer(max_epochs=1).fit(module, Batches(1))
    decayed, others = (group["params"] for group in module.optimizers().param_groups)
    names = {id(p): name for name, p in module.network.named_parameters()}
    assert {id(p) for p in decayed + others} == set(names), "the average is not trained"
    assert all(names[id(p)].endswith(".weight") and p.ndim == 2 for p in decayed)
    assert {names[id(p)] for p in others if p.ndim > 1} == {
        "set_encoder.queries",
        "equation_encoder.embedding.weight",
        "equation_encoder.positions",
        "decoder.embedding.weight",
        "decoder.positions",
    }


def test_nothing_is_a_function_of_the_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    weights = []
    for seconds in (1.0, 1000.0):
        clock = iter(seconds * k for k in range(10**6))
        monkeypatch.setattr(modules.cvae.time, "perf_counter", lambda clock=clock: next(clock))
        module = model()
        trainer(max_epochs=1).fit(module, Batches(3))
        weights.append(module.state_dict())
    assert all(torch.equal(weights[0][key], weights[1][key]) for key in weights[0])


# ------------------------------------------------------------------------------------- what it is built of


def test_hyperparameters_are_flat_and_rebuild_the_module(tmp_path: Path) -> None:
    module = model()
    for value in module.hparams.values():
        assert value is None or isinstance(value, (int, float, str, bool, list))
    path = tmp_path / "model.ckpt"
    torch.save({"state_dict": module.state_dict(), "hyper_parameters": dict(module.hparams)}, path)
    state = torch.load(path, weights_only=True)
    again = CVAE(**state["hyper_parameters"])
    again.load_state_dict(state["state_dict"])
    assert all(torch.equal(value, again.state_dict()[name]) for name, value in module.state_dict().items())


def test_the_data_say_what_is_theirs() -> None:
    class Data:
        variables, operators, longest = 4, ("add", "sin"), 12

    assert CVAE.data_arguments(Data()) == {"variables": 4, "operators": ["add", "sin"], "longest": 12}


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"width": 15}, "width=15 must be a multiple of model.heads=2"),
        ({"latents": 0}, "latents=0 is not allowed: it must be a whole number from 1"),
        ({"posterior_share": 1.0}, "less than 1"),
        ({"ema_decay": 1.0}, "less than 1"),
        ({"kl_weight": -1.0}, "kl_weight=-1.0 is not allowed: it must be a number, at least 0"),
        ({"operators": ["ad"]}, "did you mean add"),
        ({"variables": 0}, "at least 1 variable, not 0"),
        ({"init": "nowhere.safetensors"}, "init=nowhere.safetensors is not allowed"),
    ],
)
def test_bad_values_are_named(wrong: dict[str, Any], words: str) -> None:
    with pytest.raises(UserError, match=words):
        model(**wrong)


def test_starting_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "cvae_small.safetensors"
    monkeypatch.setattr(modules.cvae, "PRETRAINED", path)
    model(init="auto")
    with pytest.raises(UserError, match="init=pretrained finds no weights"):
        model(init="pretrained")
    torch.manual_seed(5)
    source = CVAE(**SMALL)
    LatentMap(source.average).save(path, {"steps": 3})
    assert capsys.readouterr().out == ""
    for init in ("auto", "pretrained", str(path)):
        module = model(init=init)
        assert capsys.readouterr().out == "starts from the weights cvae_small.safetensors\n"
        for network in (module.network, module.average):
            for ours, theirs in zip(network.parameters(), source.average.parameters(), strict=True):
                assert torch.equal(ours, theirs)
    assert any((a != b).any() for a, b in zip(model().parameters(), source.parameters(), strict=True))
    model(init="auto", latents=7)
    assert capsys.readouterr().out == "", "weights that do not fit are left alone"
    with pytest.raises(UserError, match=r"init=pretrained has latents=6, the model latents=7"):
        model(init="pretrained", latents=7)
    with pytest.raises(UserError, match="operators"):
        model(init="pretrained", operators=["add", "sin"])


# ---------------------------------------------------------------------------------------------- speed


def test_the_peak_is_a_number_of_operations_a_second() -> None:
    assert 1e8 < matmul_peak(torch.device("cpu"), torch.float32, 0.05) < 1e14


def test_freed_memory_may_be_kept() -> None:
    keep_freed_memory()
    assert math.isfinite(float(torch.ones(10).sum()))


@pytest.mark.parametrize(
    ("preset", "millions"), [("model=cvae", 9.4), ("experiment=cvae_base", 32.0), ("experiment=cvae_paper", 151.0)]
)
def test_sizes_of_the_presets(preset: str, millions: float) -> None:
    with hydra.initialize_config_dir(str(CONFIGS), version_base="1.3"):
        config = hydra.compose("train", [preset, "model.init=scratch"])
    with torch.device("meta"):
        module = build_model(config, hydra.utils.instantiate(config.data, _convert_="all"))
    parameters = sum(parameter.numel() for parameter in module.network.parameters())
    assert parameters == pytest.approx(millions * 1e6, rel=0.02)
    assert module.network.longest == config.data.longest
