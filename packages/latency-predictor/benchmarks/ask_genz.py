"""Run by the interpreter of an environment with genz-llm 0.0.16: passes in, milliseconds out."""

from __future__ import annotations

import contextlib
import json
import sys

from GenZ import decode_moddeling, prefill_moddeling

# The H200's data sheet in the units of Systems/system_configs.py: TFLOP/s, GB, GB/s.
SYSTEM = {"Flops": 989, "Memory_size": 141, "Memory_BW": 4800, "ICN": 450, "real_values": True}


def main() -> None:
    answers = []
    for one in json.load(sys.stdin):
        options = {"model": one["model"], "batch_size": one["batch"], "system_name": SYSTEM, "bits": "bf16"}
        try:
            with contextlib.redirect_stdout(sys.stderr):
                if one["phase"] == "prefill":
                    found = prefill_moddeling(input_tokens=one["positions"], **options)
                else:
                    found = decode_moddeling(
                        input_tokens=one["positions"] - 1, output_tokens=1, Bb=1, **options
                    )
            answers.append(float(found["Latency"]))
        except Exception as error:
            print(f"{one}: {error!r}", file=sys.stderr)
            answers.append(None)
    print(json.dumps(answers))


if __name__ == "__main__":
    main()
