"""Checks on a notebook that need no kernel. Each returns the faults it found, one line each, to be tested itself."""

import ast
import functools
import importlib
import inspect
import pkgutil
import re
from pathlib import Path

import nbformat

import gan_tf

ROOT = Path(__file__).resolve().parent.parent
CHAPTERS = sorted((ROOT / "notebooks").glob("[0-9]*.ipynb"))
IGNORED = "nbval-ignore-output"
LONGEST_CELL = 25
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
    if set(notebook.metadata) != {"kernelspec", "language_info"}:
        faults.append(f"metadata {sorted(notebook.metadata)}, should be kernelspec and language_info")
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
    lengths = {cell.id: len(cell.source.splitlines()) for cell in code_cells(notebook)}
    return [f"cell {name}: {length} lines" for name, length in lengths.items() if length > LONGEST_CELL]


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
        source = re.sub(r"^(\s*)[%!].*", r"\1pass", cell.source, flags=re.MULTILINE)  # %pip and the like are no Python
        for node in ast.parse(source).body:
            if isinstance(node, ast.FunctionDef) and package.get(node.name, statements(node)) != statements(node):
                faults.append(f"cell {cell.id}: {node.name} differs from its twin in the package")
    return faults


def all_faults(path: Path) -> list[str]:
    notebook = read(path)
    if (notebook.nbformat, notebook.nbformat_minor) != (4, 5):
        return [f"nbformat {notebook.nbformat}.{notebook.nbformat_minor}, should be 4.5"]
    checks = (format_faults, execution_faults, length_faults, comparison_faults, twin_faults)
    return size_faults(path) + [fault for check in checks for fault in check(notebook)]
