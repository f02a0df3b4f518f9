"""The argument sweep: every public callable, every parameter of its signature, and nonsense for its kind.

What a parameter may be is read from its annotation and its docstring ("> 0", "in [0, 1)"), and where those do not say
it, from the tables below. No outcome is listed anywhere.
"""

from __future__ import annotations

import importlib
import inspect
import re
from typing import Any, Callable, Dict, Iterator, List, NamedTuple, Tuple

import numpy as np

import spikecore as sc
from spikecore import datasets, functional, zoo
from spikecore.datasets import transforms

NAN, INF, HUGE = float("nan"), float("inf"), 10**400


class Nothing:
    """An object that is nothing in particular."""

    def __repr__(self) -> str:
        return "<nothing>"


NOTHING = Nothing()
FOREIGN = (NOTHING, 1j, b"bytes", ["a", "b"], {"a": 1}, np.datetime64("2020-01-01"))
NUMBERLESS = (*FOREIGN, "nonsense", None, [None])
DATES = np.array(["2020-01-01"], "M8[D]")

#: Nonsense by kind of parameter.
NONSENSE: Dict[str, Tuple[Any, ...]] = {
    "bool": (*NUMBERLESS, "False", 2, -1, 0.5, NAN, [True, False]),
    "int": (*NUMBERLESS, "3", 2.5, NAN, INF, True, [3, 4], HUGE),
    "size": (*NUMBERLESS, "3", 2.5, NAN, INF, True, [3, 4], HUGE, 0, -1),
    "bytes": (NOTHING, "much", "8 apples", 2.5, NAN, INF, True, [3, 4], 0, -1, 1j),
    "float": (*NUMBERLESS, "0.5", NAN, INF, -INF, True, HUGE, [0.5, 0.6]),
    "param": (*NUMBERLESS, "0.5", NAN, INF, True, HUGE, [NAN, 0.5], [1j, 0.5], ["0.5"], DATES),
    "word": (*NUMBERLESS, 3, NAN, True),
    "text": (*FOREIGN, None, 3, NAN, True),
    "array": (*NUMBERLESS, ["0.5"], [[1j]], DATES, [[0.5], [0.5, 0.6]]),
    "finite": (*NUMBERLESS, ["0.5"], [[1j]], DATES, [[NAN] * 5], [[INF] * 5]),
    "labels": (*NUMBERLESS, ["0"], [1j], DATES, [0.5, 1.5], [99, 0], [-1, 0], [NAN, 0.0]),
    "callable": (*NUMBERLESS, 3, NAN, True),
    "layer": (*NUMBERLESS, 3, True, sc.Leaky),
    "surrogate": (*NUMBERLESS, "atan", 3, True, sc.surrogate.atan),
    "surrogates": (*NUMBERLESS, "atan", 3, True, sc.surrogate.atan, [3], []),
    "steps of time": (*NUMBERLESS, "0.5", NAN, INF, -INF, True, HUGE, 0, -1, [0.5, 0], []),
    "divisions": (*NUMBERLESS, "3", 2.5, NAN, INF, True, HUGE, 0, -1, [1, 2.5], [True], []),
    "quant": (*FOREIGN, "nonsense", 3, True, functional.quant.state_quant, sc.ScaledInteger()),
    "grid": (*FOREIGN, "nonsense", 3, True, sc.FixedPoint, functional.quant.state_quant()),
    "bits": (*FOREIGN, "nonsense", 2.5, NAN, True, [3, 4], HUGE, 0, -1, 1, 25, sc.ScaledInteger()),
    "scale": (*NUMBERLESS, "largest", NAN, INF, True, HUGE, 0, -0.5, 0.3, (0.5, 0.25), 2.0**-50),
    "model": (*NUMBERLESS, 3, True),
    "path": (NOTHING, 1j, ["a"], {"a": 1}, None, 3, 2.5, NAN, True),
    "engine": (*FOREIGN, "nonsense", 3, NAN, True),
    "seed": (*FOREIGN, 2.5, NAN, INF, True),
    "sizes": (*NUMBERLESS, "3", 2.5, NAN, INF, True, [3, 4, 5, 6, 7], HUGE, -1),
    "shape": (*NUMBERLESS, "3", 2.5, NAN, INF, True, (2.5,), (-1,), 0),
    "words": (NOTHING, 1j, 3, NAN, True, [3], None, [None]),
    "iterable": (NOTHING, 3, 2.5, NAN, True, None, 1j),
    "mapping": (NOTHING, 3, 2.5, NAN, True, None, 1j, "nonsense", [1]),
    "axes": (NOTHING, 3, 2.5, True, "nonsense", 1j),
    "optimizer": (*NUMBERLESS, 3, True, sc.Adam),
    "initialiser": (*NUMBERLESS, "orthogonal", 3, True, sc.init.orthogonal),
    "groups": (NOTHING, 3, NAN, 1j, True, None, ["a"], ({"match": "*"},), sc.Group("*", lr=0.1), sc.Group),
}

