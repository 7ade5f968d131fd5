"""Print `docs/dependencies.md`: what is installed with the package, and under which licence.

    python scripts/list_licences.py > docs/dependencies.md

Everything is read from the metadata of what is installed here; run it where all
extras are, by `constraints.txt`.
"""

import argparse
import importlib.metadata
import re
from collections.abc import Iterator
from importlib.metadata import Distribution

from packaging.requirements import Requirement

from rlrestore.cli.about import DEVELOPERS

HEAD = """\
# Licences of the dependencies

Made by `python scripts/list_licences.py > docs/dependencies.md` from the metadata of what the tests ran with.
pip installs these beside the program; none of them is part of it, nor in its wheel. Metadata tell of a
library itself; what its wheel holds of others stands in the files beside it:

- **pillow-heif**: its wheels as a whole are under **GPL 2**, says its `LICENSES_bundled.txt`, for they hold
  x265; libheif and libde265 are under LGPL 3. It is installed by the extra `heic` alone.
- **av** (PyAV): its wheels hold FFmpeg built with x264 and x265, which are under **GPL 2**. It is installed
  by the extra `video` alone.
- **opencv-python-headless** holds FFmpeg, **rawpy** LibRaw, both under LGPL 2.1, as libraries of their own.

No licence here forbids commercial use. Who passes libraries on, as in a container, takes on what their
licences ask of that.

"""


def licence(of: Distribution) -> str:
    """Return a distribution's licence, in the words of its metadata."""
    about = of.metadata
    if "License-Expression" in about:
        return str(about["License-Expression"])
    classifiers = [each for each in about.get_all("Classifier") or () if each.startswith("License ::")]
    if classifiers:
        return ", ".join(each.rsplit(" :: ", 1)[-1] for each in classifiers)
    words = str(about["License"]).strip().splitlines() if "License" in about else []
    return words[0] if words and len(words[0]) < 80 else "see its files"


def needed(name: str, extra: str = "") -> Iterator[str]:
    """Yield what a distribution asks for on this machine, those of an extra alone if one is given."""
    for text in importlib.metadata.requires(name) or ():
        requirement = Requirement(text)
        always = requirement.marker is None or requirement.marker.evaluate({"extra": ""})
        wanted = requirement.marker is not None and requirement.marker.evaluate({"extra": extra})
        if (wanted and not always) if extra else always:
            yield requirement.name


def tree(extra: str) -> set[str]:
    """Return the canonical names of all that comes with the package, or what an extra adds to it."""
    found: set[str] = set()
    waiting = list(needed("rlrestore", extra))
    while waiting:
        name = re.sub(r"[-_.]+", "-", waiting.pop()).lower()
        if name not in found:
            found.add(name)
            waiting += needed(name)
    return found


def table(names: set[str]) -> Iterator[str]:
    """Yield the rows of a table in Markdown."""
    yield "| library | version | licence |"
    yield "|---|---|---|"
    for name in sorted(names):
        there = importlib.metadata.distribution(name)
        yield f"| {name} | {there.version.split('+')[0]} | {licence(there)} |"


def main() -> None:
    """Print the page."""
    argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    ).parse_args()
    print(HEAD, end="")
    base = tree("")
    extras = importlib.metadata.metadata("rlrestore").get_all("Provides-Extra") or []
    for extra in ("", *sorted(set(extras) - DEVELOPERS)):
        names = tree(extra) - base if extra else base
        print(f"## {f'Added by the extra `{extra}`' if extra else 'The program itself'}\n")
        print("\n".join(table(names)) + "\n")


if __name__ == "__main__":
    main()
