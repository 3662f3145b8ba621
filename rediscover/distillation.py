"""Any trained network of PyTorch into equations: see `distillation.distilling`."""

from distillation.distilling import distill
from distillation.report import DistillationReport

__all__ = ["DistillationReport", "distill"]
