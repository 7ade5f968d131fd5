"""What the server takes on, and how it says no."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Bounds:
    """How much one server takes on.

    Attributes:
        megabytes: Of one request's body, at most.
        megapixels: Of one photograph, at most.
        waiting: Requests that may wait, or be on their way in, while others are worked on.
        workers: Photographs that are restored at a time.
        seconds: A request may take, from its first byte to its answer.
        idle_seconds: An upload may pause.
        kept_megabytes: Of results that are kept for the page; the oldest go first.
        kept_seconds: A result is kept after it was last asked for.
    """

    megabytes: float = 100
    megapixels: float = 50
    waiting: int = 16
    workers: int = 1
    seconds: float = 600
    idle_seconds: float = 20
    kept_megabytes: float = 2048
    kept_seconds: float = 3600

    @property
    def body_bytes(self) -> int:
        """Bytes of a request's body at most."""
        return int(self.megabytes * 1e6)

    @property
    def pixels(self) -> int:
        """Pixels of a photograph at most."""
        return int(self.megapixels * 1e6)


@dataclass(eq=False)
class RefusedError(Exception):
    """A request that is answered with a status and one line.

    Attributes:
        status: HTTP status, 400 or above.
        line: What was expected, what came, and the cure.
        more: Further entries of the JSON that answers.
    """

    status: int
    line: str
    more: Mapping[str, object] = field(default_factory=dict)
