"""Drawn graphs for each reader of NIR, and the readers themselves, where they are installed.

    python -m tests.nir.reader_rig sinabs rockpool      # records what they compute in reader_spikes.npz

Needs NumPy and nir, and of the readers the one that is recorded; nothing of spikecore. Nengo's and Lava's readers are
examples of the NIR repository, not parts of a package: ``nengo`` and ``lava`` below build what those build.
"""

from __future__ import annotations

import contextlib
import io
import logging
import sys
import warnings
from pathlib import Path

import numpy as np

RECORDED = Path(__file__).with_name("reader_spikes.npz")
GRAPHS, STEPS = 20, 80
STEP = {"norse": 1e-3, "nengo": 1e-3, "sinabs": 1.0, "spyx": 1.0, "lava": 1e-4, "spikingjelly": 1e-4}
FIXED = {"snntorch": 1e-4, "rockpool": 1e-3, "sinabs": 1.0}  # these take no dt
KINDS = {"sinabs": ["LIF", "IF"], "rockpool": ["CubaLIF"], "lava": ["LIF"]}
#: Modules without which a reader is not here. With "-loop", its graphs end with feedback.
NEEDS = {
    "norse": "norse.torch", "sinabs": "sinabs.nir", "snntorch": "snntorch.import_nir", "spyx": "spyx.nir",
    "spikingjelly": "spikingjelly.activation_based.nir_exchange", "rockpool": "rockpool.nn.modules.torch.nir",
    "nengo": "nengo", "lava": "lava.proc.lif.process", "norse-loop": "norse.torch",
    "spikingjelly-loop": "spikingjelly.activation_based.nir_exchange", "snntorch-loop": "snntorch.import_nir",
    "lava-fixed": "lava.proc.lif.process",
}  # fmt: skip


def draw(reader, seed):
    """A graph of two neuron nodes behind connections that a reader takes, inputs (time, features), and dt."""
    import nir

    rng = np.random.default_rng(seed)
    loop, single, reader = reader.endswith("-loop"), reader.endswith("-fixed"), reader.partition("-")[0]
    dt = FIXED[reader] if reader in FIXED else STEP[reader] * float(rng.choice([0.5, 1.0, 2.0]))
    sizes = [1 if single else 3, 1, 1] if reader == "lava" else [3, 5, 4]
    nodes, edges, last = {"input": nir.Input(input_type=np.array(sizes[:1]))}, [], "input"
    for i, (into, out) in enumerate(zip(sizes, sizes[1:])):
        weight = (rng.normal(size=(out, into)) * 0.8 + 0.3).astype(np.float32)
        bias = (rng.normal(size=out) * 0.1 * (reader != "lava")).astype(np.float32)
        plain = rng.random() < 0.5 and reader not in ("sinabs", "lava")
        nodes[f"w{i}"] = nir.Linear(weight=weight) if plain else nir.Affine(weight=weight, bias=bias)
        kinds = KINDS.get(reader, ["LIF", "IF", "CubaLIF"])
        if reader == "snntorch" and (i == 0 or loop):
            kinds = ["LIF", "CubaLIF"]
        nodes[f"n{i}"] = neuron(rng, reader, str(rng.choice(kinds)), out, dt)
        edges += [(last, f"w{i}"), (f"w{i}", f"n{i}")]
        last = f"n{i}"
    if loop:
        if reader == "snntorch" and hasattr(nodes[last], "tau"):  # which it needs in a loop
            nodes[last].r = nodes[last].tau / np.float32(dt)
            nodes[last].v_threshold = nodes[last].v_threshold * 6
        nodes["w_rec"] = nir.Linear(weight=(rng.normal(size=(sizes[-1],) * 2) * 0.5).astype(np.float32))
        edges += [(last, "w_rec"), ("w_rec", last)]
    nodes["output"] = nir.Output(output_type=np.array([sizes[-1]]))
    x = rng.random((STEPS, sizes[0])) * 1.5 * (rng.random((STEPS, sizes[0])) < 0.6)
    x = (x > 0.4).astype(np.float32) if reader == "lava" else x.astype(np.float32)
    return nir.NIRGraph(nodes=nodes, edges=[*edges, (last, "output")]), x, dt


