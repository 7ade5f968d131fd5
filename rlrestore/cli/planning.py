"""Which images are meant, and where each result goes."""

import glob
import json
import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from rlrestore.cli.outputs import check_named
from rlrestore.cli.shards import Shard
from rlrestore.errors import DataError, ImageError, RlrestoreError, UsageError
from rlrestore.imaging.io.files import (
    LISTED_SUFFIXES,
    VIDEO_SUFFIXES,
    is_folder,
    is_video,
    is_whole,
    list_photos,
    shown,
)
from rlrestore.toolbox.specs import TOOLS

SUFFIX = "_restored"
TRACE_SUFFIX = "_trace"
TRY_SUFFIX = "_try"
INSPECTED_SUFFIX = "_inspected"
EXPLAINED_SUFFIX = "_explain"
DRAWN_ENDINGS = (SUFFIX + TRACE_SUFFIX, SUFFIX + TRY_SUFFIX, INSPECTED_SUFFIX, EXPLAINED_SUFFIX)
"""Of pictures that say something of a photograph and are none."""
RESULT_ENDINGS = (SUFFIX, *DRAWN_ENDINGS, *(f"_{tool.name}" for tool in TOOLS))
"""The last ones are of `rlrestore tools`."""


@dataclass(frozen=True)
class Found:
    """An image that is to be restored.

    Attributes:
        path: The file.
        place: Its path inside the folder that was named, or its bare name.
        listed: Whether a search of a folder found it.
    """

    path: Path
    place: Path
    listed: bool


@dataclass(frozen=True)
class Job:
    """One image, or video, and where its result goes.

    Attributes:
        source: The file.
        output: The result.
        place: The file's path inside the folder that was named, or its bare name.
    """

    source: Path
    output: Path
    place: Path

    @property
    def trace_json(self) -> Path:
        """Where the trace is written."""
        return self.output.with_suffix(".json")

    @property
    def trace_picture(self) -> Path:
        """Where the picture of the trace is written."""
        return self.output.with_name(f"{self.output.stem}{TRACE_SUFFIX}.png")

    @property
    def try_picture(self) -> Path:
        """Where the picture of several chains is written."""
        return self.output.with_name(f"{self.output.stem}{TRY_SUFFIX}.png")

    @property
    def is_video(self) -> bool:
        """Whether it is a video."""
        return is_video(self.source)

    def is_done(self, traced: bool) -> bool:
        """Tell whether an earlier run has written all of it, and it is still whole.

        A video is there or not, for reading all of it takes long.
        """
        if self.is_video:
            return self.output.is_file() and (not traced or _is_json(self.trace_json))
        return is_whole(self.output) and (
            not traced or (_is_json(self.trace_json) and is_whole(self.trace_picture))
        )


def _is_json(path: Path) -> bool:
    try:
        json.loads(path.read_bytes())
    except (OSError, ValueError):
        return False
    return True


@dataclass(frozen=True)
class Refused:
    """An input that is not there or must not be read, or an image whose result would overwrite another's.

    Attributes:
        source: The file.
        place: As in `Job`; of what is not there, what the user named.
        problem: What to tell the user.
    """

    source: Path
    place: Path
    problem: RlrestoreError


@dataclass(frozen=True)
class Plan:
    """What to do.

    Attributes:
        jobs: One for each image, no two with the same output.
        refused: What cannot be done.
    """

    jobs: tuple[Job, ...]
    refused: tuple[Refused, ...]

    @property
    def total(self) -> int:
        """How many images were named."""
        return len(self.jobs) + len(self.refused)

    def part(self, shard: Shard) -> "Plan":
        """Return what of it one shard does: the results are named as in the whole plan."""
        jobs = tuple(job for job in self.jobs if shard.holds(job.place))
        return Plan(jobs, tuple(each for each in self.refused if shard.holds(each.place)))


def make_plan(
    inputs: Sequence[str],
    out: str | None,
    reference: str | None = None,
    suffix: str | Callable[[Path], str] = ".png",
    ending: str = SUFFIX,
    left_out: tuple[str, ...] = RESULT_ENDINGS,
) -> Plan:
    """Find the images and name their results.

    Where `x.jpg` and `x.png` would share a result, they get `x_jpg_restored` and `x_png_restored`.

    Args:
        inputs: Files, folders (searched with all their subfolders) and patterns, as the user named them.
        out: A file for one image and a folder otherwise; an existing folder or a trailing slash means a
            folder. Without it each result stands beside its input.
        reference: A further file that no result may overwrite.
        suffix: Of the results that `out` does not name, or what tells it of an input.
        ending: Of the results' names, before the suffix.
        left_out: As in `find_images`.

    Raises:
        UsageError: There is no image at all, `out` names a file though there may be several, or a result
            would overwrite an input or the reference.
    """
    if out == "":
        raise UsageError("expected a file or a folder after -o, got an empty name")
    found, refused = find_images(inputs, left_out)
    alone = len(found) + len(refused) == 1 and not found[0].listed
    if out is not None and not alone and _names_picture(out):
        raise UsageError(
            f"expected a folder after -o for a folder or several images, but {shown(out)} is the name of one "
            f"picture: write -o {shown(str(Path(out).with_suffix('')) + '/')}"
        )
    plan = _named(found, refused, out, suffix, ending, alone)
    sources = [image.path for image in found] + ([] if reference is None else [Path(reference)])
    _refuse_overwriting(plan, sources)
    return plan


