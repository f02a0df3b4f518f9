"""An example that runs a network in C, and how to build it: main.c, Makefile, CMakeLists.txt."""

from __future__ import annotations

from typing import Dict, Mapping

MAIN = """/* Reads numbers on stdin and prints what the network gives.
 *
 *     {p} < steps.txt        every {p}_inputs numbers are one step of one long sequence; prints the output of each
 *     {p} 25 < samples.txt   every {p}_inputs numbers are a sample, shown for 25 steps from rest; prints the sum of
 *                            the outputs over the steps, e.g. how often each neuron has fired
 */
#include "{p}.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
GUARD
static {p}_state state;

int main(int count, char **arguments)
{{
    char *end = NULL;
    const long steps = count > 1 ? strtol(arguments[1], &end, 10) : 0;
    DECLARATIONS
    if (count > 2 || (count > 1 && (*end != '\\0' || steps < 1))) {{
        fprintf(stderr, "usage: {p} [STEPS] < numbers.txt, where STEPS is 1 or more\\n");
        return 2;
    }}
    {p}_reset(&state);
    for (long sample = 1;; ++sample) {{
        for (int i = 0; i < {P}_INPUTS; ++i) {{
            const int found = scanf("%f", &READ[i]);
            if (found == EOF && i == 0) {{
                return 0;
            }}
            if (found == EOF) {{
                fprintf(stderr, "{p}: a sample has %d numbers, and the last one has %d\\n", {P}_INPUTS, i);
                return 1;
            }}
            if (found != 1 || !isfinite(READ[i])) {{
                fprintf(stderr, "{p}: sample %ld: number %d is not a finite number\\n", sample, i + 1);
                return 1;
            }}
        }}
        for (int o = 0; o < {P}_OUTPUTS; ++o) {{
            sum[o] = 0;
        }}
        CONVERT
        if (steps > 0) {{
            {p}_reset(&state);
        }}
        for (long t = 0; t < (steps > 0 ? steps : 1); ++t) {{
            {p}_step(&state, in, out);
            for (int o = 0; o < {P}_OUTPUTS; ++o) {{
                sum[o] += out[o];
            }}
        }}
        for (int o = 0; o < {P}_OUTPUTS; ++o) {{
            printf(o + 1 < {P}_OUTPUTS ? "%.9g " : "%.9g\\n", PRINTED);
        }}
    }}
}}
"""

MAKEFILE = """# Each operation keeps its rounding: no -ffast-math, no contraction of products and sums.
CC ?= cc
CFLAGS ?= -O3
EXACT = -std=c99 -ffp-contract=off -Wall -Wextra

{p}: main.c {p}.o
\t$(CC) $(EXACT) $(CFLAGS) main.c {p}.o -o $@ -lm

{p}.o: {p}.c {p}.h
\t$(CC) $(EXACT) $(CFLAGS) -c {p}.c -o $@

.PHONY: size clean
size: {p}.o
\tsize {p}.o

clean:
\trm -f {p} {p}.o
"""

CMAKE = """cmake_minimum_required(VERSION 3.10)
project({p} C)

# The network, to be linked to a program. Each operation keeps its rounding: no -ffast-math.
add_library({p} STATIC {p}.c)
target_include_directories({p} PUBLIC ${{CMAKE_CURRENT_SOURCE_DIR}})
set_target_properties({p} PROPERTIES C_STANDARD 99 C_STANDARD_REQUIRED ON)
target_compile_options({p} PRIVATE $<$<C_COMPILER_ID:GNU,Clang,AppleClang>:-ffp-contract=off>)
if(UNIX)
    target_link_libraries({p} PUBLIC m)
endif()

add_executable({p}_example main.c)
target_link_libraries({p}_example PRIVATE {p})
set_target_properties({p}_example PROPERTIES C_STANDARD 99)
"""


#: An example that was there stays, and a compiler may take pointers to floats for pointers to integers.
FLOAT_GUARD = """
#ifdef {P}_INPUT_STEP
#error "{p} takes integers now, and this example floats: delete main.c, and export again"
#endif
"""

#: What is said otherwise in the example where the network does not compute in float.
FLOAT_MAIN = {
    "GUARD": FLOAT_GUARD,
    "DECLARATIONS": "static float in[{P}_INPUTS], out[{P}_OUTPUTS], sum[{P}_OUTPUTS];",
    "READ": "in",
    "        CONVERT\n": "",
    "PRINTED": "(double)sum[o]",
}


def starters(prefix: str, main: Mapping[str, str] = FLOAT_MAIN) -> Dict[str, str]:
    """An example and how to build it, which depend on the prefix alone and are the user's to change."""
    fill = {"p": prefix, "P": prefix.upper()}
    example = MAIN
    for mark, text in main.items():
        example = example.replace(mark, text)
    texts = {"main.c": example, "Makefile": MAKEFILE, "CMakeLists.txt": CMAKE}
    return {name: text.format(**fill) for name, text in texts.items()}
