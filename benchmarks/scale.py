"""Suite `scale`: what the sizes of the map of equations need, and how fast a GPU may train them. Computed.

Counted on the network itself, one training step forward and backward with all losses, as the difference between a
batch of 4 and one of 2 tables, so that what does not grow with the batch falls out. The tensors are fake ones,
which are never computed, so it takes seconds for any size:

- FLOPs: 2 m n k of each matrix product, what activation checkpointing works out again included (torch's counter);
- activations: bytes of the tensors that autograd keeps for the backward pass, each storage once and no
  parameters, in bfloat16 autocast, with attention as a fused kernel keeps it (queries, keys, values, output);
- operations: calls of torch's operators in one step, each of which launches about one kernel; views launch none,
  and the optimiser's, which are fused, are not counted.

FLOPs and operations are those of a table of mean rows and an equation of mean length (both are nearly linear in
them), activations those of the largest ones. The rest is arithmetic, for a GPU of `peak` FLOP/s and `memory`
bytes:

    memory        = P (4 weights + 4 gradients + 8 AdamW + 4 average + 2 copies in bfloat16 + 4 DDP's buckets)
                    + batch * (activations + one block that is worked out again)
    seconds/step  = max(batch * FLOPs / (utilisation * peak), operations * launch)
    largest batch = such that 90 % of the memory are used, in steps of 16

Two numbers are settings of the suite: `utilisation`, the share of the GPU's peak that its matrix products reach,
and `launch`, the microseconds that eager PyTorch takes for an operation. They are those of `small` on the H200 of
a virtual machine: 36,000 samples a second for nine minutes with batches of 4,096, where the arithmetic decides;
and, timed once by hand, 82 ms a step of some 2,900 operations with batches of 2,048, where launches did. A third
of the time are the features of the tables, in float32 and not among the FLOPs; of the rest norms, sums, copies and
attention take more than the products. Wider networks have fewer of them a product, so there it is a lower end.
Peaks are the published dense bfloat16 ones. Beside them stands what was measured here: the same step on one core
of this machine, against the speed of a large matrix product there.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.cells import Cell, Record
from benchmarks.presets import PRESETS, configuration, datamodule, network
from benchmarks.report import Grid, Report, decimals, failures, good, number, status_note, thousands
from benchmarks.suites import Suite

if TYPE_CHECKING:
    from omegaconf import DictConfig
    from torch import Tensor, nn

    from datamodules.equations import Equations
    from modules.networks.equation_map.conditional_vae import Batch, ConditionalVAE

METHODS = ("computed",)
GPUS = {"A100 80 GB": (312e12, 80e9), "H100 80 GB": (989e12, 80e9), "H200": (989e12, 141e9)}
"""Name -> published dense bfloat16 FLOP/s (SXM) and bytes of memory."""
BYTES_A_PARAMETER = {"weights": 4, "gradients": 4, "AdamW": 8, "average": 4, "bfloat16": 2}
DDP_BYTES = 4  # of the buckets that gradients are sent in
USABLE = 0.9
PAPER_SAMPLES = 51e6
_SMALL, _LARGE = 2, 4
Watch = AbstractContextManager[Any]
_NO_KERNEL = ("prim.", "aten.empty", "aten.detach", "aten.lift_fresh", "aten._unsafe_view")


@dataclass(frozen=True)
class Shape:
    """Of a batch.

    Attributes:
        rows: Of a table.
        tokens: Of an equation, without start and end.
    """

    rows: int
    tokens: int


def run(cell: Cell) -> dict[str, Any]:
    """Count one preset, and time it on this core."""
    import torch

    torch.set_num_threads(1)
    config = configuration(cell.problem)
    data = datamodule(config)
    counted = count(config)
    tables = batch(data, int(cell.settings["cpu_batch"]), shapes(data)[0])
    net = network(config, data)
    share = float(config.model.posterior_share)
    seconds = timed(lambda: train(net, tables, share), float(cell.settings["cpu_seconds"]))
    peak, speed = core_peak(), len(tables.ids) / seconds
    return {
        **counted,
        "ddp": config.trainer.get("strategy") == "ddp",
        "batch": int(config.data.batch_size),
        "cpu_samples_per_second": speed,
        "cpu_peak": peak,
        "cpu_utilisation": speed * counted["flops"] / peak,
    }


# ------------------------------------------------------------------------------------------- what is counted


def count(config: DictConfig) -> dict[str, Any]:
    """Everything that is counted of a preset, without computing a single number.

    On fake tensors, which have a shape, a type and a storage that is never allocated: seconds for any size.
    """
    from unittest import mock

    from torch._subclasses.fake_tensor import FakeTensorMode

    from modules.networks.equation_map import conditional_vae
    from modules.networks.equation_map.set_encoder import point_features

    data = datamodule(config)  # of its own: tables that its vocabulary keeps become fake ones
    mean, largest = shapes(data)
    share, again = float(config.model.posterior_share), bool(config.model.checkpoint_activations)
    mode = FakeTensorMode(allow_non_fake_inputs=True)
    with mode:
        net = network(config, data)

    def step(rows: int, shape: Shape, half: bool, watch: Watch | None = None) -> None:
        real = batch(data, rows, shape)
        with watch or nullcontext():  # has no weights, and looks at numbers: real ones
            features = point_features(real.inputs, real.target, real.present)
        fake = type(real)(*(mode.from_tensor(part) for part in real))
        seen = type(features)(*(mode.from_tensor(part) for part in features))
        with mode, mock.patch.object(conditional_vae, "point_features", return_value=seen), watch or nullcontext():
            train(net, fake, share, half)

    def activations() -> float:
        return slope(lambda rows: saved_bytes(net, lambda: step(rows, largest, True)))

    kept = whole = activations()
    if again:
        checkpointing(net, False)
        whole = activations()
        checkpointing(net, True)
    return {
        "parameters": sum(parameter.numel() for parameter in net.parameters()),
        "flops": slope(lambda rows: counted_flops(lambda watch: step(rows, mean, False, watch))),
        "operations": counted_operations(lambda watch: step(_SMALL, mean, True, watch)),
        "activations": kept,
        "activations_whole": whole,
        "block": (whole - kept) / blocks(net) if again else 0.0,
        "rows": mean.rows,
        "tokens": mean.tokens,
    }


def shapes(data: Equations) -> tuple[Shape, Shape]:
    """The mean shape of the stream's batches, and the largest."""
    settings = data.settings
    low, high = settings.fewest_rows, settings.most_rows + 1
    tokens = float(np.average(np.minimum(settings.length_edges, data.longest), weights=settings.length_weights))
    mean = Shape(round((high - low) / np.log(high / low)), round(tokens))  # rows are log-uniform
    return mean, Shape(settings.most_rows, data.longest)


