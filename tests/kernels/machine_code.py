"""GPU kernels compiled for machines that need not be there, and what their machine code shows."""

from __future__ import annotations

import pathlib
import re
import subprocess
import tempfile

from spikecore.kernels import triton
from spikecore.kernels.runtime.modules import load
from spikecore.kernels.target import INPUT_TYPED

TYPES = {"float32": "fp32", "float64": "fp64", "float16": "fp16", "bfloat16": "bf16"}
NVIDIA = (75, 80, 86, 89, 90, 100, 120)  # compute capabilities
AMD = ("gfx942",)  # MI300
WORD = re.compile(r"\s+(?:/\*[0-9a-f]{4,}\*/\s+(.*?);?\s*)?/\* 0x([0-9a-f]{16}) \*/")
LABEL = re.compile(r"(\.L_\w+):")


def compiled(kernel, dtype, given, target=90, lengths="i32", block=128):
    """A Triton kernel's machine code and its stages; ``target``: a number of ``NVIDIA`` or a name of ``AMD``.

    ``lengths``: of sizes the type, or "constexpr" (1), or "aligned" (multiples of 16, as are all addresses).
    """
    from triton import compile
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    function = getattr(load(triton.HEAD + kernel.source), kernel.name)
    sizes = {n for n in kernel.numbers if n == "count" or n.startswith("step_")}
    kind = {"aligned": "i32"}.get(lengths, lengths)
    types = {a: "*" + TYPES[given if a in INPUT_TYPED else dtype] for a in kernel.arrays}
    types.update({"named": "*i64"} if "named" in types else {})
    types.update(
        {n: kind if n in sizes else {"key": "i64", "p": "fp32", "scale": "fp32"}.get(n, "i32") for n in kernel.numbers}
    )
    constants = {n: 1 for n, its_kind in types.items() if its_kind == "constexpr"}
    aligned = [n for n in types if lengths == "aligned" and (n in sizes or n in kernel.arrays)]
    places = {(function.arg_names.index(n),): [["tt.divisibility", 16]] for n in aligned}
    source = ASTSource(function, {**types, "BLOCK": "constexpr"}, {**constants, "BLOCK": block}, places)
    gpu = GPUTarget("hip", target, 64) if isinstance(target, str) else GPUTarget("cuda", target, 32)
    options = triton.options_of(block, kernel.name, given == "float64")
    return compile(source, target=gpu, options=options).asm


def spills(stages):
    """How many registers (AMD) or bytes (NVIDIA) of a thread do not fit into its registers.

    On NVIDIA's GPUs these are all bytes of the stack: sine and cosine of large numbers have some there, too, and so may
    the way round a division that has no quick answer.
    """
    if "amdgcn" in stages:
        return sum(map(int, re.findall(r"_spill_count: *(\d+)", stages["amdgcn"])))
    text = said("cuobjdump", "-res-usage", cubin=stages["cubin"])
    stack, local = re.search(r"\bSTACK:(\d+) .*\bLOCAL:(\d+)", text).groups()
    return int(stack) + int(local)


def said(tool, *options, cubin):
    """What a tool that comes with Triton says of machine code for NVIDIA's GPUs."""
    import triton as compiler

    path = pathlib.Path(compiler.__file__).parent / "backends" / "nvidia" / "bin" / tool
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(cubin)
        file.flush()
        command = [str(path), *options, file.name]
        return subprocess.run(command, capture_output=True, check=True, timeout=600, text=True).stdout


def instructions(cubin):
    """Machine code for NVIDIA's GPUs as (text, upper half of its 128 bits), and the place of each label in it."""
    code, labels = [], {}
    for line in said("nvdisasm", "-c", "-hex", cubin=cubin).splitlines():
        label, word = LABEL.match(line), WORD.match(line)
        if label:
            labels[label[1]] = len(code)
        elif word and word[1]:
            code.append((word[1], None))
        elif word:
            code[-1] = (code[-1][0], int(word[2], 16))
    return code, labels


def loops(cubin):
    """The loops of a kernel, each as its instructions; left out is the way to a function, which divisions seldom go."""
    code, labels = instructions(cubin)
    jumps = [re.search(r"\bBRA\b.*`\((\.L_\w+)\)", text) for text, _ in code]
    targets = [labels[jump[1]] if jump else None for jump in jumps]
    for end, start in enumerate(targets):
        if start is not None and start < end:
            taken, n = [], start
            while n <= end:
                taken.append(code[n])
                skipped = code[n + 1 : targets[n]] if targets[n] is not None else []
                n = targets[n] if any("CALL" in text for text, _ in skipped) else n + 1
            yield taken


def in_flight(loop):
    """How many loads a thread has under way in the time that memory takes to answer one.

    A load names one of six barriers, and an instruction names those that it waits for: these are bits of the machine
    code (110 to 112, and 116 to 121). A wait for a load that began after the wait before takes the time of an answer;
    the others end with it. The first turn of the loop, whose loads began before it, is not counted.
    """
    under_way, last, answers, loads = [[] for _ in range(6)], 0, 0, 0
    places = ((turn * len(loop) + n, *instruction) for turn in range(3) for n, instruction in enumerate(loop))
    for place, text, upper in places:
        awaited = [load for barrier in range(6) if upper >> 52 >> barrier & 1 for load in under_way[barrier]]
        under_way = [loads if not upper >> 52 >> barrier & 1 else [] for barrier, loads in enumerate(under_way)]
        if any(load >= last for load in awaited):
            last, answers = place, answers + (place >= len(loop))
        if re.search(r"\bLDG\b", text):
            under_way[upper >> 46 & 7].append(place)
            loads += place >= len(loop)
    return loads / answers
