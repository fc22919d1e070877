"""One emitted process class with its process model, as text; and what the circuit has of it."""

from __future__ import annotations

import ast
import re
import textwrap
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field

from cortexc.compiler.backends.lava.ordinary.batch import shape_text
from cortexc.compiler.backends.lava.ordinary.naming import attribute
from cortexc.compiler.backends.quoting import comment, docstring
from cortexc.compiler.ir.expressions import Expression, Lookup, walk

TAGS = {"": "floating_pt", "Fixed": "fixed_pt"}
"""Lava's, by the kind of a model."""
DEFAULTS = {"seed": 1, "stream": 0}
WIDEST = 110


@dataclass
class ClassText:
    """`arguments` of the process, `setup` lines for its Vars and ports, `start` lines of the model's constructor,
    `methods` of the model: name -> lines. `variables`, `ins`, `outs`: its members. `base`: the class name it wants."""

    base: str
    about: str
    arguments: list[str] = field(default_factory=list)
    parameters: list[str] = field(default_factory=list)
    setup: list[str] = field(default_factory=list)
    variables: list[str] = field(default_factory=list)
    ins: list[str] = field(default_factory=list)
    outs: list[str] = field(default_factory=list)
    start: list[str] = field(default_factory=list)
    methods: dict[str, list[str]] = field(default_factory=dict)
    says: str = ""
    fixed: ClassText | None = None
    """The same part in fixed point, for a second model."""
    ports: dict[str, str] = field(default_factory=dict)
    """Port -> the line that makes it."""
    phases: int = 1
    """Steps of Lava's in each step of the circuit."""
    axes: tuple[str, ...] = ()
    """Of the batch, behind those of cells."""
    integers: set[str] = field(default_factory=set)
    """Out-ports that send integers."""

    def shape(self, *sizes: str) -> str:
        """Of what cells have."""
        return shape_text(*sizes, *self.axes)

    def members(self) -> set[str]:
        return {*self.variables, *self.ins, *self.outs}

    def variable(self, name: str, shape: str, init: str, says: str = "") -> str:
        self.variables.append(name)
        self.setup.append(_said(f"self.{name} = Var(shape={shape}, init=full({shape}, {init}))", says))
        return name

    def port(self, name: str, way: str, shape: str, says: str = "") -> str:
        """`name` with `_in` or `_out`."""
        full = f"{name}_{way.lower()}"
        (self.ins if way == "In" else self.outs).append(full)
        self.ports[full] = _said(f"self.{full} = {way}Port(shape={shape})", says)
        self.setup.append(self.ports[full])
        return full

    def rename(self, port: str, other: str) -> None:
        """An in-port, wherever it is."""
        self.ins[self.ins.index(port)] = other
        self.ports[other] = self.ports.pop(port).replace(f"self.{port} ", f"self.{other} ")
        self.methods = {method: [re.sub(rf"\bself\.{port}\b", f"self.{other}", line) for line in lines]
                        for method, lines in self.methods.items()}

    def text(self, name: str) -> str:
        models = [_model(name, self, self.fixed)]
        models += [_model(name, self.fixed, self, "Fixed")] if self.fixed else []
        return "\n\n\n".join([self._process(name), *models])

    def _process(self, name: str) -> str:
        arguments, parameters, setup = [*self.arguments], [*self.parameters], [*self.setup]
        if self.fixed:
            more = [p for p in self.fixed.parameters if p not in parameters]
            arguments[-1:-1] = [*(f"{p}={DEFAULTS[p]}" for p in more), "fixed=()"]
            parameters += [*more, "fixed"]
            setup += [line for port, line in self.fixed.ports.items() if port not in self.ports]
            setup += [f'self.{each} = numbers(dict(fixed).get("{each}", 0.0))  # of the model in fixed point'
                      for each in self.fixed.variables if each not in self.variables]
        passed = "".join(f", {p}={p}" for p in parameters)
        return "\n".join([f"class {name}(AbstractProcess):", f"    {docstring(self.about)}", "",
                          *_indented([f"def __init__(self, {', '.join(arguments)}):"], 1),
                          f"        super().__init__(name=name{passed})", *_indented(setup, 2)])


