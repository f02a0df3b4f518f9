"""Examples at the heads of modules that write code, compared with what they write."""

import re


def examples_of(module):
    """The blocks in a module's docstring that follow a line with "::"; comments, three spaces behind code, are cut."""
    blocks = []
    for part in re.split(r"::\n\n", module.__doc__)[1:]:
        block = re.split(r"\n(?! |\n)", part)[0]
        blocks.append([re.split(r" {3,}", line.strip())[0] for line in block.splitlines() if line.strip()])
    return blocks


def missing(module, written):
    """The first line of a module's examples that does not occur in ``written`` behind the lines before it, or ""."""
    blocks = examples_of(module)
    assert blocks, f"{module.__name__} begins with no example"
    for block in blocks:
        lines = iter(written.splitlines())
        for wanted in block:
            if not any(wanted in line for line in lines):
                return wanted
    return ""
