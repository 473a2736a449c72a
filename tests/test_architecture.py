"""Which room may look into which, where torch may be loaded, and how large things may grow."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import ROOT

CORE_ROOMS: dict[str, set[str]] = {
    "records": set(),
    "problem": {"records"},
    "solvers": {"problem", "records"},
    "files": {"problem", "records"},
    "allocation": {"files", "solvers", "problem", "records"},
    "evidence": {"allocation", "files", "solvers", "problem", "records"},
    "data": {"records"},
    "networks": {"data", "files", "records"},
    "quantization": {"networks", "data", "records"},
    "exports": {"repairs", "quantization", "networks", "data", "files", "problem", "records"},
    "sensitivity": {"quantization", "networks", "data", "files", "solvers", "problem", "records"},
    "repairs": {"quantization", "networks", "data", "files", "records"},
    "training": {"networks", "data", "files", "records"},
    "evaluation": {
        *("repairs", "sensitivity", "evidence", "quantization", "networks", "data"),
        *("allocation", "files", "solvers", "problem", "records"),
    },
}
"""Room of clado_core → the rooms that it may import from; everyone may use the modules beside them.

The two faces, ``cli`` for shells and ``library`` for Python, and ``__init__``, which hands the
latter over, may import from all of them; ``library`` does not import ``cli``.
"""

FACES = {"cli", "library"}

TORCH_ROOMS = {
    "data",
    "networks",
    "quantization",
    "sensitivity",
    "evaluation",
    "repairs",
    "training",
}
"""Rooms whose modules may import torch when they are imported."""

TORCH_FREE = {"networks", "networks.builtin"}
"""Modules of those rooms that do not, so that others can read them: a list of networks."""

DASHBOARD_ROOMS: dict[str, set[str]] = {
    "theme": set(),
    "rules": set(),
    "scale": {"theme"},
    "workers": {"rules"},
    "known": {"workers", "rules"},
    "state": {"known", "workers", "rules", "scale", "theme"},
    "figures": {"scale", "theme"},
    "components": {"figures"},
    "cards": {"components", "figures", "state", "known", "workers", "rules", "scale", "theme"},
    "server": {"components", "known"},
    "shell": {"cards", "state", "known"},
    "app_pages": {"cards", "components", "figures", "state", "known", "scale", "theme"},
    "app": {"server", "shell"},
}
"""Room or module of the dashboard → the others that it may import from."""

MODULE_LINES = 300
FUNCTION_LINES = 40


def _modules(package: str) -> list[Path]:
    return sorted((ROOT / package).rglob("*.py"))


ALL = _modules("clado_core") + _modules("dashboard")


def _name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {_name(path): path for path in ALL}


def _imports(path: Path, *, top_level_only: bool = False) -> Iterator[str]:
    """Dotted names that a module imports: modules, and names inside them."""
    tree = ast.parse(path.read_text())
    for node in tree.body if top_level_only else ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def _module_of(name: str) -> str:
    """The module of this project that an imported name stands in, "" for other libraries."""
    while name and name not in MODULES:
        name = name.rpartition(".")[0]
    return name


def _room(module: str) -> str:
    """ "records" for clado_core.records.layers; "" for what stands beside the rooms."""
    package, _, rest = module.partition(".")
    room = rest.partition(".")[0]
    if package == "clado_core" and (ROOT / package / f"{room}.py").exists():
        return ""
    return room


def _roots(path: Path) -> set[str]:
    return {name.split(".")[0] for name in _imports(path)}


def _id(path: Path) -> str:
    return str(path.relative_to(ROOT))


def _wrong_arrows(path: Path) -> list[str]:
    """What a module imports from rooms that its own must not look into."""
    own, package = _room(_name(path)), path.relative_to(ROOT).parts[0]
    rooms = CORE_ROOMS if package == "clado_core" else DASHBOARD_ROOMS
    if not own or (package == "clado_core" and own in FACES):
        return []
    assert own in rooms, f"{_id(path)} stands in a room that this test does not know."
    targets = [m for name in _imports(path) if (m := _module_of(name)).split(".")[0] == package]
    # The library's face imports from everywhere, so a room that imports it would close a circle.
    climbs = [t for t in targets if t == "clado_core"]
    return climbs + [t for t in targets if (room := _room(t)) and room not in {own, *rooms[own]}]


@pytest.mark.parametrize("path", ALL, ids=_id)
def test_rooms_look_only_where_they_may(path: Path) -> None:
    assert not _wrong_arrows(path)


@pytest.mark.parametrize("rooms", [CORE_ROOMS, DASHBOARD_ROOMS], ids=["core", "dashboard"])
def test_arrows_go_one_way(rooms: dict[str, set[str]]) -> None:
    left = {room: set(others) for room, others in rooms.items()}
    while left:
        free = {room for room, others in left.items() if not others & left.keys()}
        assert free, f"a circle among {sorted(left)}"
        left = {room: others for room, others in left.items() if room not in free}


def test_every_room_is_known() -> None:
    found = {_room(name) for name in MODULES if name.startswith("clado_core.")} - {""}
    assert found == {*CORE_ROOMS, *FACES}
    assert {_room(name) for name in MODULES if name.startswith("dashboard.")} == {*DASHBOARD_ROOMS}


@pytest.mark.parametrize("path", _modules("clado_core"), ids=_id)
def test_core_does_not_know_the_dashboard(path: Path) -> None:
    allowed = {"plotly"} if path == ROOT / "clado_core" / "__init__.py" else set()
    assert not _roots(path) & ({"dashboard", "streamlit", "plotly"} - allowed)


@pytest.mark.parametrize("path", _modules("clado_core"), ids=_id)
def test_torch_only_in_its_rooms(path: Path) -> None:
    name = _name(path).removeprefix("clado_core").removeprefix(".")
    if _room(_name(path)) in TORCH_ROOMS and name not in TORCH_FREE:
        return
    imported = list(_imports(path, top_level_only=True))
    assert "torch" not in {each.split(".")[0] for each in imported}
    modules = {_module_of(each).removeprefix("clado_core.") for each in imported}
    assert not {m for m in modules - TORCH_FREE if m.split(".")[0] in TORCH_ROOMS}


@pytest.mark.parametrize("path", _modules("dashboard/figures"), ids=_id)
def test_figures_do_not_know_streamlit(path: Path) -> None:
    assert "streamlit" not in _roots(path)


@pytest.mark.parametrize("path", ALL, ids=_id)
def test_modules_stay_small(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= MODULE_LINES


@pytest.mark.parametrize("path", ALL, ids=_id)
def test_functions_stay_small(path: Path) -> None:
    functions = [n for n in ast.walk(ast.parse(path.read_text())) if isinstance(n, ast.FunctionDef)]
    lines = {f.name: (f.end_lineno or f.lineno) - f.lineno + 1 for f in functions}
    assert not {name: n for name, n in lines.items() if n > FUNCTION_LINES}


@pytest.mark.parametrize(
    "imported",
    ["clado_core", "clado_core.cli; clado_core.cli.build_parser()", "clado_core.solvers.scip"],
)
def test_importing_leaves_torch_and_solvers_out(imported: str) -> None:
    heavy = "{'torch', 'pyscipopt', 'daqp', 'cvxpy', 'plotly', 'streamlit'}"
    code = f"import sys, {imported}\nsys.exit(bool({heavy} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0


def test_names_that_say_nothing_are_not_used() -> None:
    vague = {"utils", "helpers", "common", "misc", "manager"}
    assert not [path for path in ALL if path.stem in vague]


def test_a_stranger_in_a_room_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A solver that imports torch, and a record that imports a solver, do not pass."""
    texts = {
        ROOT / "clado_core" / "solvers" / "x.py": "import torch\n",
        ROOT / "clado_core" / "records" / "x.py": "from clado_core.solvers import Solver\n",
    }
    read = Path.read_text
    monkeypatch.setattr(Path, "read_text", lambda path: texts.get(path) or read(path))
    solver, record = texts
    with pytest.raises(AssertionError):
        test_torch_only_in_its_rooms(solver)
    assert _wrong_arrows(record) == ["clado_core.solvers"]


@pytest.mark.parametrize("path", _modules("clado_core"), ids=_id)
def test_only_the_command_line_speaks_of_its_options(path: Path) -> None:
    if _room(_name(path)) == "cli":
        return
    raised = [n for n in ast.walk(ast.parse(path.read_text())) if isinstance(n, ast.Raise)]
    texts = [c.value for n in raised for c in ast.walk(n) if isinstance(c, ast.Constant)]
    assert not [text for text in texts if isinstance(text, str) and re.search(r"--[a-z]", text)]
