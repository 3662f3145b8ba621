"""The map of equations: numbers in, numbers out, and files that are what they say."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from expressions.operators import FIRST_VARIABLE
from expressions.parsing import parse
from expressions.skeleton import INTEGERS, Skeleton, skeleton_of
from expressions.vocabulary import Vocabulary
from foundation.errors import UserError
from modules.networks.equation_map.conditional_vae import ConditionalVAE
from modules.networks.equation_map.latent_map import FORMAT, LatentMap, read_weights
from modules.settings.cvae import MapSize

VARIABLES, LONGEST = 3, 9
SIZES = {
    "width": 16,
    "queries": 4,
    "heads": 2,
    "encoder_layers": 2,
    "equation_layers": 1,
    "decoder_layers": 2,
    "prefix": 3,
    "latents": 8,
    "decoder_width": None,
}


def new_map(seed: int = 0) -> LatentMap:
    torch.manual_seed(seed)
    vocabulary = Vocabulary(["add", "mul", "sin", "square"], VARIABLES, integers=INTEGERS)
    return LatentMap(ConditionalVAE(vocabulary, LONGEST, MapSize.of(SIZES)).requires_grad_(False))


@pytest.fixture(scope="module")
def latent_map() -> LatentMap:
    return new_map()


def table(rows: int, columns: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return rng.normal(size=(rows, columns)), rng.normal(size=rows)


def places(count: int, seed: int = 0) -> np.ndarray:
    return 2 * np.random.default_rng(seed).normal(size=(count, SIZES["latents"]))


def with_another_decoder(width: int) -> LatentMap:
    sizes = {**SIZES, "decoder_width": width}
    return LatentMap(ConditionalVAE(new_map().vocabulary, LONGEST, MapSize.of(sizes)).requires_grad_(False))


# -------------------------------------------------------------------------------------------- numbers


def test_tables_do_not_know_of_each_other(latent_map: LatentMap) -> None:
    tables = [table(20, 2), table(31, 3, 1), table(20, 1, 2), table(1, 3, 3), table(20, 3, 4)]
    mean, std = latent_map.prior(tables)
    assert mean.shape == std.shape == (5, SIZES["latents"])
    assert mean.dtype == std.dtype == np.float64
    assert (std > 0).all()
    for number, own in enumerate(tables):
        np.testing.assert_allclose(latent_map.prior([own])[0][0], mean[number], atol=1e-5)
    assert latent_map.prior([])[0].shape == (0, SIZES["latents"])


def test_rows_beyond_200_and_gaps_are_left_out(latent_map: LatentMap) -> None:
    inputs, target = table(260, 2)
    mean, _ = latent_map.prior([(inputs[:200], target[:200])])
    np.testing.assert_array_equal(latent_map.prior([(inputs, target)])[0], mean)
    inputs, target = inputs[:50].copy(), target[:50].copy()
    inputs[3, 1], target[7] = np.nan, np.inf
    good = np.delete(np.arange(50), [3, 7])
    np.testing.assert_array_equal(
        latent_map.prior([(inputs, target)])[0], latent_map.prior([(inputs[good], target[good])])[0]
    )
    with pytest.raises(UserError, match="none of the table's first 50 rows is finite"):
        latent_map.prior([(inputs, target * np.nan)])


def test_numbers_that_float32_does_not_hold(latent_map: LatentMap) -> None:
    inputs, target = table(30, 2)
    plain, _ = latent_map.prior([(inputs, target)])
    np.testing.assert_allclose(latent_map.prior([(inputs, target * 1e300)])[0], plain, atol=1e-4)
    mean, std = latent_map.prior([(inputs * 1e200, target), (inputs * 1e-300, target), (inputs, target * 0)])
    assert np.isfinite(mean).all()
    assert np.isfinite(std).all()


def test_equations_have_their_places(latent_map: LatentMap) -> None:
    skeletons = [skeleton_of(parse(text)) for text in ("sin(x0)*x1", "x0*x0 + sin(2.5*x1)", "sin(x0)*x1")]
    mean, std = latent_map.posterior(table(25, 2), skeletons)
    assert mean.shape == std.shape == (3, SIZES["latents"])
    np.testing.assert_allclose(mean[0], mean[2], atol=1e-6)
    assert np.abs(mean[0] - mean[1]).max() > 1e-3
    alone, _ = latent_map.posterior(table(25, 2), skeletons[1:2])
    np.testing.assert_allclose(alone[0], mean[1], atol=1e-5)
    with pytest.raises(UserError, match="only 11 are allowed"):
        latent_map.posterior(table(25, 2), [skeleton_of(parse("sin(x0*x1 + sin(x1*x2 + x0*sin(x0 + x2)))"))])
    with pytest.raises(UserError, match="exp"):
        latent_map.posterior(table(25, 2), [skeleton_of(parse("exp(x0)"))])


def test_columns_that_the_model_does_not_know(latent_map: LatentMap) -> None:
    for call in (
        lambda: latent_map.prior([table(20, 4)]),
        lambda: latent_map.decode(places(2), 4),
        lambda: latent_map.beam(places(2), 4, 2),
    ):
        with pytest.raises(UserError, match="4 columns, but the model knows equations of 3"):
            call()


@pytest.mark.parametrize("variables", [1, 2, 3])
@pytest.mark.parametrize("temperature", [0.0, 1.0, 3.0])
def test_what_is_decoded_is_a_skeleton_of_the_table(
    latent_map: LatentMap, variables: int, temperature: float
) -> None:
    skeletons = latent_map.decode(places(700), variables, temperature=temperature, seed=3)
    assert len(skeletons) == 700
    for skeleton in skeletons:
        assert isinstance(skeleton, Skeleton)
        assert 1 <= len(skeleton) <= LONGEST
        assert max(skeleton.tokens) < FIRST_VARIABLE + variables
        skeleton.expression()  # a program that is not complete would raise


def test_draws_are_a_function_of_the_seed(latent_map: LatentMap) -> None:
    latents = places(60)
    first = latent_map.decode(latents, 3, seed=1)
    torch.manual_seed(99)
    np.random.seed(99)  # noqa: NPY002
    state = torch.get_rng_state()
    assert latent_map.decode(latents, 3, seed=1) == first
    assert torch.equal(torch.get_rng_state(), state)
    assert latent_map.decode(latents, 3, seed=2) != first
    greedy = latent_map.decode(latents, 3, temperature=0.0, seed=1)
    assert latent_map.decode(latents, 3, temperature=0.0, seed=2) == greedy


def test_beams_begin_with_the_greedy_one(latent_map: LatentMap) -> None:
    latents = places(30)
    greedy = latent_map.decode(latents, 2, temperature=0.0)
    assert [own[0] for own in latent_map.beam(latents, 2, 1)] == greedy
    wide = latent_map.beam(latents, 2, 600)
    assert len(wide) == 30
    assert all(len(set(own)) == len(own) > 100 for own in wide)
    with pytest.raises(UserError, match="width=0"):
        latent_map.beam(latents, 2, 0)


# ---------------------------------------------------------------------------------------------- files


def test_a_map_comes_back_from_its_file(latent_map: LatentMap, tmp_path: Path) -> None:
    path = tmp_path / "map.safetensors"
    latent_map.save(path, {"data": "equations", "steps": 12, "measures": {"kl": 3.5}})
    again = LatentMap.load(path)
    assert again.card == {"data": "equations", "steps": 12, "measures": {"kl": 3.5}}
    assert (again.variables, again.latents, again.longest) == (VARIABLES, SIZES["latents"], LONGEST)
    assert again.vocabulary.names == latent_map.vocabulary.names
    assert again.network.settings == latent_map.network.settings
    tables = [table(20, 2), table(31, 3, 1)]
    np.testing.assert_array_equal(again.prior(tables), latent_map.prior(tables))
    assert again.decode(places(20), 2, seed=5) == latent_map.decode(places(20), 2, seed=5)
    assert not any(p.requires_grad for p in again.network.parameters())
    assert [file.name for file in tmp_path.iterdir()] == [path.name], "nothing is left beside it"
    latent_map.save(path, {})
    assert LatentMap.load(path).card == {}


def rewritten(change: Callable[[dict[str, torch.Tensor], dict[str, Any]], Any]) -> Callable[[Path], None]:
    """What changes the weights or the settings of a file."""

    def rewrite(path: Path) -> None:
        tensors, settings = load_file(path), read_weights(path).settings
        change(tensors, settings)
        save_file(tensors, path, {"format": FORMAT, "settings": json.dumps(settings), "card": "{}"})

    return rewrite


STRANGE = {
    "a text": lambda path: path.write_text("weights"),
    "empty": lambda path: path.write_bytes(b""),
    "torn": lambda path: path.write_bytes(path.read_bytes()[:-100]),
    "a pickle": lambda path: torch.save({"state_dict": {}}, path),
    "no words": lambda path: save_file(load_file(path), path),
    "other words": lambda path: save_file(load_file(path), path, {"format": "another"}),
    "no settings": lambda path: save_file(load_file(path), path, {"format": FORMAT}),
    "settings that are none": lambda path: save_file(
        load_file(path), path, {"format": FORMAT, "settings": "{", "card": "{}"}
    ),
    "wider": rewritten(lambda tensors, settings: settings.update(width=32)),
    "huge": rewritten(lambda tensors, settings: settings.update(width=10**12)),
    "a text for a number": rewritten(lambda tensors, settings: settings.update(latents="8")),
    "no number": rewritten(lambda tensors, settings: settings.pop("longest")),
    "a setting too many": rewritten(lambda tensors, settings: settings.update(depth=3)),
    "heads that do not divide": rewritten(lambda tensors, settings: settings.update(heads=3)),
    "another operator": rewritten(lambda tensors, settings: settings.update(operators=["add"])),
    "an unknown operator": rewritten(lambda tensors, settings: settings["operators"].append("evil")),
    "an operator that is a number": rewritten(lambda tensors, settings: settings["operators"].append(1e300)),
    "an endless integer": rewritten(lambda tensors, settings: settings["integers"].append(float("inf"))),
    "a weight too few": rewritten(lambda tensors, settings: tensors.popitem()),
    "a weight that is none": rewritten(lambda tensors, settings: next(iter(tensors.values())).fill_(torch.nan)),
    "another type": rewritten(
        lambda tensors, settings: tensors.update({k: v.double() for k, v in tensors.items()})
    ),
}


def test_a_file_in_float16_is_half_as_long_and_nearly_the_same(latent_map: LatentMap, tmp_path: Path) -> None:
    whole, half = tmp_path / "whole.safetensors", tmp_path / "half.safetensors"
    latent_map.save(whole, {})
    latent_map.save(half, {}, half=True)
    assert half.stat().st_size < 0.6 * whole.stat().st_size
    for name, value in LatentMap.load(half).network.state_dict().items():
        assert value.dtype == torch.float32
        assert torch.allclose(value, latent_map.network.state_dict()[name], rtol=2**-11, atol=2**-24)


def test_a_decoder_may_be_narrower_than_the_encoders(tmp_path: Path) -> None:
    narrow = with_another_decoder(6)
    assert narrow.network.decoder.head.in_features == 6
    narrow.save(tmp_path / "narrow.safetensors", {})
    again = LatentMap.load(tmp_path / "narrow.safetensors")
    assert again.decode(places(9), 2, seed=4) == narrow.decode(places(9), 2, seed=4)


@pytest.mark.parametrize("kind", STRANGE)
def test_strange_files_are_refused_in_one_sentence(latent_map: LatentMap, kind: str, tmp_path: Path) -> None:
    path = tmp_path / "map.safetensors"
    latent_map.save(path, {})
    STRANGE[kind](path)
    with pytest.raises(UserError) as refusal:
        LatentMap.load(path)
    sentence = str(refusal.value)
    assert sentence.startswith(str(path))
    assert sentence.count("\n") == 0
    assert "give" in sentence


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="there is no file"):
        LatentMap.load(tmp_path / "nothing")
    with pytest.raises(UserError, match="there is no file"):
        LatentMap.load(tmp_path)
