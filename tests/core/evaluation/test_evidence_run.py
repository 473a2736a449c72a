"""Evidence: choices, significance, evaluation that is remembered, and the command."""

import dataclasses
import json
import shutil

import numpy as np
import pytest
from scipy import stats

import clado_core as cc
from clado_core.cli import main
from clado_core.cli.evidence import DEFAULT_REFINE, show
from clado_core.data.sources import Samples, load_data
from clado_core.errors import ArtifactCorruptError, ArtifactVersionError, InputError
from clado_core.evaluation.evaluator import Evaluator
from clado_core.evidence import METHODS, choose, load_evidence
from clado_core.evidence.choices import FOR_REPAIRED, surrogates
from clado_core.evidence.significance import mcnemar, rank_correlation
from clado_core.files.artifact import artifact_digest
from clado_core.networks.load import load_model
from clado_core.problem.allocation_problem import bits_for_average
from clado_core.solvers import EnumerationSolver
from tests.conftest import ROOT
from tests.core.commands import call

VIT = ROOT / "assets" / "digits-vit.clado"
FILE = "digits-resnet-per-channel-24.evidence.json"
pytestmark = pytest.mark.usefixtures("parts_by_position")
COMMAND = ("evidence", "digits-resnet", "--samples", "64", "--batch-size", "32", "--bits", "2,4")


def test_mcnemar_is_the_binomial_test_of_images_that_tell_them_apart():
    first = np.array([True] * 9 + [False] * 1 + [True] * 20 + [False] * 5)
    second = np.array([False] * 9 + [True] * 1 + [True] * 20 + [False] * 5)
    found = mcnemar(first, second)
    assert (found.gained, found.lost) == (9, 1)
    assert found.p == pytest.approx(2 * stats.binom.cdf(1, 10, 0.5))  # 22/1024
    assert mcnemar(first, first).p == 1


def test_rank_correlation_sees_order_alone():
    assert rank_correlation([1, 2, 3], [0.1, 5, 5.5]) == pytest.approx(1)
    assert rank_correlation([1, 2, 3], [3, 2, 1]) == pytest.approx(-1)
    assert rank_correlation([1, 2], [1, 2]) is None
    assert rank_correlation([1, 1, 1], [1, 2, 3]) is None


def digits(source, *, poisoned=False):
    """The same images with parts that do not depend on labels, so that these can be others."""
    held_out, labels = source.indices("held-out"), source.labels.copy()
    if poisoned:
        labels[held_out] = (labels[held_out] + 1) % 10
    order = np.concatenate([source.indices("train"), held_out])
    return dataclasses.replace(
        source,
        labels=labels[order],
        read=lambda indices: source.read(order[indices]),
        n_train=len(source.indices("train")),
    )


@pytest.fixture(scope="module")
def parts_by_position():
    """Commands get such digits."""
    with pytest.MonkeyPatch.context() as patch:
        opened = lambda spec, **how: digits(load_data(spec, **how))  # noqa: E731
        patch.setattr("clado_core.networks.measured.load_data", opened)
        yield


@pytest.fixture(scope="module")
def pair():
    """Four layers of a measured network, with diagonals; and another estimate of the same."""
    whole = cc.load(VIT)
    n, layers = 4 * whole.n_bits, whole.layers.layers[:4]
    random = np.random.default_rng(0)
    G = whole.G[:n, :n]
    parts = G + random.normal(0, abs(G).mean(), (5, n, n))
    matrix = dataclasses.replace(
        whole,
        G=G,
        layers=dataclasses.replace(whole.layers, layers=layers),
        part_G=(parts + parts.transpose(0, 2, 1)) / 2,
        part_weights=np.full(5, 0.2),
        diagonals={name: random.random((4, whole.n_bits)) for name in ("hawq", "mpqco")},
    )
    gram = dataclasses.replace(matrix, G=1.5 * G, name="gram")
    return matrix, gram


