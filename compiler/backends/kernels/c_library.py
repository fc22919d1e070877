"""The functions of an equation in C."""

from __future__ import annotations

import ast

from cortexc.compiler.backends.kernels.c_text import c_name
from cortexc.compiler.ir.functions import DEFINITIONS, PRIMITIVES, closure

LIBRARY = {
    "poisson": """/* The number that a uniform one stands for among Poisson numbers of this mean. */
IN double poisson(const double uniform, const double rate) {
    double share = exp(-rate), below = share, count = 0.0;
    while (uniform >= below && below + share > below) {
        count += 1.0;
        share = share * rate / count;
        below += share;
    }
    return rate <= 700.0 ? count : NAN;
}

/* What those below 6 depend on, of the mean alone: below which numbers they begin to be larger, and what is added. */
APART void poisson_begins(const double rate, double *const begins) {
    double share = exp(-rate), below = share;
    for (long count = 1; count <= 6; count++, below += share) {
        const int more = below + share > below && (count == 1 || begins[count - 2] == begins[count - 2]);
        begins[count - 1] = more ? below : NAN;
        share = share * rate / (double)count;
    }
    begins[6] = rate <= 700.0 ? 0.0 : NAN;
}

/* Up to 6, of which more are to be looked for. */
IN double poisson_begun(const double uniform, const double *const begins) {
    return (uniform >= begins[0]) + (uniform >= begins[1]) + (uniform >= begins[2]) + (uniform >= begins[3]) +
           (uniform >= begins[4]) + (uniform >= begins[5]) + begins[6];
}
""",
    "uniform": """/* Number `index` of a step, in [0, 1), from both halves of its key. */
IN double uniform(const int64_t low, const int64_t high, const int64_t index) {
    uint64_t x = (uint64_t)(low + index) & 0xffffffff;
    x = x ^ (x >> 16);
    x = (x * 2146121005) & 0xffffffff;
    x = x ^ (uint64_t)high;
    x = x ^ (x >> 15);
    x = (x * 2221713035) & 0xffffffff;
    x = x ^ (x >> 16);
    return (double)(int32_t)(x >> 8) * 5.9604644775390625e-08;
}
""",
    "lookup": """/* Entry floor(x) of a table, the first or last one outside. */
IN number lookup(const number *const table, const long size, const double x) {
    return table[!(x > 0.0) ? 0 : x >= (double)size ? size - 1 : (long)x];
}
""",
    "interpolate": """/* Between entries floor(x) and floor(x) + 1 of a table, the first or last one outside. */
IN number interpolate(const number *const table, const long size, const double x) {
    if (!(x > 0.0)) return table[0];
    if (x >= (double)(size - 1)) return table[size - 1];
    const long i = (long)x;
    return table[i] + (x - (double)i) * (table[i + 1] - table[i]);
}
"""}


UNIFORMS = """/* Four numbers of 64 bits from a counter: Philox 4x64-10 (Salmon et al. 2011), as numpy has it. */
IN void philox(uint64_t *const x, uint64_t key, uint64_t other) {
    for (long round = 0; round < 10; round++, key += 0x9E3779B97F4A7C15, other += 0xBB67AE8584CAA73B) {
        const unsigned __int128 a = (unsigned __int128)0xD2E7470EE14C6C93 * x[0];
        const unsigned __int128 b = (unsigned __int128)0xCA5A826395121157 * x[2];
        x[0] = (uint64_t)(b >> 64) ^ x[1] ^ key, x[2] = (uint64_t)(a >> 64) ^ x[3] ^ other;
        x[1] = (uint64_t)b, x[3] = (uint64_t)a;
    }
}

/* Uniform numbers of cells from `cell` on whose columns are below `column` + n. */
static void uniforms(const uint64_t *const d, const uint64_t step, uint64_t cell, const uint64_t last, number *out) {
    const uint64_t stride = d[1], start = step % d[5] * d[2];
    for (uint64_t at = start + cell; at < start + last;) {
        uint64_t x[4] = {at / 4 + 1, 0, step / d[5], 0};
        philox(x, d[3], d[4]);
        for (uint64_t lane = at % 4; lane < 4 && at < start + last; lane++, at++, out += stride)
            *out = (x[lane] >> 11) * 0x1p-53;
    }
}
"""


