"""The argument sweep: every public callable, every parameter of its signature, and nonsense for its kind.

What a parameter may be is read from its annotation and its docstring ("> 0", "in [0, 1)"), and where those do not say
it, from the tables of ``sweep_nonsense.py`` and ``sweep_values.py``. No outcome is listed anywhere.
"""

from __future__ import annotations

import importlib
import inspect
import re
from typing import Any, Callable, Dict, Iterator, NamedTuple, Tuple

from tests.house.sweep_nonsense import SYNONYMS, kind_of, nonsense
from tests.house.sweep_values import OWN, VALUES

# ---- what there is to be called ------------------------------------------------------------------------------------

MODULES = (
    "spikecore spikecore.backprop spikecore.base spikecore.compression spikecore.errors "
    "spikecore.datasets spikecore.datasets.transforms spikecore.functional "
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
        (
            "Callback Engine Executor Layer Merge Stateless Stream Source StoredArray RandomTransform Transform "
            "BaseMonitor"
        ).split(),
        "abstract",
    ),
    **dict.fromkeys(
        "Neuron Membrane Surrogate Loss Regulariser Tracker".split(),
        "abstract, their fields are swept in the subclasses",
    ),
    "Initialiser": "abstract",
    **dict.fromkeys(
        "Output Init Key Params Tree State Activity EngineStatus Network Graph EngineErrors Param".split(), "results"
    ),
    **dict.fromkeys("Conversion ConvertedLayer ConversionReport LayerError".split(), "results"),
    **dict.fromkeys("Step GradientErrors SpikeCount Stack SurrogateLines Traces FittedValues".split(), "results"),
    **dict.fromkeys("LabelsOverTime Windows Standard ClassRow ClassReport Recipe Choice".split(), "results"),
    **dict.fromkeys("cast clamp01 engine_of unchanged detached picked proportional no_such".split(), "inner words"),
    **dict.fromkeys("Metrics SynapticOperations Exported".split(), "results"),
    **dict.fromkeys("EventLoss Fitted Gradient Run SurrogateBias".split(), "results, and a base without arguments"),
    **dict.fromkeys("BiasCase BiasLines Confusion GradientAgreement SeedLines".split(), "results"),
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
