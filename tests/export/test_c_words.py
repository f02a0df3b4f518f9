"""Every word in C gives what NumPy gives: all of them as one step, so that one compiler run is enough."""

import ctypes

import numpy as np
import pytest

import spikecore as sc
from spikecore.api.core import words
from spikecore.api.core.graph import Type, WordGraph
from spikecore.conformance import word_cases
from spikecore.engines.numpy.engine import NumpyEngine
from spikecore.export.c.files import header, source
from spikecore.export.c.plan import planned
from spikecore.export.c.writer import pieces
from spikecore.export.step_graph import StepGraph, StepState
from tests.export.c_rig import COMPILERS, STRICT, InC, called, needs_compiler
from tests.export.export_rig import FLAGS, KEYS, NUMBERS

CREATED = "zeros_like", "ones_like", "stop_gradient"  # no words of a graph
NO_FORM = "patches", "unpatches"
TIES = np.array([0.5, 1.5, 2.5, -0.5, -1.5, -0.0, np.nan, np.inf, -np.inf], "float32")
OTHER = [  # flags, whole numbers, numbers that are none
    *(
        word_cases.WordCase(n, (FLAGS, ~FLAGS), {}, None)
        for n in ("add", "multiply", "maximum", "minimum", "greater", "equal")
    ),
    *(
        word_cases.WordCase(n, (FLAGS, word_cases.A), {}, None)
        for n in ("multiply", "subtract", "less_equal", "not_equal")
    ),
    *(
        word_cases.WordCase(n, (NUMBERS, 2), {}, None)
        for n in ("add", "greater", "equal", "maximum", "minimum", "multiply", "pow")
    ),
    *(word_cases.WordCase(n, (FLAGS,), {"axis": 0}, None) for n in ("sum", "max", "min", "any", "all")),
    *(
        word_cases.WordCase(n, (NUMBERS,), {}, None)
        for n in ("sum", "min", "argmax", "abs", "sign", "negative", "any", "all")
    ),
    *(
        word_cases.WordCase("astype", (a, d), {}, None)
        for a in (3 * word_cases.A, FLAGS, NUMBERS)
        for d in ("int64", "float32", "bool")
    ),
    *(
        word_cases.WordCase(n, (TIES,), {}, None)
        for n in ("round", "floor", "sign", "abs", "max", "argmax", "argmin", "isfinite")
    ),
    *(word_cases.WordCase(n, (TIES, 1.0), {}, None) for n in ("maximum", "minimum", "greater", "multiply", "subtract")),
    word_cases.WordCase("clip", (TIES, -1.0, 1.0), {}, None),
    word_cases.WordCase("clip", (NUMBERS, 0, 4), {}, None),
    word_cases.WordCase("where", (FLAGS, FLAGS, ~FLAGS), {}, None),
    word_cases.WordCase("matmul", (word_cases.MAP, word_cases.normal(6, 3)), {}, None),
]
WORDS = [
    *(word for word in [*word_cases.DIFFERENTIABLE, *word_cases.CONSTANT] if word.word not in (*CREATED, *NO_FORM)),
    *OTHER,
    *KEYS,
]
WORDS = [word for word in WORDS if not any(isinstance(a, str) and a == "float64" for a in word.arguments)]
#: Words whose last bits may differ: functions of another library, and sums in another order.
FUNCTIONS, SUMS = "exp log sin cos tanh atan erf pow", "sum mean avg_pool matmul linear conv conv_transpose"
ROUNDED = {*FUNCTIONS.split(), *SUMS.split(), "log_softmax", "moments", "batch_norm"}
WEIGHTS = "linear", "conv", "conv_transpose"  # whose second and third argument are constants


