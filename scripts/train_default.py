"""Train the model that ships: tools, then agent, with the commands anyone can run, and score it.

    python scripts/train_default.py --data PHOTOS --test PHOTOS --out DIR

It resumes where it was stopped. Test photographs are only measured on, at the very end.
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

CARD = "card.json"


def main() -> None:
    """Run the recipe."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", required=True, help="folder of photographs to train on")
    parser.add_argument("--data-name", default="", help="what the card says they are")
    parser.add_argument("--test", required=True, help="folder of photographs to measure on")
    parser.add_argument("--out", required=True, type=Path, help="the model folder to write")
    parser.add_argument("--tools-minutes", default="50")
    parser.add_argument("--agent-minutes", default="25")
    parser.add_argument("--device", default="cpu")
    args = parser.parse_args()
    common = ["--data", args.data, "--out", str(args.out), "--device", args.device, "--resume"]
    rlrestore("train-tools", *common, "--minutes", args.tools_minutes)
    rlrestore("train-agent", *common, "--tools", str(args.out), "--minutes", args.agent_minutes)
    scores = args.out / "scores.json"
    rlrestore(
        "evaluate",
        "--data",
        args.test,
        "--model",
        str(args.out),
        "--json",
        str(scores),
        "--device",
        args.device,
    )
    card = json.loads((args.out / CARD).read_text(encoding="utf-8"))
    card |= {"name": args.out.name, "data": args.data_name, "scores": summary(json.loads(scores.read_text()))}
    (args.out / CARD).write_text(json.dumps(card, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def summary(scores: dict[str, Any]) -> dict[str, Any]:
    """Return what a card says of an evaluation: how it was made, and the means of each set."""
    made = {key: scores[key] for key in ("data", "patches", "seed", "grid")}
    sets = {
        name: {key: report[key] for key in ("psnr_db", "ssim", "worse_share")}
        for name, report in scores["sets"].items()
    }
    return {**made, "sets": sets}


def rlrestore(*arguments: str) -> None:
    """Run one command of the command line; stop where it fails."""
    print("rlrestore", *arguments, flush=True)
    # The installed command, for `-m` would find the source folder first, which is not the whole package.
    subprocess.run([str(Path(sys.executable).with_name("rlrestore")), *arguments], check=True)


if __name__ == "__main__":
    main()
