"""Times queries in a process of their own, without torch, as a service runs them; benchmarks.encode calls it.

python -m benchmarks.query_latency [--precision int8] [--threads 2] < QUERIES.json
Prints milliseconds as a JSON list.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Sequence

from encoder.service import load_encoder

WARM_UP = 100  # graphs of fixed shape are compiled in the first ones
COMPILED_AFTER_S = 2.0


def measure_in_own_process(queries: Sequence[str], precision: str, threads: int) -> list[float]:
    """Milliseconds from text to vector of each query, one after the other."""
    command = [sys.executable, "-m", "benchmarks.query_latency"]
    command += ["--precision", precision, "--threads", str(threads)]
    done = subprocess.run(
        command, input=json.dumps(list(queries)), capture_output=True, text=True, check=True, timeout=120
    )
    times: list[float] = json.loads(done.stdout)
    return times


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--precision", default="int8")
    parser.add_argument("--threads", type=int, default=0)
    options = parser.parse_args()
    queries = json.load(sys.stdin)
    encoder = load_encoder(precision=options.precision, threads=options.threads)
    for query in (queries * WARM_UP)[:WARM_UP]:
        encoder.encode_queries([query])
    time.sleep(COMPILED_AFTER_S)
    times = []
    for query in queries:
        start = time.perf_counter()
        encoder.encode_queries([query])
        times.append((time.perf_counter() - start) * 1e3)
    encoder.close()
    print(json.dumps(times))


if __name__ == "__main__":
    main()