def _model(name: str, own: ClassText, other: ClassText | None, kind: str = "") -> str:
    """With the members of both; what only the other one sends is 0, what only it reads is dropped."""
    beside = other or own
    phased = own.phases > 1
    base = "Phased" if phased else f"{kind}Model"
    lines = [f"@implements({name}, protocol=LoihiProtocol)", "@requires(CPU)",
             f'@tag("{TAGS["Fixed" if phased else kind]}")',
             f"class {name}{kind}Model({base}):", *([f"    {docstring(own.says)}", ""] if own.says else [])]
    lines += [f"    phases = {own.phases}"] if phased else []
    lines += [f"    {port}: PyInPort = LavaPyType(Arriving, float)" for port in dict.fromkeys((*own.ins, *beside.ins))]
    kinds = {port: "np.int32" if port in own.integers else "float" for port in (*own.outs, *beside.outs)}
    lines += [f"    {port}: PyOutPort = LavaPyType(PyOutPort.VEC_DENSE, {kept})" for port, kept in kinds.items()]
    lines += [f"    {var}: np.ndarray = LavaPyType(np.ndarray, float)"
              for var in dict.fromkeys((*own.variables, *beside.variables))]
    if own.start:
        lines += ["", "    def __init__(self, proc_params):", "        super().__init__(proc_params)",
                  *_indented(own.start, 2)]
    silent = [f"send_nothing(self.{port})" for port in beside.outs if port not in own.outs]
    dropped = [f"self.{port}.recv()  # for the other model" for port in beside.ins if port not in own.ins]
    for method, body in own.methods.items():
        body = [*silent, *body, *dropped] if method == "run_spk" else body
        lines += ["", f"    def {method}(self):", *_indented(body or ["pass"], 2)]
    return "\n".join(lines)


def _said(line: str, says: str) -> str:
    return f"{line}  # {comment(says)}" if says else line


def _indented(lines: list[str], depth: int) -> list[str]:
    return [each for line in lines for each in in_lines("    " * depth + line if line else "")]


def in_lines(line: str) -> list[str]:
    """An assignment or a call, in lines that can be read."""
    if len(line) <= WIDEST or "#" in line or '"""' in line:
        return [line]
    indent = line[:len(line) - len(line.lstrip())]
    head, equals, value = line.partition(" = ")
    if not equals or isinstance(ast.parse(value, mode="eval").body, ast.Call):
        return _filled(line, indent + "    ")
    return [f"{head} = (", *_filled(f"{indent}    {value})", indent + "    ")]


def _filled(text: str, indent: str) -> list[str]:
    """Brackets stay in one line."""
    kept = re.sub(r"\[[^\[\]\"]*\]", lambda found: found[0].replace(" ", "\0"), text)
    lines = textwrap.wrap(kept, WIDEST, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False,
                          drop_whitespace=True)
    return [line.replace("\0", " ") for line in lines]


@dataclass(frozen=True)
class Past:
    """How earlier values of a Var are kept: none, in one Var beside it, or in rows, newest first."""

    variable: str
    rows: int

    @property
    def kept(self) -> str:
        return f"{self.variable}_before" if self.rows == 1 else f"{self.variable}_past"

    def read(self, steps: int) -> str:
        """The Var, or what it was so many assignments ago."""
        if steps == 0:
            return f"self.{self.variable}"
        return f"self.{self.kept}" if self.rows == 1 else f"self.{self.kept}[{steps - 1}]"

    def shift(self) -> list[str]:
        """What is to be done before the Var is assigned."""
        if self.rows == 0:
            return []
        if self.rows == 1:
            return [f"self.{self.kept}[:] = self.{self.variable}"]
        return [f"remember(self.{self.kept}, self.{self.variable})"]

    def sizes(self, size: str) -> tuple[str, ...]:
        return (size,) if self.rows == 1 else (str(self.rows), size)


def table_variables(text: ClassText, expressions: Iterable[Expression], names: Collection[str]) -> dict[str, str]:
    """Declares the tables that these expressions read; table -> Var."""
    found: dict[str, str] = {}
    for table in dict.fromkeys(node.table for e in expressions for node in walk(e) if isinstance(node, Lookup)):
        found[table] = name = attribute(table, {*names, *text.members()})
        text.arguments.append(f"{name}=(0.0,)")
        text.setup.append(f"self.{name} = numbers({name})")
        text.variables.append(name)
    return found
