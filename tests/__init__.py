"""The tests, a folder for each room of the library; what tests of a room share stands beside them."""

from pathlib import Path

ROOT = Path(__file__).parent.parent