def _named(
    found: Sequence[Found],
    refused: Sequence[Refused],
    out: str | None,
    suffix: str | Callable[[Path], str],
    ending: str,
    alone: bool,
) -> Plan:
    """Name the results, no two alike."""
    refused = list(refused)
    suffixes = [suffix if isinstance(suffix, str) else suffix(image.path) for image in found]
    outputs = [_output(image, out, ending + one, alone) for image, one in zip(found, suffixes, strict=True)]
    shared = Counter(map(_place, outputs))
    jobs: dict[Path, Job] = {}
    for image, output, one in zip(found, outputs, suffixes, strict=True):
        unshared = output.with_name(f"{image.path.stem}_{image.path.suffix[1:]}{ending}{one}")
        job = Job(image.path, output if shared[_place(output)] == 1 else unshared, image.place)
        first = jobs.setdefault(_place(job.output), job)
        if first is not job:
            problem = (
                f"{shown(job.source)} is left out: its result {shown(job.output)} would overwrite that of "
                f"{shown(first.source)}; name it on its own, with another -o"
            )
            refused.append(Refused(job.source, job.place, ImageError(problem)))
    return Plan(tuple(jobs.values()), tuple(refused))


def find_images(
    inputs: Sequence[str], left_out: tuple[str, ...] = RESULT_ENDINGS
) -> tuple[list[Found], list[Refused]]:
    """Return every image that is meant, each once, in the order it was named, and what of it is not there.

    Args:
        inputs: Files, folders (searched with all their subfolders) and patterns, as the user named them.
        left_out: How the names of results of earlier runs end, which are passed over in folders and patterns.

    Raises:
        UsageError: Nothing is there: the first path is missing or must not be read, or the folder or pattern
            holds no image.
    """
    unique: dict[Path, Found] = {}
    refused: list[Refused] = []
    for text in inputs:
        try:
            for image in _expand(text, left_out):
                unique.setdefault(_place(image.path), image)
        except UsageError as error:
            refused.append(Refused(Path(text), Path(text), error))
    if refused and not unique:
        raise refused[0].problem
    return list(unique.values()), refused


def _place(path: Path) -> Path:
    """Return where a file lies, however its folder was named; a link to a file is a file of its own."""
    try:
        return Path(os.path.realpath(path.parent)) / path.name  # Path.resolve raises on a loop of links
    except OSError:  # the working folder was removed
        return path


def _expand(text: str, left_out: tuple[str, ...]) -> Iterator[Found]:
    if not text:
        raise UsageError("expected an image, a folder or a pattern, got an empty name")
    path = Path(text)
    if is_folder(path):
        yield from _search(path, left_out)
    elif _is_there(path):
        check_named(path)
        yield Found(path, Path(path.name), listed=False)
    elif glob.has_magic(text):
        matches = [Path(match) for match in sorted(glob.iglob(text, recursive=True))]  # noqa: PTH207  # any root
        kept = [match for match in matches if not match.stem.endswith(left_out)]
        if not kept:
            raise DataError(f"no image matches {shown(text)}: expected at least one; check the pattern")
        for match in kept:
            if not is_folder(match):
                yield Found(match, Path(match.name), listed=False)
            elif "**" not in text:
                yield from _search(match, left_out)
    else:
        raise UsageError(
            f"expected an image, a folder or a pattern, but {shown(text)} does not exist; check the path"
        )


def _is_there(path: Path) -> bool:
    """Tell whether there is a file, or an obstacle (permissions, a loop of links) that reading will name."""
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return False
    except OSError:
        return True
    return True


def _search(folder: Path, left_out: tuple[str, ...]) -> Iterator[Found]:
    """Yield the photographs of a folder, without the results of earlier runs."""
    photos = list_photos(folder)
    fresh = [path for path in photos if not path.stem.endswith(left_out)]
    if not fresh:
        raise DataError(
            f"the folder {shown(folder)} holds only results of earlier runs (names ending in {left_out[0]} "
            "and the like): name a file that is meant nevertheless"
        )
    for path in fresh:
        yield Found(path, path.relative_to(folder), listed=True)


def _output(image: Found, out: str | None, ending: str, alone: bool) -> Path:
    name = f"{image.path.stem}{ending}"
    if out is None:
        return image.path.with_name(name)
    if alone and not names_folder(out):
        return Path(out)
    return Path(out) / image.place.with_name(name)


def _names_picture(out: str) -> bool:
    """Tell whether an output can only be meant as the name of a picture or a video."""
    return Path(out).suffix.lower() in LISTED_SUFFIXES | VIDEO_SUFFIXES and not names_folder(out)


def names_folder(out: str) -> bool:
    """Tell whether an output is a folder by its trailing slash or because it is one."""
    return out.endswith(("/", os.sep)) or is_folder(out)


def _refuse_overwriting(plan: Plan, sources: Sequence[Path]) -> None:
    identities = {_identity(path): path for path in sources}
    for job in plan.jobs:
        for output in (job.output, job.trace_json, job.trace_picture, job.try_picture):
            identity = _identity(output)
            if identity is not None and identity in identities:
                source = shown(identities[identity])
                raise UsageError(
                    f"{shown(output)} would be written over the input {source}: choose another output with -o"
                )


def _identity(path: Path) -> tuple[int, int] | None:
    """Return what a file is known by under all its names, None where there is none, as behind a dead link."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino
