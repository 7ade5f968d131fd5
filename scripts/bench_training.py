"""Measure how many chains a second joint training takes, and where the time of a step goes.

    python scripts/bench_training.py --data PHOTOS [--model M] [--batch 224] [--device cuda] [--seconds 30]

Data, degradations, the agent's choices and its rounds, gradients and averages are counted. The share of the
matrix rate is what the convolutions of a step would take at the device's measured rate of multiply-adds.
"""

import argparse
import json
import sys
import time
from collections import defaultdict
from pathlib import Path

import torch
from torch.profiler import ProfilerActivity, profile

from experiments.matrix_rate import matrix_rate
from rlrestore.agent.joint import JointSettings, JointTraining
from rlrestore.agent.learn import JOINT_EPISODES, smallest_side
from rlrestore.agent.qlearning import TriedActions
from rlrestore.agent.storage import load_agent
from rlrestore.agent.training import AgentTraining
from rlrestore.cli.arguments import natural, positive_float, positive_int
from rlrestore.cli.reporting import run_script
from rlrestore.devices import keep_freed_memory, precision_name, resolve_device, training_precision
from rlrestore.envs.sources import MixtureSource
from rlrestore.evaluation.costs import tool_multiply_adds
from rlrestore.imaging.mixture_files import read_mixture
from rlrestore.imaging.patches import PhotoBank
from rlrestore.model_folder import find_model
from rlrestore.toolbox.storage import load_toolbox
from rlrestore.toolbox.trainer import Moment

KINDS = {
    "convolution": ("conv", "mkldnn", "cudnn"),
    "element-wise": ("add", "mul", "relu", "where", "clamp", "div", "pow", "log", "sum", "sub", "square"),
    "copies": ("copy", "cat", "index", "pixel", "pad", "contiguous", "stack"),
    "matrix products": ("mm", "linear", "lstm", "matmul"),
}


def seconds_of(run: "JointTraining", seconds: float) -> tuple[float, float, int]:
    """Train for so long, and return the time that it took, that of the processor alone, and the steps."""
    wait(run.bank.device)
    began, began_processor, steps = time.perf_counter(), time.process_time(), 0
    while time.perf_counter() - began < seconds or steps == 0:
        run.step(Moment(0.5))
        steps += 1
    wait(run.bank.device)
    return time.perf_counter() - began, time.process_time() - began_processor, steps


def wait(device: torch.device) -> None:
    """Wait until a GPU has done all that it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def shares_of_a_step(run: "JointTraining") -> dict[str, float]:
    """Return the share of a step's time in the operators of each kind."""
    cuda = run.bank.device.type == "cuda"
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if cuda else [])]
    with profile(activities=activities) as profiler:
        run.step(Moment(0.5))
    times: dict[str, float] = defaultdict(float)
    for event in profiler.key_averages():
        spent = event.self_device_time_total if cuda else event.self_cpu_time_total
        name = event.key.lower()
        kind = next((kind for kind, words in KINDS.items() if any(word in name for word in words)), "other")
        times[kind] += spent
    whole = sum(times.values()) or 1.0
    return {kind: spent / whole for kind, spent in sorted(times.items(), key=lambda pair: -pair[1])}


def build_parser() -> argparse.ArgumentParser:
    """Return the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, help="folder of photographs")
    parser.add_argument("--model", default="default", help="what to train on (default: default)")
    parser.add_argument("--batch", type=positive_int, default=224, help="chains per step (default: 224)")
    parser.add_argument("--own", type=natural, default=4, help="patches of each tool's range (default: 4)")
    parser.add_argument("--agent-every", type=natural, default=20, help="steps to a round (default: 20)")
    parser.add_argument("--seconds", type=positive_float, default=30.0, help="how long (default: 30)")
    parser.add_argument("--threads", type=positive_int, default=2, help="of a processor (default: 2)")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--json", type=Path, help="write the numbers to this file too")
    return parser


def run(args: argparse.Namespace) -> None:
    """Measure, and print a line for each figure."""
    torch.set_num_threads(args.threads)
    keep_freed_memory()
    device, folder = resolve_device(args.device), find_model(args.model)
    mixture = read_mixture("any")
    bank = PhotoBank.from_folder(args.data, "train", smallest_side=smallest_side(mixture), device=device)
    toolbox = load_toolbox(folder, device)
    policy, recipe = load_agent(folder, toolbox, device), mixture.recipe
    source = MixtureSource(bank, recipe)
    follower = AgentTraining(policy, toolbox, source, TriedActions(), JOINT_EPISODES, device)
    settings = JointSettings(
        batch=args.batch, piece=args.batch, own=args.own, agent_every=args.agent_every, learning_rate=1e-6
    )
    training = JointTraining(toolbox, follower, bank, recipe, settings)
    seconds_of(training, 0.0)
    seconds, processor_seconds, steps = seconds_of(training, args.seconds)
    precision = training_precision(device)
    mean_cost = sum(tool_multiply_adds(toolbox)) / toolbox.stop
    rate = matrix_rate(device, precision)
    chains_per_s = steps * args.batch / seconds
    lengths = float(training.step(Moment(0.5))["length"])
    needed = 3 * chains_per_s * (lengths + 12 * args.own / args.batch) * mean_cost
    report = {
        "chains_per_s": round(chains_per_s, 1),
        "chains_per_processor_s": round(steps * args.batch / processor_seconds, 1),
        "steps": steps,
        "precision": precision_name(precision),
        "matrix_rate_per_s": rate,
        "share_of_matrix_rate": needed / rate,
        "shares_of_a_step": shares_of_a_step(training),
    }
    print(f"{report['chains_per_s']} chains a second ({steps} steps of {args.batch}, {report['precision']})")
    print(f"{report['chains_per_processor_s']} chains a second of the processor, whatever else it does")
    print(
        f"about {report['share_of_matrix_rate']:.0%} of the matrix rate, {rate / 1e9:.0f} G multiply-adds/s"
    )
    for kind, share in report["shares_of_a_step"].items():
        print(f"{share:5.0%} {kind}")
    if args.json is not None:
        args.json.write_text(json.dumps(report, indent=1), "utf-8")


if __name__ == "__main__":
    sys.exit(run_script(build_parser(), run))
