"""Names of other libraries for features that this one has under another name, or does not need.

One table for each place where a user can write such a name: the package, a ``Model``, the arguments of a function, the
arrays in a layer, neuron or loss of one's own.
"""

from __future__ import annotations

import sys
from numbers import Integral
from typing import Any, Dict, FrozenSet, Iterable, List, Tuple

# ---- names of the package ------------------------------------------------------------------------------------------

_NEURON = "write sc.Leaky(beta=0.9), the leaky integrate-and-fire neuron"
_SPIKES = "leave it out: behind a connection stands a neuron, e.g. sc.Leaky(beta=0.9)"
PACKAGE: Dict[str, str] = {
    **dict.fromkeys(("LIF", "LIFNode", "LIFCell", "LIFNeuron"), _NEURON),
    **dict.fromkeys(("RAFNode", "ResonateFire"), "write sc.ResonateAndFire(beta=0.9, omega=0.5), angles per step"),
    **dict.fromkeys(("S4D", "S5"), "write sc.StateSpace(modes=8), a diagonal state-space neuron"),
    **dict.fromkeys(("ReLU", "GELU", "Sigmoid", "Tanh", "Softmax", "LogSoftmax"), _SPIKES),
    **{
        name: f"write sc.{ours}BatchNorm1d or 2d"
        for ours, names in (("ThresholdDependent", ("tdBN", "TDBN", "tdBatchNorm")), ("TemporalEffective", ("TEBN",)))
        for name in names
    },
    "MultiheadAttention": "write sc.SpikingSelfAttention(query, key, value, num_heads), or sc.SoftmaxAttention(...)",
    **dict.fromkeys(
        ("QKAttention", "TokenQKAttention", "ChannelQKAttention", "SpikeDrivenSelfAttention"),
        "write sc.HeadGate(gate, body) with sc.HeadSum or sc.PositionSum in the gate; zoo.qkformer and "
        "zoo.spike_driven_transformer have both",
    ),
    "Unflatten": "write sc.Reshape((channels, height, width))",
    "GlobalAveragePooling2D": "write sc.GlobalAvgPool()",
    "Dense": "write sc.Linear(in_features, out_features)",
    "Input": "leave it out: write sc.Model(net, input_shape=(1, 28, 28)), where the first layer does not say it",
    "CrossEntropyLoss": "write sc.functional.ce_rate_loss(), or ce_membrane_loss() for readouts that do not fire",
    "MSELoss": "write sc.functional.mse_count_loss() for classes, mse_membrane_loss() for values",
    **dict.fromkeys(
        ("ReduceLROnPlateau", "LRScheduler"), "write sc.schedule.reduce_on_plateau(), cosine(), one_cycle() ..."
    ),
    "onnx": "write sc.export(model, path, to='onnx')",
    "DataLoader": "write sc.datasets.Loader(inputs, targets, batch_size=64)",
}

#: Names that were the package's own once, by the module that has them now.
MOVED: Dict[str, str] = {
    name: f"sc.{module}.{name}"
    for module, names in {
        "base": "Engine Executor Layer Membrane Neuron Output Param Params State Stateless Step Stream cast clamp01 "
        "engine_of",
        "compression": "FixedPoint Pruning Rewiring ScaledInteger fold_batch_norm integers prune quantization_report "
        "quantize rewire round_delays sparsity",
        "errors": "CheckpointError DivergedError EngineUnavailable ExportError RankError RankLost ShapeError "
        "TrainingWarning",
        "export": "Exported",
        "hardware": "check",
    }.items()
    for name in names.split()
}
MOVED["surrogate_bias"] = "sc.eventprop.model_bias"

# ---- attributes of a Model -----------------------------------------------------------------------------------------

