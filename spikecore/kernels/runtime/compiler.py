"""C functions from the Python of generated kernels, by LLVM alone: a tenth of a second each, where Numba takes one.

Kernels are written in a small part of Python: whole numbers, floats of one type, truth values, rows in memory; loops,
conditions, and the functions in ``functions.py``. The type of everything is plain, while Numba takes most of its time
to find types out, and two thirds of a second to be ready. What is not in this part of Python raises ``Unspoken``: Numba
compiles it. Both do the same operations in the same order, so the bits agree.

    for j in range(width):              for:   %i = load i64, ptr %i.at
        v4 = k_0 * row_now[j]                  %10 = load float, ptr %9     ; row_now[j]
                                               %11 = fmul float %8, %10
"""

from __future__ import annotations

import ast
import os
from functools import lru_cache, partial
from typing import Any, Dict, Iterable, List, Optional, Sequence, Tuple

from llvmlite import binding

from spikecore.kernels.runtime.functions import FUNCTIONS, MAKERS
from spikecore.kernels.runtime.instructions import (
    BOOL,
    INT,
    NOTHING,
    REORDERED,
    WORD,
    Instructions,
    Operand,
    Unspoken,
    spelled,
)
from spikecore.kernels.runtime.llvm import this_machine
from spikecore.kernels.runtime.machine_code import OPTIONS

COMPARED: Dict[type, Tuple[str, str]] = {
    ast.Gt: ("sgt", "ogt"),
    ast.GtE: ("sge", "oge"),
    ast.Lt: ("slt", "olt"),
    ast.LtE: ("sle", "ole"),
    ast.Eq: ("eq", "oeq"),
    ast.NotEq: ("ne", "une"),
}
#: Functions of one float: LLVM's own, and those of the C library.
INTRINSICS = {"np.log": "log", "np.sqrt": "sqrt", "np.sin": "sin", "np.cos": "cos", "np.floor": "floor",
              "np.ceil": "ceil", "np.rint": "rint", "abs": "fabs", "exp": "exp"}  # fmt: skip
LIBRARY = {"np.tanh": "tanh", "np.arctan": "atan"}


