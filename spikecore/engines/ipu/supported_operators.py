"""The aten operators that PopTorch 3.4 can lower, and what to use instead of the others.

The names are facts of its public source, without overloads. An in-place operator ``x_`` is treated like ``x`` unless
``REJECTED`` lists it. Some operators have the names that torch gives them on a CPU, because PopTorch takes another
route there. ``conditions.py`` lists what depends on an operator's options.
"""

from __future__ import annotations

from typing import Dict, FrozenSet, Optional, Tuple

SUPPORTED: FrozenSet[str] = frozenset(
    (
        "Int __and__ __or__ __xor__ _adaptive_avg_pool2d _adaptive_avg_pool3d _cdist_forward _convolution "
        "_embedding_bag _log_softmax _prelu_kernel _reshape_alias _softmax _to_copy _unsafe_view _weight_norm "
        "_weight_norm_interface abs acos acosh adaptive_avg_pool1d adaptive_avg_pool2d adaptive_avg_pool3d add "
        "addcdiv addcmul addmm addmv addr all amax amin any arange argmax argmin argsort asin asinh atan atan2 "
        "atanh avg_pool1d avg_pool2d avg_pool3d baddbmm batch_norm bernoulli bilinear binary_cross_entropy "
        "binary_cross_entropy_with_logits bincount bitwise_and bitwise_not bitwise_or bitwise_xor bmm broadcast_to "
        "bucketize cartesian_prod cat cdist ceil celu chunk clamp clamp_max clamp_min clone col2im constant_pad_nd "
        "contiguous conv2d convolution convolution_overrideable copy_ cos cosh cosine_embedding_loss "
        "cosine_similarity count_nonzero cross cross_entropy_loss ctc_loss cumprod cumsum detach div dot dropout "
        "einsum elu embedding embedding_bag empty empty_like empty_strided eq erf erfc exp expand expand_as expm1 "
        "exponential_ eye feature_dropout fill flatten flip floor floor_divide fmod frac frobenius_norm full "
        "full_like gather ge gelu glu group_norm gru gt hardshrink hardsigmoid hardswish hardtanh "
        "hinge_embedding_loss im2col index index_fill index_put index_reduce index_select instance_norm is_complex "
        "isinf isnan kl_div l1_loss layer_norm le leaky_relu lift_fresh linalg_cross linalg_matrix_norm "
        "linalg_vector_norm linear linspace log log10 log1p log2 log_sigmoid log_sigmoid_forward log_softmax "
        "logical_and logical_not logical_or logspace logsumexp lstm lt margin_ranking_loss masked_fill matmul max "
        "max_pool1d max_pool1d_with_indices max_pool2d max_pool2d_with_indices max_pool3d max_pool3d_with_indices "
        "maximum mean median meshgrid min minimum mish mkldnn_convolution mm mse_loss mul "
        "multilabel_soft_margin_loss mv nansum narrow native_batch_norm native_group_norm native_layer_norm ne neg "
        "new_empty new_full new_ones new_zeros nll_loss2d nll_loss2d_forward nll_loss_forward nll_loss_nd norm "
        "normal normal_ numpy_T one_hot ones ones_like pairwise_distance permute pixel_shuffle poisson_nll_loss pow "
        "prelu prod rand rand_like randint randint_like randn randn_like random_ randperm reciprocal "
        "reflection_pad1d reflection_pad2d relu remainder repeat replication_pad1d replication_pad2d "
        "replication_pad3d reshape rnn_relu rnn_tanh roll rot90 round rrelu rrelu_with_noise rsqrt rsub "
        "scalar_tensor scatter scatter_add scatter_reduce select selu sigmoid sign silu sin sinh size slice "
        "smooth_l1_loss soft_margin_loss softmax softplus softshrink sort split split_with_sizes sqrt square "
        "squeeze stack std std_mean sub sum t take_along_dim tan tanh tensordot threshold to topk transpose "
        "transpose_ triplet_margin_loss triu true_divide trunc type_as unbind unfold uniform_ unsafe_chunk "
        "unsafe_split unsqueeze upsample_bicubic2d upsample_bilinear2d upsample_nearest1d upsample_nearest2d "
        "upsample_nearest3d var var_mean view where zero zeros zeros_like "
    ).split()
)

#: Operators that PopTorch rejects, or accepts and gets wrong: (remedy, names).
_REJECTED: Tuple[Tuple[str, str], ...] = (
    (
        "use reshape, permute, narrow",
        "as_strided",
    ),
    (
        "PopTorch has no handler for it: replace it by other operators",
        "_index_put_impl_ _safe_softmax adaptive_max_pool1d adaptive_max_pool2d bitwise_left_shift "
        "bitwise_right_shift copysign cummax cummin digamma erfinv histc hypot i0 index_copy isneginf lgamma "
        "multinomial nextafter poisson resize_ sinc upsample_linear1d upsample_trilinear3d",
    ),
    (
        "tensor subclasses and views by alias fail: use plain tensors",
        "alias",
    ),
    (
        "write (x > 0).to(x.dtype)",
        "heaviside",
    ),
    (
        "use tensor arithmetic (torch.where, masks times values) instead of Python numbers and branches on values",
        "_local_scalar_dense equal is_nonzero item",
    ),
    (
        "PopTorch accepts and ignores it, and the gradient flows: write y = x.detach()",
        "detach_",
    ),
    (
        "`.data =` is silently lost: use copy_ on a float buffer",
        "set_",
    ),
    (
        "its shape depends on values: multiply by a mask, or use torch.where",
        "_unique2 masked_select nonzero unique_dim",
    ),
    (
        "write a + (b - a) * w",
        "lerp",
    ),
    (
        "use smooth_l1_loss",
        "huber_loss",
    ),
    (
        "PopTorch takes it inside kl_div only: write x * torch.log(y)",
        "xlogy",
    ),
    (
        "use scatter_add",
        "index_add",
    ),
    (
        "use torch.where with a mask",
        "select_scatter",
    ),
    (
        "use torch.cat",
        "slice_scatter",
    ),
    (
        "multiply by an identity mask and sum",
        "diagonal",
    ),
    (
        "multiply by a constant mask",
        "tril",
    ),
    (
        "use torch.where",
        "nan_to_num",
    ),
    (
        "write log(x / (1 - x))",
        "logit",
    ),
    (
        "use bucketize",
        "searchsorted",
    ),
    (
        "there is no LAPACK on an IPU: do it on the host",
        "linalg_eigh linalg_inv_ex linalg_qr linalg_svd",
    ),
    (
        "there are no complex numbers on an IPU",
        "_fft_c2r _fft_r2c fft_rfft view_as_complex",
    ),
    (
        "it uses lerp",
        "quantile",
    ),
)
REJECTED: Dict[str, str] = {name: remedy for remedy, names in _REJECTED for name in names.split()}


def objection(name: str) -> Optional[str]:
    """The remedy for an operator that PopTorch does not lower; None for one that it lowers, such as all of its own."""
    if name.startswith("poptorch::"):
        return None
    if name in REJECTED:
        return REJECTED[name]
    plain = name[:-1] if name.endswith("_") and not name.endswith("__") else name
    if plain in REJECTED:
        return REJECTED[plain]
    if {name, plain} & SUPPORTED:
        return None
    return "it is not among the operators that PopTorch 3.4 lowers: replace it by others"
