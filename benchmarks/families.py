"""Suite `families`: does the map know what kind of function is behind a table, having seen its numbers alone?

The protocol, in full; those of the published numbers are unpublished.

- Classes: {exp, trig, log} x {2, 5 variables}, six, all as frequent.
- Equations: random ones of the generator (`datamodules.streams.skeleton_pool`, at most 20 tokens), of its test
  split, which no training of the map has seen. One belongs to a class if it has a function of exactly that
  family (`exp`; `sin`, `cos` or `tan`; `log`), no other transcendental function, and exactly 2 or 5 variables,
  all of which it uses. The operators of the other families are left out of the generator to begin with, which
  only saves time.
- Tables: 200 points without noise and outliers, the columns are the equation's variables; points and constants
  as in the training (`datamodules.streams.equation_stream`). `skeletons` skeletons of each class, `tables`
  tables of each, with constants and points of their own.
- Features of a table, frozen. `map`: mean of the map's prior. `untrained`: the same of a network of the same shape
  with random weights. `statistics`: some 70 hand-made numbers, without any network: moments and quantiles of the
  target and of the columns; correlations of the target with each column, its rank, square, logarithm and distance
  from the median; and with the products of two columns.
- Probe: multinomial logistic regression on standardised features; its C by 5-fold cross-validation on the training
  part. Two thirds of the skeletons are for training, the others for the test: no skeleton is in both, nor in two
  folds.
- A seed draws the equations, their tables, the split and the untrained weights. Reported: mean and standard
  deviation over the seeds of the accuracy on the test part.

The number of columns gives away whether there are 2 or 5 variables, half of the answer. So two more probes tell
the three families apart among the tables of 2 variables alone, and of 5 alone.

Published accuracy in six classes: GenSR 0.849, E2E 0.661, SNIP 0.723 (Li et al. 2026), for networks with up to
168 M parameters.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.cells import Cell, Record, Settings
from benchmarks.report import Grid, Report, failures, good, group, status_note
from benchmarks.suites import Suite
from expressions.operators import FIRST_VARIABLE, TOKEN
from foundation.files import writing

if TYPE_CHECKING:
    from datamodules.settings.streams import StreamSettings
    from datamodules.streams.equation_stream import Block

METHODS = ("map", "untrained", "statistics")
FUNCTIONS = {"exp": ("exp",), "trig": ("sin", "cos", "tan"), "log": ("log",)}
COLUMNS = (2, 5)
CLASSES = tuple((family, columns) for columns in COLUMNS for family in FUNCTIONS)
PUBLISHED = {"GenSR": 0.849, "SNIP": 0.723, "E2E": 0.661}
ROWS = 200
TEST_SHARE = 1 / 3
_TRANSCENDENTAL = ("exp", "log", "sin", "cos", "tan", "tanh", "asin", "acos", "atan")
_BLOCK = 64
_DRAWS = 6  # of a table that is wanted, at most: some skeletons are hardly defined anywhere
_MOST_POOLS = 60
_CS = np.logspace(-4, 2, 7)


@dataclass(frozen=True)
class LabelledTables:
    """Tables and the classes that are to be told apart.

    Attributes:
        inputs: inputs of each table, 0 in columns that it lacks. `[tables, rows, 5]` float32
        target: target of each table. `[tables, rows]` float32
        columns: number of columns of each table. `[tables]`
        label: place of each table's class in `CLASSES`. `[tables]`
        skeleton: number that tables of the same skeleton share. `[tables]`
    """

    inputs: np.ndarray
    target: np.ndarray
    columns: np.ndarray
    label: np.ndarray
    skeleton: np.ndarray


def run(cell: Cell) -> dict[str, Any]:
    """Accuracies of a method's probes."""
    tables = _tables(cell)
    features = {"map": _map_features, "untrained": _untrained_features, "statistics": _statistics}[cell.method](
        tables, cell
    )
    test = split(tables, cell.seed)
    family = tables.label % len(FUNCTIONS)
    result: dict[str, Any] = {"six": probe(features, tables.label, tables.skeleton, test)}
    for columns in COLUMNS:
        own = tables.columns == columns
        result[f"three_{columns}"] = probe(features[own], family[own], tables.skeleton[own], test[own])
    return {**result, "train": int((~test).sum()), "test": int(test.sum()), "features": features.shape[1]}