def test_every_method_is_solved_to_its_own_optimum(pair):
    matrix, gram = pair
    found = choose(matrix, gram, [3.0, 4.5])
    assert {choice.method for choice in found} == set(METHODS) - {"clado-refined", *FOR_REPAIRED}
    minimized = surrogates(matrix, gram)
    for choice in found:
        assert choice.avg_bits <= choice.budget + 1e-9
        assert choice.predicted_loss_increase == matrix.predicted_loss_increase(choice.bits)
        if choice.method != "uniform":
            limit = bits_for_average(choice.budget, matrix.layers)
            problem = cc.AllocationProblem(minimized[choice.method], budget_bits=limit)
            best = EnumerationSolver().solve(problem)
            value = minimized[choice.method].objective(choice.bits)
            assert value == pytest.approx(best.objective, abs=1e-9), choice.method
    uniform = {choice.budget: choice.bits for choice in found if choice.method == "uniform"}
    assert uniform == {float(b): (b,) * 4 for b in matrix.bit_widths}


def test_shrinking_keeps_the_diagonal_and_never_grows_an_entry(pair):
    matrix, gram = pair
    shrunk = surrogates(matrix, gram)["clado-shrunk"].G
    assert (shrunk.diagonal() == matrix.G.diagonal()).all()
    assert (abs(shrunk) <= abs(matrix.G) + 1e-15).all() and (shrunk * matrix.G >= 0).all()
    error, off = matrix.standard_error(), ~np.eye(len(shrunk), dtype=bool)
    a, b = np.argwhere(off & (abs(matrix.G) > 2 * error))[0]
    expected = matrix.G[a, b] * (1 - (error[a, b] / matrix.G[a, b]) ** 2)
    assert shrunk[a, b] == pytest.approx(expected)
    drowned = off & (abs(matrix.G) <= error)
    assert (shrunk[drowned] == 0).all()


def test_matrices_that_do_not_belong_together_are_refused(pair):
    matrix, gram = pair
    with pytest.raises(InputError, match="measure hawq along with it"):
        surrogates(dataclasses.replace(matrix, diagonals={}), gram)
    other = dataclasses.replace(gram, scheme=cc.QuantizationScheme("per-tensor"))
    with pytest.raises(InputError, match="differ in layers, bit-widths or quantizer"):
        surrogates(matrix, other)


def test_the_first_images_alone_can_be_run():
    matrix, model = cc.load(VIT), load_model("digits-vit")
    samples = load_data("digits").split("held-out")
    whole = Evaluator(model.module, matrix, samples, batch_size=100)
    part, bits = whole.on_first(150), (4,) * matrix.n_layers
    assert (len(whole), len(part), len(whole.on_first(10_000))) == (539, 150, 539)
    whole.outcomes(bits)
    assert not part.is_known(bits), "other images, other outcomes"
    assert (part.outcomes(bits).right == whole.outcomes(bits).right[:150]).all()
    few = Samples(samples.x[:150], samples.y[:150], "few")
    assert (
        part.outcomes(bits).loss
        == Evaluator(model.module, matrix, few, batch_size=100).outcomes(bits).loss
    )


@pytest.fixture(scope="module")
def made(tmp_path_factory, parts_by_position):
    """A folder with artifacts and evidence at two budgets, refined with K = 3."""
    folder = tmp_path_factory.mktemp("evidence")
    words = ("--out", str(folder), "--budgets", "2.5,3", "--refine", "3", "--repair", "nearest")
    assert main([*COMMAND, *words]) == 0
    return folder


@pytest.fixture
def folder(made, tmp_path):
    """A copy of it that a test may change."""
    return shutil.copytree(made, tmp_path / "copy")


def reproduce(capsys, folder, budget, *words):
    """The answer of the command that redoes a stored budget."""
    return call(capsys, *COMMAND, "--out", str(folder), "--reproduce", budget, *words)


