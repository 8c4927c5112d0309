#!/usr/bin/env bash
# What the action runs: latency-gate on the models that changed since $BASE. Reads GATE, BASE, ALL and CAUTIOUS;
# GATE_COMMAND is the command to run. Writes latency-gate.md and latency-gate.sarif to RUNNER_TEMP, the report to
# the job's summary, and both paths to the job's outputs. Its exit code is latency-gate's.
set -euo pipefail
report="$RUNNER_TEMP/latency-gate.md"
sarif="$RUNNER_TEMP/latency-gate.sarif"
options=(--output "$report" --sarif "$sarif")
[ -z "${BASE:-}" ] || options+=(--base "$BASE")
[ "${ALL:-false}" != true ] || options+=(--all)
[ "${CAUTIOUS:-false}" != true ] || options+=(--cautious)
read -r -a command <<<"$GATE_COMMAND"
status=0
"${command[@]}" check "$GATE" "${options[@]}" || status=$?
if [ -f "$report" ]; then
  cat "$report" >>"$GITHUB_STEP_SUMMARY"
  printf 'report=%s\nsarif=%s\n' "$report" "$sarif" >>"$GITHUB_OUTPUT"
fi
exit "$status"
