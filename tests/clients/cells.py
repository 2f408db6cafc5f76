"""Notes what became of each cell of the compatibility table, for `table.py`.

A cell has passed if each of its tests has. The results lie in `target/clients.json`, or where `HUGBUCKET_CLIENTS` says:
for each client its version, its cells, and why it is absent or a cell does not hold. A run replaces what it ran, so that
`make e2e` adds to what `make clients` found.
"""

import json
import os
from pathlib import Path

import pytest

RESULTS = Path(os.environ.get("HUGBUCKET_CLIENTS", Path(__file__).resolve().parents[2] / "target/clients.json"))

found = {}


def pytest_configure(config):
    config.addinivalue_line("markers", "cell(client, *operations): cells of the compatibility table")
    config.addinivalue_line("markers", "e2e: needs programs that must be compiled, or minutes; left to `make e2e`")


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    report = (yield).get_result()
    marker = item.get_closest_marker("cell")
    # A test passes with its call, but may be skipped or break before it.
    if marker is None or (report.passed and call.when != "call"):
        return
    client, *operations = marker.args
    row = found.setdefault(client, {"cells": {}})
    row |= {name: said for name, said in report.user_properties if name == "version"}
    for operation in operations:
        if report.passed:
            row["cells"].setdefault(operation, "passed")
        elif report.skipped and not hasattr(report, "wasxfail"):
            row["cells"][operation] = "absent"
            row["reason"] = str(call.excinfo.value).removeprefix(f"{client}: ")
        else:
            row["cells"][operation] = "failed"
            row.setdefault("reasons", {})[operation] = getattr(report, "wasxfail", "")


def pytest_sessionfinish(session):
    if not found:
        return
    known = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    for client, row in found.items():
        cells = known.get(client, {}).get("cells", {}) | row["cells"]
        known[client] = row | {"cells": cells}
    RESULTS.parent.mkdir(parents=True, exist_ok=True)
    RESULTS.write_text(json.dumps(known, indent=1, sort_keys=True, ensure_ascii=False) + "\n")
