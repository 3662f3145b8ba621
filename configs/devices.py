"""Devices, strategies and precisions that this machine cannot have, which is known without torch.

Whether a device works only torch can say. But a torch that was built for the CPU alone runs on no GPU, a system
without a driver has none, and a package that is not installed is not there.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from foundation.errors import UserError, near

__all__ = ["STRATEGIES", "DeviceError", "check_devices_can_be_there"]

DRIVERS = ("/dev/nvidiactl", "/dev/nvidia0", "/dev/nvhost-gpu", "/dev/nvgpu", "/dev/nvmap", "/dev/dxg", "/dev/kfd")
"""Files of which a Linux system has at least one where it has a GPU that torch could use."""
STRATEGIES = (
    *("auto", "ddp", "ddp_find_unused_parameters_false", "ddp_find_unused_parameters_true"),
    *("ddp_fork", "ddp_fork_find_unused_parameters_false", "ddp_fork_find_unused_parameters_true"),
    *("ddp_notebook", "ddp_notebook_find_unused_parameters_false", "ddp_notebook_find_unused_parameters_true"),
    *("ddp_spawn", "ddp_spawn_find_unused_parameters_false", "ddp_spawn_find_unused_parameters_true"),
    *("deepspeed", "deepspeed_stage_1", "deepspeed_stage_2", "deepspeed_stage_2_offload", "deepspeed_stage_3"),
    *("deepspeed_stage_3_offload", "deepspeed_stage_3_offload_nvme"),
    *("fsdp", "fsdp_cpu_offload", "single_device", "single_tpu", "single_xla", "xla", "xla_debug"),
)
"""Strategies that Lightning has, or has with a package of its own for each."""
PACKAGES = {
    ("accelerator", "tpu"): "torch_xla",
    ("strategy", "deepspeed"): "deepspeed",
    ("strategy", "xla"): "torch_xla",
    ("strategy", "single_tpu"): "torch_xla",
    ("strategy", "single_xla"): "torch_xla",
    ("precision", "transformer-engine"): "transformer_engine",
}
"""Key and begin of its value -> package that it needs."""


class DeviceError(UserError):
    """A device or a package that is not there."""


def check_devices_can_be_there(trainer: Mapping[str, Any]) -> None:
    """Refuse what this machine certainly has not; what it may have, Lightning looks at later.

    Args:
        trainer: settings of the Trainer.

    Raises:
        DeviceError: there is no such strategy, its package is not installed, or no such device can be used.
    """
    strategy = str(trainer.get("strategy", "auto"))
    if strategy not in STRATEGIES:
        raise DeviceError(f"trainer.strategy={strategy} is none that Lightning has; {near(strategy, STRATEGIES)}")
    for (key, begin), package in PACKAGES.items():
        value = str(trainer.get(key))
        if value.startswith(begin) and find_spec(package) is None:
            raise DeviceError(f"trainer.{key}={value} needs the package {package}, which is not installed")
    accelerator = trainer.get("accelerator", "auto")
    reason = None if accelerator in ("auto", "cpu", "tpu") else _no_device(str(accelerator))
    if reason is not None:
        raise DeviceError(f"trainer.accelerator={accelerator} cannot be used, since {reason}: give auto or cpu")


def _no_device(accelerator: str) -> str | None:
    """Why there can be no such device; None where there may be one."""
    apple = sys.platform == "darwin"
    if accelerator == "mps" or (accelerator == "gpu" and apple):
        return None if apple else "only Apple's machines have it"
    if apple:
        return "Apple's machines have no CUDA"
    if _torch_version().endswith("+cpu"):
        return "this torch is built for the CPU alone"
    if os.environ.get("CUDA_VISIBLE_DEVICES", "0").strip() in ("", "-1"):
        return "CUDA_VISIBLE_DEVICES hides all GPUs"
    if sys.platform == "linux" and not any(Path(path).exists() for path in DRIVERS):
        return "this machine has no driver of a GPU"
    return None


def _torch_version() -> str:
    try:
        return version("torch")
    except PackageNotFoundError:  # built without a record of it
        return ""
