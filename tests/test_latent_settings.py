"""Settings of the search in a latent space: wrong ones are refused, and each is explained."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from typing import Any

import pytest

from searches.latent_space.settings import LatentSearchSettings, SettingsError
from tests.latent_searches import ROOT


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"method": "cmaess"}, "did you mean cmaes"),
        ({"polish": "ga"}, "polish=ga is not allowed"),
        ({"population": 3}, "at least 4"),
        ({"population": 8.0}, "whole number"),
        ({"step": 0}, "above 0"),
        ({"temperature": -1}, "at least 0"),
        ({"elite_share": 1.5}, "from 0 to 1"),
        ({"prior_share": -0.1}, "from 0 to 1"),
        ({"question_samples": 0}, "question_samples"),
        ({"stop_when_exact": 1}, "true or false"),
        ({"seconds": None}, "set search.seconds or search.decodes"),
        ({"seconds": None, "decodes": 5}, "polish=gp has no budget"),
        ({"seconds": 0}, "above 0"),
        ({"decodes": 0}, "at least 1"),
        ({"method": "none", "polish": "none"}, "would search nothing"),
        ({"polish_operators": "add"}, "must be a list"),
        ({"polish_operators": ["add", "sinn"]}, "did you mean"),
        ({"polish_operators": ["sin"]}, "two arguments"),
        ({"popluation": 5}, "did you mean search.population"),
    ],
)
def test_a_wrong_setting_is_one_sentence(options: dict[str, Any], words: str) -> None:
    with pytest.raises(SettingsError, match=words) as caught:
        LatentSearchSettings.of(options)
    assert "\n" not in str(caught.value)


def test_settings_import_nothing_heavy() -> None:
    code = (
        "import sys; import searches.latent_space.settings; "
        "print(sorted({'torch', 'cma', 'deap', 'sympy', 'lightning', 'scipy'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_every_setting_is_explained() -> None:
    text = LatentSearchSettings.__doc__ or ""
    for item in dataclasses.fields(LatentSearchSettings):
        assert f"{item.name}:" in text or f"{item.name}," in text, item.name
