"""The exit codes of the command line, and the exception of a command that a signal has ended."""

from __future__ import annotations

OK, NOT_VERIFIED, USAGE, DATA, RUNTIME, INTERRUPTED, TERMINATED = 0, 1, 2, 3, 4, 130, 143
EXIT_CODES = (
    "Exit codes: 0 done; 1 gradients not verified, network refused; 2 wrong usage or run file; 3 data or checkpoint "
    "absent or damaged; 4 anything else that went wrong while running; 130 interrupted; 143 ended by "
    "a scheduler (SIGTERM)."
)


class Interrupted(Exception):
    """A signal, mostly Ctrl-C, has ended a command; the message says what is left of its work, and how to continue.

    Commands raise it in place of KeyboardInterrupt, which typer would turn into an exit code without a message.

    Args:
        message: what to print.
        code: the exit code; default: that of Ctrl-C.
    """

    def __init__(self, message: str, code: int = INTERRUPTED) -> None:
        super().__init__(message)
        self.code = code
