"""How long `import dlkit` and `dlkit --help` take: medians of whole processes, less nothing."""

import statistics
import subprocess
import sys
import time


def median(command: list[str], runs: int = 15) -> float:
    subprocess.run(command, check=True, capture_output=True)
    times = []
    for _ in range(runs):
        began = time.perf_counter()
        subprocess.run(command, check=True, capture_output=True)
        times.append(time.perf_counter() - began)
    return statistics.median(times)


if __name__ == "__main__":
    empty = median([sys.executable, "-c", "pass"])
    for name, code in (
        ("import dlkit", "import dlkit"),
        ("dlkit --help", "from dlkit.cli.main import main; main(['--help'])"),
    ):
        print(f"{name:14s} {median([sys.executable, '-c', code]):.3f} s (an empty Python: {empty:.3f} s)")
