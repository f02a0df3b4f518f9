"""Functions that kernels call, as LLVM's instructions: each adds its own to those of the kernel.

A vector of 64 elements is as many of the machine's registers as it takes: LLVM splits it. ``kernels/sparse/vectors.py``
has the same functions of vectors and words for Numba.
"""

from __future__ import annotations

from typing import Any, Callable, Dict, NamedTuple

from spikecore.kernels.runtime.instructions import BOOL, INT, NOTHING, WORD, Instructions, Operand, Unspoken

LINE = 64  # bytes of a cache line, where panels and their rows begin
SIDE = 8  # rows and columns of a square that is turned at once


class Pointer(NamedTuple):
    """A function that makes an address a pointer to elements of a type."""

    kind: str

    def __call__(self, to: Instructions, address: Operand) -> Operand:
        return to.value(f"inttoptr i64 {address.text} to ptr", self.kind)


def pointer_to(dtype: str) -> Pointer:
    """A function that makes an address a pointer to elements of a type of NumPy's."""
    whole = {"int64": INT, "uint64": WORD, "uint32": "i32", "uint16": "i16", "uint8": "i8"}
    kinds = {"float32": "float", "float64": "double", **whole}
    if dtype not in kinds:
        raise Unspoken(f"a row of {dtype}")
    return Pointer(f"{kinds[dtype]}*")


def _call(to: Instructions, function: Operand, *given: Operand) -> Operand:
    place = to.value(f"inttoptr i64 {function.text} to ptr", f"{INT}*")
    to.lines.append(f"  call void {place.text}({', '.join(f'i64 {to.cast(value, INT).text}' for value in given)})")
    return function


def _int32(to: Instructions, x: Operand) -> Operand:
    """np.int32: its bits in a whole number of 64, as Numba computes with it."""
    if x.kind == BOOL:
        return to.cast(x, INT)
    how = f"fptosi {to.real}" if x.kind == to.real else "trunc i64"
    return to.value(f"sext i32 {to.value(f'{how} {x.text} to i32', 'i32').text} to i64", INT)


def _whole(kind: str) -> Callable[..., Operand]:
    """np.int64 and np.uint64."""
    return lambda to, x: to.cast(to.cast(x, INT), kind)


def _short(kind: str) -> Callable[..., Operand]:
    """np.uint16 and np.uint8, in a whole number of 64 bits."""
    return lambda to, x: to.value(f"zext {kind} {to.cast(x, kind).text} to i64", INT)


def _float_of_bits(to: Instructions, bits: Operand) -> Operand:
    return to.value(f"bitcast i32 {to.value(f'trunc i64 {bits.text} to i32', 'i32').text} to float", "float")


def _sign(to: Instructions, x: Operand) -> Operand:
    """1, -1, or, of zeros and NaN, x."""
    zero, one, minus = (to.constant(number) for number in (0.0, 1.0, -1.0))
    above, below = (to.value(f"fcmp {word} {to.real} {x.text}, {zero.text}", BOOL) for word in ("ogt", "olt"))
    down = to.value(f"select i1 {below.text}, {to.real} {minus.text}, {to.real} {x.text}", to.real)
    return to.value(f"select i1 {above.text}, {to.real} {one.text}, {to.real} {down.text}", to.real)


# ---- vectors and words ----------------------------------------------------------------------------------------------


def _vector(to: Instructions, at: Operand, width: int = 64, align: int = 0) -> Operand:
    """The vector at an address."""
    if at.kind != f"{to.real}*":
        raise Unspoken("a vector of other numbers")
    return to.value(f"load <{width} x {to.real}>, ptr {at.text}, align {align or _size(to)}", f"<{width} x {to.real}>")


def _size(to: Instructions) -> int:
    return 4 if to.real == "float" else 8


def _filled(to: Instructions, number: float, width: int = 64) -> str:
    return f"<{', '.join([f'{to.real} {to.constant(number).text}'] * width)}>"


def _differs(*numbers: float) -> Callable[..., Operand]:
    """A function that makes 64 elements from a pointer on a word: bit k is set if element k is none of these."""

    def compare(to: Instructions, row: Operand) -> Operand:
        x, found = _vector(to, row), ""
        for number in numbers:
            differs = to.value(f"fcmp une {x.kind} {x.text}, {_filled(to, number)}", "<64 x i1>").text
            found = to.value(f"and <64 x i1> {found}, {differs}", "<64 x i1>").text if found else differs
        return to.value(f"bitcast <64 x i1> {found} to i64", WORD)

    return compare


def _spread(to: Instructions, word: Operand, row: Operand) -> Operand:
    """Write the bits of a word as 64 elements, zeros and ones."""
    bits, kind = to.value(f"bitcast i64 {word.text} to <64 x i1>", "<64 x i1>"), f"<64 x {to.real}>"
    zeros, ones = (_filled(to, number) for number in (0.0, 1.0))
    x = to.value(f"select <64 x i1> {bits.text}, {kind} {ones}, {kind} {zeros}", kind)
    to.lines.append(f"  store {kind} {x.text}, ptr {row.text}, align {_size(to)}")
    return word


