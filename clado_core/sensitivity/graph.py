"""A network as a list of steps between which it can be cut, traced with ``torch.fx``.

Residuals, branches and attention are plain steps. A module that cannot be traced (its Python code
asks for values) becomes one step, and so may the whole network: everything still works, with
fewer places to start from.
"""

from __future__ import annotations

import inspect
import operator
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias, cast

from torch import Tensor, fx, nn

from clado_core.records.layers import LayerTable

Values: TypeAlias = dict[int, Any]
"""Number of the step that made a value → the value; the input of the network is number −1."""

INPUT = -1


@dataclass(frozen=True, slots=True, eq=False)
class Step:
    """One call.

    Args:
        call: Values → result; reads parameters when it runs, so it sees swapped weights.
        reads: Numbers of the values it needs.
        modules: Dotted names of modules and parameters whose weights it uses.
    """

    call: Callable[[Values], Any]
    reads: tuple[int, ...]
    modules: tuple[str, ...]


@dataclass(frozen=True, slots=True, eq=False)
class NetworkGraph:
    """The steps of a network in order; the last one makes its output.

    Cut k lies before step k. What has to be known there is the values made earlier that step k or
    a later one reads.

    Args:
        steps: At least one.
        opaque: Dotted names of modules that are one step because they cannot be traced; ""
            stands for the whole network.
    """

    steps: tuple[Step, ...]
    opaque: tuple[str, ...] = ()
    last_reads: dict[int, int] = field(init=False)
    """Number of a value → the last step that reads it; a value nobody reads ends at once."""

    def __post_init__(self) -> None:
        last = {k: k for k in range(len(self.steps))}
        for k, step in enumerate(self.steps):
            last.update(dict.fromkeys(step.reads, k))
        last[len(self.steps) - 1] = len(self.steps)
        object.__setattr__(self, "last_reads", last)

    def __len__(self) -> int:
        return len(self.steps)

    @property
    def is_whole(self) -> bool:
        """Whether there is nothing to cut: the network is one step."""
        return len(self.steps) == 1

    @property
    def not_traced(self) -> str:
        """Names of the opaque modules, for people; empty where all was traced."""
        return ", ".join(name or "the whole network" for name in self.opaque)

    def live(self, cut: int) -> tuple[int, ...]:
        """Numbers of the values that must be known at a cut, ascending."""
        if cut == 0:
            return (INPUT,)
        return tuple(sorted(v for v, k in self.last_reads.items() if v < cut <= k))

    def uses(
        self, layers: LayerTable, beside: Callable[[str], Collection[str]] = lambda name: ()
    ) -> tuple[tuple[int, int], ...] | None:
        """For each layer the first and last step that use its weight; None where one has none.

        Args:
            layers: Of the network.
            beside: Name of a layer → parameters and buffers that change with its weight.
        """
        found = []
        for layer in layers.layers:
            names = (layer.parameter, *beside(layer.name))
            used = [[k for k, s in enumerate(self.steps) if _uses(s, name)] for name in names]
            if not all(used):
                return None
            found.append((min(map(min, used)), max(map(max, used))))
        return tuple(found)


def whole_graph(model: nn.Module, /) -> NetworkGraph:
    """The network as one step."""
    return NetworkGraph((Step(lambda values: model(values[INPUT]), (INPUT,), ("",)),), ("",))


def trace(model: nn.Module, /) -> NetworkGraph:
    """Trace a network in eval mode; ``torch.nn`` modules are steps, containers are entered.

    Where a module of the user's cannot be traced, that module is made one step and tracing starts
    again; where the outermost code cannot be traced, the network is one step.
    """
    opaque: list[str] = []
    while True:
        tracer = _Tracer(frozenset(opaque))
        own = set(vars(model))
        try:
            traced = tracer.trace(model, concrete_args=_defaults(model))
            return _compile(model, traced, tuple(opaque))
        except Exception:  # tracing runs the network's own code on stand-ins: it may raise anything
            if not (name := tracer.failed_in):
                return whole_graph(model)
            opaque.append(name)
        finally:
            # Tracing leaves tensors that the code made on the way as attributes of the network.
            for name in set(vars(model)) - own:
                delattr(model, name)


def _defaults(model: nn.Module) -> dict[str, Any]:
    """Arguments of forward after the input keep their defaults, as in a call with one input."""
    parameters = inspect.signature(model.forward).parameters.values()
    return {p.name: p.default for p in parameters if p.default is not p.empty}


