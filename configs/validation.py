"""What a configuration may say, checked before anything heavy is imported, each fault as one sentence.

`RULES` has a row for every key of the groups `model` and `data` and of the top level: a new model adds its keys.
Hydra's own complaints (an unknown key, group or choice, a text that does not parse) become sentences too.
"""

import math
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from foundation.errors import UserError, near

__all__ = ["ConfigError", "check_config", "explain"]

FOLDER = Path(__file__).parent
GROUPS = ("data", "experiment", "logger", "model", "search", "trainer")


class ConfigError(UserError):
    """What is wrong with a configuration, as one sentence."""


@dataclass(frozen=True)
class Rule:
    """What one key may hold: a test, and the words for it that follow "must be"."""

    allows: Callable[[Any], bool]
    words: str


def _whole(low: int, high: float = math.inf) -> Rule:
    words = f"a whole number from {low} to {high:.0f}" if high < math.inf else f"a whole number, at least {low}"
    return Rule(lambda value: type(value) is int and low <= value <= high, words)


def _number(low: float, high: float = math.inf, *, open_ends: bool = True) -> Rule:
    def allows(value: Any) -> bool:
        if type(value) not in (int, float) or not math.isfinite(value):
            return False
        return low < value < high if open_ends else low <= value <= high

    if high == math.inf:
        return Rule(allows, f"a number above {low:g}" if open_ends else f"a number, at least {low:g}")
    return Rule(allows, f"a number between {low:g} and {high:g}")


def _below_one() -> Rule:
    return Rule(lambda value: type(value) in (int, float) and 0 <= value < 1, "a number from 0 to less than 1")


def _choice(*words: str) -> Rule:
    return Rule(lambda value: isinstance(value, str) and value in words, f"one of {', '.join(words)}")


def _names() -> Rule:
    def allows(value: Any) -> bool:
        return isinstance(value, str) or (isinstance(value, list) and value != [] and all(map(_is_name, value)))

    return Rule(allows, "a list of column names, such as [rooms,age]")


def _is_name(value: Any) -> bool:
    return isinstance(value, str | int)


def _truth() -> Rule:
    return Rule(lambda value: isinstance(value, bool), "true or false")


def _text() -> Rule:
    return Rule(lambda value: _is_name(value) and str(value) != "", "a text")


def _or_null(rule: Rule) -> Rule:
    return Rule(lambda value: value is None or rule.allows(value), f"{rule.words}, or null")


WIDTHS = Rule(
    lambda value: not isinstance(value, bool) and re.fullmatch(r"([1-9]\d*(-[1-9]\d*)*)?", str(value)) is not None,
    "widths joined by '-', such as 16-8",
)
NETWORK = Rule(
    lambda value: re.fullmatch(r"1(-[1-9]\d*)+-1", str(value)) is not None,
    "widths from input to output, both 1, such as 1-8-7-8-1",
)
LAYERS = Rule(
    lambda value: isinstance(value, list) and value != [] and all(isinstance(layer, str) for layer in value),
    "a list of layers, such as ['id*2 mul sin', 'add sum']",
)
WEIGHTS = Rule(
    lambda value: isinstance(value, Mapping) and all(type(w) in (int, float) and w >= 0 for w in value.values()),
    "a weight, at least 0, for each name, such as {add: 4, mul: 6}",
)
NUMBERS = Rule(
    lambda value: (
        isinstance(value, list) and all(type(n) in (int, float) and n >= 0 for n in value) and any(value)
    ),
    "a list of numbers, at least 0 and not all 0, such as [1,2,3]",
)
INIT = Rule(
    lambda value: value in ("auto", "pretrained", "scratch") or (isinstance(value, str) and Path(value).is_file()),
    "auto, pretrained, scratch or the path of a file of weights",
)
SHARE = _number(0, 1, open_ends=False)
MAX_SEED = 2**32 - 1  # NumPy's legacy generator takes no larger one
ACTIVATION = _choice("tanh", "sigmoid", "relu", "gelu", "silu", "softplus")
SCALING = _choice("standard", "minmax", "none")

