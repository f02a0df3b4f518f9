"""Operations on vectors and words that Numba has no spelling for, as LLVM instructions.

A vector of 64 elements is as many of the machine's registers as it takes: LLVM splits it.
"""

from __future__ import annotations

from functools import reduce
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from spikecore.kernels.sparse.words import LINE, SIDE, WORD


def _vector(context: Any, builder: Any, pointer: Any, kind: Any, width: int) -> Any:
    """The address as one of a vector, aligned as its elements are."""
    element = context.get_value_type(kind.dtype)
    return builder.bitcast(pointer, ir.VectorType(element, width).as_pointer())


def _filled(kind: Any, width: int, value: float) -> Any:
    element = ir.FloatType() if kind.dtype == types.float32 else ir.DoubleType()
    return ir.Constant(ir.VectorType(element, width), [value] * width)


def _size(kind: Any) -> int:
    return int(kind.dtype.bitwidth // 8)


def _differs(*values: float) -> Any:
    """A function that makes 64 elements from a pointer on a word: bit k is set if element k is none of these."""

    @intrinsic
    def compare(context: Any, row: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            kind = signature.args[0]
            x = builder.load(_vector(context, builder, args[0], kind, WORD), align=_size(kind))
            found = [builder.fcmp_unordered("!=", x, _filled(kind, WORD, value)) for value in values]
            return builder.bitcast(reduce(builder.and_, found), ir.IntType(WORD))

        return types.uint64(row), generate

    return compare


mask, others = _differs(0.0), _differs(0.0, 1.0)  # what is not zero; and what is neither zero nor one


@intrinsic
def spread(context: Any, word: Any, row: Any) -> Any:
    """Write the bits of a word as 64 elements, zeros and ones."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        kind = signature.args[1]
        bits = builder.bitcast(args[0], ir.VectorType(ir.IntType(1), WORD))
        x = builder.select(bits, _filled(kind, WORD, 1.0), _filled(kind, WORD, 0.0))
        builder.store(x, _vector(context, builder, args[1], kind, WORD), align=_size(kind))
        return context.get_dummy_value()

    return types.void(word, row), generate


@intrinsic
def ones(context: Any, word: Any) -> Any:
    """Number of bits of a word that are set."""
    return types.int64(word), lambda context, builder, signature, args: builder.ctpop(args[0])


@intrinsic
def lowest(context: Any, word: Any) -> Any:
    """Which is the lowest bit that is set; 64 where none is."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.cttz(args[0], ir.Constant(ir.IntType(1), 0))

    return types.int64(word), generate


@intrinsic
def ahead(context: Any, row: Any) -> Any:
    """Ask for the cache line in which a row begins."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        place, number = ir.IntType(8).as_pointer(), ir.IntType(32)
        kind = ir.FunctionType(ir.VoidType(), [place, number, number, number])
        fetch = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0")
        builder.call(fetch, [builder.bitcast(args[0], place), *(ir.Constant(number, n) for n in (0, 3, 1))])
        return context.get_dummy_value()

    return types.void(row), generate


@intrinsic
def past(context: Any, given: Any, out: Any) -> Any:
    """Copy a cache line past the cache; both begin at one."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        kind = signature.args[0]
        one, other = (_vector(context, builder, place, kind, LINE // _size(kind)) for place in args)
        stored = builder.store(builder.load(one, align=LINE), other, align=LINE)
        stored.set_metadata("nontemporal", builder.module.add_metadata([ir.Constant(ir.IntType(32), 1)]))
        return context.get_dummy_value()

    return types.void(given, out), generate


@intrinsic
def settle(context: Any) -> Any:
    """Wait until other threads see what was written past the cache."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        builder.fence("seq_cst")
        return context.get_dummy_value()

    return types.void(), generate


def adder(width: int, weighted: bool) -> Any:
    """A function that adds listed rows of a panel of ``width`` columns to one row.

    It takes the panel, the list of row numbers, the factors (read if ``weighted``), how many there are, the row to
    begin with and where the result goes, which may be the same. The sum stays in registers, and is taken in the order
    of the list.
    """

    @intrinsic
    def add(context: Any, panel: Any, index: Any, factors: Any, count: Any, start: Any, out: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            panel, index, factors, count, start, out = args
            kind, long = signature.args[0], ir.IntType(64)
            given, into = (_vector(context, builder, place, kind, width) for place in (start, out))
            zero = _filled(kind, width, 0.0)
            before, body, after = builder.block, builder.append_basic_block("body"), builder.append_basic_block("after")
            some = builder.icmp_signed(">", count, ir.Constant(long, 0))
            builder.cbranch(some, body, after)
            builder.position_at_end(body)
            n, total = builder.phi(long), builder.phi(zero.type)
            number = builder.zext(builder.load(builder.gep(index, [n])), long)
            begins = builder.gep(panel, [builder.mul(number, ir.Constant(long, width))])
            row = builder.load(_vector(context, builder, begins, kind, width), align=LINE)
            if weighted:
                factor, none = builder.load(builder.gep(factors, [n])), ir.Constant(zero.type, ir.Undefined)
                lane = builder.insert_element(none, factor, ir.Constant(ir.IntType(32), 0))
                every = ir.Constant(ir.VectorType(ir.IntType(32), width), [0] * width)
                row = builder.fmul(row, builder.shuffle_vector(lane, none, every), flags=("contract",))
            more, following = builder.fadd(total, row, flags=("contract",)), builder.add(n, ir.Constant(long, 1))
            for phi, first, later in ((n, ir.Constant(long, 0), following), (total, zero, more)):
                phi.add_incoming(first, before)
                phi.add_incoming(later, body)
            builder.cbranch(builder.icmp_signed("<", following, count), body, after)
            builder.position_at_end(after)
            result = builder.phi(zero.type)
            result.add_incoming(zero, before)
            result.add_incoming(more, body)
            sums = builder.fadd(builder.load(given, align=_size(kind)), result)
            builder.store(sums, into, align=_size(kind))
            return context.get_dummy_value()

        return types.void(panel, index, factors, count, start, out), generate

    return add


def shifter(width: int) -> Any:
    """A function that adds to ``width`` elements as many from each listed place of a panel, times a factor.

    It takes the panel, the list of places (uint32), the factors, how many there are, and the elements. The sum stays in
    registers, and is taken in the order of the list.
    """

    @intrinsic
    def shift(context: Any, panel: Any, index: Any, factors: Any, count: Any, out: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            panel, index, factors, count, out = args
            kind, long = signature.args[0], ir.IntType(64)
            into = _vector(context, builder, out, kind, width)
            begun, size = builder.load(into, align=_size(kind)), _size(kind)
            before, body, after = builder.block, builder.append_basic_block("body"), builder.append_basic_block("after")
            builder.cbranch(builder.icmp_signed(">", count, ir.Constant(long, 0)), body, after)
            builder.position_at_end(body)
            n, total = builder.phi(long), builder.phi(begun.type)
            place = builder.gep(panel, [builder.zext(builder.load(builder.gep(index, [n])), long)])
            row = builder.load(_vector(context, builder, place, kind, width), align=size)
            lane = builder.insert_element(
                ir.Constant(begun.type, ir.Undefined),
                builder.load(builder.gep(factors, [n])),
                ir.Constant(ir.IntType(32), 0),
            )
            every = ir.Constant(ir.VectorType(ir.IntType(32), width), [0] * width)
            factor = builder.shuffle_vector(lane, ir.Constant(begun.type, ir.Undefined), every)
            product = builder.fmul(row, factor, flags=("contract",))
            more, following = builder.fadd(total, product, flags=("contract",)), builder.add(n, ir.Constant(long, 1))
            for phi, first, later in ((n, ir.Constant(long, 0), following), (total, begun, more)):
                phi.add_incoming(first, before)
                phi.add_incoming(later, body)
            builder.cbranch(builder.icmp_signed("<", following, count), body, after)
            builder.position_at_end(after)
            result = builder.phi(begun.type)
            result.add_incoming(begun, before)
            result.add_incoming(more, body)
            builder.store(result, into, align=size)
            return context.get_dummy_value()

        return types.void(panel, index, factors, count, out), generate

    return shift


@intrinsic
def turn(context: Any, given: Any, step: Any, out: Any, step_out: Any) -> Any:
    """Write the transpose of a square of ``SIDE`` rows, which lie ``step`` and ``step_out`` elements apart."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        given, step, out, step_out = args
        kind = signature.args[0]

        def at(place: Any, distance: Any, n: int) -> Any:
            begins = builder.gep(place, [builder.mul(distance, ir.Constant(ir.IntType(64), n))])
            return _vector(context, builder, begins, kind, SIDE)

        rows = [builder.load(at(given, step, n), align=_size(kind)) for n in range(SIDE)]
        for apart in (4, 2, 1):  # blocks of this side change places across the diagonal
            for n in (n for n in range(SIDE) if not n & apart):
                upper = [c if not c & apart else SIDE + c - apart for c in range(SIDE)]
                lower = [c + apart if not c & apart else SIDE + c for c in range(SIDE)]
                masks = (ir.Constant(ir.VectorType(ir.IntType(32), SIDE), mask) for mask in (upper, lower))
                a, b = rows[n], rows[n + apart]
                rows[n], rows[n + apart] = (builder.shuffle_vector(a, b, mask) for mask in masks)
        for n, row in enumerate(rows):
            builder.store(row, at(out, step_out, n), align=_size(kind))
        return context.get_dummy_value()

    return types.void(given, types.int64, out, types.int64), generate


def dotter(width: int) -> Any:
    """A function that adds to listed elements the dot products of a row with listed rows of a panel.

    It takes the panel, the list of row numbers, how many there are, the row, and the elements. A sum may go in any
    order, always the same.
    """

    @intrinsic
    def dot(context: Any, panel: Any, index: Any, count: Any, given: Any, out: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            panel, index, count, given, out = args
            kind, long = signature.args[0], ir.IntType(64)
            row = builder.load(_vector(context, builder, given, kind, width), align=_size(kind))
            name = f"llvm.vector.reduce.fadd.v{width}f{8 * _size(kind)}"
            element = row.type.element
            reduce = cgutils.get_or_insert_function(builder.module, ir.FunctionType(element, [element, row.type]), name)
            with cgutils.for_range(builder, count, intp=long) as loop:
                number = builder.zext(builder.load(builder.gep(index, [loop.index])), long)
                begins = builder.gep(panel, [builder.mul(number, ir.Constant(long, width))])
                other = builder.load(_vector(context, builder, begins, kind, width), align=LINE)
                products = builder.fmul(row, other, flags=("contract", "reassoc"))
                sum_ = builder.call(
                    reduce, [ir.Constant(element, 0.0), products], fastmath=("contract", "reassoc", "nsz")
                )
                place = builder.gep(out, [number])
                builder.store(builder.fadd(builder.load(place), sum_), place)
            return context.get_dummy_value()

        return types.void(panel, index, count, given, out), generate

    return dot
