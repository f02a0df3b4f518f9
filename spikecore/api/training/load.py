"""``spikecore.load``: reads a model from a file onto any engine."""

from __future__ import annotations

import os
import warnings
from typing import Any, Dict, Iterable, Optional, Union

from spikecore.api.core.engine import Engine
from spikecore.api.core.engines import ENVIRONMENT, EngineName, EngineUnavailable, engines, get_engine
from spikecore.api.training.checkpoint import read
from spikecore.api.training.description import CheckpointError, Classes
from spikecore.api.training.evaluate import Average
from spikecore.api.training.history import History
from spikecore.api.training.model import Model
from spikecore.api.training.resuming import FitStart
from spikecore.arguments import PathLike, checked, shown


@checked
def load(
    path: PathLike,
    engine: Union[None, EngineName, Engine] = None,
    classes: Classes = (),
    *,
    modules: Iterable[Any] = (),
    check_finite: bool = True,
    **options: Any,
) -> Any:
    """Read a model that ``Model.save`` wrote.

    Loading executes no code of the file. A malicious file is refused like a damaged one: names, shapes and dtypes are
    compared with what the network needs before any weight is used.

    Args:
        path: the file.
        engine: an Engine or its name; any engine, not only the one that the model was saved from. None, the default,
            means ``$SPIKECORE_ENGINE``, or the engine that the model was saved from if that is unset.
        classes: your own layer, surrogate and optimiser classes that the network uses, e.g. ``[MyNeuron]``. For a class
            that has been renamed since, a dict by its name in the file: ``{"old.module.MyNeuron": MyNeuron}``.
        modules: for networks with ``sc.Torch`` layers the modules that they wrap, in their order, e.g.
            ``[nn.LayerNorm(100)]``; the weights come from the file.
        check_finite: whether weights that are NaN or infinite are refused; False also reads a model that has diverged.
        **options: passed to the engine if it is given by name; ``dtype`` defaults to that of the file.

    Returns:
        the ``Model``.

    Raises:
        FileNotFoundError: there is no such file.
        CheckpointError: the file is not a spikecore model, damaged or of a newer format; a class is unknown; or weights
            are not finite.

    Warns:
        UserWarning: the engine that the model was saved from cannot be used here; the model is on "numpy".
    """
    if isinstance(modules, str) or not hasattr(modules, "__iter__"):
        raise TypeError(f"load: modules={shown(modules)} must be a list of modules, e.g. [nn.LayerNorm(100)]")
    if isinstance(classes, (type, str)):
        write = f"[{classes.__name__}]" if isinstance(classes, type) else "[MyNeuron]"
        raise TypeError(f"load: classes={shown(classes)} must be a list of classes: write classes={write}")
    try:
        contents = read(path, classes, modules, check_finite)
        about = contents.about
        if not isinstance(engine, Engine):
            engine = _again(engine, about.get("engine"), path, {"dtype": about["dtype"], **options})
        shape = tuple(about["input_shape"])
        try:
            model = Model.from_state(contents.network, engine, about["seed"], shape, contents.state, contents.optimizer)
        except (KeyError, ValueError) as error:  # of slots, or from an engine
            raise CheckpointError(str(error.args[0])) from error
    except CheckpointError as error:
        raise CheckpointError(f"{path}: {error}") from error.__cause__
    except MemoryError as error:
        raise CheckpointError(f"{path}: needs more memory than is available ({os.stat(path).st_size} bytes)") from error
    model.history, model.epochs_done = History(about["history"]), about["epochs_done"]
    model.notes = about["notes"]
    model.trainer.unfinished = about["unfinished"] and Average(**about["unfinished"])
    model.trainer.start = FitStart(**about["fit_start"])
    return model


def _again(name: Optional[str], saved: Optional[str], path: Any, options: Dict[str, Any]) -> Engine:
    """The engine for a loaded model: by name, else from the environment, else the one that it was saved from.

    Args:
        name: the engine that the caller asks for; None if there is none.
        saved: the engine's name in the file; None in older files.
        path: the file, for the warning.
        options: passed to the engine.
    """
    if saved is None or name or os.environ.get(ENVIRONMENT):
        return get_engine(name, **options)
    try:
        if saved in [status.name for status in engines()]:
            return get_engine(saved, **options)
        why = f"engine {saved!r}: no engine of this name is installed"
    except EngineUnavailable as error:
        why = str(error)
    warnings.warn(
        f"{path} is loaded on 'numpy', since the engine it was saved from cannot be used here: {why}. "
        "Say engine='numpy' if this is meant, engine=... for another one",
        stacklevel=4,  # past this function, ``load`` and the check of its arguments
    )
    return get_engine("numpy", **options)
