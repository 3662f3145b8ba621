"""Every reader of a file that a stranger may have written, with a valid file for it."""

from __future__ import annotations

import io
import json
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from onnx import TensorProto, helper, numpy_helper
from safetensors.torch import load, save

from benchmarks.cells import OK, Cell, Ledger, Record
from benchmarks.generated_problems import read_problems
from benchmarks.report import number, status_note
from datamodules.streams.corpus_files import FORMAT, Content, missing_shards, read_header
from datamodules.zoo.network_file import read_network
from expressions.canonical_form import canonical
from expressions.equation_learner.architecture import Architecture
from expressions.equation_learner.structure_space import StructureSpace
from expressions.measurements import Measurements
from expressions.numpy_source import numpy_source
from expressions.parsing import parse
from expressions.skeleton import INTEGERS
from expressions.vocabulary import Vocabulary
from foundation.array_files import read_npz
from foundation.errors import UserError
from foundation.schema import json_content, list_of, plain, record
from modules.networks.equation_map.conditional_vae import ConditionalVAE
from modules.networks.equation_map.latent_map import LatentMap
from modules.networks.weights.reader import WeightReader, load_reader, save_reader
from modules.settings.cvae import MapSize
from modules.settings.weights_to_tokens import ReaderSize, ReadingTask
from rediscover import SymbolicRegressor
from rediscover.wiring.checkpoint_reading import read_checkpoint
from reports.discovery_parts.equation_files import equation_tex, front_csv
from reports.discovery_parts.intervals import front_intervals
from reports.discovery_parts.model_file import model_json, read_model
from reports.discovery_parts.result import Discovery
from reports.discovery_parts.shown import ShownEquations
from reports.discovery_parts.trust_words import trust_words
from reports.typeset.mathml import mathml
from reports.typeset.terminal import formula_lines
from runs.search_files import SearchFiles
from searches.common.regression_task import RegressionTask
from searches.common.search_state import COMMON_FIELDS
from searches.evolution.archive import Entry, add_to_archive, seeds_from
from searches.evolution.island import Island
from searches.evolution.island_state import island_state
from searches.evolution.settings import GeneticProgrammingSettings
from searches.gumbel_structures.course import SearchCourse
from searches.gumbel_structures.course_state import of_lists
from searches.gumbel_structures.proposers import RandomProposer
from searches.gumbel_structures.settings import StructureSearchSettings
from searches.law_probability import ONE_OF_SEVERAL, Competitor, DecidingMeasurement, LawProbability
from searches.pareto_front import Candidate, ParetoFront
from searches.search_result import SearchResult
from searches.trust.calibration import CALIBRATION, read_calibration
from searches.trust.features import features_of
from searches.trust.rivalry import Rivalry
from tests.fuzz import run_files, stored, tables
from tests.fuzz.distilled import report_file, report_reader
from tests.fuzz.trial import from_file, written

__all__ = ["READERS", "Reader"]

INPUTS = np.random.default_rng(0).uniform(0.5, 2.0, (30, 2))
TARGET = INPUTS[:, 0] * np.exp(INPUTS[:, 1]) + 0.1
FRONT = ParetoFront([Candidate.of(parse(text), INPUTS, TARGET) for text in ("3.5*x0", "x0*exp(x1) + 0.1")])
RESULT = SearchResult(
    FRONT, [{"generation": 0, "seconds": 0.1, "best_nmse": 0.5, "best_length": 3}], 1.0, 10, "generations"
)


TRUST = LawProbability(
    0.4,
    ONE_OF_SEVERAL,
    (Competitor(FRONT[0], 1.2),),
    DecidingMeasurement((0, 1), (1.0, 2.0), (3.5, 7.4), 2.5, False),
)


@dataclass(frozen=True)
class Reader:
    """A reader of a file.

    Attributes:
        valid: function that gives the content of a valid file.
        read: function that reads such content and uses what was read; it raises a UserError for what it refuses.
    """

    valid: Callable[[], bytes]
    read: Callable[[bytes], object]


# --- equations and discoveries ----------------------------------------------------------------------------------


def show_equation(content: bytes) -> object:
    expression = parse(content.decode(errors="replace"), ["x0", "a"])
    with np.errstate(all="ignore"):
        shown = expression.infix(), expression.latex(), mathml(expression), formula_lines(expression)
        return *shown, canonical(expression), numpy_source(expression, ["x0", "a"]), expression(INPUTS)


