"""How quick the dashboard is: ``python -m tests.benchmarks.dashboard [--no-browser]``.

Starts the real server. Prints one JSON object on standard output, a table on standard error.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from tests.benchmarks.visitor import SocketVisitor, Step
from tests.conftest import ROOT
from tests.e2e.server import running_server

STEPS, VISITORS, STEPS_EACH = 150, 20, 25
PROOF_S = 0.5
THROTTLE_S, BUSY_S, RESTS = 0.06, 0.08, 2
"""As the slider: it reports at most this often, and after an answer that took longer than the
second it rests ``RESTS`` times as long (dashboard/components/live_slider.js)."""

TARGETS = {
    "work_ms": (25, 50),
    "chart_kb": (60, 60),
    "crowd_step_ms": (None, 150),
    "crowd_while_proving_ms": (None, 150),
    "memory_per_session_mb": (30, 30),
    "key_to_pixels_ms": (200, 350),
    "finger_to_pixels_ms": (200, 400),
    "page_switch_ms": (500, 1000),
    "cold_start_ms": (3000, 5000),
}
"""Targets for the median and the 95th percentile."""


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="digits-vit")
    parser.add_argument("--no-browser", action="store_true")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        samples = server_side(arguments.model, Path(scratch))
        if not arguments.no_browser:
            from tests.benchmarks import browser

            samples |= browser.measure(Path(scratch))
    found = {name: spread(values) for name, values in samples.items()}
    load = {"cores": os.cpu_count(), "load_average": os.getloadavg()[0]}
    print(table(found), file=sys.stderr)
    print(json.dumps({"machine": load, "model": arguments.model, "measured": found}))


def server_side(model: str, scratch: Path) -> dict[str, list[float]]:
    """Steps of one visitor, then of many at once."""
    with running_server("", scratch / "server.log") as running:
        address, pid = running.address, running.pid
        query = {"model": model, "mode": "Fast", "avg_bits": "4"}
        one = SocketVisitor(address, query)
        one.open()
        drag(one, 20, seed=0)
        cpu = cpu_seconds(pid)
        steps = drag(one, STEPS, seed=1)
        cpu_ms = 1000 * (cpu_seconds(pid) - cpu) / STEPS
        before = resident_mb(pid)
        crowd, after = crowd_steps(address, query, pid)
        with proving(address, query) as proofs:
            beside, _ = crowd_steps(address, query, pid, seed=VISITORS)
        one.close()
    return {
        "work_ms": work_ms(model),
        "step_ms": [1000 * s.seconds for s in steps],
        "step_cpu_ms": [cpu_ms],
        "chart_kb": [s.chart_bytes / 1000 for s in steps],
        "payload_kb": [s.sent_bytes / 1000 for s in steps],
        "crowd_step_ms": [1000 * s.seconds for s in crowd],
        "crowd_while_proving_ms": [1000 * s.seconds for s in beside],
        "proofs_asked_meanwhile": [float(len(proofs))],
        "memory_per_session_mb": [(after - before) / VISITORS],
    }


def work_ms(model: str) -> list[float]:
    """Python's own work in a step: the answer, and what it moves in both charts as JSON."""
    import clado_core as cc
    from dashboard.figures import bits, pareto
    from dashboard.figures.spec import to_json
    from dashboard.known.answers import Answers
    from dashboard.rules import NO_RULES
    from dashboard.scale import Metric, size_scale

    matrix = cc.load(ROOT / "assets" / f"{model}.clado")
    known, scale, times = Answers(matrix, NO_RULES), size_scale(matrix, Metric.AVG_BITS), []
    known.sweep()
    background, rng = pareto.background(known.front(), scale), random.Random(0)
    for _ in range(STEPS):
        started = time.perf_counter()
        answer = known.quick(rng.randrange(known.least_bits, known.most_bits), thorough=False)
        to_json(pareto.here_trace(pareto.pareto_info(background, answer, scale), "light"))
        bars = bits.bits_info(answer.assignment, matrix.bit_widths)
        to_json({"traces": bits.moving_traces(bars, "light")})
        times.append(1000 * (time.perf_counter() - started))
    return times


def drag(visitor: SocketVisitor, count: int, *, seed: int) -> list[Step]:
    """Steps of a drag, at random places, never faster than the slider reports."""
    rng, steps = random.Random(seed), []
    for _ in range(count):
        steps.append(visitor.drag_to(rng.uniform(2.2, 7.8)))
        took = steps[-1].seconds
        time.sleep(RESTS * took if took > BUSY_S else max(0.0, THROTTLE_S - took))
    return steps


def crowd_steps(
    address: str, query: dict[str, str], pid: int, *, seed: int = 0
) -> tuple[list[Step], float]:
    """Steps of many visitors dragging at once, and the server's memory then in MB."""
    visitors = [SocketVisitor(address, query) for _ in range(VISITORS)]
    for visitor in visitors:
        visitor.open()
    steps: list[Step] = []
    threads = [
        threading.Thread(target=lambda v=v, i=i: steps.extend(drag(v, STEPS_EACH, seed=i)))
        for i, v in enumerate(visitors, start=seed)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    memory = resident_mb(pid)
    for visitor in visitors:
        visitor.close()
    return steps, memory


@contextmanager
def proving(address: str, query: dict[str, str]) -> Iterator[list[float]]:
    """Meanwhile others open the page, one after another, at budgets that want an exact solve."""
    asked: list[float] = []
    done, rng = threading.Event(), random.Random(2)

    def ask() -> None:
        while not done.is_set():
            asked.append(rng.uniform(2.2, 7.8))
            visitor = SocketVisitor(address, query | {"mode": "Exact", "avg_bits": f"{asked[-1]}"})
            visitor.open()
            done.wait(PROOF_S)
            visitor.close()

    thread = threading.Thread(target=ask)
    thread.start()
    yield asked
    done.set()
    thread.join()


def cpu_seconds(pid: int) -> float:
    """Processor time that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def resident_mb(pid: int) -> float:
    """Memory of a process, MB of 10⁶ bytes."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return int(next(x for x in lines if x.startswith("VmRSS")).split()[1]) * 1024 / 1e6


def spread(values: list[float]) -> dict[str, Any]:
    """Median, 95th percentile and count."""
    p50, p95 = np.percentile(values, [50, 95])
    return {"p50": round(float(p50), 2), "p95": round(float(p95), 2), "n": len(values)}


def table(found: dict[str, dict[str, Any]]) -> str:
    """Rows with targets."""
    lines = [f"{'':<24}{'p50':>10}{'p95':>10}{'n':>6}{'target p50':>12}{'p95':>8}"]
    for name, value in found.items():
        targets = [("" if t is None else f"{t:g}") for t in TARGETS.get(name, (None, None))]
        lines.append(
            f"{name:<24}{value['p50']:>10g}{value['p95']:>10g}{value['n']:>6}"
            f"{targets[0]:>12}{targets[1]:>8}"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
