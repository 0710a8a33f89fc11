"""The package as a whole: what importing it pulls in, what is public, and the direction of imports within it."""

import ast
import doctest
import inspect
import statistics
import subprocess
import sys
import types
from pathlib import Path

import pytest

import cnnjax

PACKAGE = Path(cnnjax.__file__).parent
TESTS = Path(__file__).parent
STANDARD = sys.stdlib_module_names


def test_importing_it_pulls_in_nothing_that_only_an_extra_installs():
    heavy = (
        "matplotlib",
        "tqdm",
        "orbax",
        "mlxtend",
        "pooch",
        "pandas",
        "optax",
        "torch",
        "scipy.stats",
        "sklearn",
        "hypothesis",
    )
    code = (
        "import sys, jax, jax.numpy, numpy; before = set(sys.modules); import cnnjax; "
        f"print([name for name in {heavy} if name in set(sys.modules) - before])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
    assert done.stderr == ""


def test_importing_it_pulls_in_only_what_is_used():
    code = (
        "import sys, cnnjax; print(sorted(name for name in sys.modules if name.startswith('cnnjax.'))); "
        "cnnjax.conv2d; print('cnnjax.gradients' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["['cnnjax._version']", "False"]


def test_importing_it_leaves_the_settings_of_jax_alone():
    code = (
        "import jax; before = dict(jax.config.values); import cnnjax; "
        "print({k for k, v in jax.config.values.items() if before.get(k, v) != v})"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def modules():
    return {
        ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts).removesuffix(".__init__"): path
        for path in sorted(PACKAGE.rglob("*.py"))
    }


def imports(path, everywhere=True):
    """The modules that a file imports, absolute; `everywhere` counts those inside functions too."""
    tree = ast.parse(path.read_text())
    found = set()
    for node in ast.walk(tree) if everywhere else tree.body:
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path.name} imports relatively"
            known = {f"{node.module}.{alias.name}" for alias in node.names} & set(modules())
            found |= known or {node.module}
    return found


def ours(path):
    return {name for name in imports(path) if name.split(".")[0] == "cnnjax"}


# What each package or module of cnnjax may import of the others.
LAYERS = {
    "errors": set(),
    "_core": {"errors"},
    "reference": set(),
    "activations": set(),
    "init": set(),
    "connections": {"_core"},
    "operator": {"_core", "errors"},
    "conv": {"_core", "connections", "operator"},
    "drop_in": {"_core", "operator"},
    "operator.explanation": {"_core", "conv", "operator"},
    "operator.tuning": {"_core", "_version", "conv", "errors", "operator", "operator.explanation"},
    "pooling": {"_core"},
    "losses": {"_core"},
    "layers": {"_core", "activations", "connections", "conv", "init", "operator", "pooling"},
    "models": {"connections", "init", "layers"},
    "interop": {"_core", "errors", "layers"},
    "programs": {"_core", "connections", "layers", "operator"},
    "figures": {"_core", "connections", "errors", "layers"},
    "exploring": {"_core", "activations", "layers", "pooling"},
    "datasets": {"_core", "errors"},
    "gradients": {"_core", "errors"},
    "check": {"gradients"},
    "training": {"_core", "errors", "layers", "losses", "operator", "pooling"},
}


def home(module):
    """The entry of LAYERS that a module belongs to: its own, or that of its package."""
    name = module.removeprefix("cnnjax.")
    return name if name in LAYERS else name.split(".")[0]


@pytest.mark.parametrize("module", sorted(set(modules()) - {"cnnjax", "cnnjax._version"}))
def test_imports_run_one_way(module):
    imported = {home(name) for name in ours(modules()[module])} - {home(module)}
    assert imported <= LAYERS[home(module)]


def test_nothing_imports_what_is_built_on_it():
    """The imports between modules, wherever they stand in a file, have no cycle."""
    edges = {name: ours(path) - {name} for name, path in modules().items() if name != "cnnjax"}
    done = set()
    while left := {name for name in edges if name not in done}:
        free = {name for name in left if not (edges[name] & left)}
        assert free, f"a cycle among {sorted(left)}"
        done |= free


def test_gradient_verification_needs_none_of_the_rest():
    for name, path in modules().items():
        if name.startswith("cnnjax.gradients"):
            outside = {module for module in ours(path) if not module.startswith("cnnjax.gradients")}
            assert {home(module) for module in outside} <= {"_core", "errors"}, name


@pytest.mark.parametrize(
    ("package", "homes"),
    [
        ("orbax", "cnnjax.training.checkpoints"),
        ("optax", "cnnjax.training"),
        ("matplotlib", ("cnnjax.figures", "cnnjax.gradients.report")),
        ("pytest", "cnnjax.gradients.pytest_plugin"),
    ],
)
def test_only_its_home_imports(package, homes):
    users = {name for name, path in modules().items() if package in {m.split(".")[0] for m in imports(path)}}
    assert users
    assert all(name.startswith(homes) for name in users), users


def test_the_reference_imports_numpy_alone():
    assert {m.split(".")[0] for m in imports(modules()["cnnjax.reference"])} - STANDARD == {"numpy"}


# Packages that importing a module may import, besides those of every installation.
AT_THE_TOP = {
    "cnnjax.training": {"optax"},
    "cnnjax.figures": {"matplotlib"},
    "cnnjax.gradients.pytest_plugin": {"pytest"},
}


def test_at_the_top_of_a_file_stand_only_what_every_installation_has():
    for name, path in modules().items():
        allowed = {"cnnjax", "jax", "numpy", *STANDARD}
        for prefix, packages in AT_THE_TOP.items():
            allowed |= packages if name.startswith(prefix) else set()
        assert {m.split(".")[0] for m in imports(path, everywhere=False)} <= allowed, name


# The size of modules, and the files of their tests


def test_modules_are_small():
    lines = {name: len(path.read_text().splitlines()) for name, path in modules().items()}
    assert not {name: count for name, count in lines.items() if count > 400}
    assert statistics.median(lines.values()) < 150


def mirrored_test_file(module):
    """tests/a/test_b.py for cnnjax.a.b, without the underscores that say that a module is private."""
    *packages, name = module.split(".")[1:]
    return TESTS.joinpath(*packages, f"test_{name if name.endswith('__') else name.removeprefix('_')}.py")


@pytest.mark.parametrize("module", sorted(name for name, path in modules().items() if path.name != "__init__.py"))
def test_every_module_has_its_test_file(module):
    if module == "cnnjax._version":
        pytest.skip("a constant")
    if module.startswith("cnnjax.operator.methods."):
        assert (TESTS / "operator" / "test_methods.py").exists()  # one table crosses all methods
        return
    mirrored = mirrored_test_file(module)
    assert mirrored.exists(), f"{module} has no {mirrored.relative_to(TESTS.parent)}"


# What is public


def test_every_public_name_is_there_and_type_checkers_see_the_same():
    assert len(set(cnnjax.__all__)) == len(cnnjax.__all__)
    for name in cnnjax.__all__:
        home = getattr(cnnjax, name)
        assert isinstance(home, types.ModuleType) == (name in cnnjax._MODULES), name
    stub = ast.parse((PACKAGE / "__init__.pyi").read_text()).body
    promised = {alias.asname: node.module for node in stub for alias in node.names}
    homes = {name: f"cnnjax.{home}" for name, home in cnnjax._HOME_OF.items()}
    modules = dict.fromkeys(cnnjax._MODULES, "cnnjax")
    assert promised == homes | modules | {"__version__": "cnnjax._version"}
    assert set(cnnjax.__all__) <= set(dir(cnnjax))


def test_a_name_that_is_not_there_is_named():
    with pytest.raises(AttributeError, match="no attribute 'conv4d'"):
        cnnjax.conv4d  # noqa: B018


def test_every_public_submodule_is_an_attribute_after_importing_the_package():
    public = [name for name in modules() if not any(part.startswith("_") for part in name.split("."))]
    code = "import functools, cnnjax\nfor name in %r: functools.reduce(getattr, name.split('.')[1:], cnnjax)"
    done = subprocess.run([sys.executable, "-c", code % public], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    top = {name.split(".")[1] for name in public if name != "cnnjax"}
    assert top == set(cnnjax._MODULES)


def test_no_module_has_the_name_of_a_public_function():
    """Importing such a module would put it in the function's place."""
    assert not set(cnnjax._HOME_OF) & set(cnnjax._MODULES)


def test_the_contract_is_public():
    promised = {
        "conv1d", "conv2d", "conv3d", "conv2d_transpose", "depthwise_conv2d", "separable_conv2d", "local_conv2d",
        "max_pool2d", "avg_pool2d", "subsample2d", "METHODS", "ConnectionTable", "connections", "models", "datasets",
        "summary", "CnnjaxError", "GradientError", "reference", "init", "layers",
    }  # fmt: skip
    assert promised <= set(cnnjax.__all__)
    for name in ("full", "one_to_one", "grouped", "depthwise", "from_rows", "LENET5_C3"):
        assert hasattr(cnnjax.connections, name)


def test_every_module_says_what_it_is_and_lists_what_is_in_it():
    for name in modules():
        module = sys.modules.get(name)
        if module is not None:  # those that importing the package pulls in
            assert module.__doc__, name
            assert all(hasattr(module, public) for public in getattr(module, "__all__", ())), name


CALLABLES = [
    name
    for name in cnnjax.__all__
    if callable(getattr(cnnjax, name))
    and not (inspect.isclass(getattr(cnnjax, name)) and issubclass(getattr(cnnjax, name), Exception))
]
BY_OTHERS = {"GradientReport", "check_grads"}


@pytest.mark.parametrize("name", [name for name in CALLABLES if name not in BY_OTHERS])
def test_every_public_callable_has_a_formula_or_words_and_an_example_that_runs(name):
    value = getattr(cnnjax, name)
    doc = inspect.getdoc(value)
    assert doc
    assert len(doc.splitlines()[0]) <= 120
    assert doctest.DocTestFinder(recurse=False).find(value, name)[0].examples


@pytest.mark.parametrize(
    "name", [name for name in CALLABLES if inspect.isfunction(getattr(cnnjax, name)) and name not in BY_OTHERS]
)
def test_every_public_function_says_where_it_comes_from(name):
    assert "Source:" in inspect.getdoc(getattr(cnnjax, name))


CONVOLUTIONS = (
    "conv1d",
    "conv2d",
    "conv3d",
    "conv2d_transpose",
    "depthwise_conv2d",
    "separable_conv2d",
    "local_conv2d",
)


POOLS = (*(f"{kind}_pool{axes}d" for kind in ("max", "avg", "lp") for axes in (1, 2, 3)), "subsample2d")


@pytest.mark.parametrize("name", [*CONVOLUTIONS, *POOLS])
def test_every_argument_is_in_the_docstring(name):
    function = getattr(cnnjax, name)
    doc = inspect.getdoc(function)
    arguments = doc[doc.index("Args:") : doc.index("Returns:")]
    for argument in inspect.signature(function).parameters:
        assert argument in arguments
    for heading in ("Returns:", "Raises:", "Example:", "Source:"):
        assert heading in doc


def test_types_are_published():
    assert (PACKAGE / "py.typed").exists()
