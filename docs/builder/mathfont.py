"""The font of equations: a part of STIX Two Math, out of a package, so that brackets and roots grow everywhere.

Not every system has a font for mathematics. The font is free under the SIL Open Font License, which its names hold.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

FILE = "stylesheets/stix-two-math.woff"
CHARACTERS = [  # first and last of each range
    (0x20, 0x7E),
    (0xA0, 0xFF),
    (0x391, 0x3F6),  # Greek
    (0x2010, 0x2037),  # dashes, dots, primes
    (0x2100, 0x214F),
    (0x2190, 0x21D5),  # arrows
    (0x2200, 0x22FF),  # operators
    (0x2308, 0x230B),  # floor and ceiling
    (0x27E8, 0x27EB),
    (0x23DC, 0x23E1),  # braces above and below
    (0x1D400, 0x1D467),  # bold and italic letters
    (0x1D49C, 0x1D4CF),  # script
    (0x1D538, 0x1D56B),  # double-struck
    (0x1D6A8, 0x1D71B),  # bold and italic Greek
]


def on_files(files: Any, config: Any) -> Any:
    """Add the font to the files of the site, unless it was made before."""
    from mkdocs.structure.files import File

    font = Path(config.config_file_path).parent / "build" / FILE
    if not font.is_file():
        font.parent.mkdir(parents=True, exist_ok=True)
        make(font)
    files.append(File.generated(config, FILE, abs_src_path=str(font)))
    return files


def make(font: Path) -> None:
    """Write the part of the font that equations use."""
    from fontTools import subset

    home = importlib.util.find_spec("ziamath")
    if home is None or home.origin is None:
        raise ImportError("the font of equations comes with ziamath: pip install ziamath")
    options = subset.Options(flavor="woff", layout_features=["ssty", "dtls"], name_IDs=["*"], hinting=False)
    part = subset.Subsetter(options)
    part.populate(unicodes=[code for first, last in CHARACTERS for code in range(first, last + 1)])
    with subset.load_font(str(Path(home.origin).parent / "fonts" / "STIXTwoMath-Regular.ttf"), options) as whole:
        part.subset(whole)
        subset.save_font(whole, str(font), options)
