"""The memory of `rlrestore serve` over many requests, several at a time; Linux.

python scripts/bench_serve.py --requests 1000 --clients 8
"""

import argparse
import io
import subprocess
import sys
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import numpy as np
from PIL import Image

from rlrestore.cli.arguments import positive_int
from rlrestore.cli.reporting import run_script, say

READINGS = 10


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of this script's arguments."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--requests", type=positive_int, default=1000, metavar="N", help="default: 1000")
    parser.add_argument("--clients", type=positive_int, default=8, metavar="N", help="at a time (default: 8)")
    parser.add_argument("--side", type=positive_int, default=128, metavar="PX", help="default: 128")
    parser.add_argument("--model", default="default", metavar="M", help="default: the shipped one")
    return parser


def resident_mb(process: int) -> float:
    """Return the memory that a process has now, in millions of bytes."""
    status = Path(f"/proc/{process}/status").read_text("utf-8")
    return 1024 * int(status.split("VmRSS:")[1].split()[0]) / 1e6


def noisy_jpeg(side: int, seed: int) -> bytes:
    """Return a file of smooth light with noise on it."""
    rng = np.random.default_rng(seed)
    light = np.linspace(60, 200, side)[:, None, None] + rng.normal(0, 15, (side, side, 3))
    stream = io.BytesIO()
    Image.fromarray(np.rint(light).clip(0, 255).astype(np.uint8)).save(stream, "JPEG", quality=70)
    return stream.getvalue()


def send(client: httpx.Client, content: bytes, number: int) -> int:
    """Send one file, and answer with the worst status of what was asked.

    Every second one is kept, and fetched at half strength with half of the detail; every fourth is restored
    region by region, and its maps are fetched.
    """
    files, fields = {"file": ("noisy.jpg", content)}, {"mode": "global" if number % 4 else "local"}
    if number % 2:
        return client.post("/api/restore", files=files, data=fields).status_code
    headers = {"Accept": "application/json"}
    kept = client.post("/api/restore", files=files, data=fields, headers=headers)
    if kept.status_code != httpx.codes.OK:
        return kept.status_code
    place = f"/api/results/{kept.json()['id']}"
    maps = [f"{place}/maps/{step}" for step, _ in enumerate(kept.json()["legends"], 1)]
    return max(client.get(one).status_code for one in (f"{place}?strength=0.5&detail=0.5", *maps))


def measure(address: str, process: int, args: argparse.Namespace) -> None:
    """Send all requests, and print the memory ten times on the way."""
    files = [noisy_jpeg(args.side, seed) for seed in range(16)]
    statuses: Counter[int] = Counter()
    done, lock, every = 0, threading.Lock(), max(args.requests // READINGS, 1)
    limits = httpx.Limits(max_connections=args.clients)
    with httpx.Client(base_url=address, timeout=600, limits=limits, trust_env=False) as client:

        def one(number: int) -> None:
            nonlocal done
            status = send(client, files[number % len(files)], number)
            with lock:
                statuses[status] += 1
                done += 1
                if done % every == 0:
                    print(f"{done:6d} requests  {resident_mb(process):7.1f} MB", flush=True)

        print(f"{0:6d} requests  {resident_mb(process):7.1f} MB", flush=True)
        started = time.perf_counter()
        with ThreadPoolExecutor(args.clients) as clients:
            list(clients.map(one, range(args.requests)))
        seconds = time.perf_counter() - started
    say(f"{args.requests / seconds:.1f} requests/s; " + ", ".join(f"{n} × {s}" for s, n in statuses.items()))


def run(args: argparse.Namespace) -> None:
    """Start a server, measure it, and stop it."""
    command = [sys.executable, "-m", "rlrestore", "serve", "--port", "0", "--model", args.model]
    command += ["--keep-megabytes", "4"]  # so that what is kept soon has its full size
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        try:
            line = server.stdout.readline() if server.stdout is not None else ""
            measure(line.split()[3], server.pid, args)
        finally:
            server.terminate()


if __name__ == "__main__":
    sys.exit(run_script(build_parser(), run))
