"""Pairs of real photographs: the agent beside single tools, non-local means, and the greedy oracle."""

import json
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from experiments.methods import smooth_pixels
from experiments.presentation import markdown_table
from rlrestore.errors import DataError
from rlrestore.evaluation.file_pairs import FilePair, pair_files, read_pair
from rlrestore.evaluation.testsets import Pixels
from rlrestore.imaging.psnr import photo_psnr_db
from rlrestore.inference.chains import apply_tool_
from rlrestore.inference.photos import as_photo, to_planes
from rlrestore.restorer import Restorer
from rlrestore.runtime import Floats, Tools
from rlrestore.trace import STOP_NAME

NLM_STRENGTHS = 3.0, 6.0, 10.0
"""The h of non-local means, in grey levels."""
BY_HAND = tuple(f"denoise-{number}" for number in range(1, 5))
RIVALS = ORACLE, NLM = "oracle", "nlm"
"""Those that take most of the time, and may be left out."""
WORSE_DB = 0.05
"""A result is called worse if it lost more than this."""
ALL = "all"


@dataclass(frozen=True)
class PairScores:
    """What was measured on one pair.

    Attributes:
        name: Of the picture; up to the first `_` it is the camera's.
        input_db: PSNR of the input.
        agent_db: Of the agent's result.
        chain: The agent's tools.
        expected_db: The gain that the agent expected of them.
        oracle_db: Of the greedy oracle's result; None where it was left out.
        oracle_chain: Its tools.
        by_hand_db: By the name of a single tool.
        nlm_db: By the strength of non-local means.
    """

    name: str
    input_db: float
    agent_db: float
    chain: tuple[str, ...]
    expected_db: float
    oracle_db: float | None
    oracle_chain: tuple[str, ...]
    by_hand_db: dict[str, float]
    nlm_db: dict[str, float]

    @property
    def camera(self) -> str:
        """What the picture was taken with."""
        return self.name.split("_", maxsplit=1)[0]

    @property
    def gain_db(self) -> float:
        """What the agent gained."""
        return self.agent_db - self.input_db


def real_pairs(folder: Path, every: int = 1) -> list[FilePair]:
    """Return every so many pairs of files `CAMERA_..._real` and `CAMERA_..._mean` of a folder.

    Raises:
        DataError: There is no such pair, or an image has no reference.
    """
    return pair_files(folder / "*_real", folder / "*_mean")[::every]


def measure_pair(
    restorer: Restorer, pair: FilePair, without: Collection[str], known_nlm_db: Mapping[str, dict[str, float]]
) -> PairScores:
    """Restore one picture by all methods; PSNR is that of the unrounded result.

    Args:
        restorer: The model.
        pair: The picture and its reference.
        without: What of `RIVALS` is left out.
        known_nlm_db: What non-local means left of pictures in an earlier run, by their names.
    """
    degraded, clean = read_pair(pair)
    image, truth = (to_planes(as_photo(pixels)) for pixels in (degraded, clean))
    tools, steps = restorer.runtime.tools, restorer.runtime.agent.max_steps
    trace = restorer.restore(degraded, clean, keep_steps=False).trace
    applied = [step for step in trace.steps if step.tool != STOP_NAME]
    start_db = photo_psnr_db(image, truth)
    by_hand_db = {name: _tried(tools, name, image, truth)[0] for name in BY_HAND if name in tools.names}
    oracle_db, oracle_chain = (None, ()) if ORACLE in without else greedy_chain(tools, image, truth, steps)
    nlm_db = known_nlm_db.get(pair.name) or ({} if NLM in without else _smoothed_db(degraded, truth))
    return PairScores(
        name=pair.name,
        input_db=start_db,
        agent_db=start_db if trace.psnr_db is None else trace.psnr_db,
        chain=tuple(step.tool for step in applied),
        expected_db=sum(step.expected_gain_db or 0.0 for step in applied),
        oracle_db=oracle_db,
        oracle_chain=oracle_chain,
        by_hand_db=by_hand_db,
        nlm_db=nlm_db,
    )


def greedy_chain(tools: Tools, image: Floats, truth: Floats, max_steps: int) -> tuple[float, tuple[str, ...]]:
    """Take at every step the tool that gains most on the whole picture, until none gains.

    Returns:
        The PSNR at the end, and the chain.
    """
    best_db, chain = photo_psnr_db(image, truth), []
    for _ in range(max_steps):
        tried = {name: _tried(tools, name, image, truth) for name in tools.names}
        name = max(tried, key=lambda each: tried[each][0])
        if tried[name][0] <= best_db:
            break
        best_db, image = tried[name]
        chain.append(name)
    return best_db, tuple(chain)


def _tried(tools: Tools, name: str, image: Floats, truth: Floats) -> tuple[float, Floats]:
    result = apply_tool_(tools, tools.names.index(name), image.copy())
    return photo_psnr_db(result, truth), result


def _smoothed_db(pixels: Pixels, truth: Floats) -> dict[str, float]:
    smooth = {f"{h:g}": as_photo(smooth_pixels(pixels, h)) for h in NLM_STRENGTHS}
    return {name: photo_psnr_db(to_planes(photo), truth) for name, photo in smooth.items()}


