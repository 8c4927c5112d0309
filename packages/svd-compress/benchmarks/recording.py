"""What every measurement is stored with."""

import json
import platform
import sys
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

RESULTS = Path(__file__).parent / "results"


def record(name, device, **content):
    """Write results/NAME.json (or the path given) with device, date, versions and command."""
    import torch

    where = Path(name) if "/" in name else RESULTS / f"{name}.json"
    where.parent.mkdir(exist_ok=True)
    head = {
        "device": device,
        "date": datetime.now(UTC).date().isoformat(),
        "versions": {
            "python": platform.python_version(),
            "torch": torch.__version__,
            "numpy": version("numpy"),
        },
        "command": "python " + " ".join(Path(part).name for part in sys.argv),
    }
    where.write_text(json.dumps({**head, **content}, indent=1) + "\n")