#: What a default that is legal, although it is not of the parameter's kind, says by itself.
ANNOTATIONS = {
    **{kind: kind for kind in ("bool", "int", "float")},
    **{
        kind: "word"
        for kind in "str Activation Inverse Kind Method Mode PairDistance PairKernel Parallel TapKernel".split()
    },
    **{kind: "word" for kind in "Join Over Pattern Per Reduction Reset Stem".split()},
    **{kind: "word" for kind in "Criterion Scope".split()},
    "Param": "param",
    "Numbers": "param",
    "ArrayLike": "array",
    "HostArray": "array",
    "Seed": "seed",
    "Weighted": "model",
    **{kind: "word" for kind in ("Union[LearningName, Learning]", "Union[Literal['bptt'], BPTT]", "Feedback", "Trace")},
    "Compute": "model",
    "Kappa": "float",
    "Colour": "word",
    "str, Colormap": "word",
    "bool, Callable[[str], Any]": "bool",
    "bool, Callable[..., Any]": "callable",
    **{name: "model" for name in ("Report", "Network", "Dataset")},
    **{"EventLoss": "callable", "By": "word", "Union[Spikes, ArrayLike]": "array"},
    "ConversionReport": "model",
    "Engine": "engine",
    "Callable[..., Sequential]": "callable",
    "Mapping[str, Names]": "mapping",
    "Mapping[str, ArrayLike]": "mapping",
    "EventDataset": "model",
    "Events": "model",
    **{"Size": "size", "Count": "int", "Bytes": "bytes"},
    **{name: "layer" for name in ("Layer", "Stepper", "Stateless")},
    "Surrogate": "surrogate",
    **{"Grid": "grid", "FixedPoint": "grid", "Union[None, int, FixedPoint]": "bits"},
    **{"Union[Scale, float, Tuple[float, ...]]": "scale", "How": "word", "Subject": "model", "Target": "word"},
    "Union[None, LearningName, Learning]": "word",
    **{"Union[LearningReport, Mapping[str, LearningReport]]": "model", "SurrogateBias": "model"},
    **{"Union[float, Sequence[float]]": "steps of time", "Union[Size, Sequence[int]]": "divisions"},
    **{f"Union[{none}Surrogate, Sequence[Surrogate]]": "surrogates" for none in ("", "None, ")},
    "Sizes": "sizes",
    "PathLike": "path",
    "np.ndarray": "array",
    "nn.Module": "model",
    "Model": "model",
    "Optimizer": "optimizer",
    **{name: "callable" for name in ("Callable[..., Any]", "Weighing", "Function", "Formula", "Callable[[Any], Any]")},
    **{name: "axes" for name in ("Axes", "Figure", "Axes, Sequence[Axes]", "Axes, Sequence[Axes], Tuple[int, int]")},
    "Record": "record",
    **{name: "callable" for name in ("Encoder", "Schedule")},
    "Callbacks": "callbacks",
    **{"Plasticity": "model", "Connection": "layer"},
    "Mapping[str, Union[Entry, Sequence[Entry]]]": "mapping",
    "Initialiser": "initialiser",
    "Sequence[Group]": "groups",
    "Each": "word",
    "Source": "model",
    "Union[Source, Sequence[Union[Events, Sound]]]": "model",
    "Energy": "model",
    "Sample": "model",
    "Union[PathLike, Chip]": "path",
    **{"Union[PathLike, Tuple[Dataset, Dataset]]": "path", "Union[int, Tuple[int, int]]": "sizes"},
    "Target": "word",
    **{
        name: "engine"
        for name in ("Union[None, str, Engine]", "Union[None, EngineName, Engine]", "Union[EngineName, Engine]")
    },
    "Mapping[str, Any]": "mapping",
    "Mapping[str, Sequence[Any]]": "mapping",
    "Tuple[str, ...]": "words",
    "Iterable[str]": "words",
    "Union[str, Iterable[str]]": "words",
    "Union[str, Sequence[str]]": "words",
    "Union[ArrayLike, Iterator[ArrayLike]]": "array",
    "Union[ArrayLike, Output]": "array",
    "Union[EventStream, Sequence[EventStream], ArrayLike]": "array",
    "Sequence[str]": "words",
    "Iterable[Any]": "iterable",
    "Iterable[int]": "iterable",
    "Iterable[Type[Any]]": "iterable",
    "Iterable[Mapping[str, Any]]": "iterable",
    "Tuple[int, ...]": "shape",
    "Tuple[int, int]": "shape",
    "Union[None, int, Shape]": "shape",
    "Shape": "shape",
    "Union[int, Tuple[int, ...]]": "sizes",
    "Tuple[float, float]": "betas",
}

