import csv
import io
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import clado_core as cc
from clado_core import exports
from clado_core.cli import main
from clado_core.errors import ArtifactError, InputError
from clado_core.exports.choice_file import choice_contents, read_configuration
from clado_core.files.assignment_file import read_assignment
from clado_core.records.sizes import container_bytes
from clado_core.solvers.enumerate import EnumerationSolver
from tests.conftest import ROOT


@pytest.fixture
def configuration(toy_matrix: cc.SensitivityMatrix) -> exports.Configuration:
    names = toy_matrix.layers.names
    problem = cc.AllocationProblem(
        toy_matrix,
        budget_bits=6 * toy_matrix.layers.total_weights,
        ties=(names[:2],),
        min_bits={f"{names[2]}*": 4},
        allowed={names[3]: (2, 8)},
    )
    solution = EnumerationSolver().solve(problem)
    return exports.Configuration(
        toy_matrix,
        solution.assignment,
        solution,
        artifact_sha256="ab" * 32,
        budgets=problem.budgets,
        rules=problem.rules,
    )


def _contents(configuration: exports.Configuration, name: str) -> bytes:
    return exports.FORMATS[name].contents(exports.ExportJob(configuration))


def _saved(configuration: exports.Configuration, folder: Path) -> list[str]:
    """The start of an export command of this choice."""
    artifact, chosen = folder / "toy.clado", folder / "chosen.json"
    cc.save_matrix(configuration.matrix, artifact)
    chosen.write_text(json.dumps(choice_contents(configuration)))
    return ["export", str(artifact), "--assignment", str(chosen)]


def test_json_names_what_it_promises(configuration: exports.Configuration) -> None:
    document = json.loads(_contents(configuration, "json"))
    assert document["schema"] == "clado-mpq/1"
    assert {row["name"]: row["bits"] for row in document["layers"]} == (
        configuration.assignment.by_layer()
    )
    rows = sum(row["weight_bytes"] + row["scale_bytes"] for row in document["layers"])
    fixed = document["unquantized_bytes"] + document["header_bytes"]
    assert document["totals"]["bytes"] == rows + fixed
    assert document["header_bytes"] == container_bytes(configuration.matrix.layers)
    assert document["solver"]["status"] == "optimal"


def test_json_reads_back_to_the_same_assignment(
    configuration: exports.Configuration, tmp_path: Path
) -> None:
    exports.write(configuration, exports.FORMATS["json"], tmp_path / "c.json")
    again = read_assignment(tmp_path / "c.json", configuration.matrix)
    assert again == configuration.assignment


def test_a_changed_json_is_noticed(configuration: exports.Configuration, tmp_path: Path) -> None:
    file = tmp_path / "c.json"
    exports.write(configuration, exports.FORMATS["json"], file)
    document = json.loads(file.read_text())
    document["layers"][0]["bits"] = 12 - document["layers"][0]["bits"]
    file.write_text(json.dumps(document))
    with pytest.raises(InputError, match="sha256"):
        read_assignment(file, configuration.matrix)


def test_csv_has_one_row_per_layer(configuration: exports.Configuration) -> None:
    rows = list(csv.DictReader(io.StringIO(_contents(configuration, "csv").decode())))
    assert [int(row["bits"]) for row in rows] == list(configuration.assignment.bits)
    assert rows[0]["shape"] == "4x3x3x3"


def test_file_name_carries_model_bits_and_digest(configuration: exports.Configuration) -> None:
    name = exports.file_name(configuration, exports.FORMATS["csv"])
    assert name == f"toy_{configuration.assignment.avg_bits:.2f}b_abababab.csv"


def test_unknown_formats_are_refused() -> None:
    with pytest.raises(InputError, match="choose one of json, yaml, csv"):
        exports.find_format("exe")


def test_the_same_choice_gives_the_same_bytes_from_python_and_the_command_line(
    configuration: exports.Configuration, tmp_path: Path
) -> None:
    command = _saved(configuration, tmp_path)
    artifact, chosen = tmp_path / "toy.clado", tmp_path / "chosen.json"
    read = read_configuration(artifact, chosen)
    assert (read.solution, read.budgets) == (configuration.solution, configuration.budgets)
    names = configuration.matrix.layers.names
    assert json.loads(_contents(read, "json"))["rules"] == {
        "ties": [list(names[:2])],
        "min_bits": {f"{names[2]}*": 4},
        "allowed": {names[3]: [2, 8]},
    }
    for name in ("json", "csv", "name-map", "modelopt", "model-explorer"):
        out = tmp_path / f"file.{name}"
        assert main([*command, "--format", name, "--out", str(out)]) == 0
        assert out.read_bytes() == _contents(read, name)
    again = read_configuration(artifact, tmp_path / "file.json")
    assert _contents(again, "json") == (tmp_path / "file.json").read_bytes()