def _ones(to: Instructions, word: Operand) -> Operand:
    """Number of bits of a word that are set."""
    to.declare("i64", "llvm.ctpop.i64", "i64")
    return to.value(f"call i64 @llvm.ctpop.i64(i64 {word.text})", INT)


def _lowest(to: Instructions, word: Operand) -> Operand:
    """Which is the lowest bit that is set; 64 where none is."""
    to.declare("i64", "llvm.cttz.i64", "i64", "i1")
    return to.value(f"call i64 @llvm.cttz.i64(i64 {word.text}, i1 false)", INT)


def _ahead(to: Instructions, row: Operand) -> Operand:
    """Ask for the cache line in which a row begins."""
    to.declare("void", "llvm.prefetch.p0", "ptr", "i32", "i32", "i32")
    to.lines.append(f"  call void @llvm.prefetch.p0(ptr {row.text}, i32 0, i32 3, i32 1)")
    return row


def _past(to: Instructions, given: Operand, out: Operand) -> Operand:
    """Copy a cache line past the cache; both begin at one."""
    line = _vector(to, given, LINE // _size(to), LINE)
    to.lines.append(f"  store {line.kind} {line.text}, ptr {out.text}, align {LINE}, !nontemporal !{{i32 1}}")
    return out


def _settle(to: Instructions) -> Operand:
    """Wait until other threads see what was written past the cache."""
    to.lines.append("  fence seq_cst")
    return Operand("", NOTHING)


def _listed(to: Instructions, panel: Operand, index: Operand, n: Operand, width: int) -> Any:
    """The n-th number of a list, and the row of a panel that it is the number of."""
    if index.kind != "i16*":
        raise Unspoken("a list of other numbers")
    number = to.load(Operand(to.value(f"getelementptr inbounds i16, ptr {index.text}, i64 {n.text}", "").text, "i16"))
    begins = to.value(f"mul i64 {number.text}, {width}", INT)
    place = to.value(f"getelementptr inbounds {to.real}, ptr {panel.text}, i64 {begins.text}", panel.kind)
    return number, _vector(to, place, width, LINE)


def adder(width: int, weighted: bool) -> Callable[..., Operand]:
    """A function that adds listed rows of a panel to one row: see ``kernels/sparse/vectors.py``."""

    def add(
        to: Instructions,
        panel: Operand,
        index: Operand,
        factors: Operand,
        count: Operand,
        start: Operand,
        out: Operand,
    ) -> Operand:
        before, kind = to.block, f"<{width} x {to.real}>"
        body, after = to.labels("body", "after")
        n, total, more, following = to.fresh(), to.fresh(), to.fresh(), to.fresh()
        to.branch(to.value(f"icmp sgt i64 {count.text}, 0", BOOL), body, after)
        to.begin(body)
        to.lines.append(f"  {n} = phi i64 [ 0, %{before} ], [ {following}, %{body} ]")
        to.lines.append(f"  {total} = phi {kind} [ zeroinitializer, %{before} ], [ {more}, %{body} ]")
        row = _listed(to, panel, index, Operand(n, INT), width)[1]
        if weighted:
            row = _times(to, row, factors, n, width)
        to.lines.append(f"  {more} = fadd contract {kind} {total}, {row.text}")
        to.lines.append(f"  {following} = add i64 {n}, 1")
        to.branch(to.value(f"icmp slt i64 {following}, {count.text}", BOOL), body, after)
        to.begin(after)
        result = to.value(f"phi {kind} [ zeroinitializer, %{before} ], [ {more}, %{body} ]", kind)
        sums = to.value(f"fadd {kind} {_vector(to, start, width).text}, {result.text}", kind)
        to.lines.append(f"  store {kind} {sums.text}, ptr {out.text}, align {_size(to)}")
        return count

    return add


def shifter(width: int) -> Callable[..., Operand]:
    """A function that adds to some elements those from listed places of a panel, times factors: see there, too."""

    def shift(
        to: Instructions, panel: Operand, index: Operand, factors: Operand, count: Operand, out: Operand
    ) -> Operand:
        kind, begun, before = f"<{width} x {to.real}>", _vector(to, out, width).text, to.block
        body, after = to.labels("body", "after")
        n, total, more, following = to.fresh(), to.fresh(), to.fresh(), to.fresh()
        to.branch(to.value(f"icmp sgt i64 {count.text}, 0", BOOL), body, after)
        to.begin(body)
        to.lines.append(f"  {n} = phi i64 [ 0, %{before} ], [ {following}, %{body} ]")
        to.lines.append(f"  {total} = phi {kind} [ {begun}, %{before} ], [ {more}, %{body} ]")
        listed = to.value(f"getelementptr inbounds i32, ptr {index.text}, i64 {n}", "").text
        begins = to.load(Operand(listed, "i32")).text
        place = to.value(f"getelementptr inbounds {to.real}, ptr {panel.text}, i64 {begins}", panel.kind)
        row = _times(to, _vector(to, place, width), factors, n, width)
        to.lines.append(f"  {more} = fadd contract {kind} {total}, {row.text}")
        to.lines.append(f"  {following} = add i64 {n}, 1")
        to.branch(to.value(f"icmp slt i64 {following}, {count.text}", BOOL), body, after)
        to.begin(after)
        result = to.value(f"phi {kind} [ {begun}, %{before} ], [ {more}, %{body} ]", kind)
        to.lines.append(f"  store {kind} {result.text}, ptr {out.text}, align {_size(to)}")
        return count

    return shift


def _times(to: Instructions, row: Operand, factors: Operand, n: str, width: int) -> Operand:
    """A vector times the n-th factor."""
    place = to.value(f"getelementptr inbounds {to.real}, ptr {factors.text}, i64 {n}", "").text
    factor = to.load(Operand(place, to.real))
    lane = to.value(f"insertelement {row.kind} poison, {to.real} {factor.text}, i32 0", row.kind)
    same = f"shufflevector {row.kind} {lane.text}, {row.kind} poison, <{width} x i32> zeroinitializer"
    return to.value(f"fmul contract {row.kind} {row.text}, {to.value(same, row.kind).text}", row.kind)


def _turn(to: Instructions, given: Operand, step: Operand, out: Operand, step_out: Operand) -> Operand:
    """Write the transpose of a square of eight rows, which lie ``step`` and ``step_out`` elements apart."""

    def at(place: Operand, distance: Operand, n: int) -> Operand:
        begins = to.value(f"mul i64 {distance.text}, {n}", INT).text
        return to.value(f"getelementptr inbounds {to.real}, ptr {place.text}, i64 {begins}", place.kind)

    rows = [_vector(to, at(given, step, n), SIDE) for n in range(SIDE)]
    for apart in (4, 2, 1):  # blocks of this side change places across the diagonal
        for n in (n for n in range(SIDE) if not n & apart):
            a, b = rows[n], rows[n + apart]
            for row, lanes in (
                (n, [c if not c & apart else SIDE + c - apart for c in range(SIDE)]),
                (n + apart, [c + apart if not c & apart else SIDE + c for c in range(SIDE)]),
            ):
                mask = f"<{SIDE} x i32> <{', '.join(f'i32 {lane}' for lane in lanes)}>"
                rows[row] = to.value(f"shufflevector {a.kind} {a.text}, {a.kind} {b.text}, {mask}", a.kind)
    for n, one in enumerate(rows):
        to.lines.append(f"  store {one.kind} {one.text}, ptr {at(out, step_out, n).text}, align {_size(to)}")
    return step


def dotter(width: int) -> Callable[..., Operand]:
    """A function that adds to listed elements the dot products of a row with listed rows of a panel: see there, too."""

    def dot(to: Instructions, panel: Operand, index: Operand, count: Operand, given: Operand, out: Operand) -> Operand:
        before, kind, flags = to.block, f"<{width} x {to.real}>", "contract reassoc"
        body, after = to.labels("body", "after")
        n, following, row = to.fresh(), to.fresh(), _vector(to, given, width)
        to.branch(to.value(f"icmp sgt i64 {count.text}, 0", BOOL), body, after)
        to.begin(body)
        to.lines.append(f"  {n} = phi i64 [ 0, %{before} ], [ {following}, %{body} ]")
        number, other = _listed(to, panel, index, Operand(n, INT), width)
        products = to.value(f"fmul {flags} {kind} {row.text}, {other.text}", kind)
        reduce = f"llvm.vector.reduce.fadd.v{width}f{8 * _size(to)}"
        to.declare(to.real, reduce, to.real, kind)
        zero = f"{to.real} {to.constant(0.0).text}"
        total = to.value(f"call {flags} nsz {to.real} @{reduce}({zero}, {kind} {products.text})", to.real)
        text = f"getelementptr inbounds {to.real}, ptr {out.text}, i64 {number.text}"
        place = Operand(to.value(text, "").text, to.real)
        to.store(to.value(f"fadd {to.real} {to.load(place).text}, {total.text}", to.real), place)
        to.lines.append(f"  {following} = add i64 {n}, 1")
        to.branch(to.value(f"icmp slt i64 {following}, {count.text}", BOOL), body, after)
        to.begin(after)
        return count

    return dot


FUNCTIONS: Dict[str, Callable[..., Operand]] = {
    "call": _call,
    "np.int32": _int32,
    "np.int64": _whole(INT),
    "np.uint64": _whole(WORD),
    "np.uint16": _short("i16"),
    "np.uint8": _short("i8"),
    "np.sign": _sign,
    "float_of_bits": _float_of_bits,
    "mask": _differs(0.0),
    "others": _differs(0.0, 1.0),
    "spread": _spread,
    "ones": _ones,
    "lowest": _lowest,
    "turn": _turn,
    "ahead": _ahead,
    "past": _past,
    "settle": _settle,
}
#: Functions of constants that make such a function, as modules of kernels name them.
MAKERS: Dict[str, Callable[..., Any]] = {"pointer_to": pointer_to, "adder": adder, "dotter": dotter, "shifter": shifter}