#: Kinds of parameters by name, where the annotation says less ("Any", "str") than the name does.
NAMES = {
    **{name: "param" for name in "alpha beta threshold R C V graded_spikes_factor delta_threshold value tau".split()},
    **{name: "finite" for name in "x data images spike_time".split()},
    **{
        name: "array" for name in "spikes other mem frames in_spike out_spike trace_pre trace_post spk u weight".split()
    },
    **{name: "labels" for name in "targets one_hot_label".split()},
    **{name: "model" for name in "model net module graph events dataset fc conv layer ds_train ds_val report".split()},
    **{
        name: "text"
        for name in "name origin identity model_name inputs monitor attribute_name match paper link".split()
    },
    **{name: "callable" for name in "loss criterion spike_grad regularization".split()},
    **{name: "sizes" for name in "kernel_size stride dilation linear_features conv2d_channels K steps".split()},
    **{name: "float" for name in "time_step constant_factor on_target off_target".split()},
    **{name: "words" for name in "classes instance".split()},
    **{name: "iterable" for name in "dataloader data_ history".split()},
    "state": "mapping",
    "one_hot_targets": "array",
    "out": "array",
    "array": "array",
    "path": "path",
    "seed": "seed",
    "engine": "engine",
    "state_quant": "quant",
    "surrogate": "surrogate",
    "optimizer": "optimizer",
    "input_shape": "shape",
    "sensor": "shape",
    "shortcut": "layer",
    "num_steps": "int",
    "device": "word",
    "dtype": "word",
    "cmap": "word",
    "color": "word",
    "gridcolor": "word",
    "scannercolor": "word",
    "sample_data": "array",
    "lengths": "lengths",
    "weights": "weights",
    "paths": "path",
    "metric": "metric",
    "explain": "bool",
    "labels": "iterable",
    "titles": "iterable",
    "title": "text",
    "neurons": "int",
    "dim": "shape",
}
NONSENSE["counts"] = (*FOREIGN, "nonsense", 3, [1.5, 2], [-1, 2, 3], [0, 1, 2], [NAN, 1, 1], [1])
NONSENSE["lengths"] = (*NONSENSE["counts"], [99, 1, 1])  # more steps than there are
NONSENSE["weights"] = (
    *FOREIGN,
    "nonsense",
    3,
    [1.0, 2.0],
    [1.0, -1.0, 1.0],
    [0.0] * 3,
    [NAN, 1.0, 1.0],
    [INF, 1.0, 1.0],
)
NONSENSE["bytes"] = (*FOREIGN, "nonsense", "8 parsecs", "-8GB", "GB", 0, -1, 2.5, NAN, True, [3])
NONSENSE["record"] = (NOTHING, 3, NAN, 1j, "nonsense", ["a", "b"], None)
NONSENSE["callbacks"] = (NOTHING, 3, NAN, 1j, True, None, ["a", "b"], (sc.EarlyStopping,), sc.EarlyStopping())
NONSENSE["metric"] = (NOTHING, 3, NAN, 1j, True, "nonsense", [3], {"a": 3}, sc.Adam)
NONSENSE["betas"] = (*NUMBERLESS, 0.5, (0.9,), (0.9, 1.5), (-0.1, 0.9), (NAN, 0.9), ("0.9", 0.9), (0.9, 0.9, 0.9))

#: Whole numbers that may be negative.
SIGNED = (
    "fraction batch_index axis time_axis sample_axis start_dim end_dim start stop seed on_target off_target idx".split()
)
#: Values that are no nonsense for parameters of these names.
ALSO = {
    "K": (None,),
    "steps": ([3, 4, 5, 6, 7],),
    "neurons": ([3, 4],),
    "normalized_shape": ([3, 4, 5, 6, 7],),
    "graph": ("nonsense",),
    "device": (None,),
    "shape": ((-1,),),  # of Reshape
}
#: Words by which messages name a parameter.
SYNONYMS = {"out": "spikes", "x": "input", "data": "input", "layers": "entry", "name": "engine"}

# ---- calls that are right ------------------------------------------------------------------------------------------

X = np.random.default_rng(0).random((4, 3, 5)).astype("float32")  # (time, batch, features)
STILL, LABELS = X[0], np.array([0, 1, 2])
SPIKES = (X > 0.5).astype("float32")
EVENTS = datasets.Events(np.arange(8), np.arange(8) % 4, np.arange(8) % 3, np.arange(8) % 2, sensor=(4, 3))
FILES = {"path", "root", "folder", "train", "test"}  # of files that are not there: nothing else may be the matter


def architecture() -> sc.Model:
    """A model that SpikingJelly's weights fit."""
    return sc.Model(zoo.plif_net(2, width=1, size=4, hidden=2, votes=1), "numpy", input_shape=(1, 4, 4))


def weights_of_spikingjelly() -> Dict[str, Any]:
    """Weights by the names that they have there."""
    state = architecture().state()
    arrays = {**state["params"], **state["buffers"]}
    return {f"conv_fc.{name.replace('beta', 'w')}": value for name, value in arrays.items()}


def model() -> sc.Model:
    """A model of 5 features and 5 classes."""
    return sc.Model(sc.Sequential(sc.Linear(5, 5), sc.Leaky()), "numpy")


def delayed() -> sc.Model:
    """One with delays of neurons."""
    return sc.Model(
        sc.Sequential(sc.Linear(3, 2), sc.Delay(sc.learn(1.5, per="neuron"), max_delay=4), sc.Leaky()),
        "numpy",
        input_shape=(3,),
    )


def pruned() -> sc.Model:
    """The same with half of its connections."""
    sparse = model()
    sc.prune(sparse, 0.5)
    return sparse


def module() -> Any:
    """The same as a module."""
    import torch

    import spikecore.nn as snn

    return torch.nn.Sequential(torch.nn.Linear(5, 5), snn.Leaky(beta=0.9, init_hidden=True))


def tensor(x: Any) -> Any:
    """An array as a tensor."""
    import torch

    return torch.tensor(x)


def picture() -> Any:
    """Axes to draw on."""
    from matplotlib.figure import Figure

    return Figure().subplots()


def linear() -> Any:
    """A Linear of torch."""
    return module()[0]