class _Kernel(Instructions):
    """The instructions of a kernel, from its statements and expressions.

    Args:
        real, flags: see ``Instructions``.
        helpers: functions that are written out where they are called.
        home: what else the kernel's module names: constants, and functions that write instructions.
    """

    def __init__(self, real: str, flags: str, helpers: Dict[str, ast.FunctionDef], home: Dict[str, Any]) -> None:
        super().__init__(real, flags)
        self.helpers, self.home = helpers, home
        self.variables: Dict[str, Operand] = {}
        self.loops: List[Tuple[str, str]] = []  # the labels of the next turn, and of what follows the loop
        self.left: List[str] = []  # the labels of what follows the function, and of those around it

    # ---- statements -----------------------------------------------------------------------------------------------

    def statements(self, nodes: Sequence[ast.stmt]) -> None:
        for node in nodes:
            _of(self, "do", node)(node)

    def do_Pass(self, node: ast.Pass) -> None:
        pass

    def do_Continue(self, node: ast.Continue) -> None:
        self.leave(self.loops[-1][0])

    def do_Break(self, node: ast.Break) -> None:
        self.leave(self.loops[-1][1])

    def do_Return(self, node: ast.Return) -> None:
        if node.value is not None:
            raise Unspoken("a result that is not at the end")
        self.leave(self.left[-1])

    def leave(self, label: str) -> None:
        """Go on elsewhere; what follows is never reached."""
        self.go(label)
        self.begin(*self.labels("never"))

    def do_Expr(self, node: ast.Expr) -> None:
        self.evaluate(node.value)

    def do_Assign(self, node: ast.Assign) -> None:
        target = node.targets[0]
        if isinstance(target, ast.Tuple):
            if not isinstance(node.value, ast.Tuple) or len(node.value.elts) != len(target.elts):
                raise Unspoken("a tuple")
            values = [self.evaluate(value) for value in node.value.elts]
            for one, value in zip(target.elts, values):
                self.assign(one, value)
        else:
            value = self.evaluate(node.value)
            for target in node.targets:
                self.assign(target, value)

    def do_AugAssign(self, node: ast.AugAssign) -> None:
        self.assign(node.target, self.operation(node.op, self.evaluate(node.target), self.evaluate(node.value)))

    def assign(self, target: Any, value: Operand) -> None:
        if isinstance(target, ast.Subscript):
            self.store(value, self.element(target))
        elif isinstance(target, ast.Name):
            at = self.variables.get(target.id)
            if at is None:
                at = self.variables[target.id] = self.place(value.kind)
            elif at.kind != value.kind:
                raise Unspoken(f"{target.id} of two types")
            self.store(value, at)
        else:
            raise Unspoken(ast.dump(target))

    def do_For(self, node: ast.For) -> None:
        call: Any = node.iter
        if not isinstance(node.target, ast.Name) or getattr(getattr(call, "func", None), "id", "") != "range":
            raise Unspoken("a loop that is not over a range")
        given = [self.evaluate(argument) for argument in call.args]
        start, stop = (Operand("0", INT), given[0]) if len(given) == 1 else (given[0], given[1])
        step = int(given[2].text) if len(given) > 2 else 1  # a constant
        count = self.place(INT)
        self.store(start, count)
        head, body, end = self.labels("for", "body", "end")
        self.go(head)
        self.begin(head)
        now = self.load(count)
        self.branch(self.value(f"icmp {'slt' if step > 0 else 'sgt'} i64 {now.text}, {stop.text}", BOOL), body, end)
        self.begin(body)
        self.assign(node.target, now)
        self.store(self.value(f"add nsw i64 {now.text}, {step}", INT), count)
        self.turn(node.body, head, end)

    def do_While(self, node: ast.While) -> None:
        head, body, end = self.labels("while", "body", "end")
        self.go(head)
        self.begin(head)
        self.branch(self.truth(node.test), body, end)
        self.begin(body)
        self.turn(node.body, head, end)

    def turn(self, body: Sequence[ast.stmt], head: str, end: str) -> None:
        """A turn of a loop."""
        self.loops.append((head, end))
        self.statements(body)
        self.loops.pop()
        self.go(head)
        self.begin(end)

    def do_If(self, node: ast.If) -> None:
        then, otherwise, end = self.labels("then", "else", "end")
        self.branch(self.truth(node.test), then, otherwise)
        for label, nodes in ((then, node.body), (otherwise, node.orelse)):
            self.begin(label)
            self.statements(nodes)
            self.go(end)
        self.begin(end)

    # ---- expressions ----------------------------------------------------------------------------------------------

    def evaluate(self, node: Any) -> Operand:
        operand: Operand = _of(self, "see", node)(node)
        return operand

    def truth(self, node: ast.expr) -> Operand:
        value = self.evaluate(node)
        return (
            value if value.kind == BOOL else self.compare("ne", "une", value, self.cast(Operand("0", INT), value.kind))
        )

    def see_Constant(self, node: ast.Constant) -> Operand:
        if type(node.value) not in (int, bool):
            raise Unspoken(f"the constant {node.value!r}")
        return Operand(str(node.value).lower(), INT if type(node.value) is int else BOOL)

    def see_Name(self, node: ast.Name) -> Operand:
        if node.id in self.variables:
            return self.load(self.variables[node.id])
        if not isinstance(self.home.get(node.id), Operand):
            raise Unspoken(f"the name {node.id}")
        return self.home[node.id]  # type: ignore[no-any-return]

    def see_BinOp(self, node: ast.BinOp) -> Operand:
        return self.operation(node.op, self.evaluate(node.left), self.evaluate(node.right))

    def see_UnaryOp(self, node: ast.UnaryOp) -> Operand:
        if isinstance(node.op, ast.Not):
            return self.value(f"xor i1 {self.truth(node.operand).text}, true", BOOL)
        value = self.evaluate(node.operand)
        if isinstance(node.op, ast.Invert) and value.kind == WORD:
            return self.value(f"xor i64 {value.text}, -1", WORD)
        if not isinstance(node.op, ast.USub):
            raise Unspoken(type(node.op).__name__)
        if value.kind == INT:
            return self.operation(ast.Sub(), Operand("0", INT), value)
        return self.value(f"fneg {self.flags}{self.real} {self.cast(value, self.real).text}", self.real)

    def see_Compare(self, node: ast.Compare) -> Operand:
        if len(node.ops) != 1 or type(node.ops[0]) not in COMPARED:
            raise Unspoken("a chain of comparisons")
        return self.compare(*COMPARED[type(node.ops[0])], self.evaluate(node.left), self.evaluate(node.comparators[0]))

    def see_BoolOp(self, node: ast.BoolOp) -> Operand:
        first, *others = node.values
        value, ends_if = self.truth(first), "false" if isinstance(node.op, ast.And) else "true"
        for other in others:  # Python leaves out what cannot matter, such as a division by zero
            value = self.either(value, partial(self.truth, other), lambda: Operand(ends_if, BOOL), ends_if == "true")
        return value

    def see_IfExp(self, node: ast.IfExp) -> Operand:
        return self.either(self.truth(node.test), lambda: self.evaluate(node.body), lambda: self.evaluate(node.orelse))

    def see_Subscript(self, node: ast.Subscript) -> Operand:
        return self.load(self.element(node))

    def element(self, node: ast.Subscript) -> Operand:
        """The place of an element of a row."""
        row, index = self.evaluate(node.value), self.evaluate(node.slice)
        if row.kind[-1] != "*" or index.kind != INT:
            raise Unspoken("an index")
        kind = row.kind[:-1]
        text = f"getelementptr inbounds {spelled(kind)}, ptr {row.text}, i64 {index.text}"
        return Operand(self.value(text, row.kind).text, kind)

    def see_Call(self, node: ast.Call) -> Operand:
        name = _dotted(node.func)
        if name == "F":
            return self.real_number(node.args[0])
        given = [self.evaluate(argument) for argument in node.args]
        if name in self.helpers:
            return self.written_out(self.helpers[name], given)
        if name in INTRINSICS:
            return self.called(f"llvm.{INTRINSICS[name]}", *given)
        if name in LIBRARY:
            return self.called(LIBRARY[name], *given)
        function = self.home.get(name) or FUNCTIONS.get(name)
        if not callable(function):
            raise Unspoken(f"the function {name}")
        operand: Operand = function(self, *given)
        return operand

    def real_number(self, node: Any) -> Operand:
        """F(...): a constant, or a value as a float."""
        try:
            number = float(ast.literal_eval(node.args[0] if isinstance(node, ast.Call) else node))
        except (ValueError, TypeError, AttributeError, IndexError):
            return self.cast(self.evaluate(node), self.real)
        return self.constant(number)

    def written_out(self, helper: ast.FunctionDef, given: Sequence[Operand]) -> Operand:
        (variables, loops), (self.variables, self.loops) = (self.variables, self.loops), ({}, [])
        for argument, value in zip(helper.args.args, given):
            self.assign(ast.Name(argument.arg), value)
        result = self.body(helper.body)
        self.variables, self.loops = variables, loops
        return result

    def body(self, nodes: Sequence[ast.stmt]) -> Operand:
        """The statements of a function, and its result."""
        last: Any = nodes[-1]
        returns = isinstance(last, ast.Return) and last.value is not None
        (end,) = self.labels("end")
        self.left.append(end)
        self.statements(nodes[:-1] if returns else nodes)
        result = self.evaluate(last.value) if returns else Operand("", NOTHING)
        self.left.pop()
        self.go(end)
        self.begin(end)
        return result


