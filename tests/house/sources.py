"""Syntax trees of files, each parsed once for all tests that look at it, as Python 3.8 reads it."""

from __future__ import annotations

import ast
import functools


@functools.lru_cache(maxsize=None)
def tree(path):
    """The syntax tree of a file; whoever reads it changes nothing in it."""
    return ast.parse(path.read_text(encoding="utf-8"), str(path), feature_version=(3, 8))


@functools.lru_cache(maxsize=None)
def nodes(path):
    """The nodes of a file's syntax tree."""
    return tuple(ast.walk(tree(path)))