RULES: dict[str, Rule] = {
    "seed": _whole(0, MAX_SEED),
    "threads": _or_null(_whole(1)),
    "resume": _or_null(_text()),
    "ckpt_path": _or_null(_text()),
    "checkpoint.monitor": _or_null(_text()),
    "checkpoint.mode": _choice("min", "max"),
    "trainer.max_epochs": Rule(
        lambda value: value is None or (type(value) is int and (value >= 1 or value == -1)),
        "a whole number, at least 1, null, or -1 for no limit",
    ),
    "trainer.num_nodes": _whole(1),
    "logger.project": _text(),
    "logger.mode": _choice("auto", "online", "offline"),
    # search
    "search.seed": _whole(0, MAX_SEED),
    "search.trials": _whole(1),
    "search.archive": _or_null(_text()),
    "search.workers": _or_null(_whole(1)),
    "search.islands": _or_null(_whole(1)),
    # data
    "data.path": _text(),
    "data.features": _or_null(_names()),
    "data.target": _or_null(_text()),
    "data.batch_size": _whole(1),
    "data.num_workers": _whole(0),
    "data.seed": _whole(0, MAX_SEED),
    "data.split_seed": _whole(0, MAX_SEED),
    "data.split": _choice("random", "paper"),
    "data.validation_fraction": _number(0, 1),
    "data.test_fraction": _number(0, 1),
    "data.max_rows": _whole(10),
    "data.problem": Rule(_text().allows, "the name of a problem or a suite, or several joined by commas"),
    "data.train_rows": _or_null(_whole(2)),
    "data.validation_rows": _or_null(_whole(2)),
    "data.test_rows": _or_null(_whole(2)),
    "data.noise": _number(0, open_ends=False),
    "data.noise_level": _number(0, open_ends=False),
    # data: equations
    "data.variables": _whole(1, 10),
    "data.longest": _whole(3, 100),
    "data.epoch_samples": _whole(1),
    "data.held_out_samples": _whole(1),
    "data.programs": _whole(100),
    "data.pool_epochs": _whole(1),
    "data.fewest_rows": _whole(2),
    "data.most_rows": _whole(2, 200),
    "data.operator_weights": _or_null(WEIGHTS),
    "data.points": _or_null(WEIGHTS),
    "data.constant_low": _number(0),
    "data.constant_high": _number(0),
    "data.negative_share": SHARE,
    "data.offset_share": SHARE,
    "data.noise_share": SHARE,
    "data.noise_low": _number(0),
    "data.noise_high": _number(0),
    "data.outlier_share": SHARE,
    "data.length_weights": NUMBERS,
    "data.constant_share": _number(0, 1),
    "data.integer_share": SHARE,
    "data.once_share": SHARE,
    "data.most_free": _whole(0),
    "data.deepest": _whole(0),
    "data.skeletons": _or_null(_text()),
    "data.corpus": _or_null(_text()),
    "data.corpus_samples": _whole(1),
    "data.exclude": Rule(lambda value: isinstance(value, list), "a list of suites, such as [feynman,nguyen]"),
    # data: network_weights
    "data.networks": _whole(1),
    "data.validation_networks": _whole(1),
    "data.test_networks": _whole(1),
    "data.widths": NETWORK,
    "data.activation": ACTIVATION,
    "data.biases": _truth(),
    "data.start": _choice("independent", "shared"),
    "data.start_seed": _whole(0, MAX_SEED),
    "data.optimizer": _choice("gauss_newton", "adam"),
    "data.steps": _whole(1),
    "data.learning_rate": _number(0),
    "data.gain": _number(0),
    "data.bias_std": _number(0, open_ends=False),
    "data.passes": _whole(1),
    "data.floor": Rule(lambda value: type(value) in (int, float) and value < 1, "a number below 1"),
    "data.train_points": _whole(2),
    "data.x_low": _number(-1e3, 1e3),
    "data.x_high": _number(-1e3, 1e3),
    "data.target_size": _number(0),
    "data.equations": _choice("uniform", "slides"),
    "data.degree": _whole(1, 6),
    "data.largest": _whole(1, 9),
    "data.functions": Rule(
        lambda value: isinstance(value, list) and all(isinstance(text, str) for text in value),
        "a list of functions of x, such as [sin(2*x),exp(x)]",
    ),
    "data.terms": _or_null(_whole(1)),
    "data.zoo_seed": _whole(0, MAX_SEED),
    "data.cache": _text(),
    "data.processes": _or_null(_whole(1)),
    "data.network": _or_null(_text()),
    "data.network_activation": _or_null(ACTIVATION),
    # model: weights_to_tokens
    "model.encoder": _choice("flat", "flat_bias", "canonical", "graph", "probe"),
    "model.encoder_width": _whole(8),
    "model.probes": _whole(1),
    "model.augment": _truth(),
    "model.beams": _whole(1),
    # model: cvae
    "model.width": _whole(8),
    "model.queries": _whole(1),
    "model.heads": _whole(1),
    "model.encoder_layers": _whole(1),
    "model.equation_layers": _whole(1),
    "model.decoder_layers": _whole(1),
    "model.decoder_width": _or_null(_whole(1)),
    "model.prefix": _whole(1),
    "model.mlp_ratio": _number(0),
    "model.weight_decay": _number(0, open_ends=False),
    "model.warmup_steps": _whole(0),
    "model.total_steps": _or_null(_whole(1)),
    "model.kl_weight": _number(0, open_ends=False),
    "model.free_bits": _number(0, open_ends=False),
    "model.kl_warmup_steps": _whole(0),
    "model.posterior_share": _below_one(),
    "model.value_weight": _number(0, open_ends=False),
    "model.presence_weight": _number(0, open_ends=False),
    "model.ema_decay": _below_one(),
    "model.checkpoint_activations": _truth(),
    "model.init": INIT,
    # model: autoencoder
    "model.latents": _whole(1),
    "model.hidden": WIDTHS,
    "model.activation": ACTIVATION,
    "model.decode": _choice("inputs", "target"),
    "model.scaling": SCALING,
    "model.target_scaling": SCALING,
    "model.learning_rate": _number(0),
    "model.schedule": _choice("constant", "cosine"),
    # model: gmeql_paper
    "model.restarts": _whole(1, 1000),
    "model.instances": _whole(1),
    "model.temperature": _number(0),
    "model.sampling": _choice("soft", "straight_through", "hard"),
    "model.resampled": Rule(
        lambda value: type(value) in (int, float) and 0 < value <= 1, "a number above 0, at most 1"
    ),
    "model.offline_gradient": _choice("eq7", "eq11", "none"),
    "model.offline_instances": _whole(1),
    "model.weight_learning_rate": _number(0, open_ends=False),
    "model.weight_std": _number(0, open_ends=False),
    "model.stage1_rounds": _whole(0),
    "model.stage1_iterations": _whole(1),
    "model.epoch_iterations": _whole(1),
    # model: gmeql
    "model.layers": LAYERS,
    "model.constant": _truth(),
    "model.logit_std": _number(0, open_ends=False),
    "model.gate_logit": _number(-20, 20),
    "model.epoch_steps": _whole(1),
}
# A key of these groups that has no rule is unknown; Trainer and searches take more than is listed here.
CLOSED_GROUPS = ("model", "data", "checkpoint")