def change(folder, edit):
    """Edit the stored evidence: a function of its JSON and of its outcomes by method and budget."""
    path = folder / FILE
    content = json.loads(path.read_text())
    rows = {(e["choice"]["method"], e["choice"]["budget"]): e for e in content["outcomes"]}
    edit(content, rows)
    path.write_text(json.dumps(content))


def test_the_command_stores_what_every_method_does(made):
    stored = load_evidence(made / FILE)
    assert stored.n == 539 and stored.refine_k == 3 and len(stored.outcomes) == 2 * 9 + 2
    for outcome in stored.of("diagonal"):
        clado = next(c for c in stored.of("clado") if c.choice.budget == outcome.choice.budget)
        paired = outcome.paired["clado"]
        assert paired.gained - paired.lost == round(539 * (clado.top1 - outcome.top1))
        assert set(outcome.paired) == {"clado", "clado-refined"} and outcome.repaired is None
        assert outcome.ci95[0] < outcome.top1 < outcome.ci95[1]
    content = json.loads((made / FILE).read_text())
    assert content["rank_correlation"]["all"] == stored.rank_correlation(None)
    assert not list(made.glob("*.partial*")) and len(list(made.glob("*.clado"))) == 2


def test_a_stored_row_is_made_again_with_what_was_chosen_by_measured_loss(folder, capsys):
    code, redone, _ = reproduce(capsys, folder, "3")
    assert code == 0 and redone["matches"] and redone["refine_k"] == 3
    assert redone["not_redone"] == redone["differing"] == []
    (refined,) = load_evidence(folder / FILE).of("clado-refined")[1:]
    again = {each["choice"]["method"]: each for each in redone["outcomes"]}
    assert len(again) == 9 and again["clado-refined"]["choice"]["bits"] == list(refined.choice.bits)
    clado = again["clado"]["sensitivity_loss"]
    assert again["clado-refined"]["sensitivity_loss"] <= clado
    assert "These numbers equal the stored ones" in show(redone)


def test_the_row_chosen_by_measured_loss_may_be_left_out(folder, capsys):
    code, redone, _ = reproduce(capsys, folder, "3", "--refine", "0")
    assert code == 0 and redone["matches"] and redone["not_redone"] == ["clado-refined"]
    assert "Not redone: clado-refined." in show(redone)
    code, _, error = reproduce(capsys, folder, "3", "--refine", "4")
    assert code == 2 and "was refined with K = 3, not 4" in error.splitlines()[-1]


def test_evidence_of_before_k_was_stored_is_redone_with_the_default(folder, capsys):
    def edit(content, rows):
        del content["refine_k"]
        rows["clado-refined", 3.0]["loss"] += 1

    change(folder, edit)
    assert load_evidence(folder / FILE).refine_k is None
    code, redone, _ = reproduce(capsys, folder, "3")
    assert code == 0 and redone["refine_k"] == DEFAULT_REFINE
    assert not redone["matches"] and "clado-refined" in redone["differing"]
    assert f"DIFFER from the stored ones in {folder / FILE}: clado-refined." in show(redone)
    assert f"redone with K = {DEFAULT_REFINE}, as the stored evidence does not" in show(redone)


def test_only_rows_that_are_stored_are_made_again(folder, capsys):
    code, redone, _ = reproduce(capsys, folder, "2")
    assert code == 0 and redone["matches"]
    assert [each["choice"]["method"] for each in redone["outcomes"]] == ["uniform"]
    code, _, error = reproduce(capsys, folder, "3.3")
    assert code == 2 and "choose one of 2, 2.5, 3, 4" in error


