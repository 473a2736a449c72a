"""Choices run by the commands: kept, resumed after a kill, and chosen by their measured drop."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

import clado_core as cc
from clado_core.cli import main
from clado_core.files.outcomes import outcomes_path, read_outcomes
from tests.conftest import ROOT
from tests.core.commands import call

QUICK = ("--rounding", "gptq", "--repair-images", "32")


@pytest.fixture
def resnet(tmp_path: Path) -> str:
    """The shipped artifact with its front, where files may be written."""
    for suffix in (".clado", ".frontier.json", ".certificate"):
        shutil.copy(ROOT / "assets" / f"digits-resnet{suffix}", tmp_path / f"mine{suffix}")
    return str(tmp_path / "mine.clado")


def test_a_choice_of_one_is_what_evaluate_says_without_more_words(
    resnet: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    matrix = cc.load(resnet)
    budget = cc.bits_for_average(3, matrix.layers)
    chosen = cc.allocate(cc.AllocationProblem(matrix, budget_bits=budget)).assignment
    file = tmp_path / "chosen.json"
    file.write_text(json.dumps(chosen.by_layer()))
    words = ("evaluate", resnet, "--assignment", str(file))
    code, plain, _ = call(capsys, *words)
    assert code == 0 and not outcomes_path(resnet).exists(), "nothing is written unasked"
    code, found, _ = call(capsys, *words, "--as", "rounded,repaired", *QUICK)
    (choice,) = found["choices"]
    assert code == 0 and choice["assignment"] == chosen.by_layer()
    for name in ("top1", "loss", "ci95"):
        assert choice["rounded"][name] == plain[name]
    for name in ("n", "data", "split", "float_top1", "float_loss", "measured_on"):
        assert found[name] == plain[name]
    assert choice["repaired"]["top1"] > choice["rounded"]["top1"]
    assert found["repair"] == {"rounding": "gptq", "images": 32, "seed": 1}
    assert found["repaired_with"] == 0
    assert main(["evaluate", resnet, "--assignment", str(file), "--as", "rounded"]) == 0
    out = capsys.readouterr().out
    assert "Kept in" in out and "Repaired" not in out and f"{plain['top1']:.2%}" in out


def test_a_front_is_thinned_and_its_repairs_are_those_of_repair(
    resnet: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, found, _ = call(capsys, "evaluate", resnet, "--front", "--points", "3", *QUICK)
    sizes = [each["size_bits"] for each in found["choices"]]
    weights = cc.load(resnet).layers.total_weights
    assert code == 0 and sizes == sorted(sizes) and len(sizes) == 3
    assert sizes[0] == 2 * weights and sizes[-1] > 5 * weights
    kept = read_outcomes(resnet, cc.load(resnet))
    assert [each.measured_as for each in kept] == ["rounded", "repaired"] * 3
    file, out = tmp_path / "chosen.json", tmp_path / "repaired.safetensors"
    file.write_text(json.dumps(found["choices"][0]))
    words = ("--assignment", str(file), "--out", str(out), "--rounding", "gptq", "--images", "32")
    assert call(capsys, "repair", resnet, *words)[0] == 0
    _, shipped, _ = call(capsys, "evaluate", resnet, "--repaired", str(out))
    assert shipped["top1"] == found["choices"][0]["repaired"]["top1"]


def test_a_front_keeps_wishes_and_comes_from_a_file(
    resnet: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    front, words = str(tmp_path / "front.json"), ("--as", "rounded", *QUICK)
    pin = ("--pin", "head=8", "--tie", "stem.0,blocks.0.conv1")
    assert call(capsys, "frontier", resnet, "--points", "4", *pin, "--out", front)[0] == 0
    code, found, _ = call(capsys, "evaluate", resnet, "--front-from", front, *pin, *words)
    chosen = [each["assignment"] for each in found["choices"]]
    stored = cc.Frontier.from_json(json.loads(Path(front).read_text()), cc.load(resnet)).choices()
    assert code == 0 and chosen == [each.assignment.by_layer() for each in stored]
    code, same, _ = call(
        capsys, "evaluate", resnet, "--front", "--points", "2", "--pin", "head=8", *words
    )
    assert code == 0 and [each["assignment"]["head"] for each in same["choices"]] == [8, 8]
    of_file = ("--max-drop", "60", "--front-from", front, *words)
    code, found, _ = call(capsys, "solve", resnet, *of_file)
    assert code == 0 and found["assignment"] in chosen
    assert found["smallest"]["on_front"] == len(chosen)
    code, _, error = call(capsys, "solve", resnet, *of_file, "--pin", "head=2")
    assert code == 2 and "your wishes" in error.splitlines()[-1]
    Path(front).write_text("{}")
    code, _, error = call(capsys, "evaluate", resnet, "--front-from", front)
    assert code == 2 and f"The frontier {front} cannot be used" in error.splitlines()[-1]


def test_killed_at_any_moment_the_same_command_goes_on(
    resnet: str, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["evaluate", resnet, "--front", "--points", "2", *QUICK]
    _, whole, _ = call(capsys, *words)
    kept = outcomes_path(resnet)
    kept.unlink()
    for wanted in (1, 3):
        command = [sys.executable, "-m", "clado_core", *words]
        process = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.DEVNULL)
        while process.poll() is None and _lines(kept) < wanted:
            time.sleep(0.01)
        process.kill()
        assert process.wait() in (-signal.SIGKILL, 0)
        assert wanted <= _lines(kept) <= 4
    half = kept.read_bytes()[:-20]
    kept.write_bytes(half)
    code, again, _ = call(capsys, *words)
    assert code == 0 and again == whole
    assert _lines(kept) <= 5, "what was known was not run again"
    size = kept.stat().st_size
    assert call(capsys, *words)[1] == whole and kept.stat().st_size == size


def _lines(path: Path) -> int:
    return sum(bool(line) for line in path.read_bytes().splitlines()) if path.exists() else 0


def test_a_largest_drop_gives_a_choice_that_the_other_commands_take(
    resnet: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("solve", resnet, "--max-drop", "1.5", "--as", "rounded", "--pin", "head=8", *QUICK)
    code, found, _ = call(capsys, *words)
    smallest = found["smallest"]
    assert code == 0 and found["assignment"]["head"] == 8 and found["pins"] == {"head": 8}
    assert smallest["searched"]["drop_points"] <= 1.5 and smallest["repair"] is None
    assert smallest["searched"]["split"] == "validation"
    assert smallest["confirmed"]["split"] == "held-out" and smallest["confirmed"]["n"] == 539
    assert len(smallest["choices"]) < smallest["on_front"] and smallest["measured_on"] == 0
    within = [each for each in smallest["choices"] if each["drop_points"] <= 1.5]
    assert min(each["size_bytes"] for each in within) == found["size_bytes"]
    file, out = tmp_path / "chosen.json", tmp_path / "config.json"
    file.write_text(json.dumps(found))
    options = ("--assignment", str(file), "--format", "json", "--out", str(out))
    assert main(["export", resnet, *options]) == 0
    assert main(["evaluate", resnet, "--assignment", str(file)]) == 0
    size = outcomes_path(resnet).stat().st_size
    assert main([*words]) == 0
    out_text = capsys.readouterr().out
    assert "Those in between were not run" in out_text and "Confirmed once on 539" in out_text
    assert outcomes_path(resnet).stat().st_size == size


def test_searched_on_held_out_images_nothing_is_confirmed(
    resnet: str, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["solve", resnet, "--max-drop", "1", "--as", "rounded", "--split", "held-out"]
    code, found, _ = call(capsys, *words)
    assert code == 0 and found["smallest"]["confirmed"] is None
    assert found["smallest"]["searched"]["n"] == 539
    assert main(words) == 0
    assert "none are left to confirm" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["solve", "--max-drop", "-1"], "from 0 to 100"),
        (["solve", "--max-drop", "nan"], "not a number"),
        (["solve", "--max-drop", "1", "--avg-bits", "3"], "--avg-bits limits it"),
        (["solve", "--max-drop", "1", "--size-mb", "3"], "--size-mb limits it"),
        (["solve", "--max-drop", "1", "--refine", "2"], "without --refine"),
        (["solve", "--max-drop", "1", "--method", "diagonal"], "without --method diagonal"),
        (["solve", "--max-drop", "1", "--repair-images", "600"], "repair with fewer images"),
        (["solve", "--max-drop", "1", "--data", "nowhere"], "There is no data 'nowhere'"),
        (["solve", "--avg-bits", "3", "--as", "repaired"], "--as is for --max-drop"),
        (["solve", "--avg-bits", "3", "--front-from", "f"], "--front-from is for --max-drop"),
        (["evaluate", "--assignment", "a", "--pin", "head=8"], "give them with --front"),
        (["evaluate", "--front", "--front-from", "f"], "not allowed with"),
        (["evaluate", "--front", "--as", "shipped"], "'shipped' is not rounded or repaired"),
        (["evaluate", "--front", "--points", "0"], "not a whole number of 1 or more"),
        (["evaluate", "--repaired", "r", "--as", "repaired"], "without --as"),
        (["evaluate", "--assignment", "a", "--points", "3"], "give it with --front"),
        (["evaluate", "--front", "--assignment", "a"], "not allowed with"),
    ],
)
def test_wrong_words_are_one_sentence(
    words: list[str], sentence: str, resnet: str, capsys: pytest.CaptureFixture[str]
) -> None:
    code, result, error = call(capsys, words[0], resnet, *words[1:])
    assert code == 2 and not result and sentence in error
    assert len(error.splitlines()) == 1 and not outcomes_path(resnet).exists()


def test_an_artifact_without_network_is_one_sentence(
    resnet: str, capsys: pytest.CaptureFixture[str]
) -> None:
    cc.save_matrix(replace(cc.load(resnet), provenance=cc.Provenance()), resnet)
    for words in (["solve", resnet, "--max-drop", "1"], ["evaluate", resnet, "--front"]):
        code, _, error = call(capsys, *words)
        assert code == 2 and "does not say which model" in error.splitlines()[-1]


def test_a_file_that_cannot_be_read_or_written_is_one_sentence(
    resnet: str, capsys: pytest.CaptureFixture[str]
) -> None:
    outcomes_path(resnet).mkdir()
    code, _, error = call(capsys, "evaluate", resnet, "--front", "--points", "1", *QUICK)
    assert code == 2 and "Cannot read" in error.splitlines()[-1]
    outcomes_path(resnet).rmdir()
    outcomes_path(resnet).symlink_to("/nowhere/at/all")
    code, _, error = call(capsys, "evaluate", resnet, "--front", "--points", "1", *QUICK)
    assert code == 2 and "Cannot write" in error.splitlines()[-1]