# ------------------------------------------------------------------------------------------------ the tables


def _tables(cell: Cell) -> LabelledTables:
    """From a file, so that all methods of a seed share one; made where it is not there."""
    names = ("skeletons", "tables", "programs")
    words = "-".join(f"{name}{cell.settings[name]}" for name in names)
    path = Path(cell.out) / "families" / f"seed{cell.seed}-{words}.npz"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        found = draw_tables(cell.seed, *(int(cell.settings[name]) for name in names))
        with writing(path) as stream:
            np.savez(stream, allow_pickle=False, **vars(found))
    with np.load(path, allow_pickle=False) as stored:
        return LabelledTables(**{name: stored[name] for name in LabelledTables.__dataclass_fields__})


def draw_tables(seed: int, skeletons: int, tables: int, programs: int) -> LabelledTables:
    """Skeletons of each class, and tables of each skeleton.

    Args:
        seed: random seed for every draw.
        skeletons: number of skeletons of a class.
        tables: number of tables of a skeleton.
        programs: number of random programs that a pool is drawn from; more pools are drawn until there are enough.
    """
    parts = [
        _class_tables(number, np.random.default_rng([seed, number]), skeletons, tables, programs)
        for number in range(len(CLASSES))
    ]
    return LabelledTables(
        *(np.concatenate([vars(part)[name] for part in parts]) for name in LabelledTables.__dataclass_fields__)
    )


def _class_tables(
    number: int, rng: np.random.Generator, skeletons: int, tables: int, programs: int
) -> LabelledTables:
    """The tables of one class."""
    columns = CLASSES[number][1]
    inputs = np.zeros((skeletons * tables, ROWS, max(COLUMNS)), dtype=np.float32)
    target = np.zeros((skeletons * tables, ROWS), dtype=np.float32)
    sets = _sets_of_tables(number, rng, tables, programs)
    for place, (own, values) in zip(range(skeletons), sets, strict=False):
        rows = slice(place * tables, (place + 1) * tables)
        inputs[rows, :, :columns], target[rows] = own, values
    count = skeletons * tables
    return LabelledTables(
        inputs,
        target,
        np.full(count, columns),
        np.full(count, number),
        number * skeletons + np.repeat(np.arange(skeletons), tables),
    )