_MODE = "leave it out: fit trains and a call does not, so there is no mode to switch"
_LOOP = (
    "fit computes gradients and updates the weights; for a training loop of your own write model.train_step(x, y), or "
    "take modules, spikecore.nn.to_torch(model), or gradients, spikecore.backprop.bptt(model, x, y)"
)
_COPY = "write other = model.to_engine('torch', device='cuda'), a copy on another engine or device"
_REST = "leave it out: each call starts at rest; to go on, pass state=out.state of the call before"
_WEIGHTS = "write model.params(), copies by name; for torch.optim spikecore.nn.to_torch(model).parameters()"
MODEL: Dict[str, str] = {
    **dict.fromkeys(("train", "eval", "training"), _MODE),
    **dict.fromkeys(("zero_grad", "backward", "step", "train_on_batch", "grad"), _LOOP),
    **dict.fromkeys(("to", "cuda", "cpu", "mps"), _COPY),
    **dict.fromkeys(("float", "double"), "write model.to_engine(model.engine.name, dtype='float64')"),
    "half": "write model.to_engine('torch', precision='bf16'); weights stay in float32",
    **dict.fromkeys(("reset", "reset_mem", "reset_hidden", "init_leaky", "detach_hidden"), _REST),
    **dict.fromkeys(("parameters", "named_parameters", "weights", "get_weights"), _WEIGHTS),
    "forward": "call the model: out = model(x, num_steps=25)",
    "state_dict": "write model.state(), or model.save(path)",
    "load": "write model = spikecore.load(path), which makes the network of the file, too",
    "load_weights": "write model = spikecore.load(path), or model.load_state(state)",
    "load_state_dict": "write model.load_state(state), or spikecore.load(path)",
    "set_weights": "write model.load_state({**model.state(), 'params': params})",
    "compile": "leave it out: loss and optimizer are arguments of fit",
    "score": "write model.evaluate(x, y, num_steps=25)",
    "predict_proba": "write model.predict(x, num_steps=25) for labels; out.spikes.mean(0) are rates of classes",
    **dict.fromkeys(("net", "model"), "write model.network"),
    **dict.fromkeys(("export", "to_onnx"), "write spikecore.export(model, path, to=...): c, onnx, torch or nir"),
    "layers": "write model.network.layers",
    "modules": "write model.network.layers",
    "children": "write model.network.layers",
    "add": "write sc.Model(sc.Sequential(*layers)): a network does not change",
    **{name: f"write model.trainer.{name}" for name in ("optimizer", "loss", "metric", "unfinished")},
    "executor": "write model.trainer.executor, which holds the weights",
    "device": "write model.engine.device",
    "dtype": "write model.engine.dtype",
}

#: What a model does, and a network, which only describes it, does not.
METHODS = frozenset("fit evaluate predict stream train_step gradients params state save load_state summary".split())

# ---- arguments -----------------------------------------------------------------------------------------------------

#: Words of other libraries, and of people, for arguments of this one.
ARGUMENTS: Dict[str, str] = {
    **dict.fromkeys("learning_rate step_size eta".split(), "lr"),
    **dict.fromkeys("steps timesteps time_steps n_steps nb_steps num_timesteps T".split(), "num_steps"),
    **dict.fromkeys("num_epochs n_epochs nb_epochs iterations num_iters".split(), "epochs"),
    **dict.fromkeys("criterion loss_fn loss_function".split(), "loss"),
    **dict.fromkeys("optim opt solver".split(), "optimizer"),
    **dict.fromkeys("batch bs batchsize samples_per_batch".split(), "batch_size"),
    **dict.fromkeys("validation_data val val_data valid_data".split(), "validation"),
    **dict.fromkeys("y labels target".split(), "targets"),
    **dict.fromkeys("units output_size out_dim".split(), "out_features"),
    **dict.fromkeys("input_dim in_dim".split(), "in_features"),
    **dict.fromkeys("filters out_planes".split(), "out_channels"),
    **dict.fromkeys("x X inputs".split(), "data"),
    "verbose": "progress",
    "metrics": "metric",
    "batch_first": "time_axis",
    "scheduler": "schedule",
    "grad_clip": "clip_norm",
    "rate": "p",
}
#: What to write for an argument that belongs to something else.
ELSEWHERE: Dict[str, Tuple[str, str]] = {  # the argument that takes it, and the text with its value
    **dict.fromkeys(("lr", "learning_rate"), ("optimizer", "optimizer=sc.Adam(lr={})")),
    "weight_decay": ("optimizer", "optimizer=sc.AdamW(weight_decay={})"),
    **dict.fromkeys(("clip_norm", "grad_clip"), ("optimizer", "optimizer=sc.Adam(clip_norm={})")),
    **dict.fromkeys(
        "bits num_bits n_bits nbits".split(), ("power_of_two", "weights={0}, and states={0} for membranes")
    ),
    "window": ("learning", "learning=sc.BPTT(window={})"),
    "update_every": ("learning", "learning=sc.BPTT(update_every={0}), or so in another, sc.EProp(update_every={0})"),
    **{
        name: ("compute", f"compute=sc.Compute({name}={{}})")
        for name in ("parallel", "memory", "accumulate", "compile", "check_finite", "cuda_graph")
    },
    "shuffle": ("optimizer", "spikecore.datasets.Loader(x, y, shuffle={})"),
    "time_axis": ("record", "model(np.moveaxis(x, {}, 0)): a call takes (time, batch, *features)"),
    "device": ("optimizer", "sc.Model(network, engine='torch', device={})"),
    "batch_size": ("wake", "spikecore.datasets.Loader(data, batch_size={})"),
    "fused": ("wake", "eventprop.Network(layers, duration, fused={})"),
    "learn": ("wake", "optimizer=sc.Adam(groups=(sc.Group({}, frozen=False),))"),
}

