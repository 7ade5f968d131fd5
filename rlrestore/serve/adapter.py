"""The one place where the server meets the `Restorer`: what it can do, and what becomes of one photograph."""

import io
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import PurePath
from threading import Event
from typing import Any

from rlrestore.errors import UsageError
from rlrestore.imaging.io.decoding import decode_photo, read_header
from rlrestore.imaging.io.encoding import KEEP, LOSSY_SUFFIXES, Quality, encode_photo
from rlrestore.imaging.io.files import shown
from rlrestore.imaging.io.holding import FORMATS as HELD
from rlrestore.imaging.io.keeping import kept_suffix
from rlrestore.imaging.io.photo import Photo
from rlrestore.imaging.io.samples import Floats
from rlrestore.imaging.progress import Report
from rlrestore.inference.blending import Parts
from rlrestore.inference.choice import alternatives
from rlrestore.restorer import Restorer
from rlrestore.runtime.views import VIEWS
from rlrestore.serve.bounds import Bounds, RefusedError
from rlrestore.serve.maps import draw_maps, legend_json, preview
from rlrestore.serve.options import Option
from rlrestore.serve.words import in_words, purpose
from rlrestore.trace import Trace

FORMATS = {
    "png": "image/png",
    "tif": "image/tiff",
    "webp": "image/webp",
    "jpg": "image/jpeg",
    "avif": "image/avif",
    "bmp": "image/bmp",
    "ppm": "image/x-portable-pixmap",
}
"""What a result can be written as, and its media type."""
RESTORING = (
    Option(
        "mode",
        "global applies one chain to the whole photograph, local others to regions that differ.",
        "choice",
        "global",
        choices=("global", "local"),
    ),
    Option(
        "max_steps", "Tools to apply at most; the model's own limit without it.", "integer", low=1, high=100
    ),
    Option("chain", "Apply these tools in this order, whatever the agent would choose.", "names"),
    Option("only", "Choose among these tools or kinds of tools alone.", "names"),
    Option("never", "Leave out these tools or kinds of tools.", "names"),
    Option(
        "views",
        "On how many views, turned and mirrored, each tool works, for the mean of its results.",
        "integer",
        1,
        low=1,
        high=len(VIEWS),
    ),
)
"""What `Restorer.restore` takes."""
WRITING = (
    Option(
        "strength", "How much of the change is kept: 0 is the photograph as it came.", "number", 1.0, 0, 1
    ),
    Option("detail", "How much of the fine detail that was taken away comes back.", "number", 0.0, 0, 1),
    Option(
        "format",
        "What is written; keep is the format that came in, PNG where it cannot be written.",
        "choice",
        "png",
        choices=(KEEP, *FORMATS),
    ),
    Option("quality", "For jpg, avif and webp; webp is lossless without it.", "integer", low=1, high=100),
)


@dataclass(frozen=True)
class Output:
    """A file for the client."""

    content: bytes
    name: str
    media_type: str


@dataclass(frozen=True, eq=False)
class Result:
    """A restored photograph, small enough to be kept: the file as it came, and what became of its pixels.

    Attributes:
        name: What the file was called.
        upload: The file.
        restored: `(H, W, 3)` what the chain made of its pixels, in [0, 1]: not rounded, so that any strength
            and detail of it is what the command makes.
        transparent: Whether the file has transparency.
        record: What is told of it: size, notes, the trace, and the chain in words.
        maps: Where each tool worked, as PNG, one for each step of local mode.
    """

    name: str
    upload: bytes = field(repr=False)
    restored: Floats = field(repr=False)
    transparent: bool
    record: Mapping[str, Any]
    maps: tuple[bytes, ...] = field(default=(), repr=False)

    @property
    def nbytes(self) -> int:
        """Bytes that it takes."""
        return len(self.upload) + sum(map(len, self.maps)) + self.restored.nbytes

    def check(self, values: Mapping[str, Any]) -> None:
        """Make sure that it can be written as asked.

        Raises:
            UsageError: The format has no quality, or cannot hold its transparency.
        """
        _suffix(values, self.record["keep"], self.transparent, self.name)

    def write(self, values: Mapping[str, Any]) -> Output:
        """Return it as a file.

        Args:
            values: Of the options `WRITING`.

        Raises:
            UsageError: The format has no quality, or cannot hold its transparency.
            ImageError: The format cannot hold its size.
        """
        suffix = _suffix(values, self.record["keep"], self.transparent, self.name)
        photo = self._blended(values["strength"], values["detail"])
        content = encode_photo(photo, suffix, shown(self.name), _quality(values))
        return Output(content, f"{PurePath(self.name).stem}_restored{suffix}", FORMATS[suffix[1:]])

    def _blended(self, strength: float, detail: float) -> Photo:
        """Return the photograph at a strength and a detail, as `Restoration.blended`."""
        original = decode_photo(io.BytesIO(self.upload), shown(self.name))
        return original.with_pixels(Parts(original.pixels, self.restored).blend(strength, detail))


