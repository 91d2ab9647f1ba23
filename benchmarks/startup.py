"""Measures how long `memagent --help` takes: the median of 9 starts."""

from __future__ import annotations

import statistics
import subprocess
import sys

from common import clock, figure


def main() -> None:
    times = []
    for _ in range(9):
        with clock() as seconds:
            subprocess.run([sys.executable, "-m", "memagent", "--help"], capture_output=True, check=True)
        times += seconds
    figure("startup: memagent --help", f"{statistics.median(times):.2f} s", "goal: under 0.5 s")


if __name__ == "__main__":
    main()
