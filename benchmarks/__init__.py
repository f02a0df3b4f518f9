"""Benchmarks: this library and its peers on the same work, with parity printed beside each time.

    spikecore bench --list
    spikecore bench neurons tutorial5 --rounds 15 --out results.md

A workload is a list of groups, a group a list of sides that all run the same neuron model on the same data, in one
process. They are timed in turn, in another order in each round, so that a machine whose speed drifts treats them alike.
What each computed is compared with a reference run: spikes one by one, gradients as max|a - b| / max|b|. See
docs/benchmarks.md.
"""

from benchmarks import machine as machine
from benchmarks.plan import Bar as Bar
from benchmarks.plan import Group as Group
from benchmarks.plan import Settings as Settings
from benchmarks.plan import Side as Side
from benchmarks.plan import Workload as Workload
from benchmarks.report import as_json as as_json
from benchmarks.report import as_markdown as as_markdown
from benchmarks.runner import run as run
from benchmarks.workloads import WORKLOADS as WORKLOADS
from benchmarks.workloads import workloads as workloads
