"""Measure how fast the batched environment steps, beside a loop that steps one image at a time.

    python scripts/bench_rollouts.py [--data PHOTOS] [--model FOLDER] [--device cuda] [--json FILE]

A step is `BatchedRestorationEnv.step` with actions drawn uniformly from all thirteen, stop included, as an
agent does that knows nothing yet; episodes so last 2.8 steps. Degrading the patches of new episodes is part
of it, an agent is not. The loop is `RestorationEnv` in float32, with the same tools, photographs, threads and
kind of actions.

The columns: environment steps a second; how many times as many as the loop; the share of the time that the
tools' networks take; the multiply-adds of their convolutions a second; and those beside what the device does
in a large matrix product of the same precision, the roofline. Everything takes turns in several rounds, and
the fastest of each counts, so that whatever else the machine does slows all of them alike; on one thread the
time is the processor's own. On a processor a step of some thousand images loses time to memory that Linux
hands out anew for each tensor: MALLOC_MMAP_THRESHOLD_=1000000000 MALLOC_TRIM_THRESHOLD_=4000000000 keep it.
"""

import argparse
import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from tqdm import tqdm

from rlrestore.devices import resolve_device, training_precision
from rlrestore.envs.batched import BatchedRestorationEnv
from rlrestore.envs.setup import given_or_moderate_source, given_or_shipped_toolbox
from rlrestore.envs.single import RestorationEnv
from rlrestore.envs.sources import PairSource
from rlrestore.evaluation.costs import multiply_adds_per_px, synchronize
from rlrestore.imaging import PATCH
from rlrestore.imaging.io.atomic import write_atomically
from rlrestore.toolbox.toolbox import Toolbox

SIZES = (1, 8, 64, 512, 2048, 8192)
ROUNDS = 3
MATRIX_SIDE = {"cpu": 1024, "cuda": 8192}
CONVOLVED = {"cpu": 8, "cuda": 1024}
"""Images of 32×32 in the convolution of the matrix rate."""
MATRIX_REPEATS = 5


@dataclass(frozen=True)
class Sample:
    """What one measurement of the batched environment gave.

    Attributes:
        steps_per_s: Environment steps a second, all episodes together.
        tool_share: Share of the time that the tools' networks take, from 0 to 1.
        multiply_adds_per_s: Of the tools' convolutions.
    """

    steps_per_s: float
    tool_share: float
    multiply_adds_per_s: float


@dataclass(frozen=True)
class Row:
    """The best sample of a batch size, relative to the loop and to the matrix product.

    Attributes:
        episodes: The batch size.
        precision: `float32` or `bfloat16`, of the tools.
        steps_per_s: See `Sample`, as the next two.
        tool_share: From 0 to 1.
        multiply_adds_per_s: Of the convolutions.
        times_the_loop: Steps a second, divided by those of the one-image loop.
        roofline_ratio: Multiply-adds a second, divided by those of a matrix product of this precision.
    """

    episodes: int
    precision: str
    steps_per_s: float
    tool_share: float
    multiply_adds_per_s: float
    times_the_loop: float
    roofline_ratio: float


@dataclass(frozen=True)
class Report:
    """What was measured on one device.

    Attributes:
        device: Its name, for people.
        threads: Of the processor.
        loop_steps_per_s: Of the one-image loop.
        matrix_rates_per_s: Multiply-adds a second of a large matrix product, by precision.
        rows: One for each batch size and precision.
    """

    device: str
    threads: int
    loop_steps_per_s: float
    matrix_rates_per_s: dict[str, float]
    rows: tuple[Row, ...]


def now(device: torch.device) -> float:
    """Return the time in seconds; on one thread of a processor its own time, whatever else it does."""
    if device.type == "cpu" and torch.get_num_threads() == 1:
        return time.process_time()
    return time.perf_counter()


