"""Train one tool by a variation of the recipe for a fixed time and measure it: a row of docs/toolbox.md.

    python scripts/try_recipe.py --data PHOTOS --tool denoise-3 --minutes 2 --rate 2e-3

The time is that of the processor on the CPU (one thread), so that a busy machine changes no row, and that of
the clock on a GPU. The network begins untrained unless asked otherwise, and is measured on the held-out
photographs of the folder.
"""

import argparse
import copy
import json
import math
import time
from collections.abc import Callable
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rlrestore.cli.arguments import positive_float
from rlrestore.imaging.degradation.protocol import Degradations
from rlrestore.imaging.metrics import psnr_db
from rlrestore.imaging.pairs import context_side, degraded_pairs
from rlrestore.imaging.patches import PhotoBank
from rlrestore.toolbox.distortions import own_distortion, training_distortion
from rlrestore.toolbox.networks import FAST_WIDTHS, SLOPE, build_network, channels_last
from rlrestore.toolbox.specs import TOOLS, ToolSpec, tool_index
from rlrestore.toolbox.training import ERROR_FLOOR, WARM_UP, average_weights, rate_factor, restoration_loss

LOSSES = ("psnr", "mse", "l1", "charbonnier")
SCHEDULES = ("cosine", "constant", "abrupt")
MEASURED_PATCHES = 512
FINEST = 1e-3


class Variant(nn.Module):
    """A `fast` network with another fold, without inner residuals, or with dropout before its last layer."""

    def __init__(
        self, depth: int, width: int, fold: int, residual: bool, dropout: float, slope: float
    ) -> None:
        super().__init__()
        self.fold, self.residual, self.slope = fold, residual, slope
        self.head = nn.Conv2d(3 * fold**2, width, 3, padding=1)
        self.middle = nn.ModuleList(nn.Conv2d(width, width, 3, padding=1) for _ in range(depth - 2))
        self.dropout = nn.Dropout2d(dropout)
        self.tail = nn.Conv2d(width, 3 * fold**2, 3, padding=1)
        nn.init.zeros_(self.tail.weight)
        nn.init.zeros_(self.tail.bias)  # type: ignore[arg-type]  # the layer has a bias

    def activation(self, features: Tensor) -> Tensor:
        """Return the features, those below zero multiplied by the slope."""
        return F.leaky_relu(features, self.slope)

    def forward(self, images: Tensor) -> Tensor:
        """Restore `(B, 3, H, W)`, sides multiples of the fold."""
        features = self.head(F.pixel_unshuffle(images, self.fold))
        for index in range(0, len(self.middle) - 1, 2):
            first, second = self.middle[index : index + 2]
            change = second(self.activation(first(self.activation(features))))
            features = features + change if self.residual else change
        if len(self.middle) % 2:
            features = self.middle[-1](self.activation(features))
        return images + F.pixel_shuffle(self.tail(self.dropout(self.activation(features))), self.fold)


def loss_function(name: str, floor: float) -> Callable[[Tensor, Tensor], Tensor]:
    """Return a loss of restored and clean `(B, 3, H, W)`; `psnr` is minus the mean PSNR in dB."""

    def loss(restored: Tensor, clean: Tensor) -> Tensor:
        if name == "psnr":
            return restoration_loss(restored, clean, floor)
        difference = restored - clean
        if name == "mse":
            return 100 * difference.square().mean()
        if name == "l1":
            return 10 * difference.abs().mean()
        return 10 * (difference.square() + FINEST**2).sqrt().mean()

    return loss


def scheduled(schedule: str, done: float) -> float:
    """Return what the learning rate is multiplied by when `done` of the time, 0 to 1, is over."""
    if schedule == "abrupt":
        return 0.5 * (1 + math.cos(math.pi * done))
    return rate_factor(done if schedule == "cosine" else min(done, WARM_UP))


def network_of(args: argparse.Namespace, spec: ToolSpec) -> nn.Module:
    """Return the untrained network that the arguments ask for."""
    if args.fold != 2 or args.plain or args.dropout or args.slope != SLOPE:
        width = args.width or FAST_WIDTHS[spec.depth]
        return Variant(spec.depth, width, args.fold, not args.plain, args.dropout, args.slope)
    return build_network(args.family, spec.depth, args.width)


def distortion(args: argparse.Namespace, specs: list[ToolSpec], generator: torch.Generator) -> Degradations:
    """Draw what the patches of a step undergo."""
    return (
        own_distortion(specs, generator) if args.pure else training_distortion(specs, generator, args.mixed)
    )