@pytest.mark.parametrize("reproduced", [False, True])
@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("--samples", "48"), "another 'n_samples' (64 there, 48 now)"),
        (("--seed", "7"), "another 'seed' (0 there, 7 now)"),
    ],
)
def test_an_artifact_that_was_measured_otherwise_is_not_used(
    folder, capsys, words, sentence, reproduced
):
    before = {path: path.read_bytes() for path in folder.iterdir()}
    args = (*COMMAND, "--out", str(folder), "--refine", "0", *words)
    args += ("--reproduce", "3") if reproduced else ("--budgets", "3", "--repair", "nearest")
    code, _, error = call(capsys, *args)
    assert code == 2 and sentence in error.splitlines()[-1]
    assert "digits-resnet-per-channel-24.clado was measured with" in error.splitlines()[-1]
    assert {path: path.read_bytes() for path in folder.iterdir()} == before


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("--split", "all"), "another 'split' (\"train\" there"),
        (("--range", "min-max"), "another 'range_rule' (\"min-max\" there"),
        (("--estimator", "block"), "another 'estimator' (\"block\" there"),
        (("--loss", "kl"), "another 'loss' (\"kl\" there"),
        (("--act-bits", "8"), "another 'act_bits' (8 there, \"none\" now)"),
        (("--layers", "paper"), "another 'layers' ("),
        (("--bits", "2,8"), "another 'bit_widths' ([2, 8] there, [2, 4] now)"),
        ((), 'another \'baselines\' ([] there, ["hawq", "mpqco"] now)'),
    ],
)
def test_an_artifact_of_that_name_that_measure_made_is_not_used(tmp_path, capsys, words, sentence):
    out = tmp_path / "digits-resnet-per-channel-24.clado"
    measured = ("digits-resnet", "--samples", "16", "--bits", "2,4", "--out", str(out), *words)
    assert main(["measure", *measured, "--memory-format", "channels-last"]) == 0
    args = ("evidence", "digits-resnet", "--samples", "16", "--bits", "2,4", "--out", str(tmp_path))
    code, _, error = call(capsys, *args, "--budgets", "3", "--refine", "0")
    expected = sentence.replace('"train" there', '"all" there')
    assert code == 2 and expected in error.splitlines()[-1]


def test_a_choice_that_ran_out_of_time_is_not_solved_again(folder, capsys):
    (folder / FILE).unlink()
    for cache in folder.glob("*.partial"):
        cache.unlink()
    args = (*COMMAND, "--out", str(folder), "--budgets", "3", "--refine", "0")
    assert call(capsys, *args, "--time-limit", "0", "--repair", "nearest")[0] == 0

    def edit(_, rows):
        clado, uniform = rows["clado", 3.0], rows["uniform", 2.0]
        assert clado["choice"]["status"] == "time_limit"
        assert uniform["choice"]["status"] == "optimal"
        clado["choice"]["bits"] = uniform["choice"]["bits"]
        clado |= {key: uniform[key] for key in ("top1", "loss", "sensitivity_loss")}

    change(folder, edit)
    code, redone, _ = reproduce(capsys, folder, "3")
    assert code == 0 and redone["matches"] and redone["refine_k"] == 0, "none is stored"


@pytest.fixture(scope="module")
def shipped(tmp_path_factory, parts_by_position):
    """The same with every choice repaired too, at one budget."""
    folder = tmp_path_factory.mktemp("shipped")
    assert main([*COMMAND, "--out", str(folder), *SHIPPED, "--rank", "6"]) == 0
    return folder


SHIPPED = ("--budgets", "2.5", "--refine", "1", "--repair", "gptq", "--repair-images", "128")


