"""Places of the weights that come with the package. Imports nothing heavy."""

from pathlib import Path

__all__ = ["CVAE_SMALL", "WEIGHTS_TO_TOKENS_SMALL"]

CVAE_SMALL = Path(__file__).with_name("cvae_small.safetensors")
"""Weights of the map of equations."""
WEIGHTS_TO_TOKENS_SMALL = Path(__file__).with_name("weights_to_tokens_small.safetensors")
"""Weights of the reader of networks."""
