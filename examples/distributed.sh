#!/usr/bin/env bash
# Train in several processes, one for each GPU, or on CPUs where there are none:
#   examples/distributed.sh PROCESSES FOLDER [--set KEY=VALUE ...]
# Called again, it goes on from the folder's checkpoint. On several machines give torchrun --nnodes and --rdzv-endpoint.
set -euo pipefail
processes="$1" folder="$2"
shift 2
here="$(cd "$(dirname "$0")" && pwd)"
exec python -m torch.distributed.run --standalone --nproc-per-node "$processes" \
    -m qcmap train "$here/distributed.yaml" --output "$folder" --resume "$@"