def convolution(axes: int) -> Any:
    """A convolution of torch."""
    import torch

    return (torch.nn.Conv1d, torch.nn.Conv2d)[axes - 1](1, 1, 3)


def batches() -> Any:
    """Batches of tensors."""
    return [(tensor(X), tensor(LABELS))]


def adam() -> Any:
    """An optimiser of torch."""
    import torch

    return torch.optim.Adam(module().parameters())


def graph() -> Any:
    """A NIR graph."""
    from spikecore import nir

    return nir.export_to_nir(model())


def verified() -> Any:
    """A report of a verification."""
    return sc.verify(model(), X, LABELS)


#: A value for every parameter that has no default; functions are called anew each time.
VALUES: Dict[str, Any] = {
    **{name: 6 for name in "in_features in_channels in_dim input_size num_features size input_features".split()},
    **{name: 4 for name in "out_features out_channels hidden_size d_value d_key channels time_steps".split()},
    **{
        "kernel_size": 1,
        "output_size": 2,
        "padding": 1,
        "num_groups": 2,
        "num_channels": 6,
        "normalized_shape": 5,
        "num_classes": 5,
        "num_steps": 4,
        "max_delay": 3,
        "every": 3,
        "subset": 2,
    },
    **{"rate": 0.2, "mean": 2.0, "low": 0.2, "high": 0.9, "match": "*"},
    **{"beta": 0.9, "alpha": 0.8, "V": 1.0, "tau": 5.0, "dt": 1.0, "cost": 0.5, "split": 0.5, "constant_factor": 1.0},
    **{name: 5.0 for name in "tau_pre tau_post tau_trace".split()},
    **{"neuron": sc.Leaky(), "connection": sc.OneToOne(), "body": sc.Linear(5, 5), "network": sc.Linear(5, 5)},
    **{
        "x": X,
        "data": STILL,
        "spikes": SPIKES,
        "other": SPIKES,
        "mem": X,
        "membrane": X,
        "targets": LABELS,
        "value": 0.5,
    },
    **{"inputs": STILL, "frames": X[:, :, None, None], "images": np.zeros((3, 4, 4)), "spike_time": [[1], [2]]},
    **{"one_hot_label": np.eye(5)[LABELS], "one_hot_targets": np.eye(5)[LABELS], "function": lambda xp, u: u},
    **{"loss": lambda out, targets: out.spikes.sum(), "model": model, "net": module, "weight": [1.0] * 5},
    **{"history": [{"epoch": 1, "loss": 0.5}], "events": EVENTS, "epoch": 0, "epochs": 3, "index": 0},
    **{"source": None, "paths": "absent", "path": "absent", "root": "absent", "folder": "absent", "train": "absent"},
    **{"synapse": lambda: module()[0], "sn": lambda: module()[1], "module": module, "graph": lambda: graph()},
    **{
        "fc": lambda: linear(),
        "conv": lambda: convolution(1),
        "layer": sc.Linear(5, 5),
        "dataloader": lambda: batches(),
    },
    **{"attribute_name": "beta", "pre_forward": False, "transform": transforms.Flip(), "report": lambda: verified()},
    **{
        "in_spike": lambda: tensor(SPIKES[0]),
        "out_spike": lambda: tensor(SPIKES[0]),
        "trace_pre": None,
        "trace_post": None,
    },
    **{"optimizer": lambda: adam(), "criterion": functional.ce_rate_loss(), "state": lambda: model().state()},
    **{"dataset": [(datasets.to_structured(EVENTS), 0)] * 3},
    **{"u": X, "out": SPIKES, "row": {"epoch": 1, "val_loss": 0.5}, "n": 3, "sensor": (4, 3), "bins": 2},
}


class Held:
    """A data set as torchvision's, small."""

    def __init__(self) -> None:
        self.data, self.targets = np.zeros((6, 2)), np.arange(6)

    def __len__(self) -> int:
        return len(self.data)


class In(datasets.Source):
    """Recordings in memory that could be told apart."""

    def __init__(self, recordings: List[Any]) -> None:
        self.recordings = recordings

    def __len__(self) -> int:
        return len(self.recordings)

    def read(self, row: int) -> Any:
        return self.recordings[row]

    def identity(self, row: int) -> Tuple[Any, ...]:
        return (row,)


class AsStored(datasets.StoredArray):
    """An array that could be on a disk."""

    shape, dtype = STILL.shape, STILL.dtype

    def read(self, rows: np.ndarray) -> np.ndarray:
        return STILL[rows]


def rectified() -> Any:
    """A network of torch that can be converted."""
    import torch

    net = torch.nn.Sequential(linear(), torch.nn.ReLU())
    torch.nn.init.constant_(net[0].bias, 10.0)  # it is active, whatever the weights
    return net


def converted() -> Any:
    """A report of a conversion."""
    from spikecore.convert import convert

    return convert(rectified(), [X[0]]).report([X[0]], 2)


def maps(axes: int) -> Dict[str, Any]:
    """A convolution of torch with spikes that fit it."""
    shapes = {"in_spike": (2, 1, *(5,) * axes), "out_spike": (2, 1, *(3,) * axes)}
    return {
        "conv": lambda: convolution(axes),
        **{n: lambda n=n: tensor(np.zeros(shapes[n], "float32")) for n in shapes},
    }