@torch.no_grad()
def gain_db(network: nn.Module, bank: PhotoBank, spec: ToolSpec, draw: Callable[..., Degradations]) -> float:
    """Return the mean gain over the held-out photographs, patches above 50 dB left out."""
    generator = torch.Generator(bank.device).manual_seed(1)
    gains = []
    for _ in range(MEASURED_PATCHES // 64):
        degraded, clean = degraded_pairs(bank, draw([spec] * 64, generator), 64, generator)
        before = psnr_db(degraded, clean)
        after = psnr_db(network(degraded.contiguous(memory_format=torch.channels_last)), clean)
        gains.append((after - before)[before <= 50])
    return float(torch.cat(gains).mean())


def train(
    args: argparse.Namespace, bank: PhotoBank, network: nn.Module, tools: list[ToolSpec], minutes: float
) -> tuple[nn.Module, int]:
    """Train on some tools' distortions; return the network, averaged if asked for, and the steps taken."""
    average = copy.deepcopy(network)
    network.train()
    optimizer = torch.optim.Adam(network.parameters(), lr=args.rate)
    generator = torch.Generator(bank.device).manual_seed(args.seed)
    loss_of = loss_function(args.loss, args.floor)
    clock = time.process_time if bank.device.type == "cpu" else time.monotonic
    began, steps = clock(), 0
    while (done := (clock() - began) / (60 * minutes)) < 1:
        for group in optimizer.param_groups:
            group["lr"] = args.rate * scheduled(args.schedule, done)
        specs = [tools[(steps * args.batch + sample) % len(tools)] for sample in range(args.batch)]
        draws = distortion(args, specs, generator)
        degraded, clean = degraded_pairs(bank, draws, args.patch, generator)
        with torch.autocast(bank.device.type, torch.bfloat16, enabled=not args.float32):
            restored = network(degraded.contiguous(memory_format=torch.channels_last))
        optimizer.zero_grad()
        loss_of(restored.float(), clean).backward()
        nn.utils.clip_grad_norm_(network.parameters(), args.clip)
        optimizer.step()
        average_weights(average, network, steps)
        steps += 1
    return (average if args.average else network).eval(), steps


def build_parser() -> argparse.ArgumentParser:
    """Return the command line: every default is what `rlrestore train-tools` does, but for the average."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--tool", default="denoise-3")
    parser.add_argument("--minutes", type=positive_float, default=2)
    parser.add_argument("--start", default="", help="tools, or all: what it is trained on before")
    parser.add_argument("--start-minutes", type=positive_float, default=4)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--family", choices=("fast", "paper"), default="fast")
    parser.add_argument("--width", type=int, help="default: that of `FAST_WIDTHS`")
    parser.add_argument("--fold", type=int, default=2, help="side of the squares folded into channels")
    parser.add_argument("--plain", action="store_true", help="no inner residuals")
    parser.add_argument("--dropout", type=float, default=0.0, help="of channels, before the last layer")
    parser.add_argument("--slope", type=float, default=SLOPE, help="of activations below zero")
    parser.add_argument("--loss", choices=LOSSES, default="psnr")
    parser.add_argument("--floor", type=float, default=ERROR_FLOOR, help="added to the error inside the PSNR")
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--patch", type=int, default=64)
    parser.add_argument("--rate", type=float, default=1e-3)
    parser.add_argument("--clip", type=float, default=5.0, help="largest norm of a gradient")
    parser.add_argument("--schedule", choices=SCHEDULES, default="cosine", help="abrupt: cosine without rise")
    parser.add_argument("--average", action="store_true", help="measure the average of the weights")
    parser.add_argument("--mixed", type=float, help="share of samples among strong others")
    parser.add_argument("--pure", action="store_true", help="its own distortion alone")
    parser.add_argument("--float32", action="store_true")
    return parser


def main() -> None:
    """Train, measure, print one line of JSON."""
    parser = build_parser()
    args = parser.parse_args()
    shaped = ("width", "fold", "plain", "dropout", "slope")
    if args.family == "paper" and any(getattr(args, name) != parser.get_default(name) for name in shaped):
        parser.error("the paper's networks have one shape: leave out --" + ", --".join(shaped))
    torch.set_num_threads(1)
    spec = TOOLS[tool_index(args.tool)]
    bank, held_out = (
        PhotoBank.from_folder(args.data, part, smallest_side=context_side(args.patch), device=args.device)
        for part in ("train", "validation")
    )
    torch.manual_seed(args.seed)
    network = network_of(args, spec).to(bank.device)
    channels_last(network)
    if args.start:
        first = TOOLS if args.start == "all" else [TOOLS[tool_index(name)] for name in args.start.split(",")]
        network, _ = train(args, bank, network, list(first), args.start_minutes)
    network, steps = train(args, bank, network, [spec], args.minutes)
    given = {
        key: value for key, value in vars(args).items() if value != parser.get_default(key) and key != "data"
    }
    gains = {
        "alone": gain_db(network, held_out, spec, own_distortion),
        "light": gain_db(
            network, held_out, spec, lambda specs, generator: training_distortion(specs, generator, 0.0)
        ),
        "mixed": gain_db(
            network, held_out, spec, lambda specs, generator: training_distortion(specs, generator, 1.0)
        ),
    }
    print(
        json.dumps(given | {"steps": steps} | {f"{name}_db": round(gain, 3) for name, gain in gains.items()})
    )


if __name__ == "__main__":
    main()