def check_config(config: DictConfig) -> None:
    """Check every key that has a rule, then the table or the problem that the run is to learn from.

    Raises:
        ConfigError: A mandatory value is missing, a key is unknown or a value is not allowed.
        ProblemError: There is no such problem, or no such rows of it.
        TableError: The table cannot be used; reading it needs no torch, so this is known at once.
    """
    for key in sorted(OmegaConf.missing_keys(config)):
        raise ConfigError(f"{key} is missing: give it on the command line, {key}=…")
    for key, value in _leaves(OmegaConf.to_container(config, resolve=True)):
        rule = RULES.get(key)
        if rule is None and key.split(".")[0] in CLOSED_GROUPS and not key.endswith("_target_"):
            group = key.split(".")[0]
            known = [name for name, _ in _leaves(OmegaConf.to_container(config[group], resolve=True))]
            known = [f"{group}.{name}" for name in known if f"{group}.{name}" in RULES]
            raise ConfigError(f"{key} is not a key; {near(key, known)}")
        if rule is not None and not rule.allows(value):
            raise ConfigError(f"{key}={_shown(value)} is not allowed: it must be {rule.words}")
    if config.resume is not None and config.ckpt_path is not None and not _in_run(config):
        raise ConfigError("resume and ckpt_path are two ways to go on: give one of them")
    _check_search(config.search)
    _check_end(config)
    _check_table(config.data)
    _check_problem(config.data)
    _check_zoo(config)