def discovery() -> bytes:
    found = Discovery(
        source="table.csv",
        target="y",
        features=("x0", "x1"),
        target_name="y",
        names=("x0", "x1"),
        front=FRONT,
        chosen=FRONT[1],
        scores={},
        rows=30,
        seconds=1.0,
        evaluations=10,
        stopped="exact",
        seed=0,
        intervals=front_intervals(FRONT, FRONT[1], Measurements.of(INPUTS, TARGET)),
        trust=TRUST,
    )
    return model_json(found).encode()


def show_discovery(folder: Path) -> object:
    found = read_model(folder)
    shown = ShownEquations.of_discovery(found)
    with np.errstate(all="ignore"):
        bands = [each.measurement(c.expression, np.ones((2, len(found.names)))) for c, each in zip(
            found.front, found.intervals, strict=False) if each is not None]  # fmt: skip
        told = trust_words(found, shown)
        return shown, front_csv(found, shown), equation_tex(found, shown), bands, told


def use_calibration(content: bytes) -> object:
    features = features_of(Rivalry.of(FRONT, FRONT[1], Measurements.of(INPUTS, TARGET)))
    [found] = read_calibration(content).probabilities(features[None])
    assert 0.0 < found < 1.0
    return found


@cache
def estimator() -> bytes:
    model = SymbolicRegressor(max_time=0.1, random_state=0).fit(INPUTS[:, :1], INPUTS[:, 0] * 2.0 + 1.0)
    return model.to_json().encode()


def use_estimator(content: bytes) -> object:
    model = SymbolicRegressor.from_json(content.decode(errors="replace"))
    inputs = np.resize(INPUTS, (30, model.n_features_in_))
    return model.predict(inputs), model.equations_, model.latex(), model.trust_


# --- searches ---------------------------------------------------------------------------------------------------

PROGRAMMING = GeneticProgrammingSettings(
    population=6, islands=1, generations=1, bank_size=0, linked_sums=0, polish_iterations=1
)


def island() -> Island:
    return Island(RegressionTask(INPUTS, TARGET, seed=0), PROGRAMMING, (0, 0))


@cache
def programming_state() -> bytes:
    one = island()
    one.begin()
    return json.dumps(
        {"generation": 0, "seconds": 1.0, "history": RESULT.history, "islands": [one.state()]}
    ).encode()


def resume_programming(content: bytes) -> object:
    check = record({**COMMON_FIELDS, "islands": list_of(island_state(PROGRAMMING, 2), least=1, most=1)})
    one = island()
    one.load_state(json_content(content, check)["islands"][0])
    return one.state()


STRUCTURES = StructureSearchSettings(instances=20, proposals=10, capacity=5, starts=1, frequency_starts=1)
SPACE = StructureSpace(Architecture(["id*2 square exp", "mul add id"], 2))


def course() -> SearchCourse:
    return SearchCourse(INPUTS, TARGET, SPACE, STRUCTURES, seed=0)


@cache
def structure_state() -> bytes:
    one, proposer = course(), RandomProposer(SPACE)
    one.begin(proposer)
    one.generation(proposer, np.random.default_rng(0))
    state = one.state()
    arrays = {name: state[name].tolist() for name in ("structures", "used", "seen")}
    return json.dumps({**state, **arrays, "memory": []}).encode()


def resume_structures(content: bytes) -> object:
    one = course()
    check = one.state_check((0,))
    one.load(json_content(content, lambda value: check(of_lists(value))))
    return one.state()


def search_result() -> bytes:
    return json.dumps(RESULT.plain() | {"label": "one", "identity": "i"}).encode()


def report_result(path: Path) -> object:
    plain = SearchFiles(path.parent).finished("one", "i")
    return None if plain is None else SearchResult.of_plain(plain).borne_out(INPUTS, TARGET)


def archive() -> bytes:
    entries = [Entry("f", ("a", "b"), "y", text, 3, 0.1) for text in ("a + b", "sin(a)")]
    with tempfile.TemporaryDirectory() as folder:
        add_to_archive(Path(folder) / "archive", entries)
        return (Path(folder) / "archive").read_bytes()


# --- networks and checkpoints -----------------------------------------------------------------------------------


def network() -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    shapes = {"0.weight": (3, 1), "0.bias": (3,), "1.weight": (1, 3), "1.bias": (1,)}
    return {name: torch.rand(shape) for name, shape in shapes.items()}


def saved_by_torch(content: Any) -> bytes:
    stream = io.BytesIO()
    torch.save(content, stream)
    return stream.getvalue()


