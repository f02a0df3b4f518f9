"""Words of PyTorch, Keras and snnTorch for what a ``Model`` does by another name, or does not need."""

from __future__ import annotations

from typing import Any, Dict, Iterable

from spikecore.api.core.messages import unknown

_MODE = "leave it out: fit trains and a call does not, so there is no mode to switch"
_LOOP = (
    "fit computes gradients and updates the weights; for a training loop of your own write model.train_step(x, y), or "
    "take modules, spikecore.nn.to_torch(model), or gradients, spikecore.backprop.bptt(model, x, y)"
)
_COPY = "write other = model.to_engine('torch', device='cuda'), a copy on another engine or device"
_REST = "leave it out: each call starts at rest; to go on, pass state=out.state of the call before"
_WEIGHTS = "write model.params(), copies by name; for torch.optim spikecore.nn.to_torch(model).parameters()"
REMEDIES: Dict[str, str] = {
    **dict.fromkeys(("train", "eval", "training"), _MODE),
    **dict.fromkeys(("zero_grad", "backward", "step", "train_on_batch", "grad"), _LOOP),
    **dict.fromkeys(("to", "cuda", "cpu", "mps"), _COPY),
    **dict.fromkeys(("float", "double"), "write model.to_engine(model.engine.name, dtype='float64')"),
    "half": "write model.to_engine('torch', precision='bf16'); weights stay in float32",
    **dict.fromkeys(("reset", "reset_mem", "reset_hidden", "init_leaky", "detach_hidden"), _REST),
    **dict.fromkeys(("parameters", "named_parameters", "weights", "get_weights"), _WEIGHTS),
    "forward": "call the model: out = model(x, num_steps=25)",
    "state_dict": "write model.state(), or model.save(path)",
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
    "device": "write model.engine.device",
    "dtype": "write model.engine.dtype",
}


def no_attribute(kind: str, name: str, known: Iterable[str]) -> str:
    """The message for an attribute that ``kind`` lacks: what to write instead, or the nearest name."""
    if name in REMEDIES:
        return f"{kind} has no {name!r}: {REMEDIES[name]}"
    public: Any = [each for each in known if not each.startswith("_")]
    return f"{kind}: {unknown('attribute', name, public)}"