def test_every_choice_is_run_as_it_is_shipped_too(shipped):
    stored = load_evidence(shipped / FILE)
    assert stored.repair.rounding == "gptq" and stored.repair.n == 256
    methods = {each.choice.method for each in stored.outcomes}
    assert methods == set(METHODS)
    for outcome in stored.outcomes:
        assert outcome.repaired.top1 > outcome.top1 + 0.3 or outcome.choice.budget == 4
        low, high = outcome.repaired.ci95
        assert low < outcome.repaired.top1 < high
    (diagonal,), (clado,) = stored.of("diagonal-repaired"), stored.of("clado-repaired")
    paired = diagonal.repaired.paired["clado-repaired"]
    apart = clado.repaired.top1 - diagonal.repaired.top1
    assert paired.gained - paired.lost == round(539 * apart)
    repaired = cc.load(shipped / "digits-resnet-per-channel-24-gptq.clado")
    assert stored.digests["repaired"] == repaired_digest(shipped)
    for outcome in stored.outcomes:
        predicted = repaired.predicted_loss_increase(outcome.choice.bits)
        assert outcome.choice.predicted_repaired == predicted
    assert clado.choice.predicted_repaired <= diagonal.choice.predicted_repaired
    assert [(each.avg_bits, each.n, each.images) for each in stored.rankings] == [
        (2.5, 6, 539),
        (3.0, 6, 539),
    ]
    assert load_evidence(shipped / FILE) == stored


def repaired_digest(folder):
    return artifact_digest(folder / "digits-resnet-per-channel-24-gptq.clado")


def test_a_stored_row_is_made_again_repair_included(shipped, tmp_path, capsys):
    folder = shutil.copytree(shipped, tmp_path / "copy")
    (folder / "digits-resnet-per-channel-24.gptq.candidates").unlink()
    (folder / "digits-resnet-per-channel-24.outcomes.jsonl").unlink()
    words = ("--repair-images", "128", "--refine", "0", "--methods", "clado-repaired,diagonal")
    code, redone, _ = reproduce(capsys, folder, "2.5", *words)
    assert code == 0 and redone["matches"]
    assert [each["choice"]["method"] for each in redone["outcomes"]] == [
        "diagonal",
        "clado-repaired",
    ]
    before = {each.choice.method: each for each in load_evidence(folder / FILE).outcomes}
    for each in redone["outcomes"]:
        stored = before[each["choice"]["method"]].repaired
        assert each["repaired"]["top1"] == stored.top1 and each["repaired"]["loss"] == stored.loss

    def edit(_, rows):
        rows["clado-repaired", 2.5]["repaired"]["top1"] -= 0.01

    change(folder, edit)
    code, redone, _ = reproduce(capsys, folder, "2.5", *words)
    assert code == 0 and not redone["matches"] and redone["differing"] == ["clado-repaired"]
    code, _, error = reproduce(capsys, folder, "2.5", "--methods", "magic")
    assert code == 2 and "There is no method 'magic'" in error.splitlines()[-1]


def test_no_test_label_is_used_to_choose(shipped, tmp_path, monkeypatch):
    """With the held-out labels poisoned every choice, matrix and candidate is the same."""

    def opened(spec, **how):
        return digits(load_data(spec, **how), poisoned=True)

    monkeypatch.setattr("clado_core.networks.measured.load_data", opened)
    assert main([*COMMAND, "--out", str(tmp_path), *SHIPPED, "--rank", "0"]) == 0
    chosen = []
    for folder in (shipped, tmp_path):
        stored = load_evidence(folder / FILE)
        accuracy = stored.of("uniform")[-1].repaired.top1
        assert (accuracy > 0.9) == (folder == shipped)
        chosen.append(
            (
                [each.choice for each in stored.outcomes],
                [path.read_bytes() for path in folder.glob("*.candidates")],
                [cc.load(path).G.tobytes() for path in sorted(folder.glob("*.clado"))],
            )
        )
    assert chosen[0] == chosen[1] and len(chosen[0][2]) == 4


def test_evidence_that_cannot_be_read_is_one_sentence(tmp_path):
    file = tmp_path / "a.evidence.json"
    for content, error, sentence in (
        ("{", ArtifactCorruptError, "is not JSON"),
        ("{}", ArtifactCorruptError, "holds no evidence"),
        ('{"schema": "clado-evidence", "schema_version": 9}', ArtifactVersionError, "upgrade"),
        ('{"schema": "clado-evidence", "schema_version": 3}', ArtifactCorruptError, "a field"),
    ):
        file.write_text(content)
        with pytest.raises(error, match=sentence):
            load_evidence(file)