def library(names: set[str], single: bool = False) -> str:
    """The functions of these names and what they call. What calls none of the primitives keeps to the precision of the
    numbers; the others are of double precision, but those in `NARROW` where kernels call them in `single`."""
    wanted = closure(names)
    parts = [f"double {name}({', '.join(['double'] * count)});" for name, count in PRIMITIVES.items()
             if name in wanted and name not in BUILTIN]
    parts += [f"#define {name} {BUILTIN[name]}" for name in BUILTIN if name in wanted]
    parts += [_definition(name, _kind(name)) for name in DEFINITIONS if name in wanted]
    parts += [text for name, text in LIBRARY.items() if name in wanted]
    if single and "exp" in wanted:
        parts += [EXP_SINGLE, *(f"{_definition(name, 'number', '_single')}#define {name} {name}_single\n"
                                for name in NARROW if name in wanted)]
    return "\n".join(parts)


NARROW = ("tanh", "logistic")
"""Functions that single precision computes by its own exp: nothing cancels in them."""


def _kind(name: str) -> str:
    wide = {"exp", "log", "tanh", *PRIMITIVES} - {"floor"}
    return "double" if wide & closure([name]) else "number"


BUILTIN = {"floor": "__builtin_floor", "sqrt": "__builtin_sqrt"}


def _definition(name: str, kind: str, suffix: str = "") -> str:
    arguments, body = DEFINITIONS[name]
    *lets, result = ast.parse(body).body
    lines = [f"    const {kind} {c_name(s.targets[0].id)} = {_c(s.value, kind)};" for s in lets
             if isinstance(s, ast.Assign) and isinstance(s.targets[0], ast.Name)]
    assert isinstance(result, ast.Expr) and len(lines) == len(lets)
    head = f"IN {kind} {c_name(name)}{suffix}({', '.join(f'const {kind} {a}' for a in arguments)}) {{"
    return "\n".join([head, *lines, f"    return {_c(result.value, kind)};", "}"]) + "\n"


EXP_SINGLE = """/* To 2 units in the last place of single precision: x = n log 2 + r, a polynomial of r, and 2**n in two
factors, for gradual underflow. */
IN float power_of_two_single(const float n) {
    const union {
        uint32_t bits;
        float value;
    } x = {(uint32_t)((int32_t)n + 127) << 23};
    return x.value;
}

IN float exp_single(const float x) {
    const float above = x < -104.0f ? -104.0f : x, y = above > 89.0f ? 89.0f : above;
    const float n = (y * 1.44269504f + 12582912.0f) - 12582912.0f;
    const float r = (y - n * 0.693359375f) + n * 2.12194440e-4f, r2 = r * r;
    const float tail = ((0.5f + 0.16666667f * r) + (4.1666497e-2f + 8.3333066e-3f * r) * r2) +
                       (1.3930439e-3f + 1.9875691e-4f * r) * (r2 * r2);
    const float half = (n * 0.5f + 12582912.0f) - 12582912.0f;
    return (1.0f + (r + tail * r2)) * power_of_two_single(half) * power_of_two_single(n - half);
}

#define exp exp_single
"""

SIGNS = {ast.Add: "+", ast.Sub: "-", ast.Mult: "*", ast.Div: "/", ast.Lt: "<", ast.LtE: "<=", ast.Gt: ">",
         ast.GtE: ">=", ast.Eq: "==", ast.NotEq: "!="}


def _c(node: ast.expr, kind: str) -> str:
    """A definition's expression in C."""
    match node:
        case ast.Constant(value=value):
            return f"(({kind}){float(value)!r})"  # type: ignore[arg-type]
        case ast.Name(id=name):
            return c_name(name)
        case ast.UnaryOp(operand=operand):
            return f"(-{_c(operand, kind)})"
        case ast.BinOp(left=left, op=op, right=right):
            return f"({_c(left, kind)} {SIGNS[type(op)]} {_c(right, kind)})"
        case ast.Compare(left=left, ops=[op], comparators=[right]):
            return f"({_c(left, kind)} {SIGNS[type(op)]} {_c(right, kind)})"
        case ast.BoolOp(op=op, values=values):
            return "(" + (" && " if isinstance(op, ast.And) else " || ").join(_c(v, kind) for v in values) + ")"
        case ast.IfExp(test=test, body=then, orelse=otherwise):
            return f"({_c(test, kind)} ? {_c(then, kind)} : {_c(otherwise, kind)})"
        case ast.Call(func=ast.Name(id=name), args=arguments):
            return f"{c_name(name)}({', '.join(_c(a, kind) for a in arguments)})"
    raise TypeError(ast.dump(node))
