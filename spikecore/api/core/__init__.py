"""The base of all other parts: words and their rules, engines, trees of arrays, layers, draws."""