def _sets_of_tables(
    number: int, rng: np.random.Generator, tables: int, programs: int
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """So many tables of one skeleton after the other, without end: inputs `[tables, rows, v]`, and target."""
    from datamodules.streams.equation_stream import EquationStream
    from datamodules.streams.skeleton_pool import SkeletonPool, draw_pool

    family, columns = CLASSES[number]
    settings = _stream_settings(family, columns)

    class OfSkeletons(EquationStream):
        """Tables of some skeletons, as many as are defined."""

        def draw(self, pool: SkeletonPool, count: int) -> Block:
            return self._attempt(pool, 0, len(pool), ROWS, count, rng)

    stream = OfSkeletons(settings, 0, "test", _BLOCK)
    known: set[bytes] = set()
    for _ in range(_MOST_POOLS):
        drawn = draw_pool(programs, rng, settings.pool, "test")
        wanted = [
            place
            for place in np.flatnonzero(belongs(drawn.tokens, family, columns)).tolist()
            if _key(drawn, place) not in known
        ]
        known |= {_key(drawn, place) for place in wanted}
        if not wanted:
            continue
        chosen = replace(
            drawn, **{name: getattr(drawn, name)[wanted] for name in ("tokens", "values", "columns", "lengths")}
        )
        yield from _filled(partial(stream.draw, chosen, _BLOCK), len(wanted), tables)
    raise RuntimeError(f"{_MOST_POOLS} pools of {programs} programs have too few skeletons of {family}, {columns}")


def _stream_settings(family: str, columns: int) -> StreamSettings:
    """Clean tables of equations without the operators of other families."""
    from datamodules.settings.streams import PoolSettings, StreamSettings

    default = PoolSettings(variables=columns)
    weights = {
        name: weight
        for name, weight in default.operators.items()
        if name not in _TRANSCENDENTAL or name in FUNCTIONS[family]
    }
    return StreamSettings(
        variables=columns,
        operator_weights=weights,
        fewest_rows=ROWS,
        most_rows=ROWS,
        noise_share=0.0,
        outlier_share=0.0,
    )


def belongs(tokens: np.ndarray, family: str, columns: int) -> np.ndarray:
    """Which programs are of a class. `[programs, length] -> [programs]` bool"""

    def has(names: Sequence[str]) -> np.ndarray:
        return np.any(np.isin(tokens, [TOKEN[name] for name in names]), axis=1)

    others = [name for name in _TRANSCENDENTAL if name not in FUNCTIONS[family]]
    uses = np.stack([(tokens == FIRST_VARIABLE + k).any(axis=1) for k in range(columns)])
    beyond = (tokens >= FIRST_VARIABLE + columns).any(axis=1)
    return np.asarray(has(FUNCTIONS[family]) & ~has(others) & uses.all(axis=0) & ~beyond)


def _key(pool: Any, place: int) -> bytes:
    return bytes(pool.tokens[place].tobytes() + np.nan_to_num(pool.values[place], nan=1e9).tobytes())


def _filled(draw: Callable[[], Block], skeletons: int, tables: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """The tables of each skeleton that has enough of them within so many draws."""
    held: dict[int, list[tuple[np.ndarray, np.ndarray]]] = {place: [] for place in range(skeletons)}
    for _ in range(4 + skeletons * tables * _DRAWS // _BLOCK):
        block = draw()
        for sample, place in enumerate(block.skeletons.tolist()):
            own = held.get(place)
            if own is None:
                continue
            own.append((block.inputs[sample, :ROWS], block.target[sample, :ROWS]))
            if len(own) == tables:
                del held[place]
                inputs, target = zip(*own, strict=True)
                yield np.stack(inputs), np.stack(target)
        if not held:
            return


# ---------------------------------------------------------------------------------------------- the features


def _pairs(tables: LabelledTables) -> list[tuple[np.ndarray, np.ndarray]]:
    """As a map takes them, each with its own columns."""
    return [
        (tables.inputs[k, :, : tables.columns[k]].astype(float), tables.target[k].astype(float))
        for k in range(len(tables.label))
    ]


def _map_features(tables: LabelledTables, cell: Cell) -> np.ndarray:
    from benchmarks.maps import load_map

    mean: np.ndarray = load_map(str(cell.settings["weights"])).prior(_pairs(tables))[0]
    return mean


def _untrained_features(tables: LabelledTables, cell: Cell) -> np.ndarray:
    import torch

    from benchmarks.maps import load_map
    from modules.networks.equation_map.conditional_vae import ConditionalVAE
    from modules.networks.equation_map.latent_map import LatentMap

    shape = load_map(str(cell.settings["weights"])).network.settings
    with torch.random.fork_rng([]):
        torch.manual_seed(cell.seed)
        network = ConditionalVAE.build(shape)
    return LatentMap(network.eval().requires_grad_(False)).prior(_pairs(tables))[0]


def _statistics(tables: LabelledTables, cell: Cell) -> np.ndarray:
    """Hand-made numbers; those of columns that a table lacks are 0. `[tables, features]`"""
    return np.stack([statistics(inputs, target) for inputs, target in _pairs(tables)])


def statistics(inputs: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Of one table."""
    widest = max(COLUMNS)
    y = _standardised(target)
    ranked = _standardised(_ranks(target))
    found = [float((y**3).mean()), float((y**4).mean()), float(np.abs(y).mean()), float((target > 0).mean())]
    found += np.quantile(y, (0.0, 0.02, 0.1, 0.25, 0.5, 0.75, 0.9, 0.98, 1.0)).tolist()
    found.append(float(np.log1p(np.abs(target).max() / max(1e-30, float(np.median(np.abs(target)))))))
    for column in range(widest):
        if column >= inputs.shape[1]:
            found += [0.0] * 10
            continue
        x = inputs[:, column]
        others = (x, x**2, np.log(np.abs(x) + 1e-6), np.abs(x - np.median(x)), np.exp(-np.abs(_standardised(x))))
        found += [float((_standardised(other) * y).mean()) for other in others]
        found.append(float((_standardised(_ranks(x)) * ranked).mean()))
        found += np.arcsinh([x.mean(), x.std(), x.min(), x.max()]).tolist()
    for first in range(widest):
        for second in range(first):
            there = first < inputs.shape[1]
            found.append(float((_standardised(inputs[:, first] * inputs[:, second]) * y).mean()) if there else 0.0)
    return np.clip(np.nan_to_num(found), -1e6, 1e6)


def _standardised(values: np.ndarray) -> np.ndarray:
    centred = values - values.mean()
    return np.asarray(centred / max(1e-30, float(centred.std())))


def _ranks(values: np.ndarray) -> np.ndarray:
    return np.argsort(np.argsort(values, kind="stable"), kind="stable").astype(float)


# ------------------------------------------------------------------------------------------------- the probe


def split(tables: LabelledTables, seed: int) -> np.ndarray:
    """Which tables are for the test: all of a third of each class's skeletons. `[tables]` bool"""
    rng = np.random.default_rng([seed, 7])
    chosen: list[np.ndarray] = []
    for number in range(len(CLASSES)):
        own = rng.permutation(np.unique(tables.skeleton[tables.label == number]))
        chosen.append(own[: max(1, round(TEST_SHARE * len(own)))])
    return np.isin(tables.skeleton, np.concatenate(chosen))


def probe(features: np.ndarray, label: np.ndarray, groups: np.ndarray, test: np.ndarray) -> float:
    """Accuracy on the test part of a logistic regression, its C chosen on the training part.

    Args:
        features: `[tables, features]`
        label: `[tables]`
        groups: `[tables]`, of which none is in two folds.
        test: `[tables]` bool
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import GridSearchCV, StratifiedGroupKFold
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=2000))
    folds = StratifiedGroupKFold(5, shuffle=True, random_state=0)
    search = GridSearchCV(model, {"logisticregression__C": _CS}, cv=folds)
    search.fit(features[~test], label[~test], groups=groups[~test])
    return float((search.predict(features[test]) == label[test]).mean())


# ------------------------------------------------------------------------------------------------ the report


def report(records: Sequence[Record]) -> Report:
    """Mean and standard deviation over the seeds."""
    rows = []
    for method, found in group(records, lambda record: record.cell.method).items():
        results = [record.result for record in good(found)]
        accuracies = ("six", "three_2", "three_5")
        rows.append([method, *(status_note(found) or _spread(results, key) for key in accuracies)])
    rows += [[f"{name}, published", f"{value:.3f}", "-", "-"] for name, value in PUBLISHED.items()]
    rows.append(["chance", *(f"{1 / classes:.3f}" for classes in (6, 3, 3))])
    columns = ["features", "six classes", "three, 2 variables", "three, 5 variables"]
    settings: Settings = records[0].cell.settings if records else {}
    sizes = next(iter(good(records)), None)
    counts = (
        f"{sizes.result['train']} tables for training and {sizes.result['test']} for the test: " if sizes else ""
    )
    return Report(
        [Grid("Which family of functions is behind a table: accuracy of a linear probe", columns, rows)],
        [
            f"{counts}{settings.get('skeletons')} held-out skeletons a class, {settings.get('tables')} tables of "
            f"each; mean ± standard deviation over {len({record.cell.seed for record in records})} seeds; weights "
            f"{settings.get('weights')}. Protocol: benchmarks/families.py.",
            "published: by protocols that are unpublished, so these numbers stand beside ours, not under the "
            "same conditions. The number of columns tells 2 from 5 variables: look at the last two columns.",
            *failures(records),
        ],
    )


def _spread(results: Sequence[dict[str, Any]], key: str) -> str:
    values = [result[key] for result in results]
    deviation = f" ± {np.std(values, ddof=1):.3f}" if len(values) > 1 else ""
    return f"{np.mean(values):.3f}{deviation}"


SUITE = Suite(
    name="families",
    summary="which family of functions is behind a table, by a linear probe on the map's prior",
    methods=METHODS,
    seeds=(1, 2, 3, 4, 5),
    settings={"weights": "pretrained", "skeletons": 60, "tables": 3, "programs": 8192},
    problems=lambda settings: ["six"],
    estimate=lambda cell: 30.0 + 2.0 * float(cell.settings["skeletons"]),
    run=run,
    report=report,
)
