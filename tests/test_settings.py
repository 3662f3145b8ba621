"""Settings check themselves: types, limits, words, unknown names."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest

from callbacks.settings.searches import GPSearchSettings
from configs.run_settings import RunSettings
from foundation.errors import UserError
from foundation.machine import cores, memory
from foundation.settings import Rule, Settings, SettingsError, setting
from searches.evolution.settings import GeneticProgrammingSettings
from searches.gumbel_structures.settings import StructureSearchSettings
from searches.latent_space.settings import LatentSearchSettings


@dataclass(frozen=True, kw_only=True)
class Oven(Settings):
    """An example.

    Attributes:
        degrees: heat.
    """

    group = "kitchen"

    degrees: float = setting(180.0, above=0.0, most=250.0)
    minutes: int = setting(30, least=1)
    share: float = setting(0.5, least=0.0, most=1.0)
    part: float = setting(0.5, least=0.0, below=1.0)
    shelf: int = setting(2, least=1, most=4)
    mode: str = setting("fan", choices=("fan", "grill"))
    timer: int | None = setting(None, least=1)
    light: bool = setting(True)
    dishes: tuple[str, ...] = setting(("bread",))
    weights: dict[str, float] = setting({"bread": 1.0})
    label: str = setting("oven", rule=Rule(lambda value: str(value).islower(), "a word in small letters"))

    def _check_together(self) -> None:
        if self.mode == "grill" and self.minutes > 60:
            raise SettingsError("kitchen.mode=grill burns after 60 minutes")


@dataclass(frozen=True, kw_only=True)
class Needs(Settings):
    """Has a setting without a default."""

    name: str = setting()


@pytest.mark.parametrize(
    ("option", "sentence"),
    [
        ({"degrees": 0}, "kitchen.degrees=0 is not allowed: it must be a number above 0, at most 250"),
        ({"degrees": "hot"}, "kitchen.degrees=hot is not allowed"),
        ({"degrees": float("nan")}, "kitchen.degrees=nan is not allowed"),
        ({"degrees": True}, "kitchen.degrees=true is not allowed"),
        ({"minutes": 0}, "kitchen.minutes=0 is not allowed: it must be a whole number, at least 1"),
        ({"minutes": 1.0}, "kitchen.minutes=1.0 is not allowed"),
        ({"minutes": None}, "kitchen.minutes=null is not allowed"),
        ({"share": 1.5}, "kitchen.share=1.5 is not allowed: it must be a number from 0 to 1"),
        ({"part": 1}, "kitchen.part=1 is not allowed: it must be a number, at least 0, less than 1"),
        ({"shelf": 5}, "it must be a whole number from 1 to 4"),
        ({"mode": "gril"}, "it must be one of fan, grill; did you mean grill?"),
        ({"timer": 0}, "it must be a whole number, at least 1, or null"),
        ({"light": 1}, "it must be true or false"),
        ({"dishes": "bread"}, "it must be a list"),
        ({"weights": [1]}, "it must be a mapping"),
        ({"label": "OVEN"}, "kitchen.label=OVEN is not allowed: it must be a word in small letters"),
        ({"mode": "grill", "minutes": 61}, "burns after 60 minutes"),
        ({"minute": 3}, "kitchen.minute is not a key; did you mean kitchen.minutes?"),
    ],
)
def test_every_fault_is_one_sentence(option: dict[str, Any], sentence: str) -> None:
    with pytest.raises(SettingsError) as error:
        Oven.of(option)
    assert sentence in str(error.value)
    assert isinstance(error.value, UserError)
    assert isinstance(error.value, ValueError)


def test_direct_construction_is_checked_too() -> None:
    with pytest.raises(SettingsError, match=r"kitchen\.shelf=0"):
        Oven(shelf=0)


def test_limits_are_allowed_where_they_belong_to_the_range() -> None:
    oven = Oven(degrees=250, share=0, part=0, shelf=4, timer=1)
    assert (oven.degrees, oven.share, oven.timer) == (250, 0, 1)


def test_plain_values_make_the_same_settings() -> None:
    oven = Oven.of({"dishes": ["soup", "fish"], "weights": {"soup": 2.0}})
    assert oven.dishes == ("soup", "fish")
    assert oven.as_mapping()["dishes"] == ["soup", "fish"]
    assert Oven.of(oven.as_mapping()) == oven
    assert Oven().as_mapping() == Oven.defaults()


def test_mappings_are_not_shared() -> None:
    Oven().weights["cake"] = 1.0
    assert Oven().weights == {"bread": 1.0}


def test_what_has_no_default_must_be_given() -> None:
    assert Needs.defaults() == {}
    with pytest.raises(SettingsError, match="name is missing: give it, name=…"):
        Needs.of({})
    assert Needs.of({"name": "a"}).name == "a"


def test_a_plain_dataclass_field_is_checked_by_its_type() -> None:
    @dataclass(frozen=True, kw_only=True)
    class Bare(Settings):
        count: int = 3
        names: tuple[str, ...] = field(default=())

    with pytest.raises(SettingsError, match="count=many is not allowed: it must be a whole number"):
        Bare.of({"count": "many"})


# --- what the machine cannot do ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "options", "words"),
    [
        (
            GeneticProgrammingSettings,
            {"population": 10**9},
            r"population=1000000000 with search.islands=1 needs",
        ),
        (GeneticProgrammingSettings, {"islands": 9_999, "population": 10**6}, "this machine has .*: give fewer"),
        (GeneticProgrammingSettings, {"islands": 10**6}, "from 1 to 10000"),
        (GeneticProgrammingSettings, {"bank_size": 10**10}, r"search\.bank_size=10000000000"),
        (StructureSearchSettings, {"proposals": 10**9}, r"search\.proposals=1000000000 needs"),
        (LatentSearchSettings, {"population": 10**9}, r"search\.population=1000000000 needs"),
        (GPSearchSettings, {"islands": 10**6}, "from 1 to 10000"),
        (GPSearchSettings, {"workers": 10**6}, "on this machine"),
        (RunSettings, {"threads": 10**8}, r"threads=100000000 is not allowed: .* on this machine"),
    ],
)
def test_what_the_machine_cannot_do_is_refused(settings: type, options: dict[str, int], words: str) -> None:
    with pytest.raises(SettingsError, match=words) as caught:
        settings.of(options)
    assert "\n" not in str(caught.value)


def test_the_limit_is_that_of_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    GeneticProgrammingSettings(population=1_000)
    monkeypatch.setattr("foundation.settings.memory", lambda: 1e7)
    with pytest.raises(SettingsError, match=r"needs about 0\.02 GB of memory, and this machine has 0\.01"):
        GeneticProgrammingSettings(population=1_000)


def test_the_memory_of_the_machine_is_known() -> None:
    assert 1e8 < memory() < 1e15
    assert cores() >= 1
