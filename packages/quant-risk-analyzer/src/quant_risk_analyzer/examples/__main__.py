"""Run the worked examples and print them: `python -m quant_risk_analyzer.examples [NAME ...]`."""

from __future__ import annotations

import sys

from quant_risk_analyzer.examples import NAMES, example, same


def main() -> int:
    """Print each example's output; 1 when one differs from the numbers beside its code."""
    differing = 0
    for name in sys.argv[1:] or NAMES:
        if name not in NAMES:
            sys.stderr.write(f"unknown example {name!r}: choose from {', '.join(NAMES)}\n")
            return 2
        found = example(name)
        printed = found.run()
        sys.stdout.write(f"== {name}\n{printed}")
        if not same(printed, found.printed):
            sys.stderr.write(f"{name} differs from what its text prints\n")
            differing += 1
    return min(differing, 1)


if __name__ == "__main__":
    sys.exit(main())
