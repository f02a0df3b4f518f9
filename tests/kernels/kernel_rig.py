"""What the tests of GPU kernels share: every elementwise neuron as a problem, two engines' loops as oracles."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from typing import Any, Callable, Dict, List, NamedTuple

import numpy as np

import spikecore as sc
from spikecore.api.core.layer import Key
from spikecore.api.core.recorder import Untraceable
from spikecore.api.core.tree import Params, State, Tree, flatten, leaves, map_leaves, unflatten
from spikecore.conformance.cases import NEURONS, Case
from spikecore.kernels.base import Request, Upstream, Wanted
from spikecore.kernels.trace import trace

LIMITS = {"float32": 1e-6, "float64": 1e-14}
#: Ill-conditioned in float32, and autograd adds their shares in another order; NumPy's bits are the stricter test.
LOOSER = {sc.Alpha: 5e-6, sc.Izhikevich: 2e-5}
EXP = (  # surrogates made of exp: no two libraries have the same
    sc.surrogate.sigmoid, sc.surrogate.gaussian, sc.surrogate.multi_gaussian, sc.surrogate.erf,
    sc.surrogate.piecewise_exponential, sc.surrogate.spike_rate_escape,
)  # fmt: skip
#: Words whose last bits each library has its own.
OWN = {"exp", "log", "sin", "cos", "tanh", "atan", "pow"}
UNITS = {None: 0.0, "float16": 2.0**-10, "bfloat16": 2.0**-7}  # in the last place of an input's type


@dataclass(frozen=True)
class EveryWord(sc.base.Neuron):
    """All words that a step may consist of; ``library`` adds those that Triton's interpreter does not know."""

    tau: sc.base.Param = sc.learn(2.0)
    library: bool = False

    def step(self, engine, params, state, x):
        xp, mem = engine.xp, state.mem
        part = 0.5 * xp.maximum(x, mem) + 0.25 * xp.minimum(x, 0.3 * params.tau) + 0.1 * xp.sign(x) * xp.floor(x)
        part = part + 0.1 * xp.ceil(mem) + xp.log(abs(x) + 1.0) - xp.sqrt(1.0 + mem**2) / 4.0 + 0.01 * x**3
        part = part + 0.1 * xp.exp(-abs(mem)) / params.tau
        if self.library:
            part = part + 0.3 * xp.tanh(mem) + 0.2 * xp.atan(x) + 0.1 * xp.round(mem) + 0.1 * (abs(x) + 0.1) ** 1.5
            part = part + 0.1 * xp.sin(2.0 * mem) + 0.1 * xp.cos(2.0 * x)
        kept = ((part > 0.2) | ~(part <= -0.5)) & (part != 3.0)
        mem = xp.where(kept, part, xp.clip(part, -1.0, float("inf")))
        return self.graded(params, self.fires(engine, params, mem)), sc.base.State(mem=mem)


WORDS = Case("every-word", EveryWord(threshold=0.5))
LIBRARY = Case("every-word-library", EveryWord(threshold=0.5, library=True))


class Results(NamedTuple):
    """What a run and its gradients are, as NumPy arrays."""

    outputs: Any
    recorded: List[Any]
    final: List[Any]
    x: Any
    state: List[Any]
    params: Dict[str, Any]


class Side(NamedTuple):
    """Where kernels run: ``put`` takes arrays there, ``get`` back, ``typed`` turns floats into the input's type."""

    put: Callable[[Any], Any] = lambda a: a
    get: Callable[[Any], Any] = np.asarray
    typed: Callable[[Any], Any] = lambda a: a
    broadcast: Callable[[Any, Any], Any] = np.broadcast_to


def constants_of(params):
    return tuple((name, value if type(value) is float else None) for name, value in params.items())


def prepared(case, engine):
    return case.layer.prepare(engine, map_leaves(engine.asarray, case.layer.init(Key((0,)), case.shape).params))


def is_elementwise(case):
    try:
        trace(case.layer, dict(constants_of(flatten(prepared(case, sc.get_engine("numpy"))))))
    except (Untraceable, ValueError):
        return False
    return True


ELEMENTWISE = [case for case in NEURONS if is_elementwise(case)]
CASES = {case.name: case for case in (*ELEMENTWISE, WORDS, LIBRARY)}


def rounded(a, given):
    """The nearest numbers of a half-precision type, as float32."""
    if given == "bfloat16":
        bits = np.ascontiguousarray(a, np.float32).view(np.uint32)
        return ((bits + 0x7FFF + (bits >> 16 & 1)) & 0xFFFF0000).astype(np.uint32).view(np.float32)
    return a if given is None else a.astype(given).astype(a.dtype)