def exact_network() -> Any:
    """A network of 5 inputs without time steps, whose last layer does not fire."""
    layers = [sc.eventprop.Layer(5, 4), sc.eventprop.Layer(4, 5, threshold=None)]
    return sc.eventprop.Network(layers, duration=20.0)


def exact_model() -> Any:
    """A model of 5 inputs that has a counterpart with exact spike times."""
    return sc.eventprop.to_model(exact_network(), exact_network().init(0), 1.0)


#: Values that a single callable wants, by its name.
OWN: Dict[str, Dict[str, Any]] = {
    "spikecore.OneToOne": {},
    "spikecore.integers": {"model": lambda: sc.quantize(model())},
    "spikecore.Group": {"match": "*", "lr": 0.1},
    "spikecore.Torch": {"module": lambda: convolution(2)},
    "spikecore.Lapicque": {"beta": 0.9},
    "spikecore.nn.Lapicque": {"beta": 0.9},
    "spikecore.nn.Alpha": {"alpha": 0.9, "beta": 0.8},
    "spikecore.nn.DeltaLeaky": {"beta": 0.9},
    "spikecore.nir.export_to_nir": {"module": model},
    "spikecore.convert.convert": {"ann": lambda: rectified(), "data": [(X[0], LABELS)], "input_shape": 5},
    "spikecore.convert.QCFS": {"levels": 4},
    "spikecore.spikeplot.gradient_agreement": {"reports": lambda: sc.verify(model(), X, LABELS, learning="bptt")},
    "spikecore.spikeplot.surrogate_bias": {
        "report": lambda: sc.surrogate_bias(exact_model(), SPIKES, LABELS, substeps=1)
    },
    "spikecore.spikeplot.conversion_curves": {"report": lambda: converted()},
    "spikecore.plasticity.Plasticity": {"rules": {"0": sc.plasticity.STDP()}},
    "spikecore.plasticity.Normalize": {"total": 1.0},
    "spikecore.plasticity.vote": {"counts": np.ones((3, 4)), "labels": [0, 1, 1, 0], "num_classes": 2},
    "spikecore.plasticity.weighted_vote": {"counts": np.ones((3, 4)), "shares": np.ones((4, 2))},
    "spikecore.plasticity.neuron_shares": {"counts": np.ones((3, 4)), "targets": [0, 1, 1], "num_classes": 2},
    "spikecore.plasticity.neuron_labels": {"counts": np.ones((3, 4)), "targets": [0, 1, 1], "num_classes": 2},
    "spikecore.plasticity.Votes": {"labels": [0, 1, 1, 0], "shares": np.ones((4, 2))},
    "spikecore.plasticity.votes_of": {"model": model, "data": [(X, LABELS)]},
    "spikecore.functional.stdp_learner.stdp_conv1d_single_step": maps(1),
    "spikecore.functional.stdp_learner.stdp_conv2d_single_step": maps(2),
    "spikecore.datasets.from_tonic": {"sensor": (4, 3)},
    "spikecore.functional.label_error_rate": {"targets": [[1], [2], [-1]]},
    "spikecore.RLeaky": {"linear_features": 3},
    "spikecore.RSynaptic": {"linear_features": 3},
    "spikecore.SLSTM": {"input_size": 5, "hidden_size": 4},
    "spikecore.SConv2dLSTM": {"in_channels": 1, "out_channels": 2},
    "spikecore.LeakyParallel": {"input_size": 5, "hidden_size": 4},
    "spikecore.LinearLeaky": {"in_features": 5, "out_features": 4},
    "spikecore.MaskedPSN": {"num_steps": 4, "order": 2},
    "spikecore.PSN": {"num_steps": 4},
    "spikecore.AssociativeLeaky": {"in_dim": 5, "d_value": 2, "d_key": 2},
    "spikecore.StateLeaky": {"channels": 5},
    "spikecore.Upsample": {"scale_factor": 2},
    **{f"spikecore.{name}": {"layers": (sc.Flatten(), sc.Dropout())} for name in ("Add", "Concat", "Multiply")},
    **dict.fromkeys(
        ("spikecore.SpikingSelfAttention", "spikecore.SoftmaxAttention"),
        {**dict.fromkeys(("query", "key", "value"), sc.Leaky()), "num_heads": 2},
    ),
    "spikecore.HeadGate": {"gate": sc.Leaky(), "body": sc.Leaky()},
    "spikecore.HeadSum": {"num_heads": 2},
    "spikecore.Reshape": {"shape": (2, -1)},
    "spikecore.Permute": {"axes": (1, 0)},
    "spikecore.Sequential": {"layers": (sc.Flatten(), sc.Dropout())},
    "spikecore.Model.fit": {"data": [(X, LABELS)]},
    "spikecore.Model.evaluate": {"data": [(X, LABELS)]},
    "spikecore.Model.train_step": {"x": X},
    "spikecore.Model.value_and_grad": {"x": X},
    "spikecore.Model.apply": {"grads": lambda: model().params()},
    "spikecore.Model.to_engine": {"engine": "numpy"},
    "spikecore.Model.run_events": {"events": X},
    "spikecore.nn.RLeaky": {"beta": 0.9, "linear_features": 3},
    "spikecore.nn.RSynaptic": {"alpha": 0.8, "beta": 0.9, "linear_features": 3},
    "spikecore.nn.SConv2dLSTM": {"in_channels": 1, "out_channels": 2, "kernel_size": 3},
    "spikecore.nn.run": {"net": module, "x": lambda: tensor(X)},
    "spikecore.nn.Residual": {"body": module},
    "spikecore.nn.to_torch": {"model": model},
    "spikecore.utils.data_subset": {"dataset": lambda: Held()},
    "spikecore.utils.valid_split": {"ds_train": lambda: Held(), "ds_val": lambda: Held()},
    "spikecore.utils.set_state": {"net": module, "state": lambda: {"1.mem": tensor(STILL)}},
    "spikecore.datasets.from_structured": {"array": lambda: datasets.to_structured(EVENTS)},
    "spikecore.datasets.Events": {"t": np.arange(4), "x": np.arange(4), "sensor": (4,)},
    "spikecore.datasets.EventDataset": {"source": lambda: In([EVENTS] * 3), "targets": LABELS},
    "spikecore.datasets.Cached": {
        "dataset": lambda: datasets.EventDataset(In([EVENTS] * 3), LABELS),
        "folder": "absent",
    },
    "spikecore.datasets.save_event_npz": {
        "path": "absent/x.npz",
        "dataset": lambda: datasets.EventDataset(In([EVENTS]), [0]),
    },
    "spikecore.datasets.StoredDataset": {"inputs": lambda: AsStored(), "targets": LABELS},
    "spikecore.datasets.read_npy": {"inputs": "absent", "targets": "absent"},
    "spikecore.datasets.saccades": {"targets": [0, 0, 0]},
    "spikecore.datasets.sequential_mnist": {"images": "absent"},
    "spikecore.datasets.transforms.Crop": {"size": (2, 2)},
    "spikecore.datasets.transforms.ToFrames": {"steps": 4},
    "spikecore.datasets.transforms.TimeSurface": {"steps": 4},
    "spikecore.spikegen.rate_conv": {"data": STILL},
    "spikecore.spikegen.delta": {"data": X},
    "spikecore.spikegen.level_crossing": {"data": X},
    "spikecore.spikegen.threshold_crossing": {"data": X},
    "spikecore.datasets.Sound": {"samples": np.zeros(8), "rate": 8000},
    "spikecore.datasets.transforms.LogMel": {},
    "spikecore.functional.activity": {"model": model, "x": X},
    "spikecore.neurobench.measure": {"model": model, "x": X},
    "spikecore.rewire": {"model": pruned},
    "spikecore.round_delays": {"model": delayed},
    "spikecore.check": {"model": model, "chip": "loihi", "x": X},
    "spikecore.hardware.chip": {"name": "loihi"},
    "spikecore.eventprop.Spikes": {"times": np.arange(3.0)[None], "sources": LABELS[None]},
    **{
        f"spikecore.eventprop.{name}": {**values, "network": exact_network(), "params": lambda: exact_network().init(0)}
        for name, values in {
            **dict.fromkeys(("gradient", "verify"), {"loss": sc.eventprop.max_membrane_loss()}),
            "surrogate_bias": {"dt": 1.0},
            "to_model": {"dt": 1.0},
        }.items()
    },
    **{
        f"spikecore.eventprop.{name}": {
            "network": exact_network(),
            "params": lambda: exact_network().init(0),
            "data": lambda: datasets.Dataset(STILL, LABELS),
            "loss": sc.eventprop.max_membrane_loss(),
        }
        for name in ("fit", "evaluate")
    },
    "spikecore.surrogate_bias": {"model": lambda: exact_model(), "x": SPIKES},
    "spikecore.eventprop.frames": {"network": exact_network(), "dt": 1.0},
    "spikecore.eventprop.first_spike_loss": {"tau": 0.5},
    "spikecore.eventprop.spike_count_loss": {"tau": 0.5},
    "spikecore.spikeplot.activity_map": {"spikes": {"1": SPIKES}},
    "spikecore.spikeplot.weights": {"weight": np.ones((3, 4))},
    "spikecore.spikeplot.raster": {"spikes": SPIKES[:, 0]},
    "spikecore.spikeplot.traces": {"mem": X[:, 0]},
    "spikecore.spikeplot.stack": {"mem": X[:, 0]},
    "spikecore.spikeplot.predictions": {
        "inputs": np.ones((2, 4, 4)),
        "targets": [0, 1],
        "predicted": [0, 1],
        "labels": ["a", "b"],
    },
    "spikecore.spikeplot.spike_count": {"data": SPIKES[:, 0]},
    "spikecore.spikeplot.animator": {"data": X[:, 0, :4].reshape(4, 2, 2)},
    "spikecore.spikeplot.event_animation": {"frames": np.zeros((4, 2, 3, 3))},
    "spikecore.spikeplot.event_frames": {"frames": np.zeros((4, 2, 3, 3)), "steps": 2},
    "spikecore.zoo.card": {"name": "dense_snn"},
    "spikecore.zoo.pretrained": {"name": "digits"},
    "spikecore.zoo.Card": {
        "build": zoo.dense_snn,
        "paper": "text",
        "year": 2023,
        "link": "text",
        "sample": (784,),
        "num_steps": 25,
    },
    "spikecore.zoo.load_spikingjelly": {"model": architecture, "state_dict": weights_of_spikingjelly},
    "spikecore.spikeplot.surrogate_curves": {
        "curves": {"a": (X[0, 0], X[0, 0])},
    },
}


