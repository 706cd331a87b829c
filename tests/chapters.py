"""Checks on a notebook that need no kernel. Each returns the faults it found, one line each, to be tested itself."""

import ast
import functools
import importlib
import inspect
import itertools
import pkgutil
import re
import sys
from pathlib import Path

import nbformat

import gan_tf

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "notebooks"))
import execute  # noqa: E402

CHAPTERS = sorted((ROOT / "notebooks").glob("[0-9]*.ipynb"))
IGNORED = "nbval-ignore-output"
LONGEST_CELL = 25
LONGEST_LINE = 100
BARE_ONE_IN = 20  # of the printed lines, so many at most end in a bare True or False
NUMBER = r"[-+]?\d[\d_,]*(?:\.\d+)?(?:e[-+]?\d+)?"
PLAYERS = {"gan", "model", "players", "generator", "discriminator"}
LARGEST_BYTES = 1_000_000


def read(path: Path) -> nbformat.NotebookNode:
    return nbformat.read(path, as_version=4)


def code_cells(notebook) -> list:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def text_of(cell) -> str:
    """Return the printed text and values among a cell's outputs, which nbval compares; pictures have none."""
    texts = [output.get("text", "") for output in cell.outputs if output.output_type == "stream"]
    values = [output["data"].get("text/plain", "") for output in cell.outputs if "data" in output]
    return "".join(texts + [value for value in values if not value.startswith("<Figure")]).strip()


def size_faults(path: Path) -> list[str]:
    size = path.stat().st_size
    return [f"{size:,} bytes, more than {LARGEST_BYTES:,}"] if size > LARGEST_BYTES else []


def format_faults(notebook) -> list[str]:
    faults = []
    ids = [cell.get("id", "") for cell in notebook.cells]
    if len(set(ids)) != len(ids):
        faults.append("two cells have one id")
    faults += [f"cell {i} has the id of a machine, not of a person: {i}" for i in ids if not i or len(i) < 3]
    faults += [f"cell {cell.id}: metadata beside tags" for cell in notebook.cells if set(cell.metadata) - {"tags"}]
    if notebook.metadata != execute.METADATA:
        faults.append(f"metadata {notebook.metadata}, should be what notebooks/execute.py writes")
    if not any(cell.cell_type == "markdown" and cell.source.startswith("# ") for cell in notebook.cells[:1]):
        faults.append("the first cell is not a title")
    return faults


def execution_faults(notebook) -> list[str]:
    """Cells ran once, from top to bottom, with something to show for it and nothing on standard error."""
    counts = [cell.execution_count for cell in code_cells(notebook)]
    faults = [] if counts == list(range(1, len(counts) + 1)) else [f"executed in the order {counts}"]
    if not any(cell.outputs for cell in code_cells(notebook)):
        faults.append("no outputs are stored")
    for cell in code_cells(notebook):
        kinds = {output.output_type for output in cell.outputs}
        if "error" in kinds:
            faults.append(f"cell {cell.id}: an error is stored")
        if any(output.get("name") == "stderr" for output in cell.outputs) and IGNORED not in cell.metadata.get(
            "tags", []
        ):
            faults.append(f"cell {cell.id}: standard error is stored")
    return faults


def length_faults(notebook) -> list[str]:
    lines = {cell.id: cell.source.splitlines() for cell in code_cells(notebook)}
    return [f"cell {name}: {len(own)} lines" for name, own in lines.items() if len(own) > LONGEST_CELL]


def width_faults(notebook) -> list[str]:
    lines = [(cell.id, line) for cell in code_cells(notebook) for line in cell.source.splitlines()]
    return [f"cell {name}: a line of {len(line)} characters" for name, line in lines if len(line) > LONGEST_LINE]