def measure_all(
    restorer: Restorer,
    pairs: Sequence[FilePair],
    without: Collection[str] = (),
    earlier: Path | None = None,
    progress: bool = False,
) -> list[PairScores]:
    """Measure pairs; see `measure_pair`.

    Args:
        restorer: The model.
        pairs: The pairs.
        without: What of `RIVALS` is left out.
        earlier: File of an earlier run on the same pictures, from which non-local means, which know no
            model, are taken.
        progress: Whether to show a progress bar on stderr.

    Raises:
        DataError: The earlier file is none.
    """
    known = {} if earlier is None else _read_nlm(earlier)
    bar = tqdm(pairs, unit="picture", disable=not progress)
    return [measure_pair(restorer, pair, without, known) for pair in bar]


def _read_nlm(path: Path) -> dict[str, dict[str, float]]:
    try:
        content = json.loads(path.read_text("utf-8"))
        return {picture["name"]: picture["nlm_db"] for picture in content["pictures"]}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"expected a file that --json wrote, {path} cannot be read: {error}") from error


def to_json(scores: Sequence[PairScores], model: str) -> dict[str, Any]:
    """Return plain JSON values."""
    return {"model": model, "pictures": [asdict(each) for each in scores]}


def by_camera(scores: Sequence[PairScores]) -> dict[str, list[PairScores]]:
    """Return the pictures of each camera, then all of them."""
    groups: dict[str, list[PairScores]] = {}
    for each in scores:
        groups.setdefault(each.camera, []).append(each)
    return {**groups, ALL: list(scores)}


def _columns(scores: Sequence[PairScores]) -> dict[str, Callable[[PairScores], float]]:
    """Return the methods that all pictures have, and what a method left of a picture."""
    columns: dict[str, Callable[[PairScores], float]] = {"agent": lambda each: each.agent_db}
    for name in scores[0].by_hand_db:
        columns[name] = partial(_by_hand, name)
    if scores[0].by_hand_db:
        columns["best tool"] = lambda each: max(each.by_hand_db.values())
    for h in scores[0].nlm_db:
        columns[f"h = {h}"] = partial(_smoothed, h)
    if scores[0].nlm_db:
        columns["best h"] = lambda each: max(each.nlm_db.values())
    if all(each.oracle_db is not None for each in scores):
        columns["greedy oracle"] = lambda each: each.oracle_db or 0.0
    return columns


def _by_hand(name: str, each: PairScores) -> float:
    return each.by_hand_db[name]


def _smoothed(h: str, each: PairScores) -> float:
    return each.nlm_db[h]


def rivals_table(scores: Sequence[PairScores]) -> str:
    """Return the mean gains in dB of all methods, by camera, in Markdown."""
    columns = _columns(scores)
    rows = [["camera", "pictures", "input, dB", *columns]]
    for camera, group in by_camera(scores).items():
        start_db = _mean(each.input_db for each in group)
        gains = (_mean(column(each) for each in group) - start_db for column in columns.values())
        rows.append([camera, f"{len(group)}", f"{start_db:.2f}", *(f"{gain:+.2f}" for gain in gains)])
    return markdown_table(rows)


def agent_table(scores: Sequence[PairScores]) -> str:
    """Return where the agent lost, and against whom it won, by camera, in Markdown."""
    worse = f"worse by more than {WORSE_DB:g} dB"
    rows = [["camera", "gain, dB", "expected, dB", worse, "the worst, dB", "above the best h", "regret, dB"]]
    for camera, group in by_camera(scores).items():
        rivals = [(each.agent_db, max(each.nlm_db.values())) for each in group if each.nlm_db]
        regrets = [each.oracle_db - each.agent_db for each in group if each.oracle_db is not None]
        rows.append(
            [
                camera,
                f"{_mean(each.gain_db for each in group):+.2f}",
                f"{_mean(each.expected_db for each in group):+.2f}",
                f"{sum(each.gain_db < -WORSE_DB for each in group)} of {len(group)}",
                f"{min(each.gain_db for each in group):+.2f}",
                f"{sum(own > best for own, best in rivals)} of {len(rivals)}" if rivals else "–",
                f"{_mean(regrets):.2f}" if regrets else "–",
            ]
        )
    return markdown_table(rows)


def chains_table(scores: Sequence[PairScores]) -> str:
    """Return how often the agent took each chain, and what that gained, in Markdown."""
    rows = [["agent's chain", "pictures", "gain, dB", "the worst, dB"]]
    chains = {each.chain for each in scores}
    groups = {chain: [each for each in scores if each.chain == chain] for chain in chains}
    for chain, group in sorted(groups.items(), key=lambda item: (-len(item[1]), item[0])):
        gains = [each.gain_db for each in group]
        name = " → ".join(chain) or "none"
        rows.append([name, f"{len(group)}", f"{_mean(gains):+.2f}", f"{min(gains):+.2f}"])
    return markdown_table(rows)


def _mean(values: Iterable[float]) -> float:
    return float(np.mean(list(values)))
