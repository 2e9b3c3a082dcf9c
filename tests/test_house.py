"""Every package of nes2net imports only those below it, and no module imports an app (docs/architecture.md)."""

import ast
import re
from functools import cache
from graphlib import TopologicalSorter
from importlib import import_module
from pathlib import Path

from builders.strangers import REGISTRIES
from conftest import REPOSITORY, repository_text

PACKAGE = REPOSITORY / "nes2net"
MODULES = sorted(PACKAGE.rglob("*.py"))
MANUAL = repository_text("docs/architecture.md")

#: District → its number, as the manual has them. A module may import its own district and lower ones, for typing too.
NUMBERS = {
    name: int(number) for number, name in re.findall(r"^\| (\d+) \| `(\w+)(?:/|\.py)` \| ", MANUAL, re.MULTILINE)
}
#: The face stands in no district: it imports each public name when it is first used.
FACE = "__init__"
#: `python -m nes2net` may import everything, and no module imports it.
DOOR = "__main__"
#: Every district may read the version of the installation.
VERSION = "version"
#: Table of names → district above its own that it names, and why.
NAMED_FROM_BELOW = {
    # A file says which judgement it holds, and `evaluation` evaluates it; readers of marks are an app.
    "scoring.registry": {"evaluation", "apps"},
    "apps.registry": {"cli"},  # `info` describes every command
}
#: Why an import may stand inside a function; the comment says so.
REASON = re.compile(r"#.*\b(start-up|optional)\b|[iI]mport(ed)? (only here|late)")

#: Calls that write, and names of functions that do so whatever they belong to.
WRITING = frozenset(
    "write_bytes savefig touch mkdir makedirs symlink_to hardlink_to rename copyfile copyfileobj copytree tofile "
    "save_file savez savez_compressed to_csv write_table ParquetWriter SummaryWriter np.save torch.save soundfile.write "
    "os.open os.replace os.rename os.link os.symlink shutil.copy shutil.copy2 shutil.move".split()
)
#: Module → how many calls in it write without `temporary`, and why they write through no link.
DIRECT_WRITES = {
    "apps.bench.command": 1,  # in a temporary folder
    "apps.listen.saved_calls": 1,  # a temporary file; a call does not wait for the disk
    "apps.scale.cluster": 1,  # the null device
    "apps.serve.desk": 1,  # in the server's temporary folder
    "apps.serve.uploads": 2,  # as above
    "cli.augment": 1,  # its caller gives the temporary file
    "data.augment.codecs": 2,  # in memory
    "data.corpora.pack": 3,  # their caller gives the temporary file
    "evaluation.judgements": 1,  # the engine gives temporary files
    "evaluation.plots": 1,  # in memory
    "models.checkpoints.folder": 1,  # in a temporary folder
    "models.checkpoints.state_dict": 1,  # into an open temporary file
    "models.loading": 2,  # in a temporary folder
    "scoring.embeddings": 4,  # the engine gives temporary files
    "scoring.engine": 1,  # a temporary file
    "scoring.measuring": 1,  # the engine gives temporary files
    "training.curves": 1,  # its caller gives the temporary file
    "training.monitor": 1,  # TensorBoard's file, whose name nobody knows beforehand
    "training.preview": 1,  # its caller gives the temporary file
}
#: Modules that write files that a user has named, which may be links or pipes.
OF_USERS = {"apps.report.command", "cli.calibrate", "cli.evaluate", "scoring.decisions.calibration"}
OF_USERS |= {"evaluation.result_rows", "scoring.neighbours", "scoring.score_file"}


def dotted(path):
    """Name of a module below the package, such as ``scoring.kernel``."""
    names = path.relative_to(PACKAGE).with_suffix("").parts
    if names[-1] == FACE and len(names) > 1:
        names = names[:-1]
    return ".".join(names)


def district(module):
    return module.partition(".")[0]


def app_of(module):
    """The app that a module stands in, such as ``serve`` of ``apps.serve.page``."""
    names = module.split(".")
    if names[0] != "apps" or len(names) == 1 or not (PACKAGE / "apps" / names[1]).is_dir():
        return None
    return names[1]


@cache
def tree(path):
    return ast.parse(path.read_text(encoding="utf-8"))