# ---- arrays in a part of the user's own ------------------------------------------------------------------------------

#: The packages, this one first, whose code in a traceback is not the user's.
LIBRARIES = tuple("spikecore numpy torch array_api_compat numba cupy jax jaxlib spikecore_jax poptorch".split())
#: A call of theirs, or of Python's, where a function of ``xp`` belongs.
CALLS = r"\b(?:np|numpy|math|torch|nn|F|jnp|jax)\.(?:\w+\.)*(\w+)\(|\b(float|int|max|min)\("
#: What to write for functions of theirs that have another name as words.
FUNCTIONS: Dict[str, str] = {
    "relu": "xp.maximum(x, 0.0)",
    "sigmoid": "1.0 / (1.0 + xp.exp(-x))",
    "detach": "engine.stop_gradient(x)",
    "clamp": "xp.clip(x, low, high)",
    "cat": "xp.concat(arrays, axis=...)",
    "concatenate": "xp.concat(arrays, axis=...)",
    "heaviside": "self.fires(engine, params, mem)",
    "float": "xp.astype(x, engine.dtype)",
    "power": "xp.pow(x, n)",
}
#: What they say, as regular expressions, by the mistake behind it.
SAID: Dict[str, str] = {
    "truth": "truth value|Boolean value of Tensor",
    "axes": "invalid combination of arguments",  # with dim= in the line
    "number": r"must be Tensor, not (float|int)\b",
    "method": r"(?:ndarray' object|Tensor' object|Tracer) has no attribute '?(\w+)",
    "function": r"does not support ufuncs|must be Tensor, not (?:numpy|\w*Tracer)|cannot differentiate on this engine|"
    "Can't call numpy|converted to Python scalars|does not turn into a NumPy array|no loop matching|can't convert cuda",
}

# ---- what messages say ---------------------------------------------------------------------------------------------


def nearest(name: Any, known: Iterable[str]) -> List[str]:
    """The known name that is most like ``name``, else the shortest that begins with it, or none."""
    import difflib

    known = list(known)
    small = {each.lower(): each for each in known}
    near = difflib.get_close_matches(str(name), known, n=1)
    near = near or [small[each] for each in difflib.get_close_matches(str(name).lower(), small, n=1)]
    begun = sorted((each for each in small if each.startswith(str(name).lower())), key=len)
    return near or [small[each] for each in begun[:1] if len(str(name)) > 2]


def unknown(kind: str, name: Any, known: Iterable[str]) -> str:
    """The message for an unknown name: it lists the known names and suggests the nearest one."""
    known = sorted(known)
    near = nearest(name, known)
    hint = f"; did you mean {near[0]!r}?" if near else "."
    return f"unknown {kind} {name!r}{hint} Known: {', '.join(known)}"


