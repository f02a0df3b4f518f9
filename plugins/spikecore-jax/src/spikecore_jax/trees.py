"""spikecore's collections as pytrees, so that they pass through JAX's transformations."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
from jax.tree_util import register_pytree_node, tree_flatten, tree_unflatten

from spikecore.api.core.tree import Params, State, Tree
from spikecore.api.layers.network import Output, RecordedStates


def _register_mapping(kind: Any) -> None:
    register_pytree_node(
        kind, lambda held: (tuple(held.values()), tuple(held)), lambda names, held: kind(dict(zip(names, held)))
    )


for _kind in (Tree, Params, State, RecordedStates):
    _register_mapping(_kind)
register_pytree_node(
    Output,
    lambda out: ((out.spikes, out.states, out.state), (out.readout, out.behind)),
    lambda names, arrays: Output(*arrays, *names),
)


class Rest(NamedTuple):
    """What a structure has besides its arrays; hashable, if all that it holds is."""

    form: Any
    leaves: tuple[Any, ...]  # None where an array was
    kinds: tuple[type, ...]  # since 1 == 1.0


def parted(tree: Any) -> tuple[list[Any], Rest]:
    """The arrays of a structure, and all else in it; ``joined`` undoes it."""
    leaves, form = tree_flatten(tree)
    others = tuple(None if isinstance(leaf, jax.Array) else leaf for leaf in leaves)
    kinds = tuple(jax.Array if isinstance(leaf, jax.Array) else type(leaf) for leaf in leaves)
    return [leaf for leaf in leaves if isinstance(leaf, jax.Array)], Rest(form, others, kinds)


def joined(arrays: Any, rest: Rest) -> Any:
    """The structure that ``parted`` took apart, with these arrays."""
    given = iter(arrays)
    pairs = zip(rest.leaves, rest.kinds)
    return tree_unflatten(rest.form, [next(given) if kind is jax.Array else leaf for leaf, kind in pairs])