def graph() -> bytes:
    nodes = [
        helper.make_node("Gemm", ["x", "0.weight", "0.bias"], ["h"], transB=1),
        helper.make_node("Tanh", ["h"], ["t"]),
        helper.make_node("Gemm", ["t", "1.weight", "1.bias"], ["y"], transB=1),
    ]
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 1]) for name in "xy"]
    tensors = [numpy_helper.from_array(value.numpy(), name) for name, value in network().items()]
    content: bytes = helper.make_model(
        helper.make_graph(nodes, "network", ends[:1], ends[1:], tensors)
    ).SerializeToString()
    return content


def values_of(
    content: Callable[[], object], write: Callable[[Any], bytes], read: Callable[[bytes], object]
) -> Reader:
    """A reader of a file with checksums, which is written anew for every change of a value."""

    def reading(changed: bytes) -> object:
        found = stored.content_of(changed)
        try:
            whole = write(found)
        except Exception as error:
            raise UserError("what cannot be written as a file is no content") from error
        return read(whole)

    return Reader(lambda: json.dumps(stored.as_json(content())).encode(), reading)


def saved_by_numpy(content: Mapping[str, Any]) -> bytes:
    stream = io.BytesIO()
    np.savez(stream, allow_pickle=False, **{name: np.asarray(value) for name, value in content.items()})
    return stream.getvalue()


def checkpoint() -> dict[str, Any]:
    optimizer = {"state": {0: {"step": torch.tensor(1.0)}}, "param_groups": [{"lr": 0.1, "params": [0]}]}
    return {
        "state_dict": network(),
        "global_step": 1,
        "epoch": 1,
        "optimizer_states": [optimizer],
        "callbacks": {},
    }


read_torch = from_file("weights.pt", lambda path: read_network(path, "tanh"))
read_arrays = from_file("weights.npz", lambda path: (read_npz(path, most=1 << 20), read_network(path, "tanh")))


# --- what is kept between runs ----------------------------------------------------------------------------------


@cache
def map_weights() -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
    torch.manual_seed(0)
    sizes = {"width": 8, "queries": 2, "heads": 2, "encoder_layers": 1, "equation_layers": 1, "decoder_layers": 1}
    vocabulary = Vocabulary(["add", "sin"], 2, integers=INTEGERS)
    network = ConditionalVAE(vocabulary, 5, MapSize.of({**sizes, "prefix": 1, "latents": 2}))
    return parts_of(written("map.safetensors", lambda path: LatentMap(network).save(path, {"steps": 1})))


def use_map(path: Path) -> object:
    found = LatentMap.load(path)
    return found.decode(np.zeros((1, found.latents)), 1), found.prior([(INPUTS[:, :1], TARGET)])


@cache
def reader_weights() -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
    torch.manual_seed(0)
    size = {"width": 8, "heads": 2, "encoder_layers": 1, "decoder_layers": 1, "encoder_width": 8, "latents": 8}
    reader = WeightReader(ReadingTask(), ReaderSize.of(size))
    return parts_of(written("reader.safetensors", lambda path: save_reader(reader, path, {"steps": 1})))


def parts_of(content: bytes) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
    """The facts of a file of weights, of which single values are changed, and its weights."""
    length = int.from_bytes(content[:8], "little")
    words = json.loads(content[8 : 8 + length])["__metadata__"]
    return {**words, **{name: json.loads(words[name]) for name in ("settings", "card")}}, load(content)


def with_weights(
    parts: Callable[[], tuple[dict[str, Any], dict[str, torch.Tensor]]], read: Callable[[Path], object]
) -> Reader:
    """A reader of the facts of a file, beside which the weights stay as they are."""

    def reading(content: bytes) -> object:
        words = json_content(content, record({}, dict.fromkeys(("format", "settings", "card"), plain)))
        texts = {name: word if isinstance(word, str) else json.dumps(word) for name, word in words.items()}
        return from_file("weights.safetensors", read)(save(parts()[1], texts))

    return Reader(lambda: json.dumps(parts()[0]).encode(), reading)


CORPUS = Content({"variables": 2, "noise_share": 0.3}, ("<pad>", "<start>", "<end>", "x0"), batch_size=4)


def corpus_header() -> bytes:
    header = {"format": FORMAT, "settings": CORPUS.settings, "vocabulary": CORPUS.vocabulary, "batch_size": 4}
    return json.dumps({**header, "seed": 0, "epoch_samples": 12, "shard_batches": 2}).encode()


def read_corpus(path: Path) -> object:
    return missing_shards(path.parent, 100, read_header(path.parent, CORPUS))