def _check_zoo(config: DictConfig) -> None:
    """What the zoo, or the one network that is to be read, lacks, before torch is imported."""
    data = config.data
    if data.get("_target_") != "datamodules.network_weights.NetworkWeights":
        return
    if data.x_low >= data.x_high:
        raise ConfigError(f"data.x_low={data.x_low} must be less than data.x_high={data.x_high}")
    _check_sums(data)
    if data.network is not None and not Path(str(data.network)).is_file():
        raise ConfigError(
            f"data.network={data.network} does not exist: give a safetensors file, or a state_dict saved by torch"
        )
    if data.network is not None and config.model.get("init") == "scratch" and config.ckpt_path is None:
        raise ConfigError(
            "data.network needs a trained reader: give ckpt_path=FILE, or leave out model.init=scratch"
        )


def _check_sums(data: DictConfig) -> None:
    """The terms of the zoo's equations."""
    from expressions.polynomial_grammar import SumVocabulary
    from foundation.errors import UserError

    canonical = data.equations == "uniform"
    try:
        vocabulary = SumVocabulary(data.degree, canonical, data.largest, list(data.functions), data.terms)
        vocabulary.size(data.x_low, data.x_high)
    except UserError as error:
        raise ConfigError(f"data.{error}") from error


def _check_end(config: DictConfig) -> None:
    """A fit without a limit of its own is ended by a search."""
    trainer = config.trainer
    limits = trainer.get("max_steps", -1) != -1 or trainer.get("max_time") is not None
    if trainer.get("max_epochs") == -1 and not limits and "_target_" not in (config.search or {}):
        raise ConfigError("without a search the fit would never end: give trainer.max_epochs")


def _in_run(config: DictConfig) -> bool:
    return Path(str(config.resume)).resolve() in Path(str(config.ckpt_path)).resolve().parents


def _check_search(search: DictConfig | None) -> None:
    target = search.get("_target_") if search else None
    if target == "callbacks.structure_search.StructureSearch":
        _check_structure_search(OmegaConf.to_container(search, resolve=True))
    if target == "callbacks.elite_repository.EliteRepository":
        _check_rules(OmegaConf.to_container(search, resolve=True), ELITE_RULES)
    if target == "callbacks.cmaes_search.CMAESSearch":
        _check_latent_search(OmegaConf.to_container(search, resolve=True))
    if target == "callbacks.network_reading.NetworkReading":
        _check_rules(OmegaConf.to_container(search, resolve=True), READING_RULES)
    if target != "callbacks.gp_search.GPSearch":
        return
    from searches.evolution.settings import GeneticProgrammingSettings, SettingsError

    own = ("_target_", "seed", "trials", "archive", "workers", "islands")
    options: Any = OmegaConf.to_container(search, resolve=True)
    try:
        GeneticProgrammingSettings.of({key: value for key, value in options.items() if key not in own})
    except SettingsError as error:
        raise ConfigError(f"search: {error}") from error


