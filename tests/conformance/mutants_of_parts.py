"""Mutants of everything around the neurons: host, random numbers, encoders, layers, losses, optimisers, surrogates."""

from __future__ import annotations

import numpy as np

import spikecore as sc
from spikecore import functional, spikegen
from spikecore.api.core import rules
from spikecore.api.functional import loss as losses
from spikecore.api.layers import merges, resizing
from spikecore.api.layers.count_pool import CountMaxPool2d
from spikecore.api.layers.normalisation import BatchNorm1d
from spikecore.api.spikegen import timing as encoders
from spikecore.api.training import executor, pruning, rewiring
from spikecore.api.training import optimizers as optim
from spikecore.conformance import (
    cases,
    golden,
    test_encoders,
    test_engine_contract,
    test_executors,
    test_joins,
    test_layers,
    test_losses,
    test_optimizers,
    test_random,
    test_sparse,
    test_surrogates,
    test_words,
    word_cases,
)
from spikecore.engines.numpy.engine import NumpyEngine
from spikecore.engines.numpy.executor import NumpyExecutor

from .mutants import mutant, with_method

SGD, ADAM, ADAMW = (
    sc.SGD(lr=0.1, weight_decay=0.05, momentum=0.9),
    sc.Adam(lr=0.05),
    sc.AdamW(lr=0.05, weight_decay=0.1),
)


@mutant(test_engine_contract.check_round_trip)
def to_numpy_returns_zeros(patch):
    return with_method("to_numpy", lambda right, self, x: np.zeros_like(right(self, x)))


@mutant(test_engine_contract.check_round_trip)
def arrays_come_back_in_single_precision(patch):
    return with_method("to_numpy", lambda right, self, x: right(self, x).astype("float32"))


@mutant(test_random.check_any_split)
def draws_ignore_the_first_sample(patch):
    return with_method("uniform", lambda right, self, *a, first=0, **k: right(self, *a, **k))


@mutant(test_random.check_uniform, (3, 5), 0, 0)
def draws_depend_on_the_batch(patch):
    return with_method("uniform", lambda right, self, key, shape, **k: right(self, (key[0], *shape), shape, **k))


@mutant(test_random.check_uniform, (7,), None, 0)
def draws_of_the_librarys_own_generator(patch):
    return with_method("uniform", lambda right, self, key, shape, **k: np.random.default_rng(0).random(shape))


@mutant(test_encoders.check_rate)
def rate_fires_at_the_wrong_probability(patch):
    right = NumpyEngine.uniform
    patch.setattr(NumpyEngine, "uniform", lambda self, *a, **k: right(self, *a, **k) ** 2)


@mutant(test_encoders.check_rate)
def rate_ignores_its_seed(patch):
    right = spikegen.rate
    patch.setattr(spikegen, "rate", lambda *a, seed=0, **k: right(*a, **k))


@mutant(test_encoders.check_threshold_crossing)
def levels_are_crossed_upwards_only(patch):
    right = spikegen.threshold_crossing
    patch.setattr(spikegen, "threshold_crossing", lambda *a, **k: abs(right(*a, **k)))


@mutant(test_encoders.check_threshold_crossing)
def off_spikes_get_no_neuron(patch):
    right = spikegen.on_off
    patch.setattr(spikegen, "on_off", lambda spikes: abs(right(abs(spikes))))


@mutant(test_encoders.test_latency_of_a_sample_does_not_depend_on_the_batch)
def latency_stretches_by_the_batch(patch):
    patch.setattr(encoders, "_stretched", lambda xp, times, x, span, linear: times * (span / xp.max(times)))


# -- layers, losses, optimisers --


@mutant(test_words.check_gradient, next(case for case in word_cases.DIFFERENTIABLE if case.word == "batch_norm"))
def moments_of_batch_norm_are_constants(patch):
    def by_input(xp, g, out, x, moments, weight, bias, axis, eps):
        return g * rules.along(xp, weight / xp.sqrt(moments[1, ...] + eps), axis)

    patch.setitem(rules.RULES, "batch_norm", (by_input, *rules.RULES["batch_norm"][1:]))