def neuron(rng, reader, kind, n, dt):
    import nir

    def some(low, high, same=False):
        return np.full(n, rng.uniform(low, high)).astype(np.float32) if same else rng.uniform(low, high, n).astype("f4")

    def all_of(value):
        return np.full(n, value, np.float32)

    same, step = reader == "spikingjelly", np.float32(dt)
    tau, size = some(2, 20, same) * step, {"IF": 2.0}.get(kind, 0.6)
    one_threshold = reader in ("snntorch", "spikingjelly") or (reader == "nengo" and kind == "CubaLIF")
    theta, reset = some(0.3 * size, 1.2 * size, one_threshold), some(-0.3, 0.1, same)
    newer = {"v_reset": reset} if "v_reset" in nir.LIF.__dataclass_fields__ else {}  # nir 1.0.4 has none
    leak, r = all_of(0), some(0.5, 4)
    if reader in ("norse", "spyx") and kind != "IF":
        leak = some(-0.1, 0.1)
    if kind == "IF":
        r = {"snntorch": all_of(1), "nengo": all_of(1), "spikingjelly": all_of(1 / dt)}.get(reader, r)
        return nir.IF(r=r, v_threshold=theta, **newer)
    if kind == "LIF":
        if same:
            r, leak = (all_of(1) if rng.random() < 0.5 else tau / step), reset
        r = all_of(1) if reader == "nengo" else r
        theta = theta * np.float32({"spyx": 3, "sinabs": 4, "lava": 0.5}.get(reader, 4 if same and r[0] != 1 else 1))
        return nir.LIF(tau=tau, r=r, v_leak=leak, v_threshold=theta, **newer)
    syn = some(1.5, 8, same or reader in ("snntorch", "nengo")) * step
    received = some(0.5, 3, same or reader == "snntorch")
    if reader in ("snntorch", "spikingjelly"):
        r = tau / step
    if reader == "nengo":
        tau, r = all_of(tau[0]), all_of(r[0])
    if reader == "rockpool":
        leak, r = some(-0.1, 0.1), some(3, 8)
    received = syn / step if same else received
    theta = theta * np.float32({"snntorch": 8, "spyx": 8, "spikingjelly": 16, "rockpool": 4}.get(reader, 1))
    return nir.CubaLIF(tau_syn=syn, tau_mem=tau, r=r, v_leak=leak, v_threshold=theta, w_in=received, **newer)


# ---- the readers: (graph, inputs, dt) -> spikes of the last node, (time, features) ----------------------------------


def _stateful(net, x):
    import torch

    state, rows = None, []
    with torch.no_grad():
        for now in torch.as_tensor(x[:, None]):
            out, state = net(now, state)
            rows.append(np.asarray(out[0] if isinstance(out, tuple) else out)[0])
    return np.stack(rows)


def norse(graph, x, dt):
    import norse.torch

    return _stateful(norse.torch.from_nir(graph, dt=dt, ignore_warnings=True), x)


def snntorch(graph, x, dt):
    from snntorch.import_nir import import_from_nir

    return _stateful(import_from_nir(graph), x)


def spikingjelly(graph, x, dt):
    from spikingjelly.activation_based.nir_exchange import import_from_nir

    return _stateful(import_from_nir(graph, dt=dt), x)


def spyx(graph, x, dt):
    import jax.numpy as jnp
    import spyx.nir

    return np.asarray(spyx.nir.from_nir(graph, jnp.asarray(x[:, None]), dt=dt)[1])[:, 0]


def sinabs(graph, x, dt):
    import torch
    from sinabs.nir import from_nir

    with torch.no_grad():
        out = from_nir(graph, batch_size=1)(torch.as_tensor(x))
    return np.asarray(out[0] if isinstance(out, tuple) else out)


def rockpool(graph, x, dt):
    import torch
    from rockpool.nn.modules.torch.nir import from_nir

    out = from_nir(graph)(torch.as_tensor(x[None]))
    return (out[0] if isinstance(out, tuple) else out).detach().numpy()[0]


