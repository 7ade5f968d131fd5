#!/usr/bin/env bash
# Train on a machine that has Python with torch, numpy, pillow and safetensors, and nothing else of the project.
# Usage: bash BUNDLE/train_bundle.sh OUT MINUTES [options of train_release.py]
# OUT ends with at most 8 files of at most 16 MiB: the log, the state that another machine goes on from, and,
# once the training is finished, the model. The same command goes on where it was cut; PYTHON and WORK say which
# Python runs it and where the whole state lies (default: ~/rlrestore-training).
set -euo pipefail
bundle=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
out=$1 minutes=$2 work=${WORK:-$HOME/rlrestore-training}
shift 2
mkdir -p "$out" "$work"
if [ -d "$bundle/state" ] && [ ! -e "$work/training" ]; then cp -r "$bundle/state" "$work/training"; fi
start=()
if [ -d "$bundle/start" ]; then start=(--start "$bundle/start"); fi
export PYTHONPATH="$bundle:$bundle/site${PYTHONPATH:+:$PYTHONPATH}" PYTHONUNBUFFERED=1
"${PYTHON:-python3}" "$bundle/scripts/train_release.py" --data "$bundle/photos" --out "$work" --minutes "$minutes" \
    --pack "$out/state" "${start[@]}" "$@" 2>&1 | tee "$out/log.txt"
mkdir -p "$out/model"
cp "$work"/card.json "$work"/*.safetensors "$out/model"
rm -rf "$out/state" # what is finished goes on with --start
