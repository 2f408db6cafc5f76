#!/usr/bin/env python3
"""Writes the compatibility table of the README from what `make clients` and `make e2e` found, or checks that it agrees.

    table.py           fails if a cell that ran disagrees with its row
    table.py --write   writes the rows between the markers; a client that did not run counts as not passed

Versions are those of the run that wrote the table. A check compares verdicts only: a newer curl is no other result.
"""

import json
import sys
from pathlib import Path

from cells import RESULTS
from drivers import OPERATIONS, ROWS
from rivals import PYTHON_HUGBUCKET, S3_HF_CO

README = Path(__file__).resolve().parents[2] / "README.md"
BEGIN, END = "<!-- clients: begin -->\n", "<!-- clients: end -->\n"
VERDICTS = {"passed": "✓", "failed": "✗", "absent": "✗"}
HEAD = ["client", "version", *OPERATIONS, "needs besides", "s3.hf.co", "Python HugBucket"]


def row(client, result):
    """Returns the cells of a client's row."""
    cells = result["cells"]
    verdicts = [VERDICTS[cells[name]] if name in cells else "–" for name in OPERATIONS]
    rivals = [names.get(client.name, "") for names in (S3_HF_CO, PYTHON_HUGBUCKET)]
    return [client.name, result.get("version", "not installed"), *verdicts, client.settings, *rivals]


def never_ran(client):
    """Returns the result of a client without any: nothing has passed."""
    return {"cells": {name: "absent" for name in OPERATIONS}, "reason": "did not run"}


def line(cells):
    return f"| {' | '.join(cells)} |".replace("|  |", "| |").replace("|  |", "| |") + "\n"


def table(results):
    """Returns the lines of the table, and the reason for each cell that is not passed."""
    rows = [(client, results.get(client.name) or never_ran(client)) for client in ROWS]
    lines = [line(HEAD), line(["---"] * len(HEAD)), *[line(row(*each)) for each in rows]]
    reasons = []
    for client, result in rows:
        if "reason" in result:
            reasons.append(f"* {client.name}: {result['reason']}.\n")
        reasons += [f"* {client.name}, {name}: {why}.\n" for name, why in result.get("reasons", {}).items()]
    return lines + (["\n", *reasons] if reasons else [])


def parts(text):
    """Splits the README into what is before, between, and behind the markers."""
    before, rest = text.split(BEGIN)
    between, behind = rest.split(END)
    return before, between, behind


def verdicts(markdown):
    """Returns the verdicts of a table, by client and operation."""
    rows = [[cell.strip() for cell in text.split("|")[1:-1]] for text in markdown.splitlines() if text.startswith("|")]
    return {cells[0]: dict(zip(OPERATIONS, cells[2:])) for cells in rows[2:]}


def check(results, between):
    """Returns a sentence for each cell that this run found to be other than the README says."""
    shown = verdicts(between)
    for client in ROWS:
        result = results.get(client.name, {})
        for name, outcome in result.get("cells", {}).items():
            claimed = shown.get(client.name, {}).get(name, "missing")
            # Who is not installed here may have run where the table was written.
            if outcome != "absent" and claimed != VERDICTS[outcome]:
                yield f"{client.name}, {name}: {VERDICTS[outcome]} in this run, {claimed} in the README"


def main():
    results = json.loads(RESULTS.read_text())
    before, between, behind = parts(README.read_text())
    if "--write" in sys.argv:
        README.write_text(before + BEGIN + "".join(table(results)) + END + behind)
    elif wrong := list(check(results, between)):
        sys.exit("\n".join(["the README's compatibility table disagrees:", *wrong, "table.py --write writes it anew"]))


if __name__ == "__main__":
    main()
