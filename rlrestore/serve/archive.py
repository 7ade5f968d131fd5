"""A ZIP archive that is sent while it is made, one file in memory at a time."""

import zipfile
from collections.abc import AsyncIterator
from pathlib import PurePath
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rlrestore.serve.adapter import Output


class _Pipe:
    """What is written goes in at one end and is taken out at the other."""

    def __init__(self) -> None:
        self._waiting = bytearray()

    def write(self, content: bytes) -> int:
        """Put bytes in."""
        self._waiting += content
        return len(content)

    def flush(self) -> None:
        """Nothing is held back."""

    def take(self) -> bytes:
        """Take all bytes out."""
        content = bytes(self._waiting)
        self._waiting.clear()
        return content


async def stream_zip(outputs: AsyncIterator["Output"]) -> AsyncIterator[bytes]:
    """Yield an archive of the files; a name that came before, in whatever case, gets a number.

    They are stored, not compressed: they are compressed pictures.
    """
    pipe, names = _Pipe(), set[str]()
    with zipfile.ZipFile(pipe, "w", zipfile.ZIP_STORED) as archive:  # type: ignore[call-overload]  # it cannot seek
        async for output in outputs:
            name = _fresh(output.name, names)
            archive.writestr(name, output.content)
            yield pipe.take()
    yield pipe.take()


def _fresh(name: str, names: set[str]) -> str:
    """Return a name that is not among the names, and add it to them, all without their case.

    Windows and macOS would write `a.png` over `A.png`.
    """
    path, number = PurePath(name), 1
    while name.casefold() in names:
        number += 1
        name = f"{path.stem}_{number}{path.suffix}"
    names.add(name.casefold())
    return name
