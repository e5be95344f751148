"""
Every small change to a module that a test should notice.

Not changed: text and messages (strings, f-strings, calls of the log), annotations and decorators. A change lies in a
function, which can be replaced in a running process, or outside of any, which can't: then the module has to be imported
anew.
"""

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from types import CodeType

OPPOSITE: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
}
EXACT = (ast.Eq, ast.NotEq, ast.Is, ast.IsNot, ast.In, ast.NotIn)
"""Comparisons whose opposite is their negation."""
OTHER: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult,
    ast.BitOr: ast.BitAnd,
    ast.BitAnd: ast.BitOr,
}
RIVAL = {"min": "max", "max": "min", "any": "all", "all": "any"}
NOT_CHANGED = {"returns", "annotation", "decorator_list", "type_params", "bases"}

Function = tuple[str, int]
"""The outermost function, as its code object is known: qualified name and first line."""


@dataclass(frozen=True)
class Edit:
    """One change: an attribute of a node of the tree becomes something else."""

    node: ast.AST
    field: str
    new: object
    lines: range
    """Where a test must have been to notice."""
    function: Function | None
    what: str
    """For people: before and after."""

    def compiled(self, tree: ast.Module, filename: str) -> CodeType:
        """The code of *tree* with this change, which is taken back afterwards."""
        old = getattr(self.node, self.field)
        setattr(self.node, self.field, self.new)
        try:
            code: CodeType = compile(ast.fix_missing_locations(tree), filename, "exec", dont_inherit=True)
            return code
        finally:
            setattr(self.node, self.field, old)


@dataclass(frozen=True)
class _Place:
    """Where the walk is."""

    lines: range = range(0)
    function: Function | None = None
    qualname: str = ""


def edits(tree: ast.Module) -> list[Edit]:
    """All changes to *tree*, always in the same order."""
    return list(_walk(tree, _Place()))


def _walk(node: ast.AST, place: _Place) -> Iterator[Edit]:
    for field, value in ast.iter_fields(node):
        if field in NOT_CHANGED:
            continue
        inside = _inside(node, field, place)
        children = value if isinstance(value, list) else [value]
        for index, child in enumerate(children):
            if not isinstance(child, ast.AST) or _untouched(child):
                continue
            here = _at(child, inside)
            for new, what in _changes(child, node, here):
                whole = [*children[:index], new, *children[index + 1 :]] if isinstance(value, list) else new
                yield Edit(node, field, whole, here.lines, here.function, what)
            yield from _walk(child, here)


def _inside(node: ast.AST, field: str, place: _Place) -> _Place:
    """The place of what *field* of *node* holds: a function's body is in the function, its defaults are not."""
    if isinstance(node, ast.ClassDef):
        return _Place(place.lines, place.function, f"{place.qualname}{node.name}.")
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and field == "body" and place.function is None:
        first = min([node.lineno, *(each.lineno for each in node.decorator_list)])
        return _Place(place.lines, (f"{place.qualname}{node.name}", first), place.qualname)
    return place


def _at(child: ast.AST, place: _Place) -> _Place:
    """The narrowest lines: those of a simple statement, or of a compound one's expression."""
    if isinstance(child, ast.stmt) or (isinstance(child, ast.expr) and not place.lines):
        lines = range(child.lineno, (child.end_lineno or child.lineno) + 1)
        compound = isinstance(child, ast.stmt) and hasattr(child, "body")
        return _Place(range(0) if compound else lines, place.function, place.qualname)
    return place


def _untouched(node: ast.AST) -> bool:
    match node:
        case ast.JoinedStr() | ast.AnnAssign(value=None) | ast.Import() | ast.ImportFrom() | ast.Assert():
            return True
        case ast.Expr(value=ast.Constant()):
            return True
        case ast.Expr(value=ast.Call(func=ast.Attribute(value=ast.Name(id="log")))):
            return True
        case ast.Call(func=ast.Name(id="TypeVar" | "assert_never")):
            return True
        case ast.Assign(targets=[ast.Name(id=name)], value=ast.Subscript() | ast.BinOp(op=ast.BitOr())):
            return name[:1].isupper() and not name.isupper()  # a name for a type
        case _:
            return False


def _changes(node: ast.AST, parent: ast.AST, place: _Place) -> Iterator[tuple[ast.AST, str]]:
    """What may stand in the place of *node*, and the change in words."""
    before = _short(ast.unparse(node))
    for new in [*_statement(node), *_condition(node, parent), *_expression(node), *_call(node)]:
        gone = "(nothing)" if isinstance(new, ast.Pass) else _short(ast.unparse(new))
        yield ast.copy_location(new, node), f"{before}  ->  {gone}"
    for new, part in _shorter(node, place):
        yield ast.copy_location(new, node), f"{before}  ->  without {_short(ast.unparse(part))}"


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= 70 else f"{line[:67]}..."


