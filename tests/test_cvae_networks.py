"""The networks of system 4: what they do not depend on, what they write, and the parts of their loss."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from expressions.skeleton import INTEGERS
from expressions.vocabulary import Vocabulary
from modules.networks.equation_map.conditional_vae import Batch, ConditionalVAE, Gaussian, divergence, token_losses
from modules.networks.equation_map.set_encoder import point_features
from modules.networks.transformer.attention import Norm, attend, in_working_precision
from modules.networks.transformer.decoding import decoded
from modules.settings.cvae import MapSize

OPERATORS = ["add", "mul", "sin", "square", "div"]
VARIABLES, LONGEST = 3, 9
VOCABULARY = Vocabulary(OPERATORS, VARIABLES, integers=INTEGERS)
SMALL = {
    "width": 16,
    "queries": 4,
    "heads": 2,
    "encoder_layers": 2,
    "equation_layers": 2,
    "decoder_layers": 2,
    "prefix": 3,
    "latents": 8,
    "decoder_width": None,
}


def network(seed: int = 0, **settings: Any) -> ConditionalVAE:
    torch.manual_seed(seed)
    return ConditionalVAE(VOCABULARY, LONGEST, MapSize.of({**SMALL, **settings}))


def random_ids(rows: int, present: Tensor, generator: torch.Generator) -> Tensor:
    """Complete programs that know nothing but the grammar, padded. `[rows, LONGEST + 2]`"""
    missing, columns = torch.ones(rows, dtype=torch.long), [torch.full((rows,), VOCABULARY.start)]
    for left in range(LONGEST, -1, -1):
        allowed = VOCABULARY.allowed_next(missing, left, present).float()
        columns.append(torch.multinomial(allowed, 1, generator=generator)[:, 0])
        missing = VOCABULARY.advance(missing, columns[-1])
    return torch.stack(columns, dim=1)


def random_batch(rows: int = 6, points: int = 20, seed: int = 0) -> Batch:
    generator = torch.Generator().manual_seed(seed)
    present = torch.rand(rows, VARIABLES, generator=generator) < 0.5
    present[:, 0] = True
    inputs = torch.randn(rows, points, VARIABLES, generator=generator) * present[:, None]
    target = torch.randn(rows, points, generator=generator)
    return Batch(inputs, target, present, random_ids(rows, present, generator))


@pytest.fixture(scope="module")
def net() -> Iterator[ConditionalVAE]:
    with torch.random.fork_rng():
        yield network()


# ------------------------------------------------------------------------------------------------- features


MAGNITUDES = st.sampled_from([0.0, 1e-38, 1e-20, 1e-3, 1.0, 1e6, 1e30, 3e38])


@given(
    rows=st.integers(1, 3),
    points=st.integers(1, 7),
    scales=st.lists(MAGNITUDES, min_size=VARIABLES + 1, max_size=VARIABLES + 1),
    kind=st.sampled_from(["normal", "constant", "one outlier", "signs"]),
    seed=st.integers(0, 99),
)
@settings(max_examples=150, deadline=None)
def test_features_of_anything_finite_are_finite(
    rows: int, points: int, scales: list[float], kind: str, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    values = {
        "normal": rng.normal(size=(rows, points, VARIABLES + 1)).clip(-1, 1),
        "constant": np.ones((rows, points, VARIABLES + 1)),
        "one outlier": np.where(np.arange(points)[:, None] == 0, 1.0, 1e-12) * np.ones((rows, 1, VARIABLES + 1)),
        "signs": rng.choice([-1.0, 1.0], size=(rows, points, VARIABLES + 1)),
    }[kind] * np.array(scales)
    table = torch.from_numpy(values.astype(np.float32))
    present = torch.from_numpy(rng.random((rows, VARIABLES)) < 0.6)
    features = point_features(table[..., :VARIABLES], table[..., VARIABLES], present)
    of_points, of_variables = features.points, features.statistics[:, :VARIABLES]
    assert of_points.shape == (rows, points, 4 * VARIABLES + 5)
    for part in features:
        assert part.isfinite().all()
        assert part.abs().max() < 100
    absent = (~present)[:, None, :].expand(rows, points, -1).repeat(1, 1, 3)
    assert (of_points[..., : 3 * VARIABLES][absent] == 0).all()
    assert (of_variables[~present] == 0).all()
    if kind == "constant":
        assert (of_points[..., :VARIABLES] == 0).all()
        assert (of_points[..., 3 * VARIABLES : 3 * VARIABLES + 3] == 0).all()


def test_features_of_an_example() -> None:
    inputs = torch.tensor([[[2.0, 5.0, 7.0], [4.0, 5.0, 7.0], [6.0, 5.0, 7.0]]])
    target = torch.tensor([[30.0, 10.0, 10.0]])
    points = point_features(inputs, target, torch.tensor([[True, True, False]])).points[0]
    spread = np.sqrt(8 / 3)
    np.testing.assert_allclose(points[:, 0], [-2 / spread, 0, 2 / spread], atol=1e-6)
    np.testing.assert_allclose(points[:, 3], np.arcsinh([2, 4, 6]), rtol=1e-6)
    np.testing.assert_allclose(points[:, [1, 2, 5]], 0)
    np.testing.assert_allclose(points[:, 6:9], [[1, 1, 0]] * 3)
    np.testing.assert_allclose(points[:, 11], [1, -0.5, -0.5])  # ranks 2 and, tied, 0.5


@given(scale=st.sampled_from([1e-20, 0.1, 3.0, 1e20]), offset=st.sampled_from([0.0, -2.0, 5.0]))
@settings(max_examples=12, deadline=None)
def test_the_scale_of_the_target_does_not_matter(scale: float, offset: float) -> None:
    batch = random_batch(points=31)
    plain = point_features(batch.inputs, batch.target + offset, batch.present)
    scaled = point_features(batch.inputs, (batch.target + offset) * scale, batch.present)
    torch.testing.assert_close(plain, scaled, atol=1e-3, rtol=1e-3)


# --------------------------------------------------------------------------------------------- invariances


def test_the_order_of_the_points_does_not_matter(net: ConditionalVAE) -> None:
    batch = random_batch(points=33)
    batch.target[:, 5:9] = batch.target[:, 5:6]  # ties, too
    # Away from poles, near which products that are all decided by one point are as good as each other.
    inputs = (batch.inputs.abs() + 0.5) * batch.present[:, None]
    order = torch.randperm(33, generator=torch.Generator().manual_seed(1))
    one = net.encode(point_features(inputs, batch.target, batch.present))
    other = net.encode(point_features(inputs[:, order], batch.target[:, order], batch.present))
    torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-4)


def test_padding_does_not_matter(net: ConditionalVAE) -> None:
    batch = random_batch()
    data = net.encode(point_features(batch.inputs, batch.target, batch.present))
    for row in range(len(batch.ids)):
        length = int((batch.ids[row] != 0).sum())
        alone = batch.ids[row : row + 1, :length]
        one = net.posterior(data[row : row + 1], alone)
        other = net.posterior(data, batch.ids)
        torch.testing.assert_close(one.mean[0], other.mean[row], atol=1e-5, rtol=1e-4)
        latents = other.mean[row : row + 1]
        present = batch.present[row : row + 1]
        short, long = net.scores(latents, alone, present), net.scores(latents, batch.ids[row : row + 1], present)
        torch.testing.assert_close(short, long[:, : length - 1], atol=1e-5, rtol=1e-4)


def test_values_of_absent_columns_do_not_matter(net: ConditionalVAE) -> None:
    batch = random_batch()
    filled = torch.where(batch.present[:, None], batch.inputs, torch.tensor(9.0))
    parts = (point_features(inputs, batch.target, batch.present) for inputs in (batch.inputs, filled))
    for one, other in zip(*parts, strict=True):
        assert torch.equal(one, other)


def test_the_decoder_cannot_look_ahead(net: ConditionalVAE) -> None:
    batch = random_batch()
    latents = torch.randn(len(batch.ids), net.latents)
    scores = net.decoder(latents, batch.ids[:, :-1])
    changed = batch.ids[:, :-1].clone()
    changed[:, 4:] = VOCABULARY.placeholder
    torch.testing.assert_close(net.decoder(latents, changed)[:, :4], scores[:, :4])


def test_attention_equals_that_of_torch() -> None:
    queries, keys, values = (torch.randn(2, 3, length, 4) for length in (5, 7, 7))
    bias = torch.zeros(5, 7).masked_fill(torch.rand(5, 7) < 0.3, -torch.inf)
    bias[:, 0] = 0
    expected = torch.nn.functional.scaled_dot_product_attention(queries, keys, values, attn_mask=bias)
    torch.testing.assert_close(attend(queries, keys, values, bias), expected.transpose(1, 2).flatten(2))


def test_checkpointed_activations_change_nothing() -> None:
    batch = random_batch()
    gradients = []
    for again in (False, True):
        net = network(checkpoint_activations=again)
        torch.manual_seed(5)
        net.losses(batch, 0.5, 0.02, (True, True)).prior_cross_entropy.backward()
        gradients.append([p.grad for p in net.parameters()])
    for one, other in zip(*gradients, strict=True):
        assert (one is None) == (other is None)
        if one is not None:
            torch.testing.assert_close(one, other)


# ------------------------------------------------------------------------------------------------- decoding


def complete_rows(ids: Tensor, present: Tensor) -> None:
    """Check each row by hand: a program, its end, padding, no absent variable, not too long."""
    for row, here in zip(ids.tolist(), present.tolist(), strict=True):
        assert row[0] == VOCABULARY.start
        end = row.index(VOCABULARY.end)
        assert set(row[end + 1 :]) <= {0}
        body = row[1:end]
        assert 1 <= len(body) <= LONGEST
        missing = 1
        for k in body:
            assert missing > 0
            missing += int(VOCABULARY.effect[k])
        assert missing == 0
        used = {k - VOCABULARY.first_variable for k in body}
        assert not used & {j for j in range(VARIABLES) if not here[j]}
    assert len(VOCABULARY.decode_skeletons(ids)) == len(ids)


@given(seed=st.integers(0, 10**6), temperature=st.sampled_from([0.0, 0.3, 1.0, 5.0]), rows=st.integers(1, 30))
@settings(max_examples=25, deadline=None)
def test_whatever_is_decoded_is_complete(seed: int, temperature: float, rows: int) -> None:
    net = network(seed % 3)
    generator = torch.Generator().manual_seed(seed)
    latents = 3 * torch.randn(rows, net.latents, generator=generator)
    present = torch.rand(rows, VARIABLES, generator=generator) < 0.5  # none at all, too
    complete_rows(net.decode(latents, present, temperature, generator), present)


def test_cached_decoding_equals_teacher_forcing(net: ConditionalVAE) -> None:
    generator = torch.Generator().manual_seed(3)
    latents = 2 * torch.randn(40, net.latents, generator=generator)
    present = torch.rand(40, VARIABLES, generator=generator) < 0.7
    ids = net.decode(latents, present)
    scores = net.scores(latents, ids, present)
    real = ids[:, 1:] != 0
    assert torch.equal(scores.argmax(dim=-1)[real], ids[:, 1:][real])
    # and the scores themselves, step by step, where no row is put aside
    caches = net.decoder.begin(latents)
    plain = net.decoder(latents, ids[:, :-1])
    for position in range(ids.shape[1] - 1):
        step = net.decoder.advance(ids[:, position], caches, position)
        torch.testing.assert_close(step, plain[:, position], atol=1e-5, rtol=1e-4)


def test_draws_depend_on_their_generator_alone(net: ConditionalVAE) -> None:
    latents, present = torch.randn(20, net.latents), torch.ones(20, VARIABLES, dtype=torch.bool)
    first = net.decode(latents, present, 1.0, torch.Generator().manual_seed(1))
    torch.rand(5)
    state = torch.get_rng_state()
    assert torch.equal(first, net.decode(latents, present, 1.0, torch.Generator().manual_seed(1)))
    assert torch.equal(state, torch.get_rng_state()), "nothing is taken from the global stream"
    assert not torch.equal(first, net.decode(latents, present, 1.0, torch.Generator().manual_seed(2)))


def test_draws_follow_the_scores(net: ConditionalVAE) -> None:
    latents = torch.randn(1, net.latents).expand(20_000, -1)
    present = torch.ones(20_000, VARIABLES, dtype=torch.bool)
    ids = net.decode(latents, present, 1.0, torch.Generator().manual_seed(4))
    expected = net.scores(latents[:1], ids[:1], present[:1])[0, 0].softmax(dim=-1)
    shares = torch.bincount(ids[:, 1], minlength=len(VOCABULARY)) / len(ids)
    torch.testing.assert_close(shares, expected.detach(), atol=0.015, rtol=0)


def test_a_beam_of_one_is_greedy_and_a_wide_one_finds_better(net: ConditionalVAE) -> None:
    generator = torch.Generator().manual_seed(6)
    latents = 2 * torch.randn(12, net.latents, generator=generator)
    present = torch.rand(12, VARIABLES, generator=generator) < 0.6
    greedy = net.decode(latents, present)
    ids, single = net.beam(latents, present, 1)
    assert torch.equal(ids[:, 0], greedy)
    ids, logs = net.beam(latents, present, 15)
    assert (logs[:, 0] >= single[:, 0] - 1e-5).all()
    assert (logs.diff(dim=1) <= 1e-6).all()
    for row, (own, likely) in enumerate(zip(ids, logs, strict=True)):
        complete_rows(own, present[row].expand(15, -1))
        assert len({tuple(beam) for beam in own.tolist()}) == 15
        repeated = latents[row].expand(15, -1)
        nats, _ = token_losses(net.scores(repeated, own, present[row].expand(15, -1)), own)
        torch.testing.assert_close(-nats.sum(dim=1), likely, atol=1e-4, rtol=1e-4)


def test_a_beam_finds_all_equations_where_there_are_few() -> None:
    vocabulary = Vocabulary(["sin"], 1, integers=(2,))
    torch.manual_seed(0)
    net = ConditionalVAE(vocabulary, 2, MapSize.of(SMALL))
    ids, logs = net.beam(torch.randn(3, net.latents), torch.tensor([[True], [True], [False]]), 20)
    # c, 2, x0, sin c, sin 2, sin x0; and those without x0
    assert logs.isfinite().sum(dim=1).tolist() == [6, 6, 4]
    torch.testing.assert_close(logs.exp().sum(dim=1), torch.ones(3))
    for own, likely in zip(ids, logs.isfinite(), strict=True):
        assert len(vocabulary.decode_skeletons(own[likely])) == likely.sum()


# ------------------------------------------------------------------------------------------------- the loss


def test_cross_entropy_is_that_of_a_masked_softmax_by_hand(net: ConditionalVAE) -> None:
    batch = random_batch()
    latents = torch.randn(len(batch.ids), net.latents)
    nats, counted = token_losses(net.scores(latents, batch.ids, batch.present), batch.ids)
    free = net.decoder(latents, batch.ids[:, :-1])
    for row, ids in enumerate(batch.ids.tolist()):
        missing = 1
        for position, following in enumerate(ids[1:]):
            if following == 0:
                assert nats[row, position] == 0
                assert not counted[row, position]
                continue
            if position:
                missing += int(VOCABULARY.effect[ids[position]])
            here = batch.present[row].numpy()
            allowed = VOCABULARY.allowed_next(np.array([missing]), LONGEST - position, here)[0]
            weights = np.exp(free[row, position].detach().double().numpy()) * allowed
            expected = -np.log(weights[following] / weights.sum())
            assert nats[row, position].item() == pytest.approx(expected, abs=1e-4)


def test_losses_by_hand(net: ConditionalVAE) -> None:
    batch, free_bits = random_batch(rows=8), 0.5
    torch.manual_seed(11)
    losses = net.losses(batch, 0.5, free_bits, (True, True))
    features = point_features(batch.inputs, batch.target, batch.present)
    data = net.encode(features)
    prior = net.prior(data)
    posterior = net.posterior(data[:4], batch.ids[:4])
    p = torch.distributions.Normal(prior.mean[:4], (0.5 * prior.log_variance[:4]).exp())
    q = torch.distributions.Normal(posterior.mean, (0.5 * posterior.log_variance).exp())
    kl = torch.distributions.kl_divergence(q, p).mean(dim=0)
    torch.testing.assert_close(losses.kl, kl.sum())
    assert (kl < free_bits).any()
    torch.testing.assert_close(losses.free_kl, sum(max(k, torch.tensor(free_bits)) for k in kl))
    torch.manual_seed(11)
    noise = torch.randn(8, net.latents)
    latents = torch.cat(
        [
            posterior.mean + noise[:4] * (0.5 * posterior.log_variance).exp(),
            prior.mean[4:] + noise[4:] * (0.5 * prior.log_variance[4:]).exp(),
        ]
    )
    nats, counted = token_losses(net.scores(latents, batch.ids, batch.present), batch.ids)
    torch.testing.assert_close(losses.posterior_cross_entropy, nats[:4].sum() / counted[:4].sum())
    torch.testing.assert_close(losses.prior_cross_entropy, nats[4:].sum() / counted[4:].sum())
    assert losses.tokens == (batch.ids[:, 1:] != 0).sum()
    held = torch.stack([(batch.ids == k).any(dim=1) for k in range(len(VOCABULARY))], dim=1)[:, 3:].float()
    chance = net.presence_head(latents)[:, 3:].sigmoid()
    torch.testing.assert_close(losses.presence, -(held * chance.log() + (1 - held) * (1 - chance).log()).mean())


def test_divergence_of_equals_is_nothing() -> None:
    some = Gaussian(torch.randn(3, 4), torch.randn(3, 4))
    torch.testing.assert_close(divergence(some, some), torch.zeros(3, 4))
    other = Gaussian(torch.randn(3, 4), torch.randn(3, 4))
    p, q = (torch.distributions.Normal(g.mean, (0.5 * g.log_variance).exp()) for g in (some, other))
    torch.testing.assert_close(divergence(some, other), torch.distributions.kl_divergence(p, q))


def test_the_value_head_never_sees_the_target(net: ConditionalVAE) -> None:
    batch = random_batch(points=40)
    points = point_features(batch.inputs, batch.target, batch.present).points
    latents = torch.randn(len(points), net.latents)
    seen: list[Tensor] = []
    hook = net.value_head.register_forward_pre_hook(lambda _, arguments: seen.append(arguments[1]))
    net.value_loss(latents, points)
    hook.remove()
    assert seen[0].shape == (len(points), 16, 3 * VARIABLES)
    assert torch.equal(seen[0], points[:, 0:32:2, : 3 * VARIABLES])


@pytest.mark.parametrize("points", [1, 5, 16, 47])
def test_any_number_of_points(net: ConditionalVAE, points: int) -> None:
    losses = net.losses(random_batch(points=points), 0.5, 0.02, (True, True))
    assert all(value.isfinite() for value in losses)


def test_every_parameter_learns_from_a_batch() -> None:
    net = network()
    losses = net.losses(random_batch(rows=8), 0.5, 0.0, (True, True))
    (losses.prior_cross_entropy + losses.free_kl + losses.values + losses.presence).backward()
    assert [name for name, p in net.named_parameters() if p.grad is None] == []


def test_no_posterior_is_built_without_its_share() -> None:
    net = network()
    losses = net.losses(random_batch(), 0.0, 0.02, (False, False))
    assert (losses.kl, losses.posterior_cross_entropy, losses.values, losses.presence) == (0, 0, 0, 0)
    losses.prior_cross_entropy.backward()
    assert all(p.grad is None for p in net.equation_encoder.parameters())


def test_eight_equations_are_learned_by_heart() -> None:
    net, batch = network(width=32), random_batch(rows=8)
    twice = Batch(*(torch.cat([part, part]) for part in batch))  # all of them from either branch
    optimizer = torch.optim.AdamW(net.parameters(), lr=3e-3, fused=True)
    for _ in range(100):
        losses = net.losses(twice, 0.5, 0.0, (False, False))
        loss = losses.prior_cross_entropy + losses.posterior_cross_entropy + 1e-3 * losses.free_kl
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimizer.step()
    data = net.encode(point_features(batch.inputs, batch.target, batch.present))
    for mean in (net.posterior(data, batch.ids).mean, net.prior(data).mean):
        assert torch.equal(net.decode(mean, batch.present), batch.ids)


def test_bf16_autocast_on_the_cpu_comes_close() -> None:
    net, batch = network(), random_batch(rows=8)
    values = []
    for low in (False, True):
        torch.manual_seed(2)
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=low):
            losses = net.losses(batch, 0.5, 0.02, (True, True))
        loss = losses.prior_cross_entropy + losses.posterior_cross_entropy + losses.free_kl
        (loss + losses.values + losses.presence).backward()
        assert all(value.dtype in (torch.float32, torch.int64) for value in losses)
        assert all(p.grad is not None and p.grad.isfinite().all() for p in net.parameters())
        values.append(loss.item())
    assert values[1] == pytest.approx(values[0], rel=0.02)


def test_a_norm_works_in_the_type_of_its_input() -> None:
    norm, states = Norm(8), torch.randn(5, 8)
    torch.nn.init.normal_(norm.weight)
    plain = torch.nn.functional.layer_norm(states, (8,), norm.weight, norm.bias)
    assert torch.equal(norm(states), plain)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        low = norm(in_working_precision(states))
        assert torch.equal(norm(states), plain)
    assert low.dtype == torch.bfloat16
    assert torch.allclose(low.float(), plain, atol=0.05)
    assert in_working_precision(states) is states


def test_decoded_rows_are_put_aside_without_a_trace(net: ConditionalVAE) -> None:
    latents, present = 4 * torch.randn(50, net.latents), torch.ones(50, VARIABLES, dtype=torch.bool)
    together = net.decode(latents, present)
    alone = [decoded(net.decoder, VOCABULARY, LONGEST, latents[k : k + 1], present[k : k + 1]) for k in range(50)]
    assert torch.equal(together, torch.cat(alone))