STRUCTURE_RULES: dict[str, Rule] = {
    "seconds": _or_null(_number(0)),
    "instances": _or_null(_whole(1)),
    "proposals": _whole(1),
    "capacity": _whole(1),
    "power": _number(0, open_ends=False),
    "resampled": _number(0, 1, open_ends=False),
    "fresh": _number(0, 1, open_ends=False),
    "examples": _whole(1),
    "fitted_share": _number(0, 1, open_ends=False),
    "patience": _whole(1),
    "parsimony": _number(0, open_ends=False),
    "longest": _whole(3),
    "search_rows": _whole(2),
    "screen_rows": _whole(2),
    "frequency_starts": _whole(1),
    "starts": _whole(1),
    "polish_equations": _whole(0),
    "simplify_seconds": _number(0, open_ends=False),
    "stop_when_exact": _truth(),
}


ELITE_RULES: dict[str, Rule] = {
    "size": _whole(1),
    "exponent": _number(0, open_ends=False),
    "constants": _choice("shared", "fitted"),
    "simplify_seconds": _number(0, open_ends=False),
}


def _check_rules(options: Any, rules: Mapping[str, Rule]) -> None:
    """Keys of the search that is chosen."""
    for key, rule in rules.items():
        if key in options and not rule.allows(options[key]):
            raise ConfigError(f"search.{key}={_shown(options[key])} is not allowed: it must be {rule.words}")


def _check_structure_search(options: Any) -> None:
    _check_rules(options, STRUCTURE_RULES)
    if options.get("seconds") is None and options.get("instances") is None:
        raise ConfigError("the search would never end: give search.seconds or search.instances")


READING_RULES: dict[str, Rule] = {"examples": _whole(1), "beams": _whole(1)}
LATENT_RULES: dict[str, Rule] = {
    "problems": Rule(
        lambda value: isinstance(value, list) and all(map(_is_name, value)),
        "a list of problems or suites, such as [nguyen,I.12.1]",
    ),
    "heldout": _whole(0),
    "table": _or_null(_text()),
    "target": _or_null(_text()),
    "features": _or_null(_names()),
    "noise_level": _number(0, open_ends=False),
}


def _check_latent_search(options: Any) -> None:
    """Settings, problems and the user's table: what is wrong with them is known before the fit."""
    from datamodules.tables.problems import names_of
    from searches.latent_space.settings import LatentSearchSettings, SettingsError

    _check_rules(options, LATENT_RULES)
    own = ("_target_", "seed", "workers", *LATENT_RULES)
    try:
        LatentSearchSettings.of({key: value for key, value in options.items() if key not in own})
    except SettingsError as error:
        raise ConfigError(f"search: {error}") from error
    problems, table, target = (options.get(name) for name in ("problems", "table", "target"))
    if problems:
        names_of(",".join(map(str, problems)))
    if table is not None and target is None:
        raise ConfigError("search.target is missing: give the column of search.table that is to be explained")
    if table is not None:
        from datamodules.tables.table import check_table

        check_table(str(table), target, options.get("features"))
    if not problems and table is None and not options.get("heldout"):
        raise ConfigError("there is nothing to search for: give search.problems, search.heldout or search.table")


def _check_table(data: DictConfig) -> None:
    target = str(data.get("_target_", ""))
    if not target.startswith(("datamodules.tabular.", "datamodules.california.")):
        return
    from datamodules.tables.table import check_table

    features: Any = OmegaConf.to_container(data.features) if OmegaConf.is_list(data.features) else data.features
    path = data.get("path", "sklearn:california_housing")
    check_table(str(path), data.target, features, max_rows=data.max_rows, seed=data.split_seed)


def _check_problem(data: DictConfig) -> None:
    if data.get("_target_") != "datamodules.problem_data.ProblemData":
        return
    from datamodules.tables.problems import draw_tables, problem

    keys = ("train_rows", "validation_rows", "test_rows", "noise", "noise_level", "seed", "max_rows")
    draw_tables(problem(str(data.problem)), **{key: data[key] for key in keys})


