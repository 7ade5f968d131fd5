"""Compare what can run a model on this processor: torch, onnxruntime and, where it is installed, OpenVINO.

    python scripts/bench_runtimes.py --image examples/street.jpg --data div2k_valid_256/

The photograph, repeated to about a megapixel, is restored with the networks loaded, on one thread and on two;
the runtimes take turns, and the shortest time of each counts; on one thread the time is the processor's own.
With --beside so do other models, such as the authors', by torch in float32; each follows its own chain. With
--torch only torch runs them. Then `--count` windows of 256×256 pixels of photographs are degraded by each
mixture and restored by each: on how many the chains differ from those of torch in float32 and, where they are
the same, the largest difference of a sample in levels of 255. Times of several threads are only good on an
idle machine.
"""

import argparse
import importlib
import itertools
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from experiments.comparison_sets import Pixels, degraded_photos
from rlrestore.cli.arguments import positive_int
from rlrestore.cli.reporting import run_script
from rlrestore.evaluation.testsets import read_photos
from rlrestore.export.writing import export_model
from rlrestore.imaging.degradation.mixtures import MIXTURES
from rlrestore.imaging.io.files import read_rgb8
from rlrestore.model_folder.exported import Exported, read_exported
from rlrestore.restorer import Restorer
from rlrestore.runtime import Floats, Runtime
from rlrestore.runtime.onnx_runtime import OnnxRuntime
from rlrestore.runtime.torch_runtime import TorchRuntime

MEGAPIXEL = 1_000_000
WINDOW = 256
REFERENCE = "torch float32"


class OpenvinoTools:
    """The tools of an exported model, run by OpenVINO; for comparison alone."""

    pixels_ahead = 0

    def __init__(self, model: Exported, precision: str) -> None:
        self.names, self.specs, self.radii = model.names, model.toolbox.tools, model.radii
        self._networks, self._precision, self.threads = model.networks, precision, 1
        self._ready: dict[tuple[int, int], Any] = {}
        self._library: Any = importlib.import_module("openvino")

    def apply(self, index: int, images: Floats) -> Floats:
        """Apply one tool to `(B, 3, H, W)`."""
        key = index, self.threads
        if key not in self._ready:
            core = self._library.Core()
            options = {
                "INFERENCE_PRECISION_HINT": self._precision,
                "INFERENCE_NUM_THREADS": self.threads,
                "PERFORMANCE_HINT": "LATENCY",
            }
            compiled = core.compile_model(core.read_model(self._networks[index]), "CPU", options)
            self._ready[key] = compiled.create_infer_request()
        restored: Floats = self._ready[key].infer([np.ascontiguousarray(images)])[0]
        return restored

    def begin(self, index: int, images: Floats) -> Callable[[], Floats]:
        """Apply one tool; return what returns the result."""
        restored = self.apply(index, images)
        return lambda: restored


class OpenvinoRuntime(OnnxRuntime):
    """An exported model whose tools OpenVINO runs, and its agent onnxruntime."""

    def __init__(self, model: Exported, precision: str) -> None:
        super().__init__(model, "openvino")
        self._openvino = OpenvinoTools(model, precision)
        self.tools = self._openvino

    def set_threads(self, count: int) -> None:
        """Compute on so many cores."""
        super().set_threads(count)
        self._openvino.threads = count


@dataclass
class Contender:
    """One way to run the model, and what was measured of it.

    Attributes:
        restorer: It.
        seconds: By number of threads: the shortest time for a megapixel.
        tools: How many tools it applies to the megapixel.
        levels: The largest difference of a sample from the reference, in levels of 255, by window.
        others: Windows whose chain differs from the reference's.
    """

    restorer: Restorer
    seconds: dict[int, float] = field(default_factory=dict)
    tools: int = 0
    levels: list[int] = field(default_factory=list)
    others: int = 0

    def row(self, name: str, reference: "Contender") -> str:
        """Return its row of the table."""
        times = "".join(
            f" {each:.2f} | {each / reference.seconds[threads]:.2f} |"
            for threads, each in self.seconds.items()
        )
        windows = len(self.levels) + self.others
        apart = f" {max(self.levels, default='-')} | {self.others} of {windows} |" if windows else ""
        return f"| {name} | {self.tools} |{times}{apart}"