class Problem:
    """A neuron with prepared parameters, a first state, inputs, and upstream gradients for all that a run returns.

    Those are positive, so that a parameter's gradient is a sum that does not cancel. ``given`` is a half-precision
    type of the input; ``flat``: the upstream gradient of the output is the same memory at every step; ``still``: no
    input and no first state.
    """

    def __init__(
        self,
        case,
        dtype="float32",
        steps=7,
        batch=11,
        constant=False,
        window=None,
        given=None,
        flat=False,
        still=False,
    ):
        engine = sc.get_engine("numpy", dtype=dtype, fused=False)
        self.layer, self.dtype, self.steps, self.window, self.given = case.layer, dtype, steps, window, given
        random = np.random.default_rng(zlib.crc32(case.name.encode()))
        self.tree = prepared(case, engine)
        self.params = {n: v if type(v) is float else v.copy() for n, v in flatten(self.tree).items()}
        x = random.normal(size=(1 if constant else steps, batch, *case.shape)) + 0.4
        self.x = rounded(self.layer.project(engine, self.tree, engine.asarray(x)), given)
        rest = self.layer.rest(engine, self.tree, self.x[0])
        shape = next(iter(rest.values())).shape  # of an LSTM, the input has a part for each gate
        self.state = State({s: engine.asarray(rest[s] + 0.1 * random.normal(size=shape)) for s in self.layer.state})
        if still:
            self.x, self.state = 0.0 * self.x, map_leaves(np.zeros_like, self.state)
        self.record, self.flat = tuple(self.layer.state), flat
        positive = lambda *shape: engine.asarray(0.1 + random.random(shape))  # noqa: E731
        self.g = rounded(positive(steps, *shape), given)
        if flat:
            self.g = np.repeat(self.g[:1], steps, axis=0)
        self.g_recorded = [0.3 * positive(steps, *shape) for _ in self.record]
        self.g_final = [positive(*shape) for _ in self.record]

    def kernels(self, make):
        """The kernels that ``make`` makes for this problem."""
        constants = constants_of(self.params)
        rows = [p for p in trace(self.layer, dict(constants)).params if self.params[p].size != 1]
        made = make(self.layer, constants, self.record, tuple(rows), self.dtype)
        assert not isinstance(made, str), made
        return made

    def request(self, kernels, side):
        """Input, states and parameters where the kernels run."""
        state = [side.put(self.state[s]) for s in kernels.states]
        params = {p: side.put(self.params[p]) for p in kernels.params}
        return Request(side.typed(side.put(self.x)), state, params, self.steps)

    def upstream(self, side, saved):
        g = self.g.copy()
        if self.flat:
            g[1:] = np.nan  # what lies behind the one row is nobody's business
        g = side.typed(side.put(g))
        g = side.broadcast(g[:1], g.shape) if self.flat else g
        return Upstream(g, [side.put(g) for g in self.g_recorded], [side.put(g) for g in self.g_final], saved)

    def run(self, kernels, side):
        """Results of the kernels."""
        request, get = self.request(kernels, side), side.get
        made = kernels.forward(request, keep=True)
        assert [tuple(s.shape) for s in made.saved] == kernels.saved_shapes(self.steps, tuple(self.x.shape[1:]))
        everything = Wanted(True, kernels.params, self.window or 0)
        found = kernels.backward(request, self.upstream(side, made.saved), everything)
        bare = kernels.forward(request, keep=False)
        assert bare.saved == ()
        for kept, other in zip((made.outputs, *made.final), (bare.outputs, *bare.final)):
            assert np.array_equal(get(kept), get(other))
        ends = get(made.outputs), [get(r) for r in made.recorded], [get(f) for f in made.final]
        by_params = {p: get(g) for p, g in found.params.items()}
        return Results(*ends, get(found.inputs), [get(s) for s in found.state], by_params)

    def part(self, kernels, side):
        """Whether gradients are the same when only the last parameter's and the state's are asked for."""
        request, last, window = self.request(kernels, side), kernels.params[-1:], self.window or 0
        upstream = self.upstream(side, kernels.forward(request).saved)
        whole = kernels.backward(request, upstream, Wanted(True, kernels.params, window))
        found = kernels.backward(request, upstream, Wanted(False, last, window))
        pairs = [*zip(found.state, whole.state), *((found.params[p], whole.params[p]) for p in last)]
        same = all(np.array_equal(side.get(a), side.get(b)) for a, b in pairs)
        return same and found.inputs is None and tuple(found.params) == last

    def loop(self, name):
        """The same on an engine, one step after the other."""
        engine = sc.get_engine(name, dtype=self.dtype, fused=False)
        numbers = {n: v for n, v in self.params.items() if type(v) is float}
        arrays = Tree({n.replace(".", "/"): v for n, v in self.params.items() if n not in numbers})
        held = map_leaves(engine.asarray, Tree(params=arrays, x=self.x, state=self.state))
        weights = [engine.asarray(g) for g in (self.g, *self.g_recorded, *self.g_final)]

        def function(held, *weights):
            given = {n.replace("/", "."): v for n, v in held.params.items()}
            params = Params(unflatten({**numbers, **given}, self.tree))
            run = {"steps": self.steps, "record": self.record, "window": self.window}
            out, recorded, final = engine.scan(self.layer, params, State(held.state), held.x, **run)
            ends = [out, *(recorded[s] for s in self.record), *(final[s] for s in self.record)]
            return sum(engine.xp.sum(e * w) for e, w in zip(ends, weights)), ends

        _, ends, grads = engine.value_and_grad(function, held, *weights)
        out, *rest = (engine.to_numpy(e) for e in ends)
        grads, count = map_leaves(engine.to_numpy, grads), len(self.record)
        by_params = {n.replace("/", "."): g for n, g in grads.params.items()}
        return Results(out, rest[:count], rest[count:], grads.x, [g for _, g in leaves(grads.state)], by_params)


