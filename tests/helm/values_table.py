"""The table of values in the chart's README, made from the comments of values.yaml. `--write` puts it there."""

import re
import sys
from pathlib import Path

import yaml

CHART = Path(__file__).resolve().parents[2] / "helm/hugbucket"
BEGIN, END = "<!-- values: begin -->", "<!-- values: end -->"


def documented(text):
    """Returns rows of `(key, default, meaning)`; a key without a comment of its own must have documented children.

    Raises ValueError for a key that nobody documents.
    """
    lines = text.splitlines()
    rows = []

    def comment(line):
        """Returns the comment above a line, from its `# --` on."""
        block = []
        while line > 0 and lines[line - 1].strip().startswith("#"):
            line -= 1
            block.insert(0, lines[line].strip().removeprefix("#").strip())
        starts = [i for i, one in enumerate(block) if one.startswith("-- ")]
        return " ".join(block[starts[-1] :])[3:] if starts else None

    def walk(node, path):
        for key, value in node.value:
            name = ".".join([*path, key.value])
            meaning = comment(key.start_mark.line)
            if meaning:
                rows.append((name, default(value), meaning))
            elif isinstance(value, yaml.MappingNode) and value.value:
                walk(value, [*path, key.value])
            else:
                raise ValueError(f"{name} has no comment")

    def default(node):
        value = yaml.safe_load(yaml.serialize(node))
        if isinstance(value, dict) and value or isinstance(value, list) and value:
            return "see values.yaml"
        return f"`{'null' if value is None else str(value).lower() if isinstance(value, bool) else value}`" if value != "" else '`""`'

    walk(yaml.compose(text), [])
    return rows


def table(text):
    """Returns the table as Markdown."""
    lines = ["| value | default | meaning |", "|---|---|---|"]
    for name, default, meaning in documented(text):
        escaped = re.sub(r"(?<!\\)\|", r"\\|", meaning)
        lines.append(f"| `{name}` | {default} | {escaped} |")
    return "\n".join(lines)


def with_table(readme, text):
    """Returns the README with the table that belongs there."""
    before, rest = readme.split(BEGIN)
    after = rest.split(END)[1]
    return f"{before}{BEGIN}\n{table(text)}\n{END}{after}"


if __name__ == "__main__":
    path, text = CHART / "README.md", (CHART / "values.yaml").read_text()
    written = with_table(path.read_text(), text)
    if "--write" in sys.argv:
        path.write_text(written)
    else:
        sys.exit(written != path.read_text() and f"{path} is not up to date: run it with --write")
