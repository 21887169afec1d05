"""The page on the data of every built-in task, `docs/tasks.md`, written from the declarations.

python benchmarks/tasks_page.py > docs/tasks.md
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby

from adapter_stilts.data.status import Columns, Layout, layouts
from adapter_stilts.tasks.registry import intermediate_tasks, target_tasks
from adapter_stilts.tasks.spec import TargetSpec, TaskSpec

MOST_LABELS = 20
INTRODUCTION = """# The tasks and their files

For each built-in task: what it is, under which names its files are looked for, how these are
written, and which columns are read. This page is written from the declarations of the tasks in
`src/adapter_stilts/tasks/`, by `python benchmarks/tasks_page.py > docs/tasks.md`, and a
test compares the two. `adstilts tasks NAME` prints the same for one task.

How to read the tables:

- `--data FOLDER` names a folder that holds these files, or one folder for each data set with the
  files in it. The first way that fits is used. `--data hub` reads the data set on the Hub. Where a
  table has several data sets for one split, the task reads all of them.
- `{lang}` stands for the code of a language, such as `sw`. `{name}`, `{code}` and the like stand
  for what the data set itself calls the language. `*` stands for any letters.
- `--train-file`, `--dev-file` and `--test-file` take rows of your own in place of a split. A file
  is read as the table says for its ending, under any name. Every task also reads JSON Lines
  (`.jsonl`) with the columns of its data set on the Hub; in tagging tasks these are a list of words
  and a list of tags.
- A column called optional is read where it is there. Training rows need their label in any case.
"""


def tasks_page() -> str:
    """The whole page."""
    parts = [INTRODUCTION, "## Intermediate tasks\n"]
    parts += [task_section(task) for task in intermediate_tasks().values()]
    parts += ["## Target tasks\n"]
    parts += [task_section(task) for task in target_tasks().values()]
    return "\n".join(parts)


def task_section(task: TaskSpec | TargetSpec) -> str:
    """What the page says of one task."""
    found = list(layouts(task))
    lines = [f"### {task.name}", "", f"{task.title}. {'; '.join(_facts(task))}.", ""]
    for what, group in groupby(found, key=lambda layout: layout.what):
        lines += [f"{what.capitalize()}:", ""] if what else []
        lines += ["| data set | files | written as | columns |", "|---|---|---|---|"]
        for (source, form, columns), same in groupby(group, key=_kind):
            cells = (source, "<br>or ".join(map(_files, same)), _cell(form), _code(str(columns)))
            lines.append(f"| {' | '.join(cells)} |".replace("  ", " "))
        lines.append("")
    return "\n".join(lines)


def _kind(layout: Layout) -> tuple[str, str, Columns]:
    return layout.source, layout.form, layout.columns


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def _facts(task: TaskSpec | TargetSpec) -> Iterator[str]:
    yield f"Head: `{task.head}`"
    yield f"metric: `{task.metric}`"
    names = task.labels or task.tags
    if names:
        listed = ", ".join(f"`{name}`" for name in names[:MOST_LABELS])
        more = f" and {len(names) - MOST_LABELS} more" if len(names) > MOST_LABELS else ""
        yield f"{'labels' if task.labels else 'tags'}: {listed}{more}"
    if isinstance(task, TargetSpec):
        yield f"{len(task.languages)} languages"
    yield f"licence: {task.licence}"


def _files(layout: Layout) -> str:
    splits = (
        f"{split} {', '.join(f'`{name}`' for name in names)}"
        for split, names in layout.files.items()
    )
    hub = f"`{layout.hub.partition('@')[0]}`: " if layout.hub else ""
    return hub + "; ".join(splits)


def _code(columns: str) -> str:
    """The names of columns in code type, the words between them not."""
    names, _, optional = columns.partition(" (optional: ")
    parts = [", ".join(f"`{name}`" for name in names.split(", "))] if names else []
    if optional:
        also = ", ".join(f"`{name}`" for name in optional.removesuffix(")").split(", "))
        parts.append(f"optional: {also}")
    return "; ".join(parts)


if __name__ == "__main__":
    print(tasks_page(), end="")
