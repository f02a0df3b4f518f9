"""The IPU engine. The core does not import it: like an engine of another package, it is found by its entry point."""

from spikecore.api.core.engines import EngineEntry

ENGINE = EngineEntry(
    "spikecore.engines.ipu.engine:IpuEngine",
    needs=("torch", "poptorch"),
    install=(
        "install Graphcore's Poplar SDK, source its enable.sh files, and install the poptorch wheel that is in it (for "
        "CPython 3.8 and torch 2.0.1). Without it `spikecore check RUN.toml --for ipu` says what an IPU would "
        "take, and simulate=True (--simulate) runs a simulation of PopTorch on the CPU"
    ),
    simulated=("poptorch",),
)