def conclusion_faults(notebook) -> list[str]:
    """A figure says more than True: of a chapter's printed lines, few end in a bare verdict."""
    lines = [line.rstrip() for cell in code_cells(notebook) for line in text_of(cell).splitlines() if line.strip()]
    bare = [line for line in lines if line.endswith(("True", "False"))]
    few = len(bare) <= max(1, len(lines) // BARE_ONE_IN)
    return [] if few else [f"{len(bare)} of {len(lines)} printed lines end in True or False, such as: {bare[0]}"]


def as_float(number: str) -> float:
    return float(re.sub("[_,]", "", number))


def bound_faults(notebook) -> list[str]:
    """A figure before "(bound …)" is not compared, so the cell that prints it asserts every number in the bracket."""
    faults = []
    for cell in code_cells(notebook):
        asserted = " ".join(re.findall(r"^\s*assert .*(?:\n .*)*", cell.source, re.MULTILINE))
        numbers = [as_float(number) for number in re.findall(NUMBER, asserted)]
        for bracket in re.findall(r"\(bound ([^)]*)\)", cell.source):
            bounds = [as_float(n) / (100 if percent else 1) for n, percent in re.findall(f"({NUMBER})(%?)", bracket)]
            if not bounds or set(bounds) - set(numbers):
                faults.append(f"cell {cell.id}: (bound {bracket}) is not asserted")
        if "(bound " in text_of(cell) and "(bound " not in cell.source:
            faults.append(f"cell {cell.id}: prints a bound that it does not state")
    return faults


def order_faults(notebook) -> list[str]:
    """Text leads into code: of two code cells in a row, the second is the conclusion of a cell that is not compared."""
    in_a_row = []
    for cell, after in itertools.pairwise(notebook.cells):
        allowed = cell.id == "get-package" or IGNORED in cell.metadata.get("tags", [])
        if cell.cell_type == after.cell_type == "code" and not allowed:
            in_a_row.append(after.id)
    return [f"no text leads into the cells {', '.join(in_a_row)}"] if in_a_row else []


def training_faults(notebook) -> list[str]:
    """A cell that trains builds what it trains, so that it tells the truth when it runs again."""
    faults = []
    for cell in code_cells(notebook):
        tree = ast.parse(python_of(cell))
        own = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}
        own |= {node.arg for node in ast.walk(tree) if isinstance(node, ast.arg)}
        for call in (node for node in ast.walk(tree) if isinstance(node, ast.Call)):
            trained = set()
            if (
                isinstance(call.func, ast.Attribute)
                and call.func.attr == "fit"
                and isinstance(call.func.value, ast.Name)
            ):
                trained = {call.func.value.id}
            elif isinstance(call.func, ast.Name) and re.match(r"(train|play)(_|$)", call.func.id):
                trained = {node.id for node in ast.walk(call) if isinstance(node, ast.Name)} & PLAYERS
            faults += [f"cell {cell.id}: trains {name}, which another cell built" for name in sorted(trained - own)]
    return faults


def heading_faults(notebook) -> list[str]:
    """Whoever looks for the solutions finds them in the table of contents."""
    headings = re.findall(
        r"^#+ .*", "\n".join(c.source for c in notebook.cells if c.cell_type == "markdown"), re.MULTILINE
    )
    faults = [] if "## Solutions" in headings else ["no heading is: ## Solutions"]
    return faults + [f"a formula in a heading: {heading}" for heading in headings if "$" in heading]


def python_of(cell) -> str:
    """Return a code cell's source with `%pip` and its like, which are no Python, taken out."""
    return re.sub(r"^(\s*)[%!].*", r"\1pass", cell.source, flags=re.MULTILINE)


def comparison_faults(notebook) -> list[str]:
    """A cell that is not compared stands right before one that is, and that prints a conclusion."""
    faults, cells = [], code_cells(notebook)
    for cell, following in zip(cells, [*cells[1:], None], strict=True):
        if any(tag in cell.metadata.get("tags", []) for tag in ("nbval-skip", "nbval-raises-exception")):
            faults.append(f"cell {cell.id}: only {IGNORED} is allowed")
        if IGNORED not in cell.metadata.get("tags", []):
            continue
        if following is None or IGNORED in following.metadata.get("tags", []) or not text_of(following):
            faults.append(f"cell {cell.id} is not compared, and no compared conclusion follows it")
    return faults