# ---- what there is to be called ------------------------------------------------------------------------------------

MODULES = (
    "spikecore spikecore.backprop spikecore.datasets spikecore.datasets.transforms spikecore.functional "
    "spikecore.convert spikecore.eventprop spikecore.hardware spikecore.neurobench "
    "spikecore.functional.probe spikecore.functional.quant spikecore.functional.stdp_learner spikecore.nir "
    "spikecore.init spikecore.nn spikecore.plasticity spikecore.schedule spikecore.spikegen spikecore.spikeplot "
    "spikecore.surrogate spikecore.tracking spikecore.utils spikecore.zoo"
).split()
METHODS = {
    "spikecore.Model": (
        "__call__ stream run_events fit train_step value_and_grad apply evaluate predict save to_engine load_state"
    ).split(),
    "spikecore.functional.ce_rate_loss": ["__call__"],
}
#: Public, and not called with arguments of a user's: abstract, results, and what runs at every step.
LEFT_OUT = {
    **dict.fromkeys(
        "Engine Executor Layer Stateless Stream Source StoredArray RandomTransform Transform BaseMonitor".split(),
        "abstract",
    ),
    **dict.fromkeys(
        "Neuron Membrane Surrogate Loss Regulariser Tracker".split(),
        "abstract, their fields are swept in the subclasses",
    ),
    "Initialiser": "abstract",
    **dict.fromkeys("Output Params State Activity EngineStatus Network Graph EngineErrors Param".split(), "results"),
    **dict.fromkeys("Conversion ConvertedLayer ConversionReport LayerError".split(), "results"),
    **dict.fromkeys("Step GradientErrors SpikeCount Stack SurrogateLines Traces".split(), "results"),
    **dict.fromkeys("cast clamp01 engine_of unchanged detached picked proportional no_such".split(), "inner words"),
    **dict.fromkeys("Metrics SynapticOperations Exported".split(), "results"),
    **dict.fromkeys("EventLoss Fitted Gradient Run SurrogateBias".split(), "results, and a base without arguments"),
    **dict.fromkeys("BiasCase BiasLines GradientAgreement".split(), "results"),
    **dict.fromkeys("EnergyEstimate HardwareReport Known LayerRow Memory Objection".split(), "results"),
    **dict.fromkeys("Trace Product Signals".split(), "parts of a rule of a user's own"),
    **dict.fromkeys("LocalRule Learning LearningRule".split(), "abstract"),
    "Chip": "made of a chip file, whose mistakes test_hardware_files has",
    "to_neurobench": "needs a package; nonsense is refused in test_neurobench",
    **dict.fromkeys("MLflow TensorBoard WandB".split(), "need packages; what they add is swept in test_tracking"),
    **dict.fromkeys("checked is_array apply unpack_len1_tuple".split(), "inner words"),
}