def _leaves(node: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Dotted key and value of everything that is not itself a mapping."""
    if isinstance(node, Mapping):
        for key, value in node.items():
            yield from _leaves(value, f"{prefix}.{key}" if prefix else str(key))
    else:
        yield prefix, node


def _shown(value: Any) -> str:
    return "null" if value is None else str(value)


def explain(error: Exception) -> str | None:
    """Hydra's or OmegaConf's complaint as one sentence.

    Args:
        error: What composing the configuration raised.

    Returns:
        The sentence, or None where the fault is not the user's.
    """
    text = _first_message(error)
    key = re.search(r"Could not override '([^']+)'", text)
    if key is not None:
        return f"{key[1]} is not a key; {_near_key(key[1])}"
    key = re.search(
        r"Could not delete from config\. '([^']+)' does not exist|An item is already at '([^']+)'", text
    )
    if key is not None:
        return f"{' '.join(text.split())}"
    choice = re.search(r"Could not find '(\w+)/([^']+)'", text)
    if choice is not None:
        group, word = choice[1], choice[2]
        allowed = sorted(path.stem for path in (FOLDER / group).glob("*.yaml"))
        return f"{group}={word} is not one of the choices; {near(word, allowed)}"
    several = re.search(r"Ambiguous value for argument '([^']+)'", text)
    if several is not None:
        return f"{several[1]} is several values: write key=[a,b] for one list, or add -m to run one job for each"
    kind = type(error).__name__
    if kind == "InstantiationException":
        return _of_constructor(error)
    if kind == "OverrideParseException":
        return (
            f"the command line cannot be read: {text.splitlines()[-1].split(' See ')[0]} (quote lists and spaces)"
        )
    if (
        type(error).__module__.startswith(("hydra.errors", "omegaconf.errors"))
        or kind == "ConfigCompositionException"
    ):
        return " ".join(text.split())
    return None


def _of_constructor(error: BaseException) -> str | None:
    """What a constructor has said that the configuration names, where the user can mend it."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, UserError) or (isinstance(cause, TypeError) and "unexpected keyword" in str(cause)):
            return " ".join(str(cause).split())
        cause = cause.__cause__ or cause.__context__
    return None


def _first_message(error: BaseException) -> str:
    """The messages of an error and of what caused it, without Hydra's references to its manual."""
    parts = [str(error)]
    if error.__cause__ is not None:
        parts.append(str(error.__cause__))
    lines = [line for part in parts for line in part.splitlines() if line and not line.startswith("See https")]
    return "\n".join(lines)


def _near_key(key: str) -> str:
    """Which keys are close to one that does not exist, or how to add one to the Trainer."""
    known = sorted(_known_keys())
    if key.startswith("trainer.") and key.count(".") == 1:
        listed = ", ".join(_under(known, "trainer."))
        return f"write +{key}=… if Lightning's Trainer takes it; configured are {listed}"
    group = key.split(".")[0] + "."
    having = sorted(path.stem for path in (FOLDER / group[:-1]).glob("*.yaml") if key in _keys_of(path))
    if having:  # of another choice than the one that was made
        return f"{' or '.join(f'{group[:-1]}={name}' for name in having)} has it"
    words = _under(known, group) if "." in key and _under(known, group) else known
    if "." not in key:
        words = [word for word in known if "." not in word] + [name for name in GROUPS if name not in known]
        if len(near(key, words)) > 60:  # nothing close at the top: perhaps the group was left out
            inner = [word for word in known if word.split(".")[-1] == key]
            return f"did you mean {' or '.join(inner)}?" if inner else near(key, words)
    return near(key, words)


def _under(words: list[str], prefix: str) -> list[str]:
    return [word for word in words if word.startswith(prefix)]


def _known_keys() -> set[str]:
    """The keys of all configurations that are shipped."""
    keys: set[str] = set()
    for path in FOLDER.rglob("*.yaml"):
        keys |= _keys_of(path)
    return {key for key in keys if not key.startswith("hydra") and key not in GROUPS and key}


def _keys_of(path: Path) -> set[str]:
    """The keys of one file."""
    group = "" if path.parent == FOLDER else path.parent.name
    top = "@package _global_" in path.read_text(encoding="utf-8")
    content = OmegaConf.to_container(OmegaConf.load(path), resolve=False)
    found = (name for name, _ in _leaves(content, "" if top or not group else group))
    return {name for name in found if "_target_" not in name and name.split(".")[-1] != "defaults"}
