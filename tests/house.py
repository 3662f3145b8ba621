"""Where the rooms of the house are, for the tests that walk through all of them."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
ROOMS = (
    "foundation",
    "expressions",
    "searches",
    "modules",
    "datamodules",
    "distillation",
    "runs",
    "reports",
    "callbacks",
    "configs",
)