def no_name(name: str, known: Iterable[str]) -> str:
    """The message for a name that the package lacks: where it is now, what to write instead, or the nearest name."""
    if name in MOVED:
        return f"sc.{name} is {MOVED[name]} now"
    near = nearest(name, sorted(known))
    hint = f": {PACKAGE[name]}" if name in PACKAGE else f"; did you mean {near[0]!r}?" if near else ""
    return f"module 'spikecore' has no attribute {name!r}{hint}"


def no_attribute(kind: str, name: str, known: Iterable[str]) -> str:
    """The message for an attribute that a model lacks: what to write instead, or the nearest name."""
    if name in MODEL:
        return f"{kind} has no {name!r}: {MODEL[name]}"
    return f"{kind}: {unknown('attribute', name, [each for each in known if not each.startswith('_')])}"


def no_member(kind: str, name: str) -> str:
    """The message for an attribute that a network lacks: what a model offers in its place."""
    if name in METHODS:
        return (
            f"{kind} has no {name!r}: it describes a network. Write model = sc.Model(network), then model.{name}(...)"
        )
    if name in MODEL:
        return f"{kind} has no {name!r}: it describes a network. Write model = sc.Model(network); then {MODEL[name]}"
    return f"{kind} has no {name!r}"


def no_argument(name: str, value: Any, known: FrozenSet[str]) -> str:
    """The message for a keyword that a function does not take: what to write instead, or the nearest keyword."""
    meant, (place, text) = ARGUMENTS.get(name), ELSEWHERE.get(name, ("", ""))
    if meant in known:
        return f"unknown argument {name!r}; did you mean {meant!r}? Known: {', '.join(sorted(known))}"
    if place in known:
        written = text.format(" ".join(repr(value).split()))
        return f"unknown argument {name!r}: write {written}. Known: {', '.join(sorted(known))}"
    return unknown("argument", name, known)


def instead(name: str, value: Any, wanted: str) -> str:
    """The end of a message about an argument that is something else than wanted: what to give instead, or ""."""
    if wanted.startswith("an array"):
        if callable(value) and name == "targets":
            return f"; a loss is given by its name, loss={' '.join(repr(value).split())}"
        if "sparse" in str(getattr(value, "layout", "")):
            return "; give x.to_dense()"
        if hasattr(value, "spikes"):  # what a call of a model returns
            return "; pass out.spikes or out.membrane"
        if hasattr(value, "batch_size") and hasattr(value, "__iter__"):
            return "; take a batch of it: x, targets = next(iter(loader))"
        if hasattr(value, "inputs") and hasattr(value, "targets"):  # a data set
            return "; a data set has both: pass train.inputs and train.targets of train, test = digits()"
        if _is_ragged(value):
            return "; its rows differ in length: pad them, sequences of labels for ctc_loss with -1 at the end"
    if name == "engine" and hasattr(value, "input_shape"):
        return "; several layers are one network: sc.Model(sc.Sequential(layer, layer))"
    home = str(getattr(value, "__module__", ""))
    if name == "optimizer" and (hasattr(value, "param_groups") or home.startswith("torch.")):
        return "; write sc.Adam(lr=1e-3): optimisers of torch train modules, docs/torch_loop.md"
    if wanted.startswith("an int") and isinstance(value, Integral) and abs(int(value)) > sys.maxsize:
        return f" from {-sys.maxsize} to {sys.maxsize}"
    modules = getattr(sys.modules.get("torch"), "nn", None)
    if wanted == "a Model" and modules is not None and isinstance(value, modules.Module):
        return "; spikecore.nn.from_torch(net) makes one of modules"
    return ""


def _is_ragged(value: Any) -> bool:
    """Whether a value is a list of lists of several lengths."""
    rows = isinstance(value, (list, tuple)) and all(isinstance(row, (list, tuple)) for row in value)
    return rows and len(set(map(len, value))) > 1
