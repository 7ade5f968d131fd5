"""`rlrestore restore --shard I/N`: the part of a folder that one of N machines restores."""

import argparse
import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

DIGEST_BYTES = 8


@dataclass(frozen=True)
class Shard:
    """One of so many parts into which images are divided, by their names alone.

    Attributes:
        number: From 1 to `count`.
        count: How many parts there are.
    """

    number: int
    count: int

    def holds(self, place: Path) -> bool:
        """Tell whether an image is in it: the same on every machine, and whatever other images there are.

        Args:
            place: The image's path inside the folder that was named.
        """
        name = os.fsencode(place.as_posix())
        digest = hashlib.blake2b(name, digest_size=DIGEST_BYTES).digest()
        return int.from_bytes(digest, "big") % self.count == self.number - 1

    def __str__(self) -> str:
        return f"{self.number}/{self.count}"


def shard(text: str) -> Shard:
    """Read I/N, I from 1 to N."""
    number, slash, count = text.partition("/")
    if not (slash and number.isdecimal() and count.isdecimal() and 1 <= int(number) <= int(count)):
        raise argparse.ArgumentTypeError(f"expected I/N, I from 1 to N, as 1/8, got {text!r}")
    return Shard(int(number), int(count))
