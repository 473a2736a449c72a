"""What ``solve`` prints."""

from __future__ import annotations

from typing import Any

from clado_core.cli.max_loss import within_loss_lines
from clado_core.cli.smallest import smallest_lines
from clado_core.records.coverage import noise_sentence


def show(result: dict[str, Any]) -> str:
    """The numbers, then one line per layer."""
    gap = "no bound" if result["gap"] is None else f"gap {result['gap']:.2%}"
    lines = [
        f"{result['status_sentence']} ({gap}, {result['solver']}, {result['runtime_s']:.2f} s)",
        _prediction(result),
        f"{result['avg_bits']:.3f} bits on average, {result['size_bytes'] / 1e6:.4g} MB "
        "(10⁶ bytes) for the whole file",
    ]
    lines += [
        f"the pin {price['layer']}={price['bits']} costs "
        f"{price['predicted_loss_increase']:+.4g} predicted loss and "
        f"{price['size_bits'] / 8e6:+.4g} MB"
        for price in result.get("prices", ())
    ]
    if result["missing"]:
        lines.append(result["missing"])
    if result["noise"]:
        lines.append(noise_sentence(result["noise"]))
    width = max(map(len, result["assignment"]))
    kept = {name: f"  kept in {share:.0%}" for name, share in result.get("kept", {}).items()}
    lines += [
        f"  {name:<{width}}  {bits}{kept.get(name, '')}"
        for name, bits in result["assignment"].items()
    ]
    if result.get("kept_caveat"):
        lines.append(result["kept_caveat"])
    for rank, other in enumerate(result.get("k_best", ()), start=1):
        bits = " ".join(map(str, other["assignment"].values()))
        lines.append(f"{rank:>3}. predicted {other['predicted_loss_increase']:+.6g}  {bits}")
    if "refined" in result:
        lines += _refined_lines(result["refined"])
    if "within_loss" in result:
        lines += within_loss_lines(result["within_loss"])
    if "smallest" in result:
        lines += smallest_lines(result["smallest"])
    return "\n".join(lines)


def _prediction(result: dict[str, Any]) -> str:
    """What is predicted, how far the samples let it be trusted, and whether it can be true."""
    error, kept = result["standard_error"], result.get("layers_kept")
    said = f"predicted loss increase {result['predicted_loss_increase']:+.4g}"
    if error is not None:
        said += f" ± {error:.2g} (standard error)"
    if kept is not None:
        said += (
            f"\noptimal for this measurement: {kept:.0%} of the layers keep their bits when the "
            "samples are drawn again"
        )
    return said + (f"\n{result['doubt']}" if result["doubt"] else "")


def _refined_lines(refined: dict[str, Any]) -> list[str]:
    bits = " ".join(map(str, refined["assignment"].values()))
    return [
        f"Of {refined['evaluated']} assignments run on the sensitivity set ({refined['screened']} "
        f"more on a part of it), the least measured loss is {refined['loss']:.4f} "
        f"({refined['predicted_best_loss']:.4f} for the one above):",
        f"  {bits}",
    ]
