"""``python -m spikecore``: the command line."""

from spikecore.cli import main

main()