@mutant(test_layers.check_count_pool, *test_layers.COUNT_POOLS[0])
def counts_are_pooled_without_memory(patch):
    right = CountMaxPool2d.step
    patch.setattr(
        CountMaxPool2d,
        "step",
        lambda self, engine, params, state, x: right(self, engine, params, self.rest(engine, params, x), x),
    )


@mutant(test_layers.check_batch_norm, cases.Case("", BatchNorm1d(5)))
def running_variance_is_biased(patch):
    right = BatchNorm1d.moved

    def moved(self, engine, buffers, moments, x):
        after = right(self, engine, buffers, moments, x)
        return after.replace(running_var=0.9 * buffers.running_var + 0.1 * moments[1, ...])

    patch.setattr(BatchNorm1d, "moved", moved)


@mutant(test_layers.check_batch_norm, cases.Case("", BatchNorm1d(5)))
def evaluation_uses_the_batch(patch):
    right = BatchNorm1d.apply
    patch.setattr(BatchNorm1d, "apply", lambda self, *a, train, key: right(self, *a, train=True, key=key))


@mutant(test_joins.check_residual, "iand")
def the_shortcut_is_inverted(patch):
    patch.setattr(merges.Without, "operation", lambda shortcut, body: body * (1.0 - shortcut))


@mutant(test_joins.check_residual, "and")
def either_way_will_do(patch):
    patch.setattr(merges.Product, "operation", lambda shortcut, body: shortcut + body - shortcut * body)


@mutant(test_joins.check_join, "add")
def the_first_branch_is_left_out_of_a_sum(patch):
    patch.setattr(merges.Sum, "merge", lambda self, xp, signals, before: sum(signals[1:]))


@mutant(test_joins.check_join, "multiply")
def branches_are_added_instead(patch):
    patch.setattr(merges.Product, "operation", merges.Sum.operation)


def case_of(name):
    return next(case for case in cases.LAYERS if case.name == name)


@mutant(test_layers.check_layer, case_of("GroupNorm"))
def all_channels_are_one_group(patch):
    patch.setattr(sc.GroupNorm, "_groups", lambda self: 1)


@mutant(test_layers.check_layer, case_of("InstanceNorm1d"))
def steps_of_a_channel_are_normalised_together(patch):
    def apply(self, engine, params, buffers, x, *, train, key):
        y = engine.xp.batch_norm(x, None, params.weight, params.bias, (0, 3), self.eps)
        return y, buffers

    patch.setattr(sc.InstanceNorm1d, "apply", apply)


@mutant(test_layers.check_temporal_effective, case_of("TemporalEffectiveBatchNorm1d"))
def the_scale_of_a_step_is_that_of_the_one_before(patch):
    right = sc.TemporalEffectiveBatchNorm1d.apply

    def apply(self, engine, params, *arguments, **options):
        scale = engine.xp.concat([params.scale[-1:], params.scale[:-1]], axis=0)
        return right(self, engine, params.replace(scale=scale), *arguments, **options)

    patch.setattr(sc.TemporalEffectiveBatchNorm1d, "apply", apply)


@mutant(test_layers.check_threshold_dependent, case_of("ThresholdDependentBatchNorm1d"))
def the_first_weight_forgets_the_threshold(patch):
    right = sc.ThresholdDependentBatchNorm1d._first
    patch.setattr(
        sc.ThresholdDependentBatchNorm1d, "_first", lambda self, key: right(sc.ThresholdDependentBatchNorm1d(5), key)
    )