class Parameter(NamedTuple):
    """A parameter of a public callable: its kind, and nonsense for it."""

    owner: str
    name: str
    kind: str
    nonsense: Tuple[Any, ...]
    call: Callable[[Dict[str, Any]], Any]


def parameters() -> Iterator[Parameter]:
    """Every parameter of every public callable."""
    for owner, function, doc in callables():
        signature = inspect.signature(function)
        given = arguments(owner, signature)
        for name, parameter in signature.parameters.items():
            if parameter.kind is parameter.VAR_KEYWORD or name in ("self", "args") or name.startswith("_"):
                continue
            kind = kind_of(owner, name, parameter)
            yield Parameter(owner, name, kind, nonsense(kind, name, parameter, doc), caller(function, signature, given))


def callables() -> Iterator[Tuple[str, Callable[..., Any], str]]:
    """Every public callable once: its name, itself, and what its documentation says of its arguments."""
    seen = set()
    for home in MODULES:
        module_ = importlib.import_module(home)
        for name in getattr(module_, "__all__", None) or [one for one in dir(module_) if not one.startswith("_")]:
            thing = getattr(module_, name)
            ours = str(getattr(thing, "__module__", "")).startswith("spikecore") and callable(thing)
            error = isinstance(thing, type) and issubclass(thing, BaseException)
            if not ours or error or name in LEFT_OUT or id(thing) in seen:
                continue
            seen.add(id(thing))
            yield f"{home}.{name}", thing, documentation(thing)
            for method in METHODS.get(f"{home}.{name}", ()):
                owner = f"{home}.{name}.{method}"
                bound = getattr(thing, method)
                yield owner, on_fresh(bound, VALUES["model"] if name == "Model" else thing), documentation(bound)


def on_fresh(method: Any, make: Callable[[], Any]) -> Callable[..., Any]:
    """A method as a function that makes its object anew."""

    def call(*given: Any, **named: Any) -> Any:
        return method(make(), *given, **named)

    parameters_ = [p for name, p in inspect.signature(method).parameters.items() if name != "self"]
    call.__signature__ = inspect.Signature(parameters_)  # type: ignore[attr-defined]
    return call


def documentation(thing: Any) -> str:
    """The docstrings of a callable and, for a class, of its bases: fields are described where they are declared."""
    kinds = thing.__mro__ if isinstance(thing, type) else [thing]
    return "\n".join(inspect.cleandoc(one.__doc__ or "") for one in kinds if one is not object)