def of_exp(problem):
    """Whether a neuron's gradient is made of exp, so that rounding it to half precision may go either way."""
    return isinstance(problem.layer.core[0].surrogate, EXP)


def of_library(problem, kernels, close):
    """The limits of ``differences`` if the step has functions of a library; None if it has none.

    NumPy's vector units and the C library of one machine differ, too. So do states, and all that comes of them.
    """
    trace = kernels.step.trace
    forwards, _ = trace.graph.needed([trace.output, *trace.after])
    if not {op.word for op in forwards} & OWN:
        return None
    return {"bits": close, "half": UNITS[problem.given], "values": close, "outputs": close}


def on_a_gpu(problem, kernels):
    """The limits of ``differences`` on a GPU, whose libraries have functions and products of their own."""
    own, close = LIMITS[problem.dtype], 10.0 * LIMITS[problem.dtype]
    limits = of_library(problem, kernels, close)
    if limits is not None:
        return limits
    products = own if hasattr(kernels, "feedback") else 0.0
    if of_exp(problem):
        return {"bits": close, "half": UNITS[problem.given], "values": products}
    return {"bits": own, "values": products}


def differences(problem, found, bits=0.0, half=0.0, values=0.0, outputs=0.0):
    """What differs from the loops, as texts; none if all is well.

    Outputs and states must equal both loops (to ``outputs`` and ``values``); gradients NumPy's to ``bits`` (0: to the
    last bit), torch's to rounding. A parameter's gradient is compared with torch's alone: in which order a sum over
    neurons is taken is anyone's choice. In half precision outputs and the input's gradient must equal the rounded ones
    to ``half``.
    """
    exact, other = (problem.loop(name) for name in ("numpy", "torch"))
    if problem.given:
        exact, other = (
            e._replace(outputs=rounded(e.outputs, problem.given), x=rounded(e.x, problem.given)) for e in (exact, other)
        )
    looser = LOOSER.get(type(problem.layer), 0.0) if problem.dtype == "float32" else 0.0
    limit = max(LIMITS[problem.dtype], looser, bits)
    texts = [t for loop in (exact, other) for t in _unequal(found, loop, half, values, outputs)]
    texts += [*_far("x", found.x, exact.x, half if problem.given else bits)]
    texts += [] if problem.given else [*_far("x", found.x, other.x, limit)]
    for mine, a, b in zip(found.state, exact.state, other.state):
        texts += [*_far("state", mine, a, bits), *_far("state", mine, b, limit)]
    for name, mine in found.params.items():
        texts += _far(name, mine, other.params[name], limit)
    return texts


def _unequal(found, expected, half, values, outputs):
    pairs = [(found.outputs, expected.outputs, half, outputs)]
    pairs += [(a, b, 0.0, values) for a, b in zip(found.recorded, expected.recorded)]
    pairs += [(a, b, 0.0, values) for a, b in zip(found.final, expected.final)]
    for a, b, relative, absolute in pairs:
        if a.shape != b.shape or not (abs(a - b) <= relative * abs(b) + absolute).all():
            yield f"values: {np.sum(a != b)} of {a.size} differ"


def _far(name, a, b, limit):
    error = abs(a - b).max() / (abs(b).max() or 1.0)
    if a.shape != b.shape or a.dtype != b.dtype or not error <= limit:
        yield f"gradient by {name}: {a.dtype}{a.shape} and {b.dtype}{b.shape}, {error:.2g} > {limit:.2g}"


def forget():
    """What another process would not know."""
    from spikecore.kernels import select
    from spikecore.kernels.runtime import build, modules

    for known in (build.kernel_of, build.build_run, modules.load, select.remembered):
        known.cache_clear()
    build.in_memory.clear()


def only_place(monkeypatch, tmp_path):
    """The only folder for kernels from here on, where nothing is yet."""
    monkeypatch.setenv("SPIKECORE_CACHE", str(tmp_path / "own"))
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setenv("HOME", "no home")  # relative: not used
    return tmp_path / "own" / "kernels"
