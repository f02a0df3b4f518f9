"""``python -m spikecore``: the command line."""

from spikecore.cli.command import main

main()
