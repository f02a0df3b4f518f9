"""Nonsense for the argument sweep: what a parameter may be, by annotation, name and docstring, and what it may not."""

from __future__ import annotations

import inspect
import re
from typing import Any, Dict, List, Tuple

import numpy as np

import spikecore as sc
from spikecore import functional

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
    "quant": (*FOREIGN, "nonsense", 3, True, functional.quant.state_quant, sc.compression.ScaledInteger()),
    "grid": (*FOREIGN, "nonsense", 3, True, sc.compression.FixedPoint, functional.quant.state_quant()),
    "bits": (*FOREIGN, "nonsense", 2.5, NAN, True, [3, 4], HUGE, 0, -1, 1, 25, sc.compression.ScaledInteger()),
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
    **{kind: "word" for kind in "Criterion Distribution Scope".split()},
    "Mapping[str, float]": "mapping",
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
    **{name: "callable" for name in ("Encoder", "Schedule", "Reader")},
    "Callbacks": "callbacks",
    **{
        "Plasticity": "model",
        "Connection": "layer",
        "Union[Stateless, Delayed]": "layer",
    },
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
    "Union[MethodName, Percentile, LeastError]": "word",
    **dict.fromkeys(("Union[Dataset, Loader]", "Union[None, Dataset, Loader]"), "model"),
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
    "Union[ArrayLike, Sequence[ArrayLike]]": "array",
    "Union[EventStream, Sequence[EventStream], ArrayLike]": "array",
    **{"Sequence[str]": "words", "Sequence[PathLike]": "words"},
    "Iterable[Any]": "iterable",
    "Iterable[int]": "iterable",
    "Iterable[Type[Any]]": "iterable",
    "Iterable[Mapping[str, Any]]": "iterable",
    "Union[Mapping[str, Sequence[History]], Sequence[History]]": "iterable",
    "Tuple[int, ...]": "shape",
    "Tuple[int, int]": "shape",
    "Union[None, int, Shape]": "shape",
    "Shape": "shape",
    "Union[int, Tuple[int, ...]]": "sizes",
    "Tuple[float, float]": "betas",
    "Parts": "shares",
    "OverTime": "word",
    "Sequence[float]": "quantiles",
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
NONSENSE["shares"] = (*NUMBERLESS, 0.5, (0.0, 0.5), (-0.1, 0.5), (NAN, 0.5), ("0.9", 0.1), (0.7, 0.7))
NONSENSE["quantiles"] = (*NUMBERLESS, 0.5, (0.0, 0.5), (-0.1, 0.5), (NAN, 0.5), ("0.9", 0.1), (0.7, 1.0))
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