class Adapter:
    """A `Restorer` as the server sees it."""

    options = (*RESTORING, *WRITING)
    """What a client may ask for."""

    def __init__(self, restorer: Restorer, bounds: Bounds) -> None:
        """Offer a restorer.

        Args:
            restorer: Who restores.
            bounds: How large a photograph may be.
        """
        self._restorer, self._bounds = restorer, bounds

    def about(self) -> dict[str, Any]:
        """Return what clients are told: the model, its tools, the options and the bounds."""
        specs = self._restorer.runtime.tools.specs
        return {
            "model": self._restorer.name,
            "tools": [
                {"name": spec.name, "distortion": spec.distortion, "low": spec.low, "high": spec.high}
                | {"purpose": purpose(spec)}
                for spec in specs
            ],
            "options": {option.name: option.schema() for option in self.options},
            "bounds": {
                "megabytes": self._bounds.megabytes,
                "megapixels": self._bounds.megapixels,
                "waiting": self._bounds.waiting,
                "seconds": self._bounds.seconds,
            },
        }

    def pixels(self, content: bytes, name: str) -> int:
        """Return how many pixels a file's header claims.

        Raises:
            ImageError: It is no image.
            RefusedError: 422, there are too many.
        """
        found = read_header(io.BytesIO(content), shown(name))
        if found.pixels > self._bounds.pixels:
            raise RefusedError(
                422,
                f"expected at most {self._bounds.megapixels:g} megapixels, but {shown(name)} has "
                f"{found.pixels / 1e6:.10g}; make it smaller",
            )
        return found.pixels

    def restore(
        self,
        content: bytes,
        name: str,
        values: Mapping[str, Any],
        progress: Report | bool = False,
        cancel: Event | None = None,
    ) -> Result:
        """Restore one photograph.

        Args:
            content: Its file.
            name: What the file is called.
            values: Of the options.
            progress: Is told how far it is.
            cancel: Ends it early once it is set.

        Raises:
            RlrestoreError: It was cancelled, or it cannot be read, or not be restored or written as asked.
        """
        photo = decode_photo(io.BytesIO(content), shown(name))
        keep = kept_suffix(read_header(io.BytesIO(content), shown(name)).format, "")[1:]
        _suffix(values, keep, photo.alpha is not None, name)  # before the work is done
        small = preview(photo) if values["mode"] == "local" else None
        asked = {key: values[key] for key in (option.name for option in RESTORING) if values[key] is not None}
        done = self._restorer.restore(
            photo,
            keep_steps=False,
            in_place=True,
            keep_original=False,
            progress=progress,
            cancel=cancel,
            inspect=True,
            **asked,
        )
        regions = [step.regions for step in done.trace.applied if step.regions is not None]
        record = self._record(name, keep, photo, done.trace)
        pixels, transparent = done.photo.pixels, photo.alpha is not None
        return Result(name, content, pixels, transparent, record, draw_maps(small, regions))

    def _record(self, name: str, keep: str, photo: Photo, trace: Trace) -> dict[str, Any]:
        """Return what a client is told of a restored photograph.

        Args:
            name: What its file is called.
            keep: The format that stands for `keep`.
            photo: The photograph as it was read.
            trace: What was done.
        """
        return {
            "name": name,
            "width": photo.width,
            "height": photo.height,
            "depth_bits": photo.depth_bits,
            "keep": keep,
            "notes": list(photo.notes),
            "words": in_words(trace, self._restorer.runtime.tools.specs),
            "inspection": "" if trace.inspection is None else trace.inspection.sentences(),
            "trace": trace.to_json(),
            "legends": [legend_json(step.regions) for step in trace.applied if step.regions is not None],
            "others": [
                {"name": one.name, "options": {key: ",".join(names) for key, names in one.options.items()}}
                for one in alternatives(trace)
            ],
        }


def _quality(values: Mapping[str, Any]) -> Quality:
    """Return the quality to write at: the file's own where its format is kept and none is asked for."""
    quality: int | None = values["quality"]
    return KEEP if values["format"] == KEEP and quality is None else quality


def _suffix(values: Mapping[str, Any], keep: str, transparent: bool, name: str) -> str:
    """Return the suffix of what is written, if it can be.

    Args:
        values: Of the options `WRITING`.
        keep: The format that stands for `keep`.
        transparent: Whether there is transparency to be kept.
        name: What the file is called.

    Raises:
        UsageError: The format has no quality, or cannot hold the transparency.
    """
    suffix = f".{keep if values['format'] == KEEP else values['format']}"
    if transparent and not HELD[suffix].transparency:
        raise UsageError(
            f"expected a format that keeps the transparency of {shown(name)}, got {suffix[1:]}; "
            "ask for png, webp, avif or tif"
        )
    if values["quality"] is not None and suffix not in LOSSY_SUFFIXES:
        raise UsageError(
            f"quality goes with jpg, avif and webp, but the result is {suffix[1:]}: leave it out"
        )
    return suffix
