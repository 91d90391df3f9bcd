"""The stubs say what there is: every name, every parameter and its default, as inspect finds them in what runs."""
import ast
import importlib
import inspect
import os
import sys

import pytest

import shoal

FOLDER = os.path.dirname(shoal.__file__)
MODULES = sorted(name[:-4] for name in os.listdir(FOLDER) if name.endswith(".pyi") and name != "_shoal.pyi")
PUBLIC = "connection context csp executor managers pool process program queues shared_memory sharedctypes synchronize".split()


def tree_of(name):
    with open(os.path.join(FOLDER, name + ".pyi")) as file:
        return ast.parse(file.read())


def module_of(name):
    return shoal if name == "__init__" else importlib.import_module("shoal." + name)


def statements(body):
    """Those that are for this version."""
    for node in body:
        if isinstance(node, ast.If):
            yes = eval(compile(ast.Expression(node.test), "a stub", "eval"), {"sys": sys})
            yield from statements(node.body if yes else node.orelse)
        else:
            yield node


def names_in(body):
    """What it names, with its definitions."""
    for node in statements(body):
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            yield node.name, node
        elif isinstance(node, ast.ImportFrom):
            yield from ((alias.asname, node) for alias in node.names if alias.asname)
        elif isinstance(node, ast.AnnAssign):
            yield node.target.id, node
        elif isinstance(node, ast.Assign):
            yield from ((target.id, node) for target in node.targets)


UNKNOWN = object()  # a default whose value is not told
NONE = inspect.Parameter.empty


def said(function, bound):
    """The parameters that a stub says: {name: (kind, default)}; without self."""
    a, kinds = function.args, inspect._ParameterKind
    found = {}

    def add(argument, kind, default):
        if default is not NONE:
            try:
                default = ast.literal_eval(default)
            except ValueError:
                default = UNKNOWN
            if default is ...:
                default = UNKNOWN
        found[argument.arg] = kind, default

    positional = [(p, kinds.POSITIONAL_ONLY) for p in a.posonlyargs] + [(p, kinds.POSITIONAL_OR_KEYWORD) for p in a.args]
    defaults = [NONE] * (len(positional) - len(a.defaults)) + a.defaults
    for (argument, kind), default in list(zip(positional, defaults))[1 if bound else 0:]:
        add(argument, kind, default)
    if a.vararg:
        add(a.vararg, kinds.VAR_POSITIONAL, NONE)
    for argument, default in zip(a.kwonlyargs, a.kw_defaults):
        add(argument, kinds.KEYWORD_ONLY, NONE if default is None else default)
    if a.kwarg:
        add(a.kwarg, kinds.VAR_KEYWORD, NONE)
    return found


def real(thing):
    """The same of what runs; None: it does not say."""
    try:
        parameters = dict(inspect.signature(thing).parameters)
    except (ValueError, TypeError):
        return None
    if parameters and next(iter(parameters)) in ("self", "cls"):
        del parameters[next(iter(parameters))]
    kinds = [p.kind for p in parameters.values()]
    if kinds == [inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD]:
        return None
    return {p.name: (p.kind, p.default) for p in parameters.values()}


def differences(where, stub, runs):
    if any(kind == inspect.Parameter.VAR_KEYWORD for kind, _ in runs.values()) and not any(
        kind == inspect.Parameter.VAR_KEYWORD for kind, _ in stub.values()
    ):
        # what it passes on the stub says by name
        runs = {name: what for name, what in runs.items() if what[0] != inspect.Parameter.VAR_KEYWORD}
        stub = {name: what for name, what in stub.items() if name in runs or what[0] != inspect.Parameter.KEYWORD_ONLY}
    if [(name, kind) for name, (kind, _) in stub.items()] != [(name, kind) for name, (kind, _) in runs.items()]:
        return ["%s: the stub says %s, it is %s" % (where, show(stub), show(runs))]
    wrong = []
    for name, (_, default) in stub.items():
        there = runs[name][1]
        if (default is NONE) != (there is NONE) or default is not UNKNOWN and default is not NONE and default != there:
            wrong.append("%s: the default of %s is %r, not %r" % (where, name, there, default))
    return wrong


def show(parameters):
    return ", ".join("%s %s" % (kind.name.lower(), name) for name, (kind, _) in parameters.items())


def is_decorated(node, *names):
    return any(getattr(d, "attr", getattr(d, "id", None)) in names for d in node.decorator_list)


def look_at_function(where, node, thing, bound):
    if is_decorated(node, "property", "setter", "overload"):
        return [], 0
    runs = real(thing)
    if runs is None:
        return [], 0
    return differences(where, said(node, bound), runs), 1


def look_at_class(where, node, thing):
    wrong, compared = [], 0
    for name, member in names_in(node.body):
        if not isinstance(member, ast.FunctionDef) or name in ("__getattr__", "__setattr__", "__delattr__"):
            continue
        if name == "__iter__" and hasattr(thing, "__getitem__"):  # which is enough
            continue
        if name not in dir(thing):
            wrong.append("%s has no %s" % (where, name))
            continue
        if name.startswith("__") and name != "__init__":
            continue
        found, n = look_at_function(where + "." + name, member, getattr(thing, name), not is_decorated(member, "staticmethod"))
        wrong += found
        compared += n
    return wrong, compared


def look_at(name):
    module, wrong, compared = module_of(name), [], 0
    for what, node in names_in(tree_of(name).body):
        if what.startswith("_") and not hasattr(module, what):  # a name of the stub's own
            continue
        if not hasattr(module, what):
            wrong.append("%s has no %s" % (name, what))
            continue
        thing = getattr(module, what)
        if isinstance(node, ast.ClassDef) and isinstance(thing, type):
            found, n = look_at_class(what, node, thing)
        elif isinstance(node, ast.FunctionDef):
            found, n = look_at_function(what, node, thing, False)
        else:
            continue
        wrong += found
        compared += n
    return wrong, compared


@pytest.mark.parametrize("name", MODULES)
def test_a_stub_says_what_there_is(name):
    wrong, compared = look_at(name)
    assert not wrong, "\n".join(wrong)
    assert compared


@pytest.mark.parametrize("name", MODULES)
def test_a_stub_names_all_that_its_module_offers(name):
    named = {what for what, _ in names_in(tree_of(name).body)}
    assert set(module_of(name).__all__) <= named


def test_modules_that_programs_import_have_stubs():
    assert set(PUBLIC) <= set(MODULES)


def test_a_stub_that_is_wrong_is_found():
    def real_one(a, b=1, *, c=None):
        pass

    for text, good in (
        ("def f(a, b=1, *, c=None): ...", True),
        ("def f(a, b=..., *, c=None): ...", True),
        ("def f(a, b=2, *, c=None): ...", False),
        ("def f(a, b, *, c=None): ...", False),
        ("def f(a, b=1, c=None): ...", False),
        ("def f(x, b=1, *, c=None): ...", False),
        ("def f(a, b=1): ...", False),
    ):
        wrong, compared = look_at_function("f", ast.parse(text).body[0], real_one, False)
        assert (not wrong) is good and compared == 1
