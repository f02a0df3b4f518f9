"""Operators that PopTorch lowers only under a condition, or whose options it refuses or silently ignores."""

from __future__ import annotations

from typing import Any, Callable, Dict, NamedTuple, Optional, Sequence, Tuple

import torch


class Condition(NamedTuple):
    """A condition under which PopTorch refuses a call or gets it wrong, with the reason and the remedy."""

    broken: Callable[..., bool]
    reason: str
    remedy: str
    error: bool = True


def _rounds_otherwise(given: Dict[str, Any]) -> bool:
    """Whether a quotient of whole numbers, rounded toward zero, is another number than its floor."""
    numbers = given["self"], given["other"]
    if any(x.is_floating_point() if isinstance(x, torch.Tensor) else isinstance(x, float) for x in numbers):
        return False
    floor, whole = (torch.div(*numbers, rounding_mode=mode) for mode in ("floor", "trunc"))
    return not torch.equal(floor, whole)


#: Conditions by the aten name without a final ``_``. They get the arguments by the names in the operator's schema.
OPTIONS: Dict[str, Condition] = {
    "div": Condition(
        lambda given: given.get("rounding_mode") is not None,
        "aten::div silently ignores rounding_mode (seen with 'floor')",
        "Write torch.floor(a / b) or torch.trunc(a / b)",
    ),
    "floor_divide": Condition(
        _rounds_otherwise,
        "aten::floor_divide of whole numbers rounds toward zero, which differs for negative ones",
        "Write torch.floor(a / b)",
    ),
    "celu": Condition(
        lambda given: True, "aten::celu is lowered to another function, selu", "Write alpha * F.elu(x / alpha)"
    ),
    "gelu": Condition(
        lambda given: given.get("approximate", "none") != "tanh",
        "aten::gelu has the form with tanh, which differs by up to 2e-4",
        "Write F.gelu(x, approximate='tanh') to have it everywhere",
        False,
    ),
    "std": Condition(
        lambda given: not given.get("dim"),
        "std and var of all entries, without an axis, are refused",
        "Name the axes: x.std(dim=(0, 1))",
    ),
    "round": Condition(
        lambda given: bool(given.get("decimals")),
        "aten::round silently ignores decimals",
        "Write torch.round(x * 10**n) / 10**n",
    ),
    "topk": Condition(
        lambda given: not given.get("sorted", True), "aten::topk is lowered with sorted=True only", "Use sorted=True"
    ),
    "bincount": Condition(
        lambda given: not given.get("minlength"),
        "aten::bincount needs minlength, as shapes are fixed",
        "Give minlength",
    ),
    "nll_loss_forward": Condition(
        lambda given: given.get("weight") is not None,
        "cross_entropy and nll_loss have no class weights",
        "Weight the samples' losses: identity_loss((loss * weight[y]).mean(), 'none')",
    ),
    "embedding": Condition(
        lambda given: given.get("padding_idx", -1) >= 0, "aten::embedding has no padding_idx", "Leave padding_idx out"
    ),
    "_adaptive_avg_pool2d": Condition(
        lambda given: any(n % m for n, m in zip(given["self"].shape[-2:], given["output_size"])),
        "adaptive_avg_pool needs output extents that divide those of the input",
        "Use avg_pool with a kernel and a stride",
    ),
    "avg_pool2d": Condition(
        lambda given: (
            given.get("divisor_override") is not None
            or (len(set(given.get("padding", ()))) > 1 and given.get("count_include_pad", True))
        ),
        "average pooling silently ignores divisor_override, and pads along the wrong axes where padding is unequal, "
        "which it is in every padded avg_pool1d",
        "Pad with F.pad before it, and scale the result",
    ),
}
OPTIONS["nll_loss2d_forward"] = OPTIONS["nll_loss_forward"]
OPTIONS["_embedding_bag"] = OPTIONS["embedding"]
OPTIONS["avg_pool3d"] = OPTIONS["avg_pool2d"]
OPTIONS.update({name: OPTIONS["std"] for name in ("var", "std_mean", "var_mean")})


def _many_layers(args: Sequence[Any], kwargs: Dict[str, Any]) -> bool:
    """Whether a recurrent function, with (..., bias, layers, dropout, training, bidirectional), is refused."""
    first = next((i for i, value in enumerate(args) if isinstance(value, bool)), len(args))
    if len(args) < first + 5:
        return False
    bias, layers, dropout, training, bidirectional = args[first : first + 5]
    return not bias or layers > 1 or bool(dropout and training) or bool(bidirectional)


_RECURRENT = Condition(
    _many_layers,
    "recurrent layers of torch are lowered with one layer, bias, one direction and without dropout",
    "Use one such module for each layer",
)


def _no_stride(place: int) -> Condition:
    """The condition of a pooling whose argument at ``place`` is the stride."""

    def missing(args: Sequence[Any], kwargs: Dict[str, Any]) -> bool:
        return not (args[place] if len(args) > place else kwargs.get("stride"))

    return Condition(missing, "pooling without stride reaches PopART with an empty one", "Give stride=kernel_size")


#: Conditions by the name of a function of torch that the CPU splits into other operators. They get its arguments.
FUNCTIONS: Dict[str, Condition] = {
    "one_hot": Condition(
        lambda args, kwargs: (args[1] if len(args) > 1 else kwargs.get("num_classes", -1)) < 0,
        "one_hot needs num_classes, as shapes are fixed",
        "Give num_classes",
    ),
    "cosine_embedding_loss": Condition(
        lambda args, kwargs: True, "PopTorch skips its own test of cosine_embedding_loss", "Do not rely on it", False
    ),
    **{name: _RECURRENT for name in ("lstm", "gru", "rnn_tanh", "rnn_relu")},
    **{f"{kind}_pool{n}d": _no_stride(2) for kind in ("max", "avg") for n in (1, 2, 3)},
    **{f"lp_pool{n}d": _no_stride(3) for n in (1, 2)},
    **{
        f"max_pool{n}d_with_indices": Condition(
            lambda args, kwargs: True, "max pooling does not give indices", "Use return_indices=False"
        )
        for n in (1, 2, 3)
    },
}

#: Operators that run inside these functions of torch on a CPU, but not on an IPU.
ON_CPU: Dict[str, Tuple[str, ...]] = {
    "_local_scalar_dense": ("one_hot", "bincount"),
    "aminmax": ("one_hot", "bincount"),
    "equal": ("cov",),
    "masked_select": ("cross_entropy",),
    "mkldnn_rnn_layer": ("lstm",),
    "xlogy": ("kl_div",),
    "_trilinear": ("bilinear",),
}


def condition(name: str, given: Dict[str, Any]) -> Optional[Condition]:
    """The condition that a call of an operator breaks, or None."""
    rule = OPTIONS.get(name[:-1] if name.endswith("_") and not name.endswith("__") else name)
    return rule if rule is not None and rule.broken(given) else None


def function_condition(name: str, args: Sequence[Any], kwargs: Dict[str, Any]) -> Optional[Condition]:
    """The condition that a call of a function of torch breaks, or None."""
    rule = FUNCTIONS.get(name)
    return rule if rule is not None and rule.broken(args, kwargs) else None
