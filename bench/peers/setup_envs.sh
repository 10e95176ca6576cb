#!/usr/bin/env bash
# Makes one virtual environment per peer, with the exact packages that were measured:
#
#     bench/peers/setup_envs.sh [FOLDER, default: envs] [PYTHON, default: python3]
#
# torch comes first, alone, so that a CPU build stays: where the package index carries only GPU builds, name a CPU
# index with TORCH_PIP_ARGS="--index-url ...". About 1.5 GB each.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
folder=${1:-envs}
python=${2:-python3}
for name in txtai llamaindex haystack; do
    requirements=$here/requirements-$name.txt
    [ -x "$folder/$name/bin/python" ] || "$python" -m venv "$folder/$name"
    pip=("$folder/$name/bin/python" -m pip install --quiet --disable-pip-version-check)
    # shellcheck disable=SC2086
    "${pip[@]}" ${TORCH_PIP_ARGS:-} "$(grep '^torch==' "$requirements")"
    "${pip[@]}" --requirement "$requirements"
    echo "$name: $(du -sm "$folder/$name" | cut -f1) MB"
done
