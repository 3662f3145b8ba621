"""A valid report of a distillation, and its use, for the table of readers."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path

import torch

from distillation.blocks.layout import Layout
from distillation.report import BlockEquations, DistillationReport, OutputEquation
from expressions.parsing import parse

__all__ = ["report_file", "report_reader"]


def report() -> DistillationReport:
    """A report of one block with two tensors in and one out."""
    equations = [parse("0.5*x0 + sin(x1)"), parse("x2/1.5")]
    block = BlockEquations(
        "encoder",
        Layout(((2,), (1,)), ((2,),)),
        tuple(OutputEquation(each, 3, 0.99) for each in equations),
        replaced=True,
        loss_alone=0.5,
        size=7,
    )
    return DistillationReport((block,), 0.1, 0.1, 0.101, "loss of the model", 1.0, ("a note",))


@cache
def _written() -> dict[str, bytes]:
    with tempfile.TemporaryDirectory() as folder:
        report().save(folder)
        return {path.name: path.read_bytes() for path in Path(folder).iterdir()}


def report_file(name: str) -> Callable[[], bytes]:
    """Content of one of the files of a report."""
    return lambda: _written()[name]


def report_reader(name: str) -> Callable[[bytes], object]:
    """A reader of a report whose file of this name has another content."""

    def read(content: bytes) -> object:
        with tempfile.TemporaryDirectory() as folder:
            for each, own in {**_written(), name: content}.items():
                (Path(folder) / each).write_bytes(own)
            found = DistillationReport.load(folder)
        blocks = [block.module() for block in found.blocks if block.layout.features < 1_000]
        tables = [
            block([torch.ones(1, *shape, dtype=torch.float32) for shape in block.layout.inputs])
            for block in blocks
        ]
        return found.table, str(found), tables

    return read