def test_the_list_tells_what_each_target_does_with_a_choice(
    configuration: exports.Configuration,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    options = [*_saved(configuration, tmp_path), "--format", "list"]
    assert main([*options, "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)["formats"]
    assert list(listed) == list(exports.FORMATS)
    assert listed["compressed-tensors"]["choice"]["refused"] == 4
    assert listed["safetensors"]["choice"]["runs"] == 4
    assert main(options) == 0
    assert "this choice's layers" in capsys.readouterr().out
    assert main(["export", "--format", "list"]) == 0


def test_refused_layers_are_named_and_widened_only_when_asked(
    configuration: exports.Configuration,
) -> None:
    format = exports.FORMATS["compressed-tensors"]
    with pytest.raises(InputError, match=r"'block0\.conv0' at \d bits .* or upcast:"):
        format.contents(exports.ExportJob(configuration))
    widened = json.loads(format.contents(exports.ExportJob(configuration, upcast=True)))
    assert len(widened["ignore"]) == 4


@pytest.mark.parametrize("name", [n for n, f in exports.FORMATS.items() if f.needs_network])
def test_a_matrix_without_a_network_is_refused_with_a_sentence(
    name: str, configuration: exports.Configuration, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match="give the model"):
        exports.write(configuration, exports.FORMATS[name], tmp_path / "file")
    assert not list(tmp_path.iterdir())


def test_an_interrupted_export_leaves_nothing_under_the_final_name(
    configuration: exports.Configuration, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", stop)
    with pytest.raises(KeyboardInterrupt):
        exports.write(configuration, exports.FORMATS["json"], tmp_path / "c.json")
    assert not list(tmp_path.iterdir())


def test_no_room_for_the_file_is_one_sentence(
    configuration: exports.Configuration, tmp_path: Path
) -> None:
    code = (
        "import resource, signal, sys; from clado_core.cli import main;"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN);"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (64, 64)); sys.exit(main(sys.argv[1:]))"
    )
    options = _saved(configuration, tmp_path)
    out = tmp_path / "full.json"
    done = subprocess.run(
        [sys.executable, "-c", code, *options, "--format", "json", "--out", str(out)],
        capture_output=True,
        cwd=ROOT,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1 and done.stderr.startswith("Cannot write")
    assert not list(tmp_path.glob("*full*"))


def test_a_folder_that_cannot_be_written_is_one_sentence(
    configuration: exports.Configuration, tmp_path: Path
) -> None:
    for folder in (tmp_path / "missing", Path("/proc")):
        with pytest.raises(ArtifactError, match="Cannot write"):
            exports.write(configuration, exports.FORMATS["csv"], folder / "c.csv")


def test_a_killed_export_leaves_nothing_under_the_final_name(
    configuration: exports.Configuration, tmp_path: Path
) -> None:
    code = (
        "import os, signal, sys; os.fsync = lambda _: os.kill(os.getpid(), signal.SIGKILL);"
        "from clado_core.cli import main; main(sys.argv[1:])"
    )
    options = _saved(configuration, tmp_path)
    out = tmp_path / "killed.json"
    command = [sys.executable, "-c", code, *options, "--format", "json", "--out", str(out)]
    assert subprocess.run(command, cwd=ROOT, check=False).returncode == -signal.SIGKILL
    assert not out.exists()


def test_a_file_is_checked_on_the_command_line(
    configuration: exports.Configuration, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = _saved(configuration, tmp_path)
    out = tmp_path / "file.json"
    assert main([*options, "--format", "json", "--out", str(out)]) == 0
    assert main([*options, "--format", "json", "--check", str(out)]) == 0
    assert "unchanged" in capsys.readouterr().out
    out.write_text(out.read_text().replace('"numel": 108', '"numel": 109'))
    assert main([*options, "--format", "json", "--check", str(out)]) == 2
    assert "'sha256' does not match" in capsys.readouterr().err
    assert main([*options, "--format", "csv", "--check", str(out)]) == 2
    assert "carry no digest" in capsys.readouterr().err


def test_yaml_is_the_tree_of_the_json(configuration: exports.Configuration) -> None:
    yaml = pytest.importorskip("yaml")
    assert yaml.safe_load(_contents(configuration, "yaml")) == json.loads(
        _contents(configuration, "json")
    )


def test_a_missing_library_comes_with_its_install_command(
    configuration: exports.Configuration, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "yaml", None)
    with pytest.raises(InputError, match="python -m pip install pyyaml"):
        _contents(configuration, "yaml")