def _statement(node: ast.AST) -> Iterator[ast.AST]:
    match node:
        case ast.Expr() | ast.Raise() | ast.Break() | ast.AugAssign() | ast.Delete():
            yield ast.Pass()
        case ast.Continue():
            yield ast.Pass()
            yield ast.Break()
        case ast.Assign(targets=[ast.Attribute() | ast.Subscript()]):
            yield ast.Pass()
        case ast.Assign(targets=[ast.Name(id=name)], value=value):
            if any(isinstance(each, ast.Name) and each.id == name for each in ast.walk(value)):
                yield ast.Pass()
        case ast.Return(value=ast.expr() as value) if not (isinstance(value, ast.Constant) and value.value is None):
            yield ast.Return(value=ast.Constant(None))


def _condition(node: ast.AST, parent: ast.AST) -> Iterator[ast.AST]:
    """A condition's negation, unless another change is the same."""
    match parent:
        case ast.If(test=test) | ast.While(test=test) | ast.IfExp(test=test):
            asked = [test]
        case ast.comprehension(ifs=ifs):
            asked = ifs
        case ast.match_case(guard=ast.expr() as guard):
            asked = [guard]
        case _:
            asked = []
    if node in asked:
        match node:
            case ast.Compare(ops=[op]) if isinstance(op, EXACT):
                return
            case ast.UnaryOp(op=ast.Not()) | ast.Constant():
                return
            case ast.expr():
                yield ast.UnaryOp(op=ast.Not(), operand=node)


def _expression(node: ast.AST) -> Iterator[ast.AST]:
    match node:
        case ast.Compare(left=left, ops=ops, comparators=others):
            for index, op in enumerate(ops):
                yield ast.Compare(left, [*ops[:index], OPPOSITE[type(op)](), *ops[index + 1 :]], others)
        case ast.BoolOp(op=op, values=values):
            yield ast.BoolOp(ast.Or() if isinstance(op, ast.And) else ast.And(), values)
            for index in range(len(values)):
                rest = [*values[:index], *values[index + 1 :]]
                yield rest[0] if len(rest) == 1 else ast.BoolOp(op, rest)
        case ast.UnaryOp(op=ast.Not() | ast.USub(), operand=operand):
            yield operand
        case ast.BinOp(left=left, op=op, right=right) if type(op) in OTHER and not _textual(left, right):
            yield ast.BinOp(left, OTHER[type(op)](), right)
        case ast.Constant(value=bool(value)):
            yield ast.Constant(not value)
        case ast.Constant(value=int(value) | float(value)):
            yield ast.Constant(value + 1)
            yield ast.Constant(value - 1)


def _call(node: ast.AST) -> Iterator[ast.AST]:
    match node:
        case ast.Call(func=ast.Name(id=name), args=args, keywords=keywords) if name in RIVAL:
            yield ast.Call(ast.Name(RIVAL[name], ast.Load()), args, keywords)
        case ast.Call(func=func, args=[ast.expr() as first, ast.expr() as second, *rest], keywords=keywords):
            if ast.dump(first) != ast.dump(second):
                yield ast.Call(func, [second, first, *rest], keywords)


def _textual(*operands: ast.expr) -> bool:
    return any(isinstance(each, ast.JoinedStr) or _is_text(each) for each in operands)


def _is_text(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, str)


def _shorter(node: ast.AST, place: _Place) -> Iterator[tuple[ast.AST, ast.AST]]:
    """A change of state without one of its parts, effects without some, and tables without a row."""
    match node:
        case ast.Call(func=ast.Name(id="replace"), args=args, keywords=[_, _, *_] as parts):
            for index, part in enumerate(parts):
                yield ast.Call(node.func, args, [*parts[:index], *parts[index + 1 :]]), part
        case ast.Tuple(elts=elts, ctx=ast.Load()) | ast.List(elts=elts, ctx=ast.Load()) | ast.Set(elts=elts):
            table = isinstance(node, ast.Set) or place.function is None
            if table or any(isinstance(each, ast.Starred) for each in elts):
                for index, element in enumerate(elts):
                    rest = [*elts[:index], *elts[index + 1 :]]
                    yield (ast.Set(rest) if isinstance(node, ast.Set) else ast.Tuple(rest, ast.Load())), element
        case ast.Dict(keys=keys, values=values):
            for index, key in enumerate(keys):
                shorter = ast.Dict([*keys[:index], *keys[index + 1 :]], [*values[:index], *values[index + 1 :]])
                yield shorter, key or values[index]
