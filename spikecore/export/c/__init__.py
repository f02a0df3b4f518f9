"""C from a step graph: a planner, which knows no language, and emitters that write what it has planned."""