def batch(data: Equations, rows: int, shape: Shape) -> Batch:
    """Tables of random numbers, each with the same sound equation of so many tokens."""
    import torch

    from modules.networks.equation_map.conditional_vae import Batch

    names = list(data.vocabulary.names)
    pairs, odd = divmod(shape.tokens - 1, 2)
    words = ["<start>", *["neg"] * odd, *["add", "x0"] * pairs, "x0", "<end>"]
    ids = torch.tensor([[names.index(word) for word in words]]).expand(rows, -1)
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(rows, shape.rows, data.variables, generator=generator)
    return Batch(inputs, inputs.sum(dim=2), torch.ones(rows, data.variables, dtype=torch.bool), ids)


def train(net: ConditionalVAE, tables: Batch, posterior_share: float, half: bool = False) -> None:
    """All losses of a batch, forward and backward; `half`: in bfloat16 autocast."""
    import torch

    with torch.autocast("cpu", torch.bfloat16, enabled=half):
        parts = net.losses(tables, posterior_share, 0.02, (True, True))
        loss = parts.prior_cross_entropy + parts.posterior_cross_entropy
        loss = loss + parts.free_kl + parts.values + parts.presence
    loss.backward()
    net.zero_grad(set_to_none=True)


def slope(count: Callable[[int], float]) -> float:
    """What one more table adds."""
    return (count(_LARGE) - count(_SMALL)) / (_LARGE - _SMALL)