def nengo(graph, x, dt):
    import nengo

    class Integrator(nengo.SpikingRectifiedLinear):
        """Fires where the membrane exceeds 1, and begins again at 0."""

        def step(self, dt, J, output, voltage):  # noqa: N803
            voltage += J * dt
            output[:] = voltage > 1
            voltage[output > 0] = 0

    start = {"initial_state": {"voltage": nengo.dists.Choice([0])}}
    with nengo.Network() as net:
        before = nengo.Node(nengo.processes.PresentInput(x.astype(float), dt))
        for i in range(2):
            weights, node = graph.nodes[f"w{i}"], graph.nodes[f"n{i}"]
            into = nengo.Node(
                lambda _, v, w=weights: w.weight.astype(float) @ v + getattr(w, "bias", 0.0),
                size_in=weights.weight.shape[1],
            )
            nengo.Connection(before, into, synapse=None)
            gain, n, synapse = 1.0 / node.v_threshold.astype(float), len(node.v_threshold), None
            kind = type(node).__name__
            if kind == "IF":
                type_, gain = Integrator(**start), gain / dt
            elif kind == "LIF":
                type_ = nengo.LIF(tau_rc=float(node.tau[0]), tau_ref=0, **start)
            else:
                type_ = nengo.LIF(tau_rc=float(node.tau_mem[0]), tau_ref=0, amplitude=dt, **start)
                gain = gain * node.r.astype(float) * node.w_in.astype(float)
                synapse = nengo.synapses.Lowpass(-dt / np.log(1 - dt / float(node.tau_syn[0])))
            some = nengo.Ensemble(n, 1, neuron_type=type_, gain=gain, bias=np.zeros(n))
            nengo.Connection(into, some.neurons, synapse=synapse)
            before = some.neurons
        probe = nengo.Probe(before)
    with nengo.Simulator(net, dt, progress_bar=False) as simulator:
        simulator.run_steps(len(x))
    return (simulator.data[probe] > 0).astype(float)


def lava(graph, x, dt, fixed=False):
    from lava.magma.core.run_conditions import RunSteps
    from lava.magma.core.run_configs import Loihi2SimCfg
    from lava.proc.dense.process import Dense
    from lava.proc.io.source import RingBuffer
    from lava.proc.lif.process import LIF
    from lava.proc.monitor.process import Monitor

    port, kept = RingBuffer(data=x.T.astype(int if fixed else float)).s_out, []
    for i in range(2):
        weight, node = graph.nodes[f"w{i}"].weight, graph.nodes[f"n{i}"]
        rate = float(dt / node.tau[0])
        both = [weight.astype(float), np.full((1, 1), rate)]
        theta, decays = float(node.v_threshold[0]), {"du": 1.0, "dv": rate}
        if fixed:
            both = [(256 * each).astype(np.int32) for each in both]
            theta, decays = int(theta * 131071) >> 9, {"du": 4095, "dv": int(rate * 4095)}
        for one in (Dense(weights=each) for each in both):
            port.connect(one.s_in)
            port = one.a_out
            kept.append(one)
        lif = LIF(shape=(1,), vth=theta, bias_mant=0, bias_exp=0, **decays)
        port.connect(lif.a_in)
        port = lif.s_out
    monitor = Monitor()
    monitor.probe(lif.s_out, len(x))
    lif.run(
        condition=RunSteps(num_steps=len(x)), run_cfg=Loihi2SimCfg(select_tag="fixed_pt" if fixed else "floating_pt")
    )
    data = monitor.get_data()
    lif.stop()
    return next(iter(next(iter(data.values())).values()))


def computed(reader, graph, x, dt):
    """What a reader computes, without what it says."""
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            options = {"fixed": True} if reader.endswith("-fixed") else {}
            return np.asarray(globals()[reader.partition("-")[0]](graph, x, dt, **options))
    finally:
        logging.disable(logging.NOTSET)


def record(*readers):
    """Add what readers compute from their drawn graphs to the recorded spikes."""
    kept = dict(np.load(RECORDED)) if RECORDED.exists() else {}
    for reader in readers:
        spikes = [computed(reader, *draw(reader, seed)) for seed in range(GRAPHS)]
        kept[reader] = np.stack(spikes).astype(np.uint8)
        assert (kept[reader] == np.stack(spikes)).all()
        print(reader, kept[reader].shape, round(float((kept[reader] > 0).mean()), 3))
    np.savez_compressed(RECORDED, **kept)


if __name__ == "__main__":
    record(*sys.argv[1:])
