"""The command line but for a run's pictures, which take longer than a small training: ``python -m`` this module."""

from __future__ import annotations


def main(arguments=None):
    """What ``spikecore`` does with these words; default: those of the command line."""
    from spikecore.cli import command_train
    from spikecore.cli.command import main

    command_train._drawn = lambda job, model: []
    main(arguments)


if __name__ == "__main__":
    main()
