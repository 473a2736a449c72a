"""Measuring from the page: progress, cancel, failure, uploads."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import clado_core as cc
from clado_core.cli import build_parser
from dashboard.cards.measure import take_in
from dashboard.known import catalogue, services
from dashboard.theme import duration
from dashboard.workers.measure import MeasureService, Wish, unfinished
from tests.conftest import make_matrix
from tests.dashboard.conftest import OpenPage
from tests.dashboard.reading import texts
from tests.waiting import wait_for

FAKE = """
import json, sys, time
arguments = sys.argv[1:]
assert arguments[0] == "measure" and "--json" in arguments
if "--dry-run" in arguments:
    if arguments[1] == "nope":
        sys.exit("error: There is no network 'nope'.")
    up = {"name": "up", "kind": "ConvTranspose2d", "bytes": 300, "share": 0.3,
          "why": "layers of this kind are not searched", "is_weight": True}
    print(json.dumps({"n_layers": 3, "forwards": 40, "samples": 64, "device": "cpu",
                      "estimated_s": 3.0, "float_bytes": 1000, "unquantized_bytes": 300,
                      "float_parts": [up], "classes": list("abcdefg"),
                      "warnings": ["The network tells 9 classes apart."]}))
    sys.exit(0)
assert arguments[-2] == "--progress-fd"
lines = open(int(arguments[-1]), "w")
for done in (1000, 2000, 3000):
    step = {"what": "Measuring x", "unit": "losses", "done": done, "total": 3000, "left_s": 2.1}
    print(json.dumps(step), file=lines, flush=True)
    time.sleep(0.05 if arguments[1] != "slow" else 60)
if arguments[1] == "bad":
    sys.exit("error: The loss is not finite.")
as_given, other = {"right": 60, "chance": 0.1}, {"right": 0, "chance": 0.1}
labels = {"n": 64, "classes": 10, "as_given": as_given, "raised": other, "lowered": other,
          "named": None}
print(json.dumps({"n_layers": 3, "forwards": 3000, "runtime_s": 0.2, "base_loss": 0.25,
                  "labels": labels, "warnings": ["The labels look odd."]}))
"""


def wish(model: str) -> Wish:
    return Wish(model, "", "none", (2, 4, 8), 64, "/tmp/x.clado")


@pytest.fixture
def service() -> Iterator[MeasureService]:
    made = MeasureService((sys.executable, "-c", FAKE))
    yield made
    made.cancel()


def ended(service: MeasureService) -> bool:
    return service.state is not None and not service.state.running


def test_the_command_line() -> None:
    arguments = wish("net").arguments(dry_run=False)
    assert arguments[:4] == ["measure", "net", "--weights", "none"]
    assert arguments[-2:] == ["--out", "/tmp/x.clado"]
    assert "--dry-run" in wish("net").arguments(dry_run=True)
    repaired = wish("net")._replace(rounding="gptq").arguments()
    parser = build_parser()
    assert parser.parse_args(repaired).rounding == "gptq"
    assert parser.parse_args(arguments).rounding == "nearest"


def test_progress_and_result(service: MeasureService) -> None:
    assert service.start(wish("net"))
    assert not service.start(wish("other"))
    wait_for(lambda: ended(service))
    state = service.state
    assert state is not None and state.result is not None
    assert (state.done, state.share, state.result["forwards"]) == (3000, 1.0, 3000)
    assert service.start(wish("again"))


def test_a_failure_is_one_sentence(service: MeasureService) -> None:
    service.start(wish("bad"))
    wait_for(lambda: ended(service))
    assert service.state is not None and service.state.problem == "The loss is not finite."


def test_cancel(service: MeasureService) -> None:
    service.start(wish("slow"))
    assert service.state is not None and service.state.counted == "starting"
    wait_for(lambda: service.state is not None and service.state.done > 0)
    assert service.state.counted == "1,000 of 3,000 losses, 2 s left"
    service.cancel()
    wait_for(lambda: ended(service))
    assert service.state.cancelled


def test_estimate(service: MeasureService) -> None:
    found = service.estimate(wish("net"))
    assert isinstance(found, dict) and found["n_layers"] == 3
    assert service.estimate(wish("nope")) == "There is no network 'nope'."


def test_stopped_measurements_are_found(tmp_path: Path) -> None:
    (tmp_path / "net-own.clado.partial").write_bytes(b"")
    assert unfinished(tmp_path) == ["net-own"]


def test_an_upload_is_checked_and_kept(tmp_path: Path) -> None:
    file = tmp_path / "gamma.clado"
    cc.save_matrix(make_matrix(3), file)
    found = take_in("gamma", file.read_bytes())
    assert isinstance(found, cc.SensitivityMatrix)
    assert "gamma" in catalogue.find().artifacts
    other = take_in("gamma", (tmp_path / "artifacts" / "alpha.clado").read_bytes())
    assert isinstance(other, str) and "rename the file" in other


def test_a_damaged_upload_is_refused_and_not_kept(tmp_path: Path) -> None:
    said = take_in("bad", b"hello")
    assert isinstance(said, str) and len(said) > 10
    assert list((tmp_path / "own").iterdir()) == []


def test_the_page_measures_and_opens(
    open_page: OpenPage, service: MeasureService, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(services, "measure_service", lambda: service)
    app = open_page("measure")
    assert "Nothing is being measured" in texts(app)
    app.button(key="measure-estimate").click().run()
    assert "about **3 s**" in texts(app)
    assert "Stays float32: 0.000300 MB, 30 % of the float32 file, with 1 weight" in texts(app)
    assert app.dataframe[0].value["Name"].tolist() == ["up"]
    assert "7 classes, from index 0: a, b, c, d, e, …" in texts(app)
    assert [warning.value for warning in app.warning] == ["The network tells 9 classes apart."]
    app.button(key="measure-start").click().run()
    assert not app.exception
    wait_for(lambda: ended(service))
    out = tmp_path / "own" / "digits-resnet-own.clado"
    cc.save_matrix(make_matrix(3), out)
    app.run()
    assert "is measured: 3 layers, 3,000 losses" in texts(app)
    assert "classifies 94 % of 64 samples as they are labelled (chance: 10 %); loss 0.250" in (
        texts(app)
    )
    assert "The labels look odd." in [warning.value for warning in app.warning]
    app.button(key="measure-open").click().run()
    assert not app.exception
    assert app.selectbox(key="model").value == "digits-resnet-own"


def test_durations() -> None:
    assert [duration(s) for s in (0.2, 42, 200, 9000)] == ["1 s", "42 s", "3 min", "2.5 h"]