# ---- modules --------------------------------------------------------------------------------------------------------


def llvm_of(text: str, name: str) -> str:
    """The function ``name`` of a generated module in LLVM's language.

    Raises:
        Unspoken: it has something that only Numba compiles.
    """
    tree = ast.parse(text)
    functions = {node.name: node for node in tree.body if isinstance(node, ast.FunctionDef)}
    home = _home(node for node in tree.body if isinstance(node, ast.Assign))
    main = functions.pop(name, None)
    if main is None or "row" not in home:
        raise Unspoken("a module without the head of kernels")
    if any(_reorders(helper) for helper in functions.values()):
        raise Unspoken("a function whose sums may be taken in another order than those around it")
    to = _Kernel(home["row"].kind[:-1], REORDERED if _reorders(main) else "", functions, home)
    returned, kinds = _signature(main)
    for i, (argument, kind) in enumerate(zip(main.args.args, kinds)):
        to.assign(ast.Name(argument.arg), Operand(f"%a{i}", kind))
    result = to.body(main.body)
    if result.kind != returned:
        raise Unspoken(f"a result of the type {result.kind}")
    arguments = ", ".join(f"{spelled(kind)} %a{i}" for i, kind in enumerate(kinds))
    head = f"define {returned} @{name}({arguments}) {{"
    return "\n".join([*to.declared, head, "entry:", *to.places, *to.lines, f"  ret {returned} {result.text}", "}", ""])


