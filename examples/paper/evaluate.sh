#!/usr/bin/env bash
# The paper's eight evaluations into OUT/NAME, from data/evaluation/NAME (examples/paper/README.md).
#   evaluate.sh OUT [further words of `valor eval`, as --set policy.model=DIR, --dry-run, --wording reference]
# Killed, the same command goes on; a set that failed does not keep the others from being asked, and the exit code is 1.
set -uo pipefail
out=${1:?usage: evaluate.sh OUT [words of valor eval]}
shift
here=$(dirname "${BASH_SOURCE[0]}")
read -ra valor <<<"${VALOR:-.venv/bin/valor}"
failed=()
for name in omni3d robospatial blink vsr realworldqa gqa tallyqa countbenchqa; do
  limit=()
  if [[ $name == omni3d ]]; then limit=(--limit 100); fi # the rows of the paper's tables; training is on the others
  "${valor[@]}" eval "$name" --data "data/evaluation/$name" --out "$out/$name" "${limit[@]}" \
    --profile "$here/evaluation.yaml" "$@" || failed+=("$name")
done
if ((${#failed[@]})); then
  echo "not done: ${failed[*]}; the same command asks what is missing" >&2
  exit 1
fi