def saved_bytes(net: nn.Module, step: Callable[[], None]) -> int:
    """Bytes that autograd keeps for the backward pass, the parameters' own not counted."""
    from unittest import mock

    import torch

    from modules.networks.transformer import attention

    own = {parameter.untyped_storage()._cdata for parameter in net.parameters()}
    found: dict[int, int] = {}
    held = []  # so that no storage is freed and its address given to another while we count

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage._cdata not in own and storage._cdata not in found:
            found[storage._cdata] = storage.nbytes()
            held.append(storage)
        return tensor

    with (
        torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor),
        mock.patch.object(attention, "attend", _fused),
    ):
        step()
    return sum(found.values())


def _fused(queries: Tensor, keys: Tensor, values: Tensor, bias: Tensor | None = None) -> Tensor:
    """`modules.networks.transformer.attention.attend` as it is on a GPU."""
    from torch.nn import functional

    bias = None if bias is None else bias.to(queries.dtype)
    mixed = functional.scaled_dot_product_attention(queries, keys, values, attn_mask=bias)
    return mixed.transpose(1, 2).flatten(2)


def counted_flops(step: Callable[[Watch], None]) -> int:
    """2 m n k of each matrix product that a step computes while it is watched."""
    from torch.utils.flop_counter import FlopCounterMode

    counter = FlopCounterMode(display=False)
    step(counter)
    return counter.get_total_flops()


def counted_operations(step: Callable[[Watch], None]) -> int:
    """Calls of operators that compute something: views and allocations launch no kernel."""
    from unittest import mock

    from torch.utils._python_dispatch import TorchDispatchMode

    from modules.networks.transformer import attention

    class Counter(TorchDispatchMode):
        calls = 0

        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            self.calls += not (func.is_view or str(func).startswith(_NO_KERNEL))
            return func(*args, **(kwargs or {}))

    counter = Counter()
    with mock.patch.object(attention, "attend", _fused):
        step(counter)
    return counter.calls


def checkpointing(net: ConditionalVAE, on: bool) -> None:
    """Switch activation checkpointing."""
    for part in (net.set_encoder, net.equation_encoder, net.decoder):
        part.checkpoint_activations = on


def blocks(net: ConditionalVAE) -> int:
    """How many blocks are worked out again."""
    return sum(len(part.blocks) for part in (net.set_encoder, net.equation_encoder, net.decoder))


def timed(step: Callable[[], object], seconds: float) -> float:
    """Median CPU-seconds of a step; the first one is not counted."""
    step()
    times: list[float] = []
    while not times or sum(times) < seconds:
        began = time.process_time()
        step()
        times.append(time.process_time() - began)
    return float(np.median(times))


def core_peak(size: int = 1024, repeats: int = 5) -> float:
    """FLOP/s of a large float32 matrix product, in CPU-seconds of one thread: no other process's time counts."""
    import torch

    one = torch.full((size, size), 0.5)
    return 2.0 * size**3 / timed(lambda: one @ one, repeats * 2.0 * size**3 / 50e9)


# ------------------------------------------------------------------------------------------ what is computed


def fixed_bytes(counted: dict[str, Any]) -> float:
    """Memory that does not depend on the batch."""
    each = sum(BYTES_A_PARAMETER.values()) + (DDP_BYTES if counted["ddp"] else 0)
    return float(counted["parameters"] * each)


def bytes_a_sample(counted: dict[str, Any]) -> float:
    """Memory of one more table."""
    return float(counted["activations"] + counted["block"])


