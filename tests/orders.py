"""What a run of the tests leaves out, and says at its end.

A test of the second order carries ``second_order("why")``: ``make test`` leaves it to
``make test-all``. CONTRIBUTING.md has the rule. Each of several processes finds the same tests;
what they left out is said once, by the one that started them.
"""

from collections.abc import Sequence
from typing import Any

import pytest

SECOND = "second_order"
LEFT_OUT = pytest.StashKey[dict[str, int]]()
"""How many tests were left to ``make test-all``, by the reason."""
ABSENT = pytest.StashKey[str]()
"""Why nothing ran on PostgreSQL."""
SENT = {"left_out": LEFT_OUT, "absent": ABSENT}
"""What a process hands to the one that started it."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with what drives a browser: it takes longest, and nobody waits for it at the end."""
    items.sort(key=lambda item: item.get_closest_marker("e2e") is None)


def pytest_deselected(items: Sequence[pytest.Item]) -> None:
    """Count what is left to the other command, by its reason; not what nobody asked for."""
    for item in items:
        mark, option = item.get_closest_marker(SECOND), item.config.option
        if mark is not None and f"not {SECOND}" in option.markexpr and not option.keyword:
            left_out = item.config.stash.setdefault(LEFT_OUT, {})
            left_out[mark.args[0]] = left_out.get(mark.args[0], 0) + 1


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Hand over what this process found, if another one started it."""
    output: dict[str, Any] | None = getattr(session.config, "workeroutput", None)
    if output is not None:
        found = {name: session.config.stash.get(key, None) for name, key in SENT.items()}
        output.update({name: value for name, value in found.items() if value})


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """Take over what a process handed over."""
    output = getattr(node, "workeroutput", {})
    for name, key in SENT.items():
        if name in output:
            node.config.stash[key] = output[name]


@pytest.hookimpl(trylast=True)
def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    """Say what did not run."""
    left_out = config.stash.get(LEFT_OUT, None)
    if left_out:
        reasons = ", ".join(f"{count} {why}" for why, count in left_out.items())
        terminalreporter.write_line(
            f"Left to `make test-all`: {sum(left_out.values())} tests ({reasons}).", yellow=True
        )
    absent = config.stash.get(ABSENT, None)
    if absent is not None:
        terminalreporter.write_line(
            f"NOT run on PostgreSQL: {absent}. Install Debian's package postgresql.", yellow=True
        )