@mutant(test_layers.check_layer, case_of("AdaptiveAvgPool1d"))
def adaptive_windows_end_too_early(patch):
    def windows(self, space):
        return [[(i * n // m, (i + 1) * n // m) for i in range(m)] for n, m in zip(space, self.output_size)]

    patch.setattr(sc.AdaptiveAvgPool1d, "windows", windows)


@mutant(test_layers.check_layer, case_of("Upsample-bilinear"))
def interpolation_starts_at_the_corner(patch):
    right = resizing._interpolation
    patch.setattr(resizing, "_interpolation", lambda mode, n, out, corners: right(mode, n, out, True))


@mutant(test_layers.check_layer, case_of("ZeroPad2d"))
def left_and_right_are_exchanged(patch):
    right = sc.ZeroPad2d._borders
    patch.setattr(sc.ZeroPad2d, "_borders", lambda self: tuple(border[::-1] for border in right(self)))


@mutant(test_layers.check_layer, case_of("ConvTranspose1d"))
def the_kernel_is_flipped(patch):
    right = sc.ConvTranspose1d.apply

    def apply(self, engine, params, *arguments, **options):
        return right(self, engine, params.replace(weight=engine.xp.flip(params.weight, axis=2)), *arguments, **options)

    patch.setattr(sc.ConvTranspose1d, "apply", apply)


def dropout(mask_shape, scale=lambda p: 1.0 / (1.0 - p)):
    def apply(self, engine, params, buffers, x, *, train, key):
        if not train or not self.p:
            return x, buffers
        draws = engine.uniform(key.child("dropout").path, mask_shape(x), sample_axis=0, first=key.first)
        return x * (engine.xp.astype(draws >= self.p, engine.dtype) * scale(self.p)), buffers

    return apply


@mutant(test_layers.check_dropout)
def dropout_redraws_every_step(patch):
    apply = dropout(lambda rows: rows.shape[1:])

    def flattened(self, engine, params, buffers, x, **options):
        rows = engine.xp.reshape(engine.xp.permute_dims(x, (1, 0, 2)), (1, x.shape[1], -1))
        y, buffers = apply(self, engine, params, buffers, rows, **options)
        y = engine.xp.reshape(y, (x.shape[1], x.shape[0], x.shape[2]))
        return engine.xp.permute_dims(y, (1, 0, 2)), buffers

    patch.setattr(sc.Dropout, "apply", flattened)


@mutant(test_layers.check_dropout)
def dropout_does_not_scale(patch):
    patch.setattr(sc.Dropout, "apply", dropout(lambda x: x.shape[1:], scale=lambda p: 1.0))


@mutant(test_layers.check_dropout)
def dropout_draws_one_mask_for_all(patch):
    patch.setattr(sc.Dropout, "apply", dropout(lambda x: (1, *x.shape[2:])))


@mutant(test_losses.check_golden, *golden.LOSSES[3])
def class_weights_are_ignored(patch):
    right = losses.Loss._reduced
    patch.setattr(losses.Loss, "_reduced", lambda self, e, x, code: right(functional.ce_rate_loss(), e, x, code))


@mutant(test_losses.check_golden, *golden.LOSSES[0])
def cross_entropy_sums_over_time(patch):
    patch.setattr(losses.ce_rate_loss, "per_sample", lambda self, e, v, c, _: e.xp.sum(losses.nll(e, v, c), axis=0))


@mutant(test_losses.check_gradient, functional.mse_membrane_loss())
def loss_is_detached(patch):
    right = losses.Loss._reduced
    patch.setattr(losses.Loss, "_reduced", lambda self, e, x, code: right(self, e, e.stop_gradient(x), code))


@mutant(test_optimizers.check_update, ADAM)
def adam_without_bias_correction(patch):
    right = optim.Adam.scalars
    patch.setattr(optim.Adam, "scalars", lambda self, step, lr: right(self, 10**6, lr))


@mutant(test_optimizers.check_update, ADAMW)
def adamw_decays_through_the_gradient(patch):
    patch.setattr(optim.AdamW, "rule", optim.Adam.rule)


@mutant(test_optimizers.check_update, SGD)
def momentum_starts_at_zero(patch):
    right = optim.SGD.update
    patch.setattr(optim.SGD, "update", lambda self, xp, p, g, slots, *a: right(
        self, xp, p, g, slots or {"momentum_buffer": 0.5 * g}, *a))  # fmt: skip


@mutant(test_optimizers.check_executor, SGD)
def set_lr_does_nothing(patch):
    patch.setattr(NumpyExecutor, "set_lr", lambda self, lr: None)


@mutant(test_optimizers.check_executor, SGD, 0.1)
def clip_norm_does_nothing(patch):
    patch.setattr(executor, "clipped", lambda grads, squares, clip_norm: grads)


@mutant(test_optimizers.check_keep_zeros, ADAM)
def zeros_are_trained(patch):
    patch.setattr(optim.Adam, "whole_rule", optim.Adam.rule)


@mutant(test_optimizers.check_keep_zeros, ADAM, 0.5)
def gradients_of_zeros_count_for_the_norm(patch):
    given, right, taken = [], executor.squares_of, optim.Adam.existing

    def squares_of(xp, grads):  # it is asked as soon as each gradient has lost its zeros
        return right(xp, dict(zip(grads, given[-len(grads) :])))

    patch.setattr(optim.Adam, "existing", lambda self, xp, param, x: given.append(x) or taken(self, xp, param, x))
    patch.setattr(executor, "squares_of", squares_of)


@mutant(test_optimizers.check_old_moments, ADAM)
def moments_of_zeros_stay(patch):
    right = optim.Adam.whole_rule
    patch.setattr(optim.Adam, "whole_rule", lambda self, xp, p, g, slots, now: (
        right(self, xp, p, g, slots, now)[0], self.rule(xp, p, g, slots, now)[1]))  # fmt: skip


@mutant(test_optimizers.check_no_new_zeros)
def a_weight_may_become_zero(patch):
    patch.setattr(optim.SGD, "whole_rule", lambda self, xp, p, g, slots, now: self.rule(
        xp, p, self.existing(xp, p, g), slots, now))  # fmt: skip


@mutant(test_sparse.check_prune)
def the_largest_weights_go(patch):
    patch.setattr(pruning, "abs", lambda x: -abs(x), raising=False)


@mutant(test_sparse.check_prune)
def one_connection_too_few_goes(patch):
    patch.setattr(pruning, "round", lambda x: round(x) - 1, raising=False)


@mutant(test_sparse.check_rewire)
def connections_go_at_random(patch):
    patch.setattr(rewiring, "abs", lambda x: np.random.default_rng(0).random(x.shape), raising=False)


@mutant(test_sparse.check_rewire)
def a_new_connection_is_forgotten(patch):
    right = rewiring._exchange

    def exchange(weights, fresh, fraction, key):
        right(weights, fresh, fraction, key)
        weights[weights.nonzero()[0][:1]] = 0.0

    patch.setattr(rewiring, "_exchange", exchange)


@mutant(test_executors.test_resume_is_bit_identical, ADAM)
def resuming_forgets_the_slots(patch):
    patch.setattr(NumpyExecutor, "load_slots", lambda self, slots: None)


@mutant(test_executors.check_add_gradient)
def a_gradient_from_elsewhere_replaces_those_that_wait(patch):
    right = NumpyExecutor.add_gradient

    def add_gradient(self, grads, weight):
        self.waiting = None
        right(self, grads, weight)

    patch.setattr(NumpyExecutor, "add_gradient", add_gradient)


@mutant(test_executors.check_assign)
def new_parameters_restart_the_optimizer(patch):
    right = NumpyExecutor.assign

    def assign(self, params):
        right(self, params)
        self.load_slots({})

    patch.setattr(NumpyExecutor, "assign", assign)


@mutant(test_surrogates.check_derivative, sc.surrogate.atan())
def arctangent_of_the_docstring(patch):
    patch.setattr(sc.surrogate.atan, "derivative", lambda self, xp, u: 1.0 / (np.pi * (1.0 + (np.pi * u) ** 2)))


@mutant(test_surrogates.test_extremes_are_finite_in_float32, sc.surrogate.sigmoid())
def sigmoid_overflows(patch):
    def derivative(self, xp, u):
        with np.errstate(all="ignore"):
            e = xp.exp(-self.slope * u)
            return self.slope * e / (1.0 + e) ** 2

    patch.setattr(sc.surrogate.sigmoid, "derivative", derivative)
