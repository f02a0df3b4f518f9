"""Benchmarks: this library and others do the same work, and each time is printed with a comparison of the results.

    spikecore bench --list
    spikecore bench neurons tutorial5 --rounds 15 --out results.md

A workload is a list of groups. A group is a list of sides. A side is a library or an engine; all sides of a group run
the same neuron model on the same data, in one process. They are timed in turn, in a different order in each round, so
that changes in the machine's speed affect all of them equally. The results of each side are compared with a reference
run: spikes one by one, gradients by max|a - b| / max|b|. This comparison is called parity. See docs/benchmarks.md.
"""
