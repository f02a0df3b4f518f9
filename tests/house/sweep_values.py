"""Right values for the argument sweep: for every parameter without a default, and what single callables want."""

from __future__ import annotations

from typing import Any, Dict, List, Tuple

import numpy as np

import spikecore as sc
from spikecore import datasets, functional, zoo
from spikecore.datasets import transforms

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
    sc.compression.prune(sparse, 0.5)
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
        "look_back": 4,
        "predicted": LABELS,
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
    **{"reader": lambda: datasets.read_nmnist, "endings": [".npy"]},
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
    "spikecore.datasets.windows": {"series": np.random.default_rng(0).random((60, 2)), "look_back": 4},
    "spikecore.functional.accuracy_step": {"targets": np.zeros((4, 3), int)},
    "spikecore.recipe": {"x": np.random.default_rng(0).random((40, 5)), "y": np.arange(40) % 3},
    "spikecore.compression.mismatch": {"sizes": {"weight": 0.1}},
    "spikecore.Noisy": {"input_noise": 0.1},
    "spikecore.compression.integers": {"model": lambda: sc.compression.quantize(model())},
    "spikecore.Group": {"match": "*", "lr": 0.1},
    "spikecore.Torch": {"module": lambda: convolution(2)},
    **dict.fromkeys(("spikecore.Lapicque", "spikecore.nn.Lapicque", "spikecore.nn.DeltaLeaky"), {"beta": 0.9}),
    "spikecore.nn.Alpha": {"alpha": 0.9, "beta": 0.8},
    "spikecore.nir.export_to_nir": {"module": model},
    "spikecore.nir.predict": {"reader": "norse", "inputs": np.zeros((4, 5))},
    "spikecore.nir.translate": {"source": "snntorch", "target": "norse"},
    "spikecore.convert.convert": {"ann": lambda: rectified(), "data": [(X[0], LABELS)], "input_shape": 5},
    "spikecore.convert.QCFS": {"levels": 4},
    "spikecore.spikeplot.gradient_agreement": {"reports": lambda: sc.verify(model(), X, LABELS, learning="bptt")},
    "spikecore.spikeplot.surrogate_bias": {
        "report": lambda: sc.eventprop.model_bias(exact_model(), SPIKES, LABELS, substeps=1)
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
    **dict.fromkeys(("spikecore.RLeaky", "spikecore.RSynaptic"), {"linear_features": 3}),
    **dict.fromkeys(("spikecore.SLSTM", "spikecore.SpikingGRU"), {"input_size": 5, "hidden_size": 4}),
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
    "spikecore.datasets.RecordingFiles": {"paths": ["absent"]},
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
    "spikecore.compression.rewire": {"model": pruned},
    "spikecore.compression.round_delays": {"model": delayed},
    "spikecore.hardware.check": {"model": model, "chip": "loihi", "x": X},
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
    "spikecore.eventprop.model_bias": {"model": lambda: exact_model(), "x": SPIKES},
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
    "spikecore.spikeplot.confusion": {"targets": [0, 1], "predicted": [0, 1], "labels": ["a", "b"]},
    "spikecore.spikeplot.seeds": {"histories": [[{"loss": 1.0}]], "column": "loss"},
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