def main() -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--image", type=Path, required=True, metavar="IMG", help="a photograph, for the times"
    )
    parser.add_argument("--data", type=Path, metavar="DIR", help="photographs, for the differences")
    parser.add_argument("--count", type=positive_int, default=10, metavar="N", help="(default: 10)")
    parser.add_argument("--rounds", type=positive_int, default=3, metavar="N", help="(default: 3)")
    parser.add_argument("--threads", type=positive_int, nargs="+", default=[1, 2], metavar="N")
    parser.add_argument("--side", type=positive_int, default=1000, metavar="N", help="(default: 1000 pixels)")
    parser.add_argument("--model", default="default", metavar="M", help="(default: default)")
    parser.add_argument("--beside", nargs="+", default=[], metavar="M", help="other models, for the times")
    parser.add_argument("--torch", action="store_true", help="leave out all runtimes but torch")
    return run_script(parser, measure)


def measure(args: argparse.Namespace) -> None:
    """Measure and print the table."""
    contenders = make_contenders(args.model, args.torch)
    others = {model: Contender(Restorer(TorchRuntime.load(model))) for model in args.beside}
    everyone = {**contenders, **others}
    measure_times(everyone, repeated(read_rgb8(args.image), args.side), args.threads, args.rounds)
    if args.data is not None:
        measure_differences(contenders, read_photos(args.data), args.count)
    times = "".join(f" s/MP, {count} threads | of {REFERENCE} |" for count in args.threads)
    apart = " levels of 255 apart | other chains |" if args.data is not None else ""
    print(f"| runtime | tools |{times}{apart}")
    print("|---" * (2 + 2 * len(args.threads) + 2 * bool(apart)) + "|")
    for name, each in everyone.items():
        print(each.row(name, contenders[REFERENCE]))


def make_contenders(model: str, torch_alone: bool = False) -> dict[str, Contender]:
    """Return all that is installed here, by name."""
    ours: dict[str, Runtime] = {
        REFERENCE: TorchRuntime.load(model),
        "torch bfloat16": TorchRuntime.load(model, precision="bfloat16"),
    }
    if torch_alone:
        return {name: Contender(Restorer(runtime)) for name, runtime in ours.items()}
    with tempfile.TemporaryDirectory() as folder:
        export_model(TorchRuntime.load(model), Path(folder))
        exported = read_exported(Path(folder))
    runtimes = {**ours, "onnxruntime": OnnxRuntime(exported)}
    if find_spec("openvino") is not None:
        runtimes["OpenVINO float32"] = OpenvinoRuntime(exported, "f32")
        runtimes["OpenVINO bfloat16"] = OpenvinoRuntime(exported, "bf16")
    return {name: Contender(Restorer(runtime)) for name, runtime in runtimes.items()}


def repeated(photo: Pixels, side: int) -> Pixels:
    """Return a square of so many pixels, in which a photograph stands as often as it takes."""
    down, across = (-(-side // length) for length in photo.shape[:2])
    return np.tile(photo, (down, across, 1))[:side, :side]


def measure_times(
    contenders: dict[str, Contender], photo: Pixels, threads: Sequence[int], rounds: int
) -> None:
    """Restore a photograph in turns, the first time to get ready."""
    for count in threads:
        for number in range(rounds + 1):
            for each in contenders.values():
                each.restorer.runtime.set_threads(count)
                clock = time.process_time if count == 1 else time.perf_counter
                started = clock()
                restored = each.restorer.restore(photo, keep_steps=False, keep_original=False)
                seconds, each.tools = clock() - started, len(restored.trace.tools)
                seconds *= MEGAPIXEL / (photo.shape[0] * photo.shape[1])
                if number:
                    each.seconds[count] = min(seconds, each.seconds.get(count, seconds))


def measure_differences(contenders: dict[str, Contender], photos: Sequence[Pixels], count: int) -> None:
    """Restore degraded windows of photographs, and compare with the reference."""
    cut = [photo[:WINDOW, :WINDOW] for photo in itertools.islice(itertools.cycle(photos), count)]
    for mixture in MIXTURES.values():
        for degraded, _ in degraded_photos(cut, mixture, seed=0):
            first = contenders[REFERENCE].restorer.restore(degraded, keep_steps=False)
            for each in contenders.values():
                restored = each.restorer.restore(degraded, keep_steps=False)
                if restored.trace.tools == first.trace.tools:
                    each.levels.append(int(np.abs(restored.image.astype(int) - first.image).max()))
                else:
                    each.others += 1


if __name__ == "__main__":
    sys.exit(main())
