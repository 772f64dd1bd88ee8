"""`python -m steelyard_edge` is the `steelyard-edge` command."""

from __future__ import annotations

from steelyard_edge.cli import main

if __name__ == "__main__":
    main()
