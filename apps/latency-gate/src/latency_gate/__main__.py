"""`python -m latency_gate`."""

from latency_gate.cli import main

if __name__ == "__main__":
    main()
