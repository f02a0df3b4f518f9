"""The IPU engine. The core does not know it: it is found like anybody's engine, through the entry point of its name."""

from spikecore.api.core.engine import EngineEntry

ENGINE = EngineEntry(
    "spikecore.engines.ipu.engine:IpuEngine",
    needs=("torch", "poptorch"),
    install=(
        "install Graphcore's Poplar SDK, source its enable.sh files, and pip install its poptorch wheel (not on PyPI; "
        "it needs CPython 3.8 and torch 2.0.1). Without it `spikecore check RUN.toml --for ipu` says what an IPU would "
        "take, and simulate=True (--simulate) runs a simulation of PopTorch on the CPU"
    ),
    simulated=("poptorch",),
)