def ledger() -> bytes:
    cells = [Cell("gp", "ours", "p", seed, {"seconds": 1.0}) for seed in (0, 1)]

    def write(path: Path) -> None:
        for cell in cells:
            Ledger(path).add(Record(cell, OK, {"r2": 0.5, "all": [1.0, None]}, seconds=2.0))

    return written("ledger.jsonl", write)


def read_ledger(path: Path) -> object:
    records = Ledger(path).records()
    return [(record.cell.key, status_note(records), number(record.seconds)) for record in records]


def problems() -> bytes:
    truths = [parse("x0*exp(x1) + 0.5"), parse("sin(x0)")]
    return json.dumps(
        [
            {
                "formula": truth.infix(("x0", "x1")),
                "tokens": truth.tokens.tolist(),
                "constants": truth.constants.tolist(),
                "low": [0.5, 1.0],
                "high": [1.0, 2.0],
            }
            for truth in truths
        ]
    ).encode()


def use_problems(path: Path) -> object:
    with np.errstate(all="ignore"):
        return [one.truth(INPUTS) for one in read_problems(path, 2).values()]


READERS: Mapping[str, Reader] = {
    "text_table": Reader(tables.text_table, from_file("table.csv", tables.read_table)),
    "compressed_table": Reader(tables.text_table, from_file("table.csv", tables.read_compressed)),
    "sheet": Reader(tables.sheet, from_file("sheet.xml", tables.read_sheet)),
    "parquet": Reader(tables.parquet_table, from_file("table.parquet", tables.read_table)),
    "parquet_values": Reader(tables.parquet_values, from_file("table.parquet", tables.read_parquet_values)),
    "equation": Reader(lambda: b"x0*exp(a**2) - 1.5e-3/(1 + max(x0, a))", show_equation),
    "discovery": Reader(discovery, from_file("model.json", show_discovery)),
    "estimator": Reader(estimator, use_estimator),
    "programming_state": Reader(programming_state, resume_programming),
    "structure_state": Reader(structure_state, resume_structures),
    "search_result": Reader(search_result, from_file("one.json", report_result)),
    "archive": Reader(archive, from_file("archive", lambda path: seeds_from(path, ["a", "b"], "f"))),
    "calibration": Reader(CALIBRATION.read_bytes, use_calibration),
    "onnx": Reader(graph, from_file("graph.onnx", lambda path: read_network(path, "tanh"))),
    "safetensors": Reader(
        lambda: save(network()), from_file("weights.safetensors", lambda path: read_network(path, "tanh"))
    ),
    "torch": Reader(lambda: saved_by_torch(network()), read_torch),
    "torch_values": values_of(network, saved_by_torch, read_torch),
    "npz": Reader(lambda: saved_by_numpy(network()), read_arrays),
    "npz_values": values_of(network, saved_by_numpy, read_arrays),
    "checkpoint": Reader(lambda: saved_by_torch(checkpoint()), from_file("last.ckpt", read_checkpoint)),
    "checkpoint_values": values_of(checkpoint, saved_by_torch, from_file("last.ckpt", read_checkpoint)),
    "resumed": Reader(stored.resumable_checkpoint, stored.go_on),
    "results": Reader(run_files.results, from_file("results.json", run_files.compare)),
    "metrics": Reader(run_files.metrics, from_file("attempts/0/metrics.csv", run_files.merge)),
    "front": Reader(run_files.front, from_file("equations.csv", run_files.compare)),
    "run_config": Reader(run_files.config, from_file(".hydra/config.yaml", run_files.describe)),
    "settings": Reader(run_files.settings, from_file("settings.json", run_files.take_up)),
    "old_settings": Reader(run_files.old_settings, from_file(".hydra/overrides.yaml", run_files.take_up)),
    "packed_state": Reader(run_files.packed_state, from_file("one.state", run_files.unpack)),
    "map_weights": with_weights(map_weights, use_map),
    "reader_weights": with_weights(reader_weights, load_reader),
    "zoo_shard": Reader(stored.zoo_shard, stored.use_shard),
    "skeletons": Reader(stored.skeletons, stored.use_skeletons),
    "corpus_header": Reader(corpus_header, from_file("corpus.json", read_corpus)),
    "ledger": Reader(ledger, from_file("ledger.jsonl", read_ledger)),
    "distillation": Reader(report_file("distillation.json"), report_reader("distillation.json")),
    "distilled_constants": Reader(report_file("constants.safetensors"), report_reader("constants.safetensors")),
    "problems": Reader(problems, from_file("problems.json", use_problems)),
}
