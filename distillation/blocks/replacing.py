"""Other modules in the place of blocks, for a while or for good."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from torch import nn

__all__ = ["replaced", "with_blocks"]


@contextmanager
def replaced(network: nn.Module, blocks: Mapping[str, nn.Module]) -> Iterator[nn.Module]:
    """The network with other modules in the place of some blocks, until the end of this block.

    Args:
        network: network that is changed and changed back.
        blocks: modules by the name of the block; the name of the whole network is empty.
    """
    if "" in blocks:
        yield blocks[""]
        return
    before: list[tuple[nn.Module, str, nn.Module]] = []
    try:
        for name, block in blocks.items():
            for owner, key, own in _places(network, network.get_submodule(name)):
                before.append((owner, key, own))
                setattr(owner, key, block)
        yield network
    finally:
        for owner, key, own in reversed(before):
            setattr(owner, key, own)


def with_blocks(network: nn.Module, blocks: Mapping[str, nn.Module]) -> nn.Module:
    """The network, changed for good, with other modules in the place of some blocks.

    Args:
        network: network that is changed.
        blocks: modules by the name of the block; the name of the whole network is empty.
    """
    if "" in blocks:
        return blocks[""]
    for name, block in blocks.items():
        for owner, key, _ in _places(network, network.get_submodule(name)):
            setattr(owner, key, block)
    return network


def _places(network: nn.Module, block: nn.Module) -> list[tuple[nn.Module, str, nn.Module]]:
    """All places of a block, which may have several names: its owner, its name there, and itself."""
    return [
        (owner, key, own) for owner in network.modules() for key, own in owner._modules.items() if own is block
    ]