def largest_batch(counted: dict[str, Any], memory: float) -> int:
    """In steps of 16; 0 where nothing fits."""
    left = USABLE * memory - fixed_bytes(counted)
    return max(0, int(left / bytes_a_sample(counted)) // 16 * 16)


def step_seconds(counted: dict[str, Any], peak: float, utilisation: float, launch: float) -> tuple[float, float]:
    """By the matrix products, and by the launches (`launch` in microseconds)."""
    return counted["batch"] * counted["flops"] / (utilisation * peak), 1e-6 * launch * counted["operations"]


def report(records: Sequence[Record]) -> Report:
    """What was counted, and what follows for GPUs."""
    counts, gpus = [], []
    for record in records:
        name, counted = record.cell.problem, record.result
        if not counted:
            counts.append([name, status_note([record]), *["-"] * 7])
            continue
        counts.append(
            [
                name,
                decimals(counted["parameters"] / 1e6, 1),
                number(counted["flops"] / 1e9),
                thousands(counted["operations"]),
                decimals(counted["activations_whole"] / 1e6, 1),
                decimals(bytes_a_sample(counted) / 1e6, 1),
                decimals(fixed_bytes(counted) / 1e9, 2),
                number(counted["cpu_samples_per_second"]),
                f"{100 * counted['cpu_utilisation']:.0f} %",
            ]
        )
        gpus += [_gpu_row(record, gpu) for gpu in GPUS]
    return Report(
        [
            Grid(
                "Counted on the network",
                [
                    "preset",
                    "M parameters",
                    "GFLOP a sample",
                    "operations a step",
                    "MB a sample, all kept",
                    "MB a sample",
                    "GB beside it",
                    "samples/s, this core",
                    "of its peak",
                ],
                counts,
            ),
            Grid(
                "Computed for one GPU",
                [
                    "preset, GPU",
                    "batch",
                    "GB",
                    "largest batch",
                    "ms by FLOPs",
                    "ms by launches",
                    "samples/s",
                    "hours for 51 M",
                ],
                gpus,
            ),
        ],
        _notes(records),
    )


def _gpu_row(record: Record, gpu: str) -> list[str]:
    counted, settings = record.result, record.cell.settings
    peak, memory = GPUS[gpu]
    by_flops, by_launches = step_seconds(counted, peak, float(settings["utilisation"]), float(settings["launch"]))
    speed = counted["batch"] / max(by_flops, by_launches)
    used = fixed_bytes(counted) + counted["batch"] * bytes_a_sample(counted)
    return [
        f"{record.cell.problem}, {gpu}",
        str(counted["batch"]),
        decimals(used / 1e9, 1),
        thousands(largest_batch(counted, memory)),
        decimals(1e3 * by_flops, 1),
        decimals(1e3 * by_launches, 1),
        thousands(speed),
        decimals(PAPER_SAMPLES / speed / 3600, 1),
    ]


def _notes(records: Sequence[Record]) -> list[str]:
    found = good(records)
    settings = records[0].cell.settings if records else {}
    means = ", ".join(
        f"{record.cell.problem} {record.result['rows']} rows and {record.result['tokens']} tokens"
        for record in found
    )
    peaks = ", ".join(f"{name} {peak / 1e12:.0f} TFLOP/s" for name, (peak, _) in GPUS.items())
    cpu = float(np.median([record.result["cpu_peak"] for record in found])) / 1e9 if found else float("nan")
    return [
        f"From one H200: {100 * float(settings.get('utilisation', 0)):.1f} % of the dense bfloat16 peak "
        f"as published ({peaks}), and {settings.get('launch')} microseconds an operation. A step takes the longer "
        "of the two times; where launches decide, a larger batch is free.",
        "Counted: FLOPs and operations of a training step, forward and backward, at the mean shape of a batch "
        f"({means}); activations in bfloat16 at the largest one. MB a sample, all kept: without activation "
        "checkpointing; beside it: weights, gradients, AdamW, average, copies in bfloat16, and DDP's buckets.",
        f"this core: the same step in float32 with {settings.get('cpu_batch')} tables, and its share of the "
        f"{decimals(cpu, 0)} GFLOP/s of a large product. Published: 51 M samples in 200 hours on two H800.",
        *failures(records),
    ]


SUITE = Suite(
    name="scale",
    summary="parameters, memory, FLOPs and expected speed of the sizes of the map; computed, seconds",
    methods=METHODS,
    seeds=(1,),
    settings={"utilisation": 0.028, "launch": 28.0, "cpu_batch": 16, "cpu_seconds": 5.0},
    problems=lambda settings: list(PRESETS),
    estimate=lambda cell: (
        {"small": 20.0, "base": 40.0, "paper": 180.0}[cell.problem] + float(cell.settings["cpu_seconds"])
    ),
    run=run,
    report=report,
)