def arguments(owner: str, signature: inspect.Signature) -> Dict[str, Any]:
    """Values for what a call needs."""
    own = OWN.get(owner, {})
    needed = [n for n, p in signature.parameters.items() if p.default is p.empty and p.kind not in (p.VAR_KEYWORD,)]
    found = dict(own)
    if owner.startswith("spikecore.spikegen") and "num_steps" in signature.parameters:
        found["num_steps"] = 16
    for name in needed:
        if name not in own and name not in ("args", "layers", "steps", "self"):
            found[name] = VALUES[name]
    return found


def caller(function: Any, signature: inspect.Signature, given: Dict[str, Any]) -> Callable[[Dict[str, Any]], Any]:
    """Calls a function with what it needs, and some of it exchanged."""

    def call(changed: Dict[str, Any]) -> Any:
        made = {n: v() if inspect.isfunction(v) and n not in ("loss", "function") else v for n, v in given.items()}
        named = {**made, **changed}
        first = [n for n, p in signature.parameters.items() if p.kind is p.POSITIONAL_ONLY]
        several = [n for n, p in signature.parameters.items() if p.kind is p.VAR_POSITIONAL and n in named]
        rest = named.pop(several[0]) if several else ()
        return function(*(named.pop(n) for n in first), *(rest if isinstance(rest, tuple) else (rest,)), **named)

    return call


def kind_of(owner: str, name: str, parameter: inspect.Parameter) -> str:
    """The kind of a parameter."""
    text = str(getattr(parameter.annotation, "__forward_arg__", parameter.annotation))
    text = re.sub(r"^Optional\[(.*)\]$", r"\1", text)
    text = re.sub(r"^Union\[(.*), None\]$", r"\1", text)
    if owner.startswith("spikecore.spikeplot") and text == "ArrayLike":
        return "array"
    if text == "str" and owner.startswith("spikecore.datasets") and name in ("inputs", "targets"):
        return "text"
    if owner.startswith("spikecore.datasets") and name == "lengths" and "str" not in text and "Path" not in text:
        return "counts"
    if text.startswith("Literal["):
        return "word"
    if text in ANNOTATIONS and not (text in ("str", "ArrayLike", "HostArray", "Sizes") and name in NAMES):
        return ANNOTATIONS[text]
    if name in NAMES:
        return NAMES[name]
    if text in ANNOTATIONS:
        return ANNOTATIONS[text]
    raise LookupError(f"{owner}: {name}: {text}: no kind")


def nonsense(kind: str, name: str, parameter: inspect.Parameter, doc: str) -> Tuple[Any, ...]:
    """What a parameter may not be."""
    text = str(getattr(parameter.annotation, "__forward_arg__", parameter.annotation))
    found = [*NONSENSE[kind], *out_of_range(kind, name, doc)]
    none = text.startswith("Optional[") or "None" in text or parameter.default in (None, False) and kind != "bool"
    legal: List[Any] = [parameter.default, *ALSO.get(name, ())]
    kept = []
    for value in found:
        if value is None and none:
            continue
        if any(
            value is one or (type(value) is type(one) and value == one) for one in legal if not hasattr(one, "shape")
        ):
            continue
        kept.append(value)
    return tuple(value for value in kept if not (value is True and "bool" in text and kind != "bool"))


BOUNDS = (
    (r"(?<![<\w])> 0(?![.\d])", (-1, 0)),
    (r">= 0(?![.\d])", (-1,)),
    (r">= 1(?![.\d])", (-1, 0)),
    (r"in \[0, 1\]", (-0.1, 1.1)),
    (r"in \[0, 1\)", (-0.1, 1)),
    (r"in \(0, 1\]", (0, 1.1)),
    (r"in \(0, 1\)", (0, 1)),
)


def out_of_range(kind: str, name: str, doc: str) -> List[Any]:
    """Numbers that the documentation excludes; for whole numbers also negative ones."""
    found: List[Any] = [-1] if kind == "int" and name not in SIGNED else []
    if kind not in ("int", "float", "param"):
        return found
    for entry in re.findall(r"^ +(\w+(?:, \w+)*): (.*(?:\n {8,}.*)*)", doc, re.MULTILINE):
        if name in entry[0].split(", "):
            for pattern, values in BOUNDS:
                if re.search(pattern, entry[1]):
                    found += [value for value in values if value not in found]
    return found


# ---- the outcome ---------------------------------------------------------------------------------------------------


class Outcome(NamedTuple):
    """What a parameter did with a value: "accepted", "named", "unnamed" (a ValueError or TypeError), or "raw"."""

    parameter: Parameter
    value: Any
    verdict: str
    message: str


def outcome(parameter: Parameter, value: Any) -> Outcome:
    """Call with one value exchanged for nonsense."""
    try:
        parameter.call({parameter.name: value})
    except (ValueError, TypeError) as error:
        names = f"{parameter.name}|{SYNONYMS.get(parameter.name, parameter.name)}"
        verdict = "named" if re.search(rf"(?<!\w)({names})(?!\w)", str(error)) else "unnamed"
        return Outcome(parameter, value, verdict, f"{type(error).__name__}: {error}")
    except Exception as error:
        return Outcome(parameter, value, "raw", f"{type(error).__name__}: {error}")
    return Outcome(parameter, value, "accepted", "")
