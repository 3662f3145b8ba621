"""Warnings and lines of Lightning that tell the user nothing."""

import logging
import warnings

__all__ = ["keep_quiet"]


def keep_quiet() -> None:
    """Keep the terminal of this process for what the user needs."""
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    logging.getLogger("lightning.fabric").setLevel(logging.WARNING)
    warnings.filterwarnings("ignore", message=".*does not have many workers.*")
    warnings.filterwarnings("ignore", message=".*exists and is not empty.*")
    warnings.filterwarnings("ignore", message=".*LeafSpec.*")
    warnings.filterwarnings("ignore", message=".*smaller than the logging interval.*")  # nothing is logged a step
    warnings.filterwarnings("ignore", message=".*Experiment logs directory.*")
    warnings.filterwarnings("ignore", message=".*across ranks is zero.*")  # one network is read
    warnings.filterwarnings("ignore", message=".*no `validation_step`.*")  # some models only fit and test