def _signature(function: ast.FunctionDef) -> Tuple[str, List[str]]:
    """The types of a function's result and of its arguments, as its decorator says them, e.g. "void(intp)"."""
    text: str = ast.literal_eval(function.decorator_list[0].args[0])  # type: ignore[attr-defined]
    returned, _, given = text[:-1].partition("(")
    kinds = {"void": NOTHING, "intp": INT, "CPointer(intp)": f"{INT}*"}
    return kinds[returned], [kinds[one] for one in given.split(", ")]


def _home(assignments: Iterable[ast.Assign]) -> Dict[str, Any]:
    """Constants, and functions that write instructions, by the names that a module assigns them."""
    home: Dict[str, Any] = {}
    for node in assignments:
        names, value = _dotted(node.targets[0]).split(", "), node.value
        if isinstance(value, ast.GeneratorExp):  # of several widths
            widths = ast.literal_eval(value.generators[0].iter)
            values = [_named(value.elt, width) for width in widths]
        else:
            values = [_named(one) for one in (value.elts if isinstance(value, ast.Tuple) else [value])]
        home.update(zip(names, values))
    if "row" in home:
        home["SIZE"] = Operand("8" if home["row"].kind == "double*" else "4", INT)
    return home


def _named(node: Any, width: int = 0) -> Any:
    """The constant or the function that a module names by an expression; None: neither."""
    if isinstance(node, ast.Constant) and type(node.value) is int:
        return Operand(str(node.value), INT)
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Invert):
        value = _named(node.operand)
        return Operand(str(~int(value.text)), value.kind)
    name = _dotted(node.func) if isinstance(node, ast.Call) else ""
    if name == "np.uint64":
        return Operand(str(ast.literal_eval(node.args[0])), WORD)
    if name in MAKERS:
        return MAKERS[name](*(width if isinstance(one, ast.Name) else ast.literal_eval(one) for one in node.args))
    return None


def object_of(text: str, name: str) -> bytes:
    """The function ``name`` of a generated module as object code.

    Raises:
        Unspoken: it has something that only Numba compiles, the user has given Numba options, or LLVM is of a version
            that spells pointers in another way.
    """
    if any(option in os.environ for option in OPTIONS) or binding.llvm_version_info < (17,):
        raise Unspoken("options, or an old LLVM")
    machine = this_machine()
    module = binding.parse_assembly(llvm_of(text, name))
    module.triple, module.data_layout = machine.triple, str(machine.target_data)
    builder = binding.create_pass_builder(machine, options())
    builder.getModulePassManager().run(module, builder)
    code: bytes = machine.emit_object(module)
    return code


@lru_cache(maxsize=None)
def options() -> Any:
    """The passes that Numba runs: all of level 3, with loops, but not straight lines, as vectors."""
    chosen = binding.create_pipeline_tuning_options(speed_level=3)
    chosen.loop_vectorization, chosen.slp_vectorization = True, False
    return chosen


def _of(function: _Kernel, verb: str, node: ast.AST) -> Any:
    found: Optional[Any] = getattr(function, f"{verb}_{type(node).__name__}", None)
    if found is None:
        raise Unspoken(type(node).__name__)
    return found


def _dotted(node: ast.AST) -> str:
    """A name, one in a module, or several with commas between."""
    if isinstance(node, ast.Tuple):
        return ", ".join(map(_dotted, node.elts))
    return f"{_dotted(node.value)}.{node.attr}" if isinstance(node, ast.Attribute) else getattr(node, "id", "")


def _reorders(function: ast.FunctionDef) -> bool:
    """Whether sums of a function may be taken in any order."""
    decorators = (node for node in function.decorator_list if isinstance(node, ast.Call))
    return any(option.arg == "fastmath" for node in decorators for option in node.keywords)
