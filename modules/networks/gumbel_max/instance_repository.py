"""The repository of elites: the instances of lowest error that were found, no two of which are the same equation.

Source: G. Chen, "Learning Symbolic Expressions via Gumbel-Max Equation Learner Networks", arXiv 2012.06921v2,
    section 4. Every restart has a repository of its own; all of them are kept together, and copying out of them is
    one operation for all restarts. Coming in is a loop over the few instances that are good enough.

What decides (errors, keys, ranks) is kept in NumPy on the host; what an elite consists of, tensors of any shape,
stays on the device where it is computed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from foundation.schema import Check, FormatError, record
from modules.networks.stored_tensors import tensor

__all__ = ["InstanceRepository"]


class InstanceRepository:
    """The best instances of each of R restarts.

    An elite keeps the error that it had when it came in, as published; parameters that it shares with others may
    have moved since. Give it a field with a copy of them to know what was measured.

    Args:
        restarts: R, the number of repositories.
        size: most elites of a repository.
        exponent: exponent of the power law: the elite of rank k = 1, 2, … is chosen with probability ~
            k^-exponent.
        fields: shapes of the float32 tensors that an elite consists of, by name.

    Attributes:
        errors: errors of the elites by rank, lowest first, inf where there is no elite. `[R, size]` float32
        slots: slots of the elites by rank. `[R, size]`
        keys: keys of the equations by slot. `[R, size]` uint64
        counts: numbers of elites. `[R]`
        fields: tensors of the elites by slot. `[R, size, ...]` each
    """

    def __init__(self, restarts: int, size: int, exponent: float, fields: Mapping[str, Sequence[int]]) -> None:
        self.restarts, self.size, self.exponent = restarts, size, exponent
        self.errors = np.full((restarts, size), np.inf, dtype=np.float32)
        self.slots = np.tile(np.arange(size), (restarts, 1))
        self.keys = np.zeros((restarts, size), dtype=np.uint64)
        self.counts = np.zeros(restarts, dtype=np.int64)
        self.fields = {name: torch.zeros(restarts, size, *shape) for name, shape in fields.items()}
        self._slot_of: list[dict[int, int]] = [{} for _ in range(restarts)]  # key -> slot
        self._chances = np.cumsum(np.arange(1, size + 1, dtype=np.float64) ** -exponent)
        self._first_slots = np.arange(restarts)[:, None] * size  # of each repository, counted over all of them

    def to(self, device: torch.device) -> None:
        """Move what the elites consist of."""
        self.fields = {name: values.to(device) for name, values in self.fields.items()}

    # --- coming in ------------------------------------------------------------------------------------------

    def worst(self) -> np.ndarray:
        """Error that an instance must be below to come in; inf while there is room. `[R]`"""
        return self.errors[:, -1]

    def add(self, restarts: np.ndarray, errors: np.ndarray, keys: np.ndarray, fields: Mapping[str, Tensor]) -> int:
        """Add the instances that are better than present elites; of equal equations the most accurate stays.

        Args:
            restarts: restarts of the instances. `[instances]`
            errors: errors of the instances; an instance whose error is not finite is left out. `[instances]`
            keys: keys of the instances' equations. `[instances]` uint64
            fields: tensors of the instances. `[instances, ...]` each

        Returns:
            The number of slots that were written.
        """
        taken: dict[int, int] = {}  # slot, over all repositories, -> instance; the last one there stays
        offers = zip(restarts.tolist(), errors.tolist(), keys.tolist(), strict=True)
        for instance, (restart, error, key) in enumerate(offers):
            slot = self._room(restart, error, key)
            if slot is not None:
                taken[restart * self.size + slot] = instance
        for name, values in self.fields.items() if taken else ():
            to = torch.tensor(list(taken), device=values.device)
            instances = torch.tensor(list(taken.values()), device=values.device)
            values.flatten(0, 1).index_copy_(0, to, fields[name].index_select(0, instances))
        return len(taken)

    def _room(self, restart: int, error: float, key: int) -> int | None:
        """The slot of a new elite, put in its rank; None if it is not good enough. What it displaces is gone."""
        errors, slots, slot_of = self.errors[restart], self.slots[restart], self._slot_of[restart]
        slot = slot_of.get(key)
        if slot is not None:  # an equal equation, whose rank becomes free
            free = int((slots == slot).argmax())
        else:
            free = min(int(self.counts[restart]), self.size - 1)
        if not error < errors[free]:
            return None
        if slot is None:
            slot = int(slots[free])
            if errors[free] < np.inf:
                del slot_of[int(self.keys[restart, slot])]
            else:
                self.counts[restart] += 1
            self.keys[restart, slot] = key
            slot_of[key] = slot
        rank = int(errors.searchsorted(np.float32(error), side="right"))
        errors[rank + 1 : free + 1] = errors[rank:free].copy()
        slots[rank + 1 : free + 1] = slots[rank:free].copy()
        errors[rank], slots[rank] = error, slot
        return slot

    # --- going out ------------------------------------------------------------------------------------------

    def by_power_law(self, uniform: np.ndarray) -> np.ndarray:
        """Slots of elites, the best most often; of an empty repository any slot.

        Args:
            uniform: random numbers from 0 to 1. `[R, n]`

        Returns:
            `[R, n]`
        """
        total = self._chances[np.maximum(self.counts, 1) - 1]
        return self._ranked(np.searchsorted(self._chances, uniform * total[:, None], side="right"))

    def evenly(self, uniform: np.ndarray) -> np.ndarray:
        """Slots of elites, each as often; arguments as in `by_power_law`."""
        return self._ranked((uniform * self.counts[:, None]).astype(np.int64))

    def _ranked(self, ranks: np.ndarray) -> np.ndarray:
        last = np.maximum(self.counts, 1)[:, None] - 1  # a product that is rounded up is one too far
        return np.take_along_axis(self.slots, np.minimum(ranks, last), axis=1)

    def take(self, name: str, slots: np.ndarray) -> Tensor:
        """A field of some elites. `[R, n] -> [R * n, ...]`"""
        values = self.fields[name]
        places = torch.from_numpy((slots + self._first_slots).ravel()).to(values.device)
        return values.flatten(0, 1).index_select(0, places)

    @property
    def lowest(self) -> np.ndarray:
        """Error of every restart's best elite, inf where there is none. `[R]`"""
        return self.errors[:, 0]

    def best(self, name: str) -> Tensor:
        """A field of every restart's best elite. `[R, ...]`"""
        return self.take(name, self.slots[:, :1])

    # --- on disk --------------------------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        """Tensors only, so that it loads with `weights_only=True`."""
        return {
            "errors": torch.from_numpy(self.errors.copy()),
            "slots": torch.from_numpy(self.slots.copy()),
            "keys": torch.from_numpy(self.keys.view(np.int64).copy()),
            "fields": {name: values.detach().cpu().clone() for name, values in self.fields.items()},
        }

    def state_check(self) -> Check:
        """Check for the state of a repository of as many restarts, as large, with the same fields."""
        sizes = self.restarts, self.size
        whole_state = record(
            {
                "errors": tensor("f", *sizes),
                "slots": tensor("i", *sizes),
                "keys": tensor("i", *sizes),
                "fields": record({name: tensor("f", *values.shape) for name, values in self.fields.items()}),
            }
        )

        def check(value: Any) -> dict[str, Any]:
            state: dict[str, Any] = whole_state(value)
            errors, slots = state["errors"].numpy(), state["slots"].numpy()
            filled = np.isfinite(errors)
            if not (errors[:, 1:] >= errors[:, :-1]).all() or (errors < 0).any() or np.isnan(errors).any():
                raise FormatError("are not errors that rise", "").inside(".errors")
            if not (np.sort(slots, axis=1) == np.arange(self.size)).all():
                raise FormatError("does not have every slot once", "").inside(".slots")
            for restart, keys in enumerate(state["keys"].numpy()):
                own = keys[slots[restart, filled[restart]]]
                if len(set(own.tolist())) != len(own):
                    raise FormatError("has one equation twice", "").inside(f".keys[{restart}]")
            for name, values in state["fields"].items():
                if values.isnan().any():
                    raise FormatError("has numbers that are none", "").inside(f".fields.{name}")
            return state

        return check

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over a state of as many restarts and as large repositories.

        Raises:
            FormatError: it is of other sizes, or no such state.
        """
        state = self.state_check()(state)
        self.errors = state["errors"].numpy().copy()
        self.slots = state["slots"].numpy().copy()
        self.keys = state["keys"].numpy().view(np.uint64).copy()
        self.counts = np.isfinite(self.errors).sum(axis=1)
        for restart, count in enumerate(self.counts):
            filled = self.slots[restart, :count]
            keys = self.keys[restart, filled].tolist()
            self._slot_of[restart] = dict(zip(keys, filled.tolist(), strict=True))
        for name, values in self.fields.items():
            values.copy_(state["fields"][name])
