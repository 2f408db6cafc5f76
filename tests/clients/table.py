#!/usr/bin/env python3
"""Writes the compatibility tables of the README from what `make clients` and `make e2e` found, or checks that they agree.

    table.py           fails if a cell that ran disagrees with its row
    table.py --write   writes the rows between the markers; a client that did not run counts as not passed

Versions are those of the run that wrote the table. A check compares verdicts only: a newer curl is no other result.
"""

import json
import sys
from dataclasses import dataclass
from pathlib import Path

from cells import RESULTS
from drivers import OPERATIONS, ROWS
from drivers.ftp import FTP_OPERATIONS, FTP_ROWS
from rivals import PYTHON_HUGBUCKET, S3_HF_CO

README = Path(__file__).resolve().parents[2] / "README.md"
VERDICTS = {"passed": "✓", "failed": "✗", "absent": "✗"}


@dataclass(frozen=True)
class Table:
    """A table of the README, between two comments that have its name."""

    name: str
    rows: tuple
    operations: tuple
    # Further columns: a title, and what the row's client says there.
    besides: dict

    def head(self):
        return ["client", "version", *self.operations, *self.besides]

    def row(self, client, result):
        """Returns the cells of a client's row."""
        cells = result["cells"]
        verdicts = [VERDICTS[cells[name]] if name in cells else "–" for name in self.operations]
        besides = [say(client) for say in self.besides.values()]
        return [client.name, result.get("version", "not installed"), *verdicts, *besides]

    def never_ran(self):
        """Returns the result of a client without any: nothing has passed."""
        return {"cells": {name: "absent" for name in self.operations}, "reason": "did not run"}

    def lines(self, results):
        """Returns the lines of the table, and the reason for each cell that is not passed."""
        rows = [(client, results.get(client.name) or self.never_ran()) for client in self.rows]
        head = self.head()
        lines = [line(head), line(["---"] * len(head)), *[line(self.row(*each)) for each in rows]]
        reasons = []
        for client, result in rows:
            if "reason" in result:
                reasons.append(f"* {client.name}: {result['reason']}.\n")
            reasons += [f"* {client.name}, {name}: {why}.\n" for name, why in result.get("reasons", {}).items()]
        return lines + (["\n", *reasons] if reasons else [])

    def parts(self, text):
        """Splits the README into what is before, between, and behind the table's markers."""
        before, rest = text.split(f"<!-- {self.name}: begin -->\n")
        between, behind = rest.split(f"<!-- {self.name}: end -->\n")
        return before, between, behind

    def write(self, results, text):
        """Returns the README with this table anew."""
        before, _, behind = self.parts(text)
        begin, end = f"<!-- {self.name}: begin -->\n", f"<!-- {self.name}: end -->\n"
        return before + begin + "".join(self.lines(results)) + end + behind

    def verdicts(self, markdown):
        """Returns the verdicts of a table, by client and operation."""
        rows = [[cell.strip() for cell in text.split("|")[1:-1]] for text in markdown.splitlines() if text.startswith("|")]
        return {cells[0]: dict(zip(self.operations, cells[2:])) for cells in rows[2:]}

    def check(self, results, text):
        """Returns a sentence for each cell that this run found to be other than the README says."""
        shown = self.verdicts(self.parts(text)[1])
        for client in self.rows:
            result = results.get(client.name, {})
            for name, outcome in result.get("cells", {}).items():
                claimed = shown.get(client.name, {}).get(name, "missing")
                # Who is not installed here may have run where the table was written.
                if outcome != "absent" and claimed != VERDICTS[outcome]:
                    yield f"{client.name}, {name}: {VERDICTS[outcome]} in this run, {claimed} in the README"


S3_BESIDES = {
    "needs besides": lambda client: client.settings,
    "s3.hf.co": lambda client: S3_HF_CO.get(client.name, ""),
    "Python HugBucket": lambda client: PYTHON_HUGBUCKET.get(client.name, ""),
}
TABLES = (
    Table("clients", ROWS, OPERATIONS, S3_BESIDES),
    Table("ftp clients", FTP_ROWS, FTP_OPERATIONS, {}),
)


def line(cells):
    return f"| {' | '.join(cells)} |".replace("|  |", "| |").replace("|  |", "| |") + "\n"


def main():
    results = json.loads(RESULTS.read_text())
    text = README.read_text()
    if "--write" in sys.argv:
        for table in TABLES:
            text = table.write(results, text)
        README.write_text(text)
    elif wrong := [sentence for table in TABLES for sentence in table.check(results, text)]:
        sys.exit("\n".join(["a compatibility table of the README disagrees:", *wrong, "table.py --write writes it anew"]))


if __name__ == "__main__":
    main()