class ToolClock:
    """Adds up the time that a toolbox spends in its networks, on a GPU by the GPU's own clock."""

    def __init__(self, toolbox: Toolbox, device: torch.device) -> None:
        self.device = device
        self.times: list[float] = []
        self.events: list[torch.Event] = []
        for network in toolbox.networks:
            network.register_forward_pre_hook(self._mark)
            network.register_forward_hook(self._mark)

    def _mark(self, *_: object) -> None:
        if self.device.type == "cpu":
            self.times.append(now(self.device))
        else:
            self.events.append(torch.Event(self.device, enable_timing=True))
            self.events[-1].record()

    def read(self) -> float:
        """Return the seconds since the last reading; the device must have come to the end of its work."""
        spans = [end - begin for begin, end in zip(self.times[::2], self.times[1::2], strict=True)]
        pairs = zip(self.events[::2], self.events[1::2], strict=True)
        spans += [begin.elapsed_time(end) / 1000 for begin, end in pairs]
        self.times.clear()
        self.events.clear()
        return sum(spans)


def matrix_rate(device: torch.device, dtype: torch.dtype) -> float:
    """Return the multiply-adds a second of a large matrix product.

    It is run as a product and as a 3×3 convolution of 256 channels, and the faster one counts: the libraries
    behind the two obey different settings, and on some processors one of them reaches half of the other.
    """
    side, images = MATRIX_SIDE.get(device.type, 1024), CONVOLVED.get(device.type, 8)
    square = torch.ones(side, side, device=device, dtype=dtype)
    features = torch.ones(images, 256, 32, 32, device=device, dtype=dtype)
    features = features.contiguous(memory_format=torch.channels_last)
    weight = torch.ones(256, 256, 3, 3, device=device, dtype=dtype)
    weight = weight.contiguous(memory_format=torch.channels_last)
    convolution_s = fastest(lambda: F.conv2d(features, weight, padding=1), device)
    return max(
        side**3 / fastest(lambda: square @ square, device),
        features.numel() * 256 * 9 / convolution_s,
    )


def fastest(call: Callable[[], object], device: torch.device) -> float:
    """Return the shortest time of a call, in seconds."""
    call()
    seconds = []
    for _ in range(MATRIX_REPEATS):
        synchronize(device)
        began = now(device)
        call()
        synchronize(device)
        seconds.append(now(device) - began)
    return min(seconds)


class OneImageLoop:
    """One image at a time, in float32: an episode, then the next."""

    def __init__(self, toolbox: Toolbox, source: PairSource, device: torch.device) -> None:
        self.env = RestorationEnv(toolbox, source, device=device)
        self.env.reset(seed=0)
        self.actions = np.random.default_rng(0)
        self.best = 0.0

    def measure(self, seconds: float) -> None:
        """Step for so long, and keep the best number of steps a second."""
        steps, began = 0, now(self.env.device)
        while steps < self.env.max_steps or now(self.env.device) - began < seconds:
            terminated = self.env.step(self.actions.integers(self.env.toolbox.stop + 1))[2]
            steps += 1
            if terminated:
                self.env.reset()
        self.best = max(self.best, steps / (now(self.env.device) - began))


class Rollouts:
    """The batched environment of one size."""

    def __init__(
        self, episodes: int, toolbox: Toolbox, source: PairSource, device: torch.device, clock: ToolClock
    ) -> None:
        self.env = BatchedRestorationEnv(episodes, toolbox, source, device=device)
        self.env.reset(seed=0)
        self.generator = torch.Generator(device).manual_seed(0)
        self.clock = clock
        costs = [multiply_adds_per_px(network) * PATCH**2 for network in toolbox.networks]
        self.costs = torch.tensor([*costs, 0.0], dtype=torch.float64, device=device)
        self.best: dict[str, Sample] = {}

    def measure(self, precision: str, seconds: float) -> None:
        """Step for so long, and keep the best; whole episodes at least, for all of them began together."""
        env = self.env
        env.bfloat16 = precision == "bfloat16"
        spent = torch.zeros((), dtype=torch.float64, device=env.device)
        synchronize(env.device)
        self.clock.read()
        steps, began = 0, now(env.device)
        while steps == 0 or now(env.device) - began < seconds:
            for _ in range(env.max_steps):
                chosen = torch.rand(env.num_envs, generator=self.generator, device=env.device)
                actions = (chosen * len(self.costs)).long()
                env.step(actions)
                spent += self.costs[actions].sum()
            steps += env.max_steps
        synchronize(env.device)
        elapsed = now(env.device) - began
        came = Sample(steps * env.num_envs / elapsed, self.clock.read() / elapsed, float(spent) / elapsed)
        if precision not in self.best or came.steps_per_s > self.best[precision].steps_per_s:
            self.best[precision] = came