@cache
def nodes(path):
    """The nodes of the kinds that are looked at here."""
    kinds = (ast.Import, ast.ImportFrom, ast.Call, ast.Constant)
    return [node for node in ast.walk(tree(path)) if isinstance(node, kinds)]


@cache
def imports(path):
    """Every import of a module, wherever it stands, with the dotted name it takes."""
    imported: list[tuple[ast.Import | ast.ImportFrom, str]] = []
    for node in nodes(path):
        if isinstance(node, ast.Import):
            imported += [(node, alias.name) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path}, line {node.lineno}: imports are absolute"
            imported += [(node, f"{node.module}.{alias.name}") for alias in node.names]
    return imported


@cache
def own_imports(path):
    """Line and name below the package of what a module imports of this package."""
    imported = []
    for node, name in imports(path):
        if name != "nes2net" and not name.startswith("nes2net."):
            continue
        below = name.removeprefix("nes2net").removeprefix(".")
        if district(below) not in {*NUMBERS, DOOR, VERSION}:
            below = FACE
        imported.append((node.lineno, below))
    return imported


@cache
def own_names(path):
    """Line and name below the package of what a module names in a text, such as ``"nes2net.lib.storage.files:replacing"``."""
    names = []
    for node in nodes(path):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            match = re.match(r"nes2net\.(\w[\w.]*)", node.value)
            if match is not None and district(match[1]) in NUMBERS:
                names.append((node.lineno, match[1].rstrip(".")))
    return names


def of_command(path):
    """Whether a module holds a command, which imports what it runs when it runs."""
    return district(dotted(path)) == "cli" or path.stem.endswith("command")


def module_of(name):
    """The module that ``name``, a module or something in one, stands in."""
    path = PACKAGE.joinpath(*name.split("."))
    if path.is_dir() or path.with_suffix(".py").is_file():
        return name
    return name.rpartition(".")[0]


def arrows():
    """Which district imports or names which; the face and the door count, the version does not."""
    pairs = set()
    for path in MODULES:
        above = district(dotted(path))
        for _, name in own_imports(path) + own_names(path):
            below = district(name)
            if above != below and VERSION not in (above, below):
                pairs.add((above, below))
    return pairs


def test_the_page_on_architecture_lists_and_numbers_every_package():
    districts = {district(dotted(path)) for path in MODULES}
    assert districts - {FACE, DOOR, VERSION} == set(NUMBERS)
    assert sorted(NUMBERS.values()) == list(range(11))


def test_the_folder_of_the_package_has_at_most_16_entries():
    entries = [path for path in PACKAGE.iterdir() if path.name != "__pycache__"]
    assert len(entries) <= 16


def runs_up(above, below):
    """Whether an import by the district ``above`` of something in ``below`` is one that runs up."""
    if above not in NUMBERS or below in (FACE, VERSION, above):
        return False
    return below == DOOR or NUMBERS[below] > NUMBERS[above]


def test_no_package_imports_one_with_a_higher_number_on_the_page_on_architecture():
    """Nor names one in a string, except those of NAMED_FROM_BELOW."""
    wrong = []
    for path in MODULES:
        module = dotted(path)
        texts = [
            (line, name) for line, name in own_names(path) if district(name) not in NAMED_FROM_BELOW.get(module, ())
        ]
        for line, name in own_imports(path) + texts:
            if runs_up(district(module), district(name)):
                wrong.append(f"{module}, line {line}: {name}")
    assert wrong == []


def test_there_are_at_most_80_pairs_of_a_package_and_one_that_it_imports():
    assert len(arrows()) <= 80


def test_every_module_that_a_registry_names_is_found_in_the_text_of_the_registry():
    """Where the test of packages that import others looks for it."""
    for registry in REGISTRIES.values():
        for name in registry.names(installed=False):
            module = registry.target(name).partition(":")[0].removeprefix("nes2net.")
            (path,) = [
                path for path in MODULES if path.stem == "registry" and registry in vars(table_of(path)).values()
            ]
            texts = {text for _, text in own_names(path)}
            assert any(f"{module}.".startswith(f"{text}.") for text in texts), f"{path}: {module}"


def table_of(path):
    return import_module(f"nes2net.{dotted(path)}")


def test_no_module_outside_an_app_imports_the_app():
    """The command line finds the commands of apps by name."""
    wrong = []
    for path in MODULES:
        module = dotted(path)
        for line, name in own_imports(path):
            if app_of(name) not in (None, app_of(module)):
                wrong.append(f"{module}, line {line}: {name}")
    assert wrong == []