# What a chapter writes out where the package calls a method that others override: on the left a statement of the
# package, on the right the chapter's. All else, and so order, tapes, `training=True` and what is returned, is compared.
WRITTEN_OUT = {
    "loss = discriminator_objective(batch, fake, seed) + sum(discriminator.losses)": """
real_logits = discriminator(real, training=True)
fake_logits = discriminator(fake, training=True)
loss = adversarial_loss.discriminator(real_logits, fake_logits)
""",
    "loss = generator_objective(batch, fake, seed) + sum(generator.losses)": """
fake_logits = discriminator(fake, training=True)
loss = adversarial_loss.generator(None, fake_logits)
""",
    "update('discriminator', tape, loss)": """
gradients = tape.gradient(loss, discriminator.trainable_variables)
discriminator_optimizer.apply(gradients, discriminator.trainable_variables)
""",
    "update('generator', tape, loss)": """
gradients = tape.gradient(loss, generator.trainable_variables)
generator_optimizer.apply(gradients, generator.trainable_variables)
""",
}


def without_normalization(function: ast.FunctionDef) -> ast.FunctionDef:
    """Write a discriminator's builder as for "none", which chapters before 08 know alone."""
    if [argument.arg for argument in function.args.args][-1:] == ["normalization"]:
        function.args.args.pop()
        function.args.defaults.pop()
        made, returned = function.body[-2:]
        assert ast.unparse(returned) == "return _normalized(network, normalization)"
        function.body[-2:] = [ast.Return(made.value)]
    return function


class ByHand(ast.NodeTransformer):
    """Writes the package's code as a chapter does: what is an attribute of `self` there is an argument here."""

    def visit(self, node):
        self.generic_visit(node)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "self":
            return ast.copy_location(ast.Name(node.attr, node.ctx), node)
        text = ast.unparse(node)
        if text == "generator_inputs(batch, seed)":
            return ast.copy_location(ast.Name("z", ast.Load()), node)
        if isinstance(node, ast.Expr) and text.startswith("_check_"):  # of arguments
            return []
        if isinstance(node, ast.FunctionDef):
            return without_normalization(node)
        if isinstance(node, ast.If) and not node.orelse and all(isinstance(each, ast.Raise) for each in node.body):
            return []  # likewise
        return ast.parse(WRITTEN_OUT[text]).body if isinstance(node, ast.stmt) and text in WRITTEN_OUT else node


@functools.cache
def package_functions() -> dict[str, list[str]]:
    """Return every function and method of the package by its name, as normalised statements."""
    found = {}
    for module in pkgutil.walk_packages(gan_tf.__path__, "gan_tf."):
        if module.name == "gan_tf.__main__":
            continue
        tree = ast.parse(inspect.getsource(importlib.import_module(module.name)))
        functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]
        found |= {node.name: statements(ByHand().visit(node)) for node in functions}
    return found


def statements(function: ast.FunctionDef) -> list[str]:
    """Return a function's defaults and its statements, normalised, without its docstring."""
    count = len(function.args.defaults)
    named = zip(function.args.args[len(function.args.args) - count :], function.args.defaults, strict=True)
    body = function.body[1:] if ast.get_docstring(function) else function.body
    return [f"{argument.arg}={ast.unparse(value)}" for argument, value in named] + [ast.unparse(node) for node in body]


def twin_faults(notebook) -> list[str]:
    """A function in a cell that has the name of one in the package consists of the same statements."""
    faults, package = [], package_functions()
    for cell in code_cells(notebook):
        for node in ast.parse(python_of(cell)).body:
            if isinstance(node, ast.FunctionDef) and package.get(node.name, statements(node)) != statements(node):
                faults.append(f"cell {cell.id}: {node.name} differs from its twin in the package")
    return faults


CHECKS = (
    format_faults,
    execution_faults,
    length_faults,
    width_faults,
    comparison_faults,
    conclusion_faults,
    bound_faults,
)
CHECKS += (order_faults, training_faults, heading_faults, twin_faults)


def all_faults(path: Path) -> list[str]:
    notebook = read(path)
    if (notebook.nbformat, notebook.nbformat_minor) != (4, 5):
        return [f"nbformat {notebook.nbformat}.{notebook.nbformat_minor}, should be 4.5"]
    return size_faults(path) + [fault for check in CHECKS for fault in check(notebook)]
