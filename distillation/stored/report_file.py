"""The folder of a distillation: equations in JSON, their constants in safetensors. Nothing in it is ever run."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load, save

from expressions.constant_intervals import ConstantIntervals
from expressions.expression import Expression
from expressions.numbering import numbers_of, renumbered
from expressions.schema import EQUATION_TEXT, program, tokens
from expressions.stored_intervals import INTERVALS, plain_intervals, restored_intervals
from foundation.errors import UserError
from foundation.files import read_regular, replace_file
from foundation.schema import (
    NOTES,
    FormatError,
    array,
    choice,
    json_content,
    list_of,
    mapping_of,
    number,
    optional,
    record,
    text,
    truth,
    whole,
)

__all__ = ["FORMAT", "JSON_FILE", "StoredBlock", "StoredOutput", "StoredReport", "read_report", "write_report"]

FORMAT = "distillation 1"
JSON_FILE, CONSTANTS_FILE = "distillation.json", "constants.safetensors"
_LARGEST_JSON, _LARGEST_CONSTANTS = 256 << 20, 64 << 20  # bytes
_MOST_BLOCKS, _MOST_OUTPUTS, _MOST_AXES, _LONGEST_AXIS = 1_000, 4_096, 8, 1_000_000
_REMEDY = "distill the model anew"


@dataclass(frozen=True)
class StoredOutput:
    """An equation with its scores, see `distillation.report.OutputEquation`."""

    expression: Expression
    complexity: int
    r2: float
    law: float | None
    intervals: ConstantIntervals | None = None


@dataclass(frozen=True)
class StoredBlock:
    """The equations of a block, see `distillation.report.BlockEquations`."""

    name: str
    inputs: tuple[tuple[int, ...], ...]
    shapes: tuple[tuple[int, ...], ...]
    container: str
    outputs: tuple[StoredOutput, ...]
    replaced: bool
    loss_alone: float
    size: int
    dtype: str


@dataclass(frozen=True)
class StoredReport:
    """A report without a model, see `distillation.report.DistillationReport`."""

    blocks: tuple[StoredBlock, ...]
    loss_before: float
    loss_after: float
    loss_limit: float
    loss_words: str
    seconds: float
    notes: tuple[str, ...]


def write_report(folder: str | Path, report: StoredReport) -> None:
    """Write both files, each whole or not at all.

    Args:
        folder: folder that is made where there is none.
        report: what is written.

    Raises:
        OSError: the folder cannot be written.
    """
    constants = {
        str(place): np.concatenate([np.empty(0), *(each.expression.constants for each in block.outputs)])
        for place, block in enumerate(report.blocks)
    }
    replace_file(Path(folder) / CONSTANTS_FILE, save(constants))
    replace_file(Path(folder) / JSON_FILE, json.dumps(_plain(report), indent=1))


def read_report(folder: str | Path) -> StoredReport:
    """Read both files, and check that they belong together.

    Args:
        folder: folder that `write_report` wrote.

    Raises:
        UserError: a file is missing, is a link, is too large or is not what `write_report` writes.
    """
    path, values = Path(folder) / JSON_FILE, Path(folder) / CONSTANTS_FILE
    content = read_regular(path, most=_LARGEST_JSON)
    constants = _constants(values)
    try:
        found = json_content(content, _REPORT)
        numbers = found["numbers"]
        blocks = tuple(
            _block(each, numbers, constants.get(str(place), np.empty(0)), str(path))
            for place, each in enumerate(found["blocks"])
        )
    except FormatError as error:
        raise UserError(f"{path} is no report of a distillation ({error}): {_REMEDY}") from error
    return StoredReport(
        blocks=blocks,
        loss_before=found["loss_before"],
        loss_after=_infinite(found["loss_after"]),
        loss_limit=found["loss_limit"],
        loss_words=found["loss_words"],
        seconds=found["seconds"],
        notes=tuple(found["notes"]),
    )


def _constants(path: Path) -> Mapping[str, np.ndarray]:
    """Constants of every block, by its place."""
    try:
        found = load(read_regular(path, most=_LARGEST_CONSTANTS))
    except (SafetensorError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{path} is no safetensors file, or a damaged one: {_REMEDY}") from error
    try:
        return {name: array("f", None)(each) for name, each in found.items()}
    except FormatError as error:
        raise UserError(f"{path} holds no constants ({error}): {_REMEDY}") from error


def _plain(report: StoredReport) -> dict[str, Any]:
    used = [each.expression.tokens for block in report.blocks for each in block.outputs]
    return {
        "format": FORMAT,
        "numbers": numbers_of(np.concatenate([np.empty(0, dtype=int), *used])),
        "blocks": [
            {
                "name": block.name,
                "inputs": block.inputs,
                "shapes": block.shapes,
                "container": block.container,
                "dtype": block.dtype,
                "replaced": block.replaced,
                "loss_alone": _finite(block.loss_alone),
                "size": block.size,
                "outputs": [
                    {
                        "equation": output.expression.infix(),  # for a reader; what counts are the tokens
                        "tokens": output.expression.tokens.tolist(),
                        "complexity": output.complexity,
                        "r2": max(output.r2, -_HUGE),
                        "law": output.law,
                        "intervals": plain_intervals(output.intervals),
                    }
                    for output in block.outputs
                ],
            }
            for block in report.blocks
        ],
        "loss_before": report.loss_before,
        "loss_after": _finite(report.loss_after),
        "loss_limit": report.loss_limit,
        "loss_words": report.loss_words,
        "seconds": report.seconds,
        "notes": list(report.notes),
    }


_HUGE = 1e300  # what stands for infinity, which JSON does not have


def _finite(value: float) -> float:
    return value if math.isfinite(value) else _HUGE


def _infinite(value: float) -> float:
    return math.inf if value >= _HUGE else value


def _block(found: Mapping[str, Any], numbers: Any, constants: np.ndarray, source: str) -> StoredBlock:
    """A block, whose constants follow each other in the order of its equations."""
    outputs, begin = [], 0
    features = sum(math.prod(shape) for shape in found["inputs"])
    for row in found["outputs"]:
        own = renumbered(np.array(row["tokens"], dtype=np.int64), numbers, source, _REMEDY)
        end = begin + int(np.count_nonzero(own == 0))
        if end > len(constants):
            raise FormatError("has more constants than its file of constants", "")
        expression = program([own.tolist(), constants[begin:end].astype(float).tolist()])
        if max(expression.variables, default=-1) >= features:
            raise FormatError("has an equation of other variables than its inputs", "")
        intervals = restored_intervals(row.get("intervals"), expression)
        outputs.append(StoredOutput(expression, row["complexity"], row["r2"], row["law"], intervals))
        begin = end
    if begin != len(constants) or len(outputs) != sum(math.prod(shape) for shape in found["shapes"]):
        raise FormatError("has other equations than its constants or shapes say", "")
    return StoredBlock(
        name=found["name"],
        inputs=_shapes(found["inputs"]),
        shapes=_shapes(found["shapes"]),
        container=found["container"],
        outputs=tuple(outputs),
        replaced=found["replaced"],
        loss_alone=_infinite(found["loss_alone"]),
        size=found["size"],
        dtype=found["dtype"],
    )


def _shapes(found: Sequence[Sequence[int]]) -> tuple[tuple[int, ...], ...]:
    return tuple(tuple(shape) for shape in found)


_SHAPES = list_of(list_of(whole(1, _LONGEST_AXIS), most=_MOST_AXES), least=1, most=100)
_REPORT = record(
    {
        "format": choice(FORMAT),
        "numbers": mapping_of(whole(1, 2**15 - 1), most=1_000),
        "blocks": list_of(
            record(
                {
                    "name": text(1_000),
                    "inputs": _SHAPES,
                    "shapes": _SHAPES,
                    "container": choice("tensor", "tuple", "list"),
                    "dtype": choice("float16", "bfloat16", "float32", "float64"),
                    "replaced": truth,
                    "loss_alone": number(),
                    "size": whole(),
                    "outputs": list_of(
                        record(
                            {
                                "equation": EQUATION_TEXT,
                                "tokens": tokens,
                                "complexity": whole(1),
                                "r2": number(most=1.0),
                                "law": optional(number(0.0, 1.0)),
                            },
                            {"intervals": INTERVALS},
                        ),
                        least=1,
                        most=_MOST_OUTPUTS,
                    ),
                }
            ),
            least=1,
            most=_MOST_BLOCKS,
        ),
        "loss_before": number(),
        "loss_after": number(),
        "loss_limit": number(),
        "loss_words": text(200),
        "seconds": number(0.0),
        "notes": NOTES,
    }
)
