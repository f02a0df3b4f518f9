"""Errors inside a user's own layer, neuron or loss, in words: what is wrong there and what to write instead.

An error is looked at after it has happened, so calls that succeed pay nothing. The frames of its traceback say which
part was running, and on which line.
"""

from __future__ import annotations

import linecache
import re
import traceback
from types import FrameType
from typing import Any, Callable, List, Match, Optional, Tuple, Union

from spikecore.api.core.layer import ShapeError, layer_name
from spikecore.api.core.words import WORDS
from spikecore.other_names import CALLS, FUNCTIONS, LIBRARIES, SAID

Frames = List[Tuple[FrameType, int]]  # of the code that ran when an error came, from outside to inside, with its lines

#: What runs layers, neurons and losses; frames outside it are of the user's program, or of a callback.
RUNNERS = ("spikecore.api.layers.network", "spikecore.api.layers.containers", "spikecore.api.neurons.stepper")

# An engine's message about a torch function has this advice. It is right in a loss; in a step another is given.
FOR_LOSSES = "write the loss with xp"


def explain(error: Exception) -> None:
    """Raise a better error in place of one that came while a network ran, if there is something to say.

    Raises:
        TypeError: names the method or function, the line, and what to write instead.
        ShapeError: a layer's ``init`` says another shape than the layer gives.
    """
    better = _better(error)
    if better is not None:
        raise better from error


def _better(error: Exception) -> Optional[Exception]:
    frames = list(traceback.walk_tb(error.__traceback__))
    disagreement = _disagreement(frames)
    if disagreement:
        return ShapeError(disagreement)
    begins = next((i for i, (frame, _) in enumerate(frames) if _module(frame) in RUNNERS), len(frames))
    own = [(frame, line) for frame, line in frames[begins:] if _module(frame).partition(".")[0] not in LIBRARIES]
    if not own or (FOR_LOSSES in str(error) and "engine" not in own[0][0].f_locals):
        return None
    frame, number = own[-1]
    code = linecache.getline(frame.f_code.co_filename, number, frame.f_globals).strip()
    for said, written, remedy in REMEDIES:
        found = re.search(said, str(error))
        if found and re.search(written, code):
            what = _with_names(remedy if isinstance(remedy, str) else remedy(found, code), own[0][0].f_locals)
            shown = f", line {number}, {code!r}" if code else ""
            return TypeError(f"{_name(own[0][0])}{shown}: {what}")
    return None


def _module(frame: FrameType) -> str:
    return str(frame.f_globals.get("__name__"))


def _name(frame: FrameType) -> str:
    """The method or function that runs in a frame."""
    owner, name = frame.f_locals.get("self"), frame.f_code.co_name
    return name if owner is None else f"{type(owner).__name__}.{name}"


def _with_names(remedy: str, names: Any) -> str:
    """The remedy with the names that a function has: a step has ``engine``, a loss has not."""
    return remedy if "engine" in names else remedy.replace("engine.xp", "sc.base.engine_of(out.spikes).xp")


# ---- what to write instead -----------------------------------------------------------------------------------------


def _function(found: Match[str], code: str) -> str:
    calls = re.findall(CALLS, code)
    name = next((one or other for one, other in calls), "")
    head = "functions of np, torch and math cannot be used here, since they would not run on every engine"
    lost = ", and its gradient would be lost" if "turn into a NumPy array" in found[0] else ""
    return f"{head}{lost}: {_word(name)}"


def _word(name: str) -> str:
    if name in WORDS or name in FUNCTIONS:
        return f"write {FUNCTIONS.get(name, f'xp.{name}(...)')}, with xp = engine.xp"
    return "write functions of xp = engine.xp, which sorted(vars(engine.xp)) lists"


def _number(_: Match[str], code: str) -> str:
    name = (re.findall(r"\bparams\.\w+", code) or ["x"])[0]
    return (
        f"functions of xp take arrays, and {name if name != 'x' else 'this'} is a plain number unless it is learned: "
        f"write engine.asarray({name}), which takes both, or math.exp and the like for a constant"
    )


def _own_field(_: Match[str], code: str) -> str:
    name = (re.findall(r"\bself\.(\w+)", code) or ["beta"])[0]
    return f"self.{name} is what the constructor got, e.g. sc.learn(0.9); write params.{name}, which has its value"


AXES = "functions of xp have the names of the array API standard: write axis= for dim=, and keepdims= for keepdim="
CAST = "cast takes the engine first: write cast(engine, mem > 0.0)"
#: What the error's text has, what the line has, and the remedy.
REMEDIES: Tuple[Tuple[str, str, Union[str, Callable[[Match[str], str], str]]], ...] = (
    (
        SAID["truth"],
        "",
        "if, and, or, not, min and max need one answer, but an array has one for each neuron: write "
        "xp.where(condition, a, b), with xp = engine.xp; for 'and' write &, for 'or' |",
    ),
    ("unexpected keyword argument '(dim|keepdim)'", "", AXES),
    (SAID["axes"], r"\b(dim|keepdim)=", AXES),
    (r"cast\(\) (missing|got)|no word 'xp'", "", CAST),
    ("has no attribute '?(xp|dtype)", r"\bcast\(", CAST),
    (SAID["number"], "", _number),
    (r"unsupported operand type.*'(Learn|Fixed)'", "", _own_field),
    (r"Engine' object has no attribute '(\w+)'", "", lambda found, _: _word(found.group(1))),
    (
        SAID["method"],
        "",
        lambda found, _: f"arrays have no method {found.group(1)!r} on every engine: {_word(found.group(1))}",
    ),
    (SAID["function"], "", _function),
)


# ---- shapes --------------------------------------------------------------------------------------------------------


def _disagreement(frames: Frames) -> str:
    """Message for a layer of the user's own that gave another shape than its ``init`` says, and the next one failed."""
    for (frame, _), (inside, _) in zip(frames, frames[1:]):
        if frame.f_code.co_name != "run" or inside.f_code.co_name != "flow" or _module(frame) not in RUNNERS:
            continue
        container, run, x = (frame.f_locals.get(name) for name in ("self", "run", "x"))
        here: Any = inside.f_locals
        stage, sources, entered = here.get("does"), here.get("sources", ()), here.get("x")
        before = dict(container.children()).get(sources[0]) if len(sources) == 1 else None  # type: ignore[union-attr]
        if before is None or type(before).__module__.partition(".")[0] in LIBRARIES:
            continue
        if not hasattr(stage, "covers") or not hasattr(entered, "shape"):  # it came before the input
            continue
        wanted = container.entering_shapes(tuple(x.shape[2:])).get(stage.covers[0])  # type: ignore[union-attr]
        found = tuple(entered.shape[2:])
        if wanted is not None and found != wanted:
            name, kind = run.child(sources[0]).path, layer_name(before)  # type: ignore[union-attr]
            does = "step" if before.state else "apply"
            return (
                f"layer {name}: {kind}.init says that samples of its output have shape {wanted}, but {kind}.{does} "
                f"gave {found}: the third value of Init must be the shape of one sample, without time and batch"
            )
    return ""