def test_packages_of_lib_import_only_those_that_its_docstring_names_before_them():
    _, *packages = re.findall(r"``(\w+)``", ast.get_docstring(tree(PACKAGE / "lib" / "__init__.py")))
    upward = []
    for path in (PACKAGE / "lib").glob("*/*.py"):
        lower = ["errors", *packages[: packages.index(path.parent.name) + 1]]
        inside = {name for _, name in own_imports(path) if district(name) == "lib"}
        upward += [f"{dotted(path)}: {name}" for name in inside if name.split(".")[1] not in lower]
    assert upward == []


def test_modules_do_not_import_each_other_in_a_circle():
    imported_modules = {}
    for path in MODULES:
        module = dotted(path)
        imported = {module_of(name) for _, name in own_imports(path)}
        imported_modules[module] = imported - {FACE, module}
    assert [*TopologicalSorter(imported_modules).static_order()]  # or it raises CycleError, which names the circle


def imports_inside(path):
    """The imports of a module that stand inside its functions."""
    outside = set()
    waiting = [tree(path)]
    while waiting:
        node = waiting.pop()
        outside.add(node)
        if not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            waiting += ast.iter_child_nodes(node)
    return {node for node, _ in imports(path)} - outside


def test_an_import_inside_a_function_has_a_comment_with_its_reason():
    """A module of a command need not: it imports what it runs when it runs."""
    silent = []
    for path in MODULES:
        if of_command(path):
            continue
        lines = path.read_text(encoding="utf-8").splitlines()
        for node in imports_inside(path):
            text = "\n".join(lines[node.lineno - 2 : node.end_lineno])
            if not REASON.search(text):
                silent.append(f"{dotted(path)}, line {node.lineno}: {lines[node.lineno - 1].strip()}")
    assert silent == []


def test_folders_of_tests_are_named_like_the_packages():
    """Those of `tests/apps` like the apps; `tests/scripts` and `tests/builders` stand beside them."""
    tests = Path(__file__).parent
    folders = {path.parent.relative_to(tests) for path in tests.rglob("test_*.py")} - {Path()}
    assert {folder.parts[0] for folder in folders} <= {*NUMBERS, "scripts", "builders"}
    tested_apps = {folder.parts[1] for folder in folders if folder.parts[0] == "apps"}
    assert tested_apps <= {path.name for path in (PACKAGE / "apps").iterdir()}


def opens_for_writing(call):
    """Whether a call of ``open`` has a mode that writes, and no opener that refuses links."""
    if any(keyword.arg == "opener" for keyword in call.keywords):
        return False
    values = [*call.args, *(keyword.value for keyword in call.keywords)]
    texts = [value.value for value in values if isinstance(value, ast.Constant)]
    return any(re.fullmatch("[rwaxbt+]*[wax+][rwaxbt+]*", str(text)) for text in texts)


def is_write(call):
    """Whether a call writes, makes or renames a file or folder."""
    called = ast.unparse(call.func)
    name = called.rpartition(".")[2]
    if name in ("open", "ZipFile") and opens_for_writing(call):
        return True
    if name == "write_text":
        return isinstance(call.func, ast.Attribute)
    return not WRITING.isdisjoint((called, name))


def direct_writes(path):
    """The calls in a module that write a file other than ``temporary``, which `replacing` gives."""
    calls = []
    for node in nodes(path):
        if isinstance(node, ast.Call) and is_write(node):
            names = {below.id for below in ast.walk(node) if isinstance(below, ast.Name)}
            if "temporary" not in names:
                calls.append(node)
    return calls


def test_only_listed_modules_write_files_directly():
    """Others write a temporary file that `replacing` gives; modules of `lib/` are free."""
    counts = {}
    for path in MODULES:
        count = len(direct_writes(path))
        if count and district(dotted(path)) != "lib":
            counts[dotted(path)] = count
    assert counts == DIRECT_WRITES


def test_only_listed_modules_write_files_through_links():
    """By `write_output`, which is for files that a user has named."""
    callers = set()
    for path in MODULES:
        names = {name for _, name in imports(path)}
        if "nes2net.lib.storage.files.write_output" in names:
            callers.add(dotted(path))
    assert callers == OF_USERS
