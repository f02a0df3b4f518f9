"""The processes that train one model together, and the settings that they compare before they begin."""

from __future__ import annotations

import hashlib
import platform
import re
import sys
from typing import Any, Dict, List, Literal, get_args

from spikecore.api.core.extras import Processes, extra
from spikecore.api.core.messages import unknown
from spikecore.api.core.ranks import RankError, Ranks, launched

Parallel = Literal["data", "data-bf16", "fsdp", "none"]


def ranks_for(engine: Any, parallel: str) -> Ranks:
    """The processes that train together.

    Args:
        engine: the engine.
        parallel: "data", "data-bf16" or "fsdp", or "none" for this process alone.

    Raises:
        ValueError: ``parallel`` is something else.
        RankError: a launcher has started several, and they are in no process group.
    """
    if parallel not in get_args(Parallel):
        raise ValueError(unknown("parallel", parallel, get_args(Parallel)))
    if parallel == "none":
        return Ranks()
    processes = extra(engine, Processes)
    ranks = processes.ranks()
    ranks.narrow = parallel == "data-bf16"
    started = launched()
    if ranks.size == 1 and started is not None:
        variable, count = started
        raise RankError(
            f"{count} processes have been started ({variable}={count}), and engine {engine.name!r} does not train in "
            f"all of them together: {processes.together}; or, if each is to train a model of its own, say "
            "compute=sc.Compute(parallel='none'), in run files train.compute.parallel = 'none'"
        )
    return ranks


def check_ranks_agree(model: Any, ranks: Ranks, data: Any, validation: Any, **options: Any) -> None:
    """Refuse, on all ranks alike, to train together if anything differs that all must have in common.

    Args:
        model: the model.
        ranks: the processes.
        data, validation: batches.
        **options: of ``fit``, by name.

    Raises:
        RankError: names what differs.
    """
    if ranks.size == 1:
        return
    ranks.watch()
    executor = model.trainer.executor
    ranks.compare(
        {
            "spikecore": sys.modules["spikecore"].__version__,
            "Python": platform.python_version(),
            **ranks.versions(),
            "dtype": model.engine.dtype,
            "network": text(model.network),
            "seed": text(model.seed),
            **{name: text(value) for name, value in options.items()},
            "data": described(data),
            "validation": described(validation),
            "epochs done": text(model.epochs_done),
            "start of the last fit": text(model.trainer.start),
            "batches done": text(0 if model.trainer.unfinished is None else model.trainer.unfinished.batches),
            "step": text(executor.steps_done),
            "digest of the weights": digest_of(executor.state())
            if executor.divided is None
            else executor.divided.placed,
        }
    )


def check_weights(model: Any, ranks: Ranks) -> None:
    """Refuse, on all ranks alike, to continue with weights that callbacks have changed on some ranks only.

    Raises:
        RankError: names a rank whose weights differ from those of rank 0.
    """
    if ranks.size == 1:
        return
    executor = model.trainer.executor
    digests = ranks.gathered(digest(model.params()) if executor.divided is None else executor.divided.placed)
    for rank, own in enumerate(digests):
        if own != digests[0]:
            raise RankError(
                f"after the callbacks of epoch {model.epochs_done} the weights of rank {rank} are not those of rank 0: "
                "give a callback that changes weights, such as EarlyStopping(), to the fit of every rank"
            )


def text(value: Any) -> str:
    """A value as text that is the same in each process: without addresses in memory."""
    return re.sub(r" at 0x[0-9a-fA-F]+", "", repr(value))


def described(data: Any) -> str:
    """Batches as text: their kind, how many there are, and of how many samples."""
    if data is None:
        return "None"
    words: List[str] = [type(data).__name__]
    for name, value in (("batches", getattr(data, "__len__", None)), ("of", getattr(data, "batch_size", None))):
        try:
            value = value() if callable(value) else value
        except TypeError:  # a DataLoader around a stream has no length
            continue
        words += [] if value is None else [f"{value} {name}" if name == "batches" else f"{name} {value} samples"]
    samples: Any = getattr(data, "dataset", None)
    if hasattr(samples, "__len__"):
        words.append(f"from {len(samples)}")
    return repr(data) if type(data).__module__.startswith("spikecore.") else " ".join(words)


def digest_of(state: Dict[str, Any]) -> str:
    """A short text that differs if the arrays of a training state differ."""
    return digest(
        {f"{part}/{name}": x for part in ("params", "buffers", "optimizer") for name, x in state[part].items()}
    )


def digest(arrays: Dict[str, Any]) -> str:
    """A short text that differs if arrays differ."""
    total = hashlib.blake2b(digest_size=8)
    for name, x in sorted(arrays.items()):
        total.update(f"{name} {x.dtype} {x.shape}".encode())
        total.update(x.tobytes())
    return total.hexdigest()