class _Tracer(fx.Tracer):
    """Remembers in which module tracing failed."""

    def __init__(self, opaque: frozenset[str]) -> None:
        super().__init__()
        self._opaque = opaque
        self.failed_in = ""

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        is_opaque = module_qualified_name in self._opaque
        return is_opaque or bool(super().is_leaf_module(m, module_qualified_name))

    def call_module(
        self,
        m: nn.Module,
        forward: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> Any:
        try:
            return super().call_module(m, forward, args, kwargs)
        except Exception:
            self.failed_in = self.failed_in or self.path_of_module(m)
            raise


def _compile(model: nn.Module, graph: fx.Graph, opaque: tuple[str, ...]) -> NetworkGraph:
    number: dict[fx.Node, int] = {}
    constants: dict[fx.Node, Any] = {}
    steps: list[Step] = []
    # A module that is shared has several names; parameters are called by the first.
    modules = dict(model.named_modules(remove_duplicate=False))
    first_names = {id(module): name for name, module in model.named_modules()}
    defaults = list(_defaults(model).values())
    for node in graph.nodes:
        if node.op == "placeholder" and INPUT in number.values():
            constants[node] = defaults.pop(0)
        elif node.op == "placeholder":
            number[node] = INPUT
        elif node.op == "get_attr":
            constants[node] = operator.attrgetter(str(node.target))(model)
        else:
            number[node] = len(steps)
            step = _step(model, node, number, constants)
            used = tuple(_first(step.modules, modules, first_names))
            steps.append(replace(step, modules=used))
    return NetworkGraph(tuple(steps), opaque)


def _step(
    model: nn.Module, node: fx.Node, number: dict[fx.Node, int], constants: dict[fx.Node, Any]
) -> Step:
    reads = tuple(dict.fromkeys(number[n] for n in node.all_input_nodes if n in number))
    used = tuple(str(n.target) for n in node.all_input_nodes if n in constants)
    if node.op == "output":
        return Step(_getter(node.args[0], number, constants), reads, used)
    arguments = [_getter(a, number, constants) for a in node.args]
    named = {k: _getter(a, number, constants) for k, a in node.kwargs.items()}
    function: Callable[..., Any]
    if node.op == "call_method":
        function = _method(str(node.target))
    elif node.op == "call_module":
        function = model.get_submodule(str(node.target))
        used = (*used, str(node.target))
    else:
        function = cast(Callable[..., Any], node.target)

    def call(values: Values) -> Any:
        return function(
            *[get(values) for get in arguments], **{k: get(values) for k, get in named.items()}
        )

    return Step(call, reads, used)


def _first(
    used: tuple[str, ...], modules: Mapping[str, nn.Module], names: Mapping[int, str]
) -> Iterator[str]:
    """First names of what a step uses: of a parameter's module, of a module and all inside it."""
    for name in used:
        if name in modules:
            yield from (names[id(module)] for module in modules[name].modules())
        else:
            owner, _, attribute = name.rpartition(".")
            first = names[id(modules[owner])]
            yield f"{first}.{attribute}" if first else attribute


def _method(name: str) -> Callable[..., Any]:
    return lambda owner, *args, **kwargs: getattr(owner, name)(*args, **kwargs)


def _getter(
    argument: Any, number: dict[fx.Node, int], constants: dict[fx.Node, Any]
) -> Callable[[Values], Any]:
    """How an argument is found among the values: nodes may stand inside tuples and slices."""

    def inner(a: Any) -> Callable[[Values], Any]:
        return _getter(a, number, constants)

    if isinstance(argument, fx.Node):
        if argument in constants:
            value = constants[argument]
            return lambda values: value
        return operator.itemgetter(number[argument])
    if isinstance(argument, tuple | list):
        parts = [inner(a) for a in argument]
        make = tuple if isinstance(argument, tuple) else list
        return lambda values: make(get(values) for get in parts)
    if isinstance(argument, dict):
        entries = {key: inner(a) for key, a in argument.items()}
        return lambda values: {key: get(values) for key, get in entries.items()}
    if isinstance(argument, slice):
        ends = [inner(a) for a in (argument.start, argument.stop, argument.step)]
        return lambda values: slice(*[get(values) for get in ends])
    return lambda values: argument


def _uses(step: Step, parameter: str) -> bool:
    return any(
        name == "" or parameter == name or parameter.startswith(f"{name}.") for name in step.modules
    )


def tensors(value: Any) -> Iterator[Tensor]:
    """All tensors inside a value."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, tuple | list):
        for part in value:
            yield from tensors(part)
    elif isinstance(value, dict):
        yield from tensors(tuple(value.values()))
