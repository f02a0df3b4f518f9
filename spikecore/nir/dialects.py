"""``DIALECTS``: a row for each reader of NIR, which says by formulas from its source what it makes of the nodes.

A row says for each kind of neuron which numbers its step has (``NodeRule``). A formula is a name in ``FORMULAS``, so
that a report can print what it computes by. ``NIR`` has the rules of NIR's own equations in the same form: a reader
departs from them where a formula gives other numbers.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Callable, Dict, Mapping, Optional, Tuple

import numpy as np


def _transfer(n: Any) -> Any:
    """A current of 1 adds r tau_syn (syn - decay) / (tau_syn - tau) to the membrane in a step while it decays."""
    apart = np.asarray(n.tau_syn - n.tau)
    near = np.abs(apart) < 1e-9 * n.tau
    general = n.tau_syn * (n.syn - n.decay) / np.where(near, 1.0, apart)
    return n.r * np.where(near, n.dt / n.tau * n.decay, general)


#: Formulas by name. They take the fields of a node, dt, ``tau`` for tau_mem, ``decay`` and ``syn``, the decays.
FORMULAS: Dict[str, Callable[[Any], Any]] = {
    "0": lambda n: 0.0,
    "1": lambda n: 1.0,
    "0.9": lambda n: 0.9,
    "0.0001": lambda n: 1e-4,
    "dt": lambda n: n.dt,
    "1 / dt": lambda n: 1.0 / n.dt,
    "smallest tau_mem / (1 + r)": lambda n: (n.tau / (1.0 + n.r)).min(),
    "exp(-dt / tau)": lambda n: np.maximum(np.exp(-n.dt / n.tau), 1e-300),
    "exp(-dt / tau[0])": lambda n: np.exp(-n.dt / n.tau.reshape(-1)[0]),
    "1 - dt / tau": lambda n: 1.0 - n.dt / n.tau,
    "1 - dt / tau, from 0 to 1": lambda n: np.clip(1.0 - n.dt / n.tau, 0.0, 1.0),
    "(4096 - int(4095 dt / tau)) / 4096": lambda n: (4096.0 - np.floor(4095.0 * n.dt / n.tau)) / 4096.0,
    "exp(-dt / tau_syn)": lambda n: np.exp(-n.dt / n.tau_syn),
    "1 - dt / tau_syn": lambda n: 1.0 - n.dt / n.tau_syn,
    "1 - dt / tau_syn, from 0 to 1": lambda n: np.clip(1.0 - n.dt / n.tau_syn, 0.0, 1.0),
    "r": lambda n: n.r,
    "r dt": lambda n: n.r * n.dt,
    "r (1 - decay)": lambda n: n.r * (1.0 - n.decay),
    "1 - decay": lambda n: 1.0 - n.decay,
    "dt / tau": lambda n: n.dt / n.tau,
    "int(256 dt / tau) / 256": lambda n: np.floor(256.0 * n.dt / n.tau) / 256.0,
    "smallest r dt / tau": lambda n: (n.r * n.dt / n.tau).min(),
    "tau / dt": lambda n: n.tau / n.dt,
    "tau_syn / dt": lambda n: n.tau_syn / n.dt,
    "w_in (1 - syn)": lambda n: n.w_in * (1.0 - n.syn),
    "w_in dt / tau_syn": lambda n: n.w_in * n.dt / n.tau_syn,
    "syn": lambda n: n.syn,
    "v_leak": lambda n: n.v_leak,
    "v_leak (1 - decay)": lambda n: n.v_leak * (1.0 - n.decay),
    "v_leak dt / tau_syn": lambda n: n.v_leak * n.dt / n.tau_syn,
    "v_reset": lambda n: n.v_reset,
    "v_threshold": lambda n: n.v_threshold,
    "int(int(131071 v_threshold) / 512) / 256": lambda n: np.floor(np.trunc(131071.0 * n.v_threshold) / 512.0) / 256.0,
    "1 / 16384": lambda n: 1.0 / 16384.0,
    "-v_threshold": lambda n: -n.v_threshold,
    "none": lambda n: -1e30,
    "solved current": _transfer,
    "solved input": lambda n: n.w_in * (n.r * (1.0 - n.decay) - _transfer(n)),
}

#: What a rule's fields are about, and the fields that can only change together.
PARTS: Dict[str, Tuple[str, ...]] = {
    "dt": ("dt",),
    "decay": ("decay",),
    "input": ("gain", "carry", "direct", "syn", "received", "current", "syn_start"),
    "v_leak": ("leak",),
    "start": ("start",),
    "firing": ("fires_at",),
    "reset": ("reset", "rho"),
    "delay": ("late",),
    "lowest": ("floor",),
    "spike": ("size",),
    "binary": ("binary",),
    "integers": ("threshold", "grain"),
}


@dataclass(frozen=True)
class NodeRule:
    """How a neuron is computed; the fields of ``ReaderNeuron`` as formulas. The defaults are NIR's LIF.

    Args:
        dt: the duration of a step.
        decay, gain, carry, direct, leak: of the membrane; ``leak`` is its offset.
        syn, received, current, syn_start: of the synaptic current.
        fires_at, late, binary: as in ``ReaderNeuron``.
        reset: "value", to ``rho``, or one that subtracts.
        rho, floor, size, start: the membrane after a spike, its lowest value, the value of a spike, the first membrane.
        threshold, grain: the threshold, and the grid of the membrane.
        within: whether resets happen within a step, at the moment of the spike.
        needs: a field of the node, and the formulas of which it must equal one; others are refused.
        uniform: fields that must be equal for all neurons of the node.
        longer: whether time constants must be longer than a step.
    """

    dt: str = "dt"
    decay: str = "exp(-dt / tau)"
    gain: str = "r (1 - decay)"
    carry: str = "0"
    direct: str = "0"
    leak: str = "v_leak (1 - decay)"
    syn: str = "0"
    received: str = "1"
    current: str = "0"
    syn_start: str = "0"
    fires_at: str = ">"
    reset: str = "value"
    rho: str = "v_reset"
    floor: str = "none"
    size: str = "1"
    start: str = "v_leak"
    threshold: str = "v_threshold"
    grain: str = "0"
    late: bool = False
    binary: bool = False
    within: bool = True
    needs: Tuple[Tuple[str, Tuple[str, ...]], ...] = ()
    uniform: Tuple[str, ...] = ()
    longer: bool = False


@dataclass(frozen=True)
class Dialect:
    """A reader of NIR.

    Args:
        title: the package and its version.
        source: where its rules were read.
        rules: by kind of node, how it computes neurons.
        passes: kinds of nodes without state that it reads.
        dt: the step that it takes by itself.
        fixed: why another step cannot be chosen; None: its reader has an argument for it.
        delay, own: steps that a spike takes through a connection, and from there to the neuron.
        refuses: by kind of node: why it does not read it or is not predicted, where there is more to say.
        feedback: how spikes return to their neuron through a connection: "plain"; "through": the input passes through
            the connection, too; "": it is not predicted.
        looped: by kind of node, rules of a neuron with feedback, where they are not the same.
        limits: "chain": one node after the other, between "input" and "output"; "one": one neuron per node; "no bias":
            of connections; "last IF": an IF only at the end; "spikes": inputs are 0 or 1; "connected": a neuron's input
            comes through a connection; "strong": each weight alone makes a spike, and there is one to a node.
        resets: whether its files have the field v_reset: it takes nir 1.0.6 or later.
        compared: whether the rules were compared with the package itself, step by step.
    """

    title: str
    source: str
    rules: Mapping[str, NodeRule]
    passes: Tuple[str, ...] = ("Affine", "Linear")
    dt: float = 1e-4
    fixed: Optional[str] = None
    delay: int = 0
    own: int = 0
    refuses: Mapping[str, str] = field(default_factory=dict)
    limits: Tuple[str, ...] = ()
    resets: bool = True
    compared: bool = True
    feedback: str = ""
    looped: Mapping[str, Optional[NodeRule]] = field(default_factory=dict)

    def rule(self, kind: str, recurrent: bool) -> Optional[NodeRule]:
        """The rule of a neuron; None if it does not read this kind."""
        return self.looped[kind] if recurrent and kind in self.looped else self.rules.get(kind)


_IF = NodeRule(decay="1", gain="r dt", leak="0", start="v_reset")
_CUBA = NodeRule(
    gain="0", carry="solved current", direct="solved input", syn="exp(-dt / tau_syn)", received="w_in (1 - syn)",
    within=False,
)  # fmt: skip
NIR: Dict[str, NodeRule] = {"LIF": NodeRule(), "IF": _IF, "CubaLIF": _CUBA}

_ZERO: Dict[str, Any] = {"within": False, "rho": "0"}
_COUNTS: Dict[str, Any] = {**_ZERO, "start": "0", "leak": "0", "fires_at": "count", "reset": "subtract"}
_LATE: Dict[str, Any] = {"within": False, "rho": "0", "start": "0", "leak": "0", "reset": "subtract", "late": True}
_NO_LEAK = ("v_leak", ("0",))
_EULER = "1 - dt / tau"
_CLIPPED = "1 - dt / tau, from 0 to 1"
_SYN_CLIPPED = "1 - dt / tau_syn, from 0 to 1"
_BATCH_AXIS = {"Flatten": "counts the batch among the axes of a Flatten, which NIR does not"}
_SPACE = ("Affine", "Linear", "Conv1d", "Conv2d", "AvgPool2d", "Flatten")
_PAPER = "Pedersen et al., Nature Communications 2024; repository neuromorphs/NIR, paper/01_lif/"

DIALECTS: Dict[str, Dialect] = {
    "norse": Dialect(
        "Norse 1.1.0",
        "norse.torch.utils.import_nir._import_norse_module; functional.lif_box, functional.iaf, "
        "functional.leaky_integrator_box",
        {
            "LIF": NodeRule(decay=_EULER, gain="1 - decay", **_ZERO),
            "IF": NodeRule(decay="1", gain="1", leak="0", start="0", **_ZERO),
            "CubaLIF": NodeRule(
                decay=_EULER, syn="1 - dt / tau_syn", received="w_in dt / tau_syn", current="v_leak dt / tau_syn",
                syn_start="v_leak", **_ZERO,
            ),
        },
        passes=("Affine", "Linear", "Conv2d", "SumPool2d"),
        dt=1e-3,
        refuses=_BATCH_AXIS,
        feedback="plain",
    ),
    "sinabs": Dialect(
        "Sinabs 3.1.3",
        "sinabs.nir._import_sinabs_module; layers.LIF and layers.IAF with their defaults MultiSpike and "
        "MembraneSubtract; layers.functional.lif",
        {
            "LIF": NodeRule(dt="1", gain="1", needs=(_NO_LEAK,), **_COUNTS),
            "IF": NodeRule(dt="1", decay="1", gain="1", floor="-v_threshold", **_COUNTS),
        },
        passes=("Affine", "Conv2d", "SumPool2d", "Flatten"),
        dt=1.0,
        fixed="it takes time constants in steps",
        resets=False,
    ),
    "snntorch": Dialect(
        "snnTorch 1.0.0",
        "snntorch.import_nir._nir_to_snntorch_module; Leaky and Synaptic with reset_delay=False. It divides the "
        "threshold by r dt / tau in place of multiplying the input",
        {
            "LIF": NodeRule(
                dt="0.0001", decay=_CLIPPED, gain="smallest r dt / tau", leak="0", start="0",
                needs=(_NO_LEAK,), uniform=("v_threshold",), **_ZERO,
            ),
            "IF": NodeRule(
                dt="0.0001", decay="0.9", gain="1", leak="0", start="0", reset="subtract_once",
                needs=(("r", ("1",)),), uniform=("v_threshold",), **_ZERO,
            ),
            "CubaLIF": NodeRule(
                dt="0.0001", decay=_CLIPPED, gain="1", leak="0", start="0", syn=_SYN_CLIPPED,
                received="w_in dt / tau_syn", needs=(_NO_LEAK, ("r", ("tau / dt",))),
                uniform=("v_threshold", "w_in", "tau_syn"), **_ZERO,
            ),
        },
        passes=("Affine", "Linear", "Conv2d", "AvgPool2d"),
        refuses=_BATCH_AXIS,
        feedback="through",
        looped={
            "IF": None,
            "LIF": NodeRule(
                dt="0.0001", decay=_CLIPPED, gain="1", leak="0", start="0",
                needs=(_NO_LEAK, ("r", ("tau / dt",))), uniform=("v_threshold",), **_ZERO,
            ),
        },
        fixed="its reader has dt = 0.0001 written in",
        limits=("last IF",),
    ),
    "spyx": Dialect(
        "Spyx 1.0.0",
        "spyx.nir._build_model; nn.IF, nn.LIF, nn.CuBaLIF. r, w_in, v_leak and v_reset are not read",
        {
            "LIF": NodeRule(decay=_CLIPPED, gain="1", **_LATE),
            "IF": NodeRule(decay="1", gain="1", **_LATE),
            "CubaLIF": NodeRule(decay=_CLIPPED, gain="1", syn=_SYN_CLIPPED, **{**_LATE, "reset": "subtract_decayed"}),
        },
        dt=1.0,
        limits=("chain",),
    ),
    "spikingjelly": Dialect(
        "SpikingJelly 2.0.0",
        "spikingjelly.activation_based.nir_exchange.from_nir; functional.lif_step, if_step, cuba_lif_step",
        {
            "LIF": NodeRule(
                decay=_EULER, fires_at=">=", start="v_reset", within=False, longer=True,
                needs=(("r", ("1", "tau / dt")), ("v_leak", ("v_reset",))),
                uniform=("tau", "r", "v_reset", "v_leak", "v_threshold"),
            ),
            "IF": NodeRule(
                decay="1", gain="1", leak="0", fires_at=">=", start="v_reset", within=False,
                needs=(("r", ("1 / dt",)),), uniform=("r", "v_threshold", "v_reset"),
            ),
            "CubaLIF": NodeRule(
                decay=_EULER, gain="1", leak="0", syn="1 - dt / tau_syn", received="1", fires_at=">=", start="v_reset",
                within=False, longer=True, needs=(_NO_LEAK, ("r", ("tau / dt",)), ("w_in", ("tau_syn / dt",))),
                uniform=("tau_syn", "tau_mem", "r", "w_in", "v_leak", "v_threshold", "v_reset"),
            ),
        },
        passes=_SPACE,
        feedback="plain",
    ),
    "lava": Dialect(
        "Lava 0.10.0, floating point",
        "nir_to_lava.import_from_nir_to_lava of the NIR repository (docs/source/examples/lava) with fixed_pt=False; "
        "lava.proc.lif.models.PyLifModelFloat, lava.proc.dense.models.PyDenseModelFloat: a Dense sends what it "
        "received one step before, and takes any input but 0 for a spike. The LIF has a Dense of its own",
        {"LIF": NodeRule(decay=_EULER, gain="dt / tau", leak="0", start="0", binary=True, **_ZERO)},
        passes=("Affine",),
        delay=1,
        own=1,
        limits=("one", "no bias", "spikes"),
    ),
    "lava-fixed": Dialect(
        "Lava 0.10.0, fixed point",
        "as for lava, with fixed_pt=True, its default; lava.proc.lif.models.PyLifModelBitAcc, in parts of 16384",
        {
            "LIF": NodeRule(
                decay="(4096 - int(4095 dt / tau)) / 4096", gain="int(256 dt / tau) / 256", leak="0", start="0",
                threshold="int(int(131071 v_threshold) / 512) / 256", grain="1 / 16384", binary=True, **_ZERO,
            ),
        },
        passes=("Affine",),
        delay=1,
        own=1,
        limits=("one", "no bias", "spikes", "strong"),
    ),
    "nengo": Dialect(
        "Nengo 4.1.0",
        "nir_to_nengo of the NIR repository (paper/03_rnn/nir_to_nengo.py, paper/01_lif/lif_sim_nengo.ipynb); "
        "nengo.LIF.step with tau_ref=0, nengo.synapses.Lowpass, which passes on the input of the step before",
        {
            "LIF": NodeRule(
                decay="exp(-dt / tau[0])", gain="1 - decay", leak="0", start="0", floor="0", size="1 / dt",
                needs=(("r", ("1",)), _NO_LEAK), **_ZERO,
            ),
            "IF": NodeRule(decay="1", gain="1", leak="0", start="0", needs=(("r", ("1",)),), **_ZERO),
            "CubaLIF": NodeRule(
                gain="0", carry="r (1 - decay)", leak="0", start="0", floor="0", syn="1 - dt / tau_syn",
                received="w_in (1 - syn)", needs=(_NO_LEAK,), uniform=("r", "v_threshold", "tau_syn", "tau_mem"),
                **_ZERO,
            ),
        },
        dt=1e-3,
    ),
    "rockpool": Dialect(
        "Rockpool 3.1.0",
        "rockpool.nn.modules.torch.nir._convert_nir_to_rockpool; LIFTorch. w_in and v_reset are not read, v_leak is "
        "added at each step",
        {
            "CubaLIF": NodeRule(
                dt="smallest tau_mem / (1 + r)", gain="1", syn="exp(-dt / tau_syn)", received="syn",
                **{**_COUNTS, "leak": "v_leak"},
            ),
        },
        fixed="it takes the smallest tau_mem / (1 + r) of a node for dt",
        refuses={"LIF": "asks a LIF for tau_mem, which only a CubaLIF has; rockpool-paper has a LIF"},
        resets=False,
    ),
    "spinnaker2": Dialect(
        "py-spinnaker2, s2_nir.ConversionConfig with its defaults",
        "spinnaker2.s2_nir.convert_LIF, convert_IF, create_projections: exponential Euler, reset by subtraction, "
        "conn_delay=1. Weights are taken as real numbers, the chip rounds them to 8 bits",
        {
            "LIF": NodeRule(reset="subtract", start="0", **_ZERO),
            "IF": NodeRule(decay="1", gain="r", leak="0", reset="subtract", start="0", **_ZERO),
        },
        dt=1.0,
        delay=1,
        refuses={"CubaLIF": "moves current and membrane in an order that is not in the source that could be read"},
        limits=("connected", "spikes"),
        compared=False,
    ),
    "sinabs-paper": Dialect(
        "Sinabs, as the NIR paper ran it",
        _PAPER + "lif_sim_sinabs.ipynb: tau_mem divided by dt, inputs multiplied by dt / tau by hand",
        {"LIF": NodeRule(gain="dt / tau", **_COUNTS)},
    ),
    "rockpool-paper": Dialect(
        "Rockpool, as the NIR paper ran it",
        _PAPER + "lif_sim_rockpool.ipynb: LIFNeuronTorch built by hand, inputs multiplied by dt / tau",
        {"LIF": NodeRule(gain="dt / tau", **_COUNTS)},
    ),
    "snntorch-paper": Dialect(
        "snnTorch, as the NIR paper ran it",
        _PAPER + "lif_sim_snntorch.ipynb: Leaky(reset_mechanism='zero') built by hand, weights times r dt / tau",
        {"LIF": NodeRule(decay=_CLIPPED, leak="0", start="0", needs=(_NO_LEAK,), **_ZERO)},
    ),
    "spyx-paper": Dialect(
        "Spyx 0.1, as the NIR paper ran it",
        "kmheckel/spyx, docs/examples/nir/lif_spyx.ipynb; spyx/nir.py and spyx/nn.py of 2023: weights multiplied by "
        "dt / tau, r not read",
        {"LIF": NodeRule(decay=_CLIPPED, gain="dt / tau", **_LATE)},
        limits=("chain",),
        compared=False,
    ),
    "lava-paper": Dialect(
        "Lava, floating point, as the NIR paper ran it",
        _PAPER + "lif_sim_lava.ipynb: one Dense with the weight dt / tau before the LIF",
        {"LIF": NodeRule(decay=_EULER, gain="dt / tau", leak="0", start="0", binary=True, **_ZERO)},
        passes=("Affine",),
        own=1,
        limits=("one", "no bias", "spikes"),
    ),
    "spinnaker2-paper": Dialect(
        "SpiNNaker2's Brian2 simulation, as the NIR paper ran it",
        _PAPER + "lif_sim_spinnaker2.py: conn_delay=0, and the first of the recorded steps is left out",
        {"LIF": NodeRule(reset="subtract", start="0", **_ZERO)},
        limits=("connected", "spikes"),
        compared=False,
    ),
}  # fmt: skip