def measure_device(device: torch.device, args: argparse.Namespace) -> Report:
    """Measure the matrix rates, the loop, and every size in every precision that pays, on one device."""
    dtypes = {"float32": torch.float32}
    if args.bfloat16 or training_precision(device) == torch.bfloat16:
        dtypes["bfloat16"] = torch.bfloat16
    toolbox = given_or_shipped_toolbox(None, args.model, device)
    source = given_or_moderate_source(None, args.data, device)
    loop, clock = OneImageLoop(toolbox, source, device), ToolClock(toolbox, device)
    rates = dict.fromkeys(dtypes, 0.0)
    best: dict[tuple[int, str], Sample] = {}
    for size in tqdm(args.sizes, desc=str(device), unit="size", leave=False, disable=None):
        rollouts = Rollouts(size, toolbox, source, device, clock)
        for _ in range(1 + ROUNDS):  # the first is cold
            loop.measure(args.seconds)
            for name, dtype in dtypes.items():
                rates[name] = max(rates[name], matrix_rate(device, dtype))
                rollouts.measure(name, args.seconds)
        best |= {(size, name): came for name, came in rollouts.best.items()}
        del rollouts  # or two of the largest would stand in memory together
    rows = [
        Row(
            size,
            name,
            **asdict(came),
            times_the_loop=came.steps_per_s / loop.best,
            roofline_ratio=came.multiply_adds_per_s / rates[name],
        )
        for (size, name), came in best.items()
    ]
    return Report(device_name(device), torch.get_num_threads(), loop.best, rates, tuple(rows))


def device_name(device: torch.device) -> str:
    """Return the name of a device for people: of a GPU its maker's, of a processor what it can do."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{device} ({torch.backends.cpu.get_cpu_capability()})"


def print_report(report: Report) -> None:
    """Print the table of a device."""
    rates = ", ".join(f"{rate / 1e9:.0f} in {name}" for name, rate in report.matrix_rates_per_s.items())
    titles = ("× loop", "tools", "10⁹/s", "roofline")
    print(f"\n{report.device}, {report.threads} threads")
    print(f"matrix product, 10⁹ multiply-adds/s: {rates}")
    print(f"one image at a time: {report.loop_steps_per_s:.0f} steps/s")
    print(f"episodes precision   steps/s {titles[0]:>7} {titles[1]:>6} {titles[2]:>7} {titles[3]:>8}")
    for row in report.rows:
        print(
            f"{row.episodes:8d} {row.precision:9} {row.steps_per_s:9.0f} {row.times_the_loop:7.1f} "
            f"{row.tool_share:6.0%} {row.multiply_adds_per_s / 1e9:7.0f} {row.roofline_ratio:8.2f}"
        )


def main() -> None:
    """Print a table for the processor, and one for the GPU where there is one."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", type=Path, help="model folder; the shipped model without it")
    parser.add_argument("--data", type=Path, help="folder of photographs; drawn pictures without it")
    parser.add_argument("--device", help="one alone, such as cpu; without it the processor and the GPU")
    parser.add_argument("--sizes", type=numbers, default=SIZES, metavar="N,N,…", help="batch sizes")
    parser.add_argument("--seconds", type=float, default=2.0, help="of one measurement, at least")
    parser.add_argument("--threads", type=int, default=2, help="of the processor")
    parser.add_argument("--bfloat16", action="store_true", help="measure it also where it does not pay")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the numbers there as well")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    there = ["cpu", "cuda"] if torch.cuda.is_available() else ["cpu"]
    reports = []
    for name in [args.device] if args.device else there:
        reports.append(measure_device(resolve_device(name), args))
        print_report(reports[-1])
    if args.json:
        content = json.dumps([asdict(report) for report in reports], indent=1) + "\n"
        write_atomically(args.json, content.encode())


def numbers(text: str) -> tuple[int, ...]:
    """Read numbers with commas between them."""
    return tuple(int(part) for part in text.split(","))


if __name__ == "__main__":
    main()