class OneStep:
    """A graph that applies words to states, and gives all results in one row.

    Args:
        chosen: the words.
        weights: words whose second and third argument are constants.
    """

    def __init__(self, chosen, weights=WEIGHTS):
        self.weights = weights
        self.raw = NumpyEngine("float32", fused=False).raw_words()
        self.words, self.states, self.known = WordGraph(speaker=("", "Words")), [], {}
        self.x = self.words.input("x", Type("float32", (1, 1)))
        rows, self.expected = [], []
        for word in chosen:
            with np.errstate(all="ignore"):
                out, result = self.word(word)
            self.expected.append(np.asarray(result, "float32").reshape(-1))
            kind = self.words.type_of(out)
            out = out if kind.dtype == "float32" else self.node("astype", (out, "float32"), kind.shape, "float32")
            rows.append(self.node("reshape", (out, (1, -1)), (1, result.size), "float32"))
        total = sum(row.size for row in self.expected)
        output = self.node("concat", tuple(rows), (1, total), "float32", axis=1)
        self.graph = StepGraph(self.words, self.x, output, tuple(self.states), (("", "Words"),))

    def node(self, word, args, shape, dtype, **options):
        return self.words.add(word, args, Type(str(dtype), tuple(shape)), options)

    def given(self, array):
        """An array as a state, and as the type that it has."""
        key = array.tobytes(), array.shape, str(array.dtype)
        if key not in self.known:
            name = f"s{len(self.states) + 1}"
            state = self.words.input(name, Type("float32", array.shape))
            self.states.append(StepState(name, state, state, array.astype("float32")))
            same = array.dtype == np.float32
            kind = str(array.dtype)
            self.known[key] = state if same else self.node("astype", (state, kind), array.shape, kind)
        return self.known[key]

    def word(self, word):
        arguments, plain = [], []
        flat = [a for each in word.arguments for a in (each if isinstance(each, list) else [each])]
        for place, argument in enumerate(flat):
            if isinstance(argument, np.ndarray) and argument.dtype == np.float64:
                argument = argument.astype("float32")
            plain.append(argument)
            fixed = word.word in self.weights and place
            arguments.append(self.given(argument) if isinstance(argument, np.ndarray) and not fixed else argument)
        result = np.asarray(self.raw[word.word](*plain, **word.options))
        assert str(result.dtype) in ("float32", "bool", "int64"), word
        return self.node(word.word, tuple(arguments), result.shape, result.dtype, **word.options), result


@needs_compiler
def test_every_word(tmp_path):
    step = OneStep(WORDS)
    net = pieces(planned(step.graph), "net")
    (tmp_path / "net.h").write_text(header(net))
    (tmp_path / "net.c").write_text(source(net))
    called(COMPILERS[0], *STRICT, "-O0", "-shared", "-fPIC", tmp_path / "net.c", "-o", tmp_path / "net.so", "-lm")
    found = InC(ctypes.CDLL(str(tmp_path / "net.so")), tmp_path / "net.h").run(np.zeros((1, 1)))[0][0]
    for word, row, expected in zip(
        WORDS, np.split(found, np.cumsum([row.size for row in step.expected])), step.expected
    ):
        close = {"rtol": 1e-6, "atol": 1e-6} if word.word in ROUNDED else {"rtol": 0}
        np.testing.assert_allclose(row, expected, **close, err_msg=f"{word.word} {word.options}")


def test_every_word_of_a_step_is_tried():
    named = {*words.DIFFERENTIABLE, *words.PIECEWISE_CONSTANT} - {*CREATED, *NO_FORM}
    assert named <= {word.word for word in WORDS}


@pytest.mark.parametrize("word", NO_FORM)
def test_words_without_a_form_are_refused(word):
    case = next(case for case in word_cases.DIFFERENTIABLE if case.word == word)
    with pytest.raises(sc.errors.ExportError, match=f"Words uses '{word}', which has no form in C"):
        planned(OneStep([case]).graph)


def test_weights_that_depend_on_the_input_are_refused():
    case = next(case for case in word_cases.DIFFERENTIABLE if case.word == "linear")
    with pytest.raises(
        sc.errors.ExportError, match="Words: its weight depends on the input, and in C weights are constants"
    ):
        planned(OneStep([case], weights=()).graph)
