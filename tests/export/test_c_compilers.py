"""C as compilers and machines take it: without a warning, without an error at run time, equal results on ARM."""

import shutil
import subprocess

import pytest

import spikecore as sc
from tests.drawn_networks import drawn_model
from tests.export.c_rig import COMPILERS, STRICT, assert_prints, called, needs_compiler, program
from tests.export.export_rig import model_of
from tests.export.test_c import CASES, Named

pytestmark = needs_compiler


def needs(*programs):
    absent = [name for name in programs if not shutil.which(name)]
    return pytest.mark.skipif(bool(absent), reason=f"not installed: {', '.join(absent)}")


@pytest.fixture(scope="module")
def few(tmp_path_factory):
    net = sc.Sequential(sc.Conv2d(1, 4, 3, padding=1), sc.BatchNorm2d(4), sc.ALIF(), sc.MaxPool2d(2), sc.Flatten())
    net = sc.Sequential(*net.layers, sc.Linear(64, 12), sc.RLeaky(linear_features=12), sc.Linear(12, 3), sc.LI())
    maps = sc.Model(net, sc.get_engine("numpy", fused=False), seed=0, input_shape=(1, 8, 8))
    models = {"maps": maps, "dense": sc.zoo.pretrained("digits", "numpy", fused=False)}
    models["named"] = sc.Model(Named(beta=0.5), sc.get_engine("numpy", fused=False), input_shape=(4,))
    folder = tmp_path_factory.mktemp("few")
    return models, folder, program(models, folder)


@pytest.fixture(scope="module")
def many(tmp_path_factory):
    models = {**{name: model_of(case) for name, case in CASES.items()}, **{f"d{s}": drawn_model(s) for s in range(60)}}
    folder = tmp_path_factory.mktemp("many")
    return models, folder, program(models, folder)


def built_and_run(networks, compiler, *options, runner=()):
    """Compile the program of some networks, run it, and compare what it prints with the models."""
    models, folder, sources = networks
    file = folder / f"run_{compiler}"
    called(compiler, *options, *sources, "-o", file, "-lm")
    assert_prints(called(*runner, file), models)


@pytest.mark.parametrize("compiler", COMPILERS)
def test_without_a_warning(few, compiler):
    built_and_run(few, compiler, *STRICT, "-O2")


def test_as_cpp_calls_it(few, tmp_path):
    """The headers are valid C++, whatever the names of states."""
    if not shutil.which("g++"):
        pytest.skip("g++ is not installed")
    headers = "".join(f'#include "{name}.h"\n' for name in few[0])
    (tmp_path / "user.cpp").write_text(f"{headers}int main() {{ dense_state state; dense_reset(&state); }}\n")
    called("g++", "-std=c++11", "-Wall", "-Wextra", "-Werror", "-I", few[1], "-fsyntax-only", tmp_path / "user.cpp")


@pytest.mark.parametrize("compiler", COMPILERS)
def test_options_that_change_rounding_are_refused(few, compiler):
    command = [compiler, "-ffast-math", "-fsyntax-only", few[1] / "dense.c"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode != 0
    assert "compile without" in done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("level", ["-O0", "-O3", "-Os"])
@pytest.mark.parametrize("compiler", COMPILERS)
def test_every_network_without_a_warning(many, compiler, level):
    built_and_run(many, compiler, *STRICT, level)


@pytest.mark.slow
@pytest.mark.parametrize("compiler", COMPILERS)
def test_every_network_under_sanitizers(many, compiler):
    options = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-g"]
    built_and_run(many, compiler, *STRICT, *options, "-O1")


@pytest.mark.slow
@needs("arm-linux-gnueabihf-gcc", "qemu-arm")
def test_every_network_on_arm(many):
    options = ["-static", "-march=armv7-a+neon-vfpv4", "-O2"]  # it can contract products and sums, and must not
    built_and_run(many, "arm-linux-gnueabihf-gcc", *STRICT, *options, runner=["qemu-arm"])


VECTORS = """#include <stdint.h>
extern void _start(void);
static void stop(void) { for (;;) {} }
static void begin(void)
{
    *(volatile uint32_t *)0xE000ED88u |= 0xFu << 20; /* switches the floating-point unit on */
    __asm__ volatile("dsb");
    __asm__ volatile("isb");
    _start();
}
__attribute__((section(".vectors"), used)) static const uintptr_t vectors[16] = {
    0x20400000u, (uintptr_t)begin, (uintptr_t)stop, (uintptr_t)stop, (uintptr_t)stop, (uintptr_t)stop, (uintptr_t)stop,
};
"""
LAYOUT = """ENTRY(_start)
MEMORY { code (rx) : ORIGIN = 0x00000000, LENGTH = 4M   ram (rwx) : ORIGIN = 0x20000000, LENGTH = 4M }
SECTIONS {
    .text : { KEEP(*(.vectors)) *(.text*) KEEP(*(.init)) KEEP(*(.fini)) *(.rodata*) } > code
    .ARM.exidx : { *(.ARM.exidx*) } > code
    .init_array : { __init_array_start = .; KEEP(*(.init_array*)) __init_array_end = .; } > code
    .data : { *(.data*) } > ram
    .bss (NOLOAD) : { __bss_start__ = .; *(.bss*) *(COMMON) __bss_end__ = .; end = .; __end__ = .; } > ram
}
"""


def on_cortex_m4(machine, sources, folder):
    """Build a program for a Cortex-M4 and run it in qemu; returns what it prints."""
    (folder / "vectors.c").write_text(VECTORS)
    (folder / "layout.ld").write_text(LAYOUT)
    file, link = folder / "net.elf", ["--specs=rdimon.specs", "-T", folder / "layout.ld", "-lm"]
    called("arm-none-eabi-gcc", *machine, "-O2", *sources, folder / "vectors.c", *link, "-o", file)
    emulator = "qemu-system-arm -M mps2-an386 -nographic -monitor none -serial none".split()
    return called(*emulator, "-semihosting-config", "enable=on,target=native", "-kernel", file)


@pytest.mark.slow
@needs("arm-none-eabi-gcc", "qemu-system-arm")
def test_networks_on_a_cortex_m4(few, tmp_path):
    models, _, sources = few
    machine = "-mcpu=cortex-m4 -mthumb -mfloat-abi=hard -mfpu=fpv4-sp-d16".split()
    called("arm-none-eabi-gcc", *machine, *STRICT, "-O2", "-c", *sources[:-1], cwd=tmp_path)
    assert_prints(on_cortex_m4(machine, sources, tmp_path), models)
