"""Run by the interpreter of an environment with aiconfigurator 0.12: passes in, milliseconds out."""

from __future__ import annotations

import json
import sys

from aiconfigurator.sdk import config
from aiconfigurator.sdk.inference_session import InferenceSession
from aiconfigurator_core.sdk.backends.factory import get_backend
from aiconfigurator_core.sdk.models import get_model
from aiconfigurator_core.sdk.perf_database import get_database, get_latest_database_version

SYSTEM, BACKEND = "h200_sxm", "vllm"


def main() -> None:
    version = get_latest_database_version(SYSTEM, BACKEND)
    database, backend = get_database(SYSTEM, BACKEND, version), get_backend(BACKEND)
    sessions, answers = {}, []
    for one in json.load(sys.stdin):
        name = one["model"]
        try:
            if name not in sessions:
                model = get_model(name, config.ModelConfig(tp_size=1, pp_size=1), BACKEND)
                sessions[name] = InferenceSession(model, database, backend)
            positions, batch = one["positions"], one["batch"]
            if one["phase"] == "prefill":
                run = config.RuntimeConfig(batch_size=batch, isl=positions, osl=1)
                answers.append(sessions[name].run_static_latency_only(run, "static_ctx"))
            else:
                run = config.RuntimeConfig(batch_size=batch, isl=positions - 1, osl=2)
                answers.append(sessions[name].run_static_latency_only(run, "static_gen"))
        except Exception as error:
            print(f"{one}: {error!r}", file=sys.stderr)
            answers.append(None)
    print(json.dumps(answers))


if __name__ == "__main__":
    main()
