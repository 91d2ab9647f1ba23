from __future__ import annotations

import gzip

import pytest
from data import BOOKS


@pytest.fixture(scope="session")
def books() -> dict[str, str]:
    """Return the real books by name."""
    return {
        path.name.removesuffix(".txt.gz"): gzip.decompress(path.read_bytes()).decode() for path in BOOKS.glob("*.gz")
    }


class _Naming:
    """Names each failed test when it fails, and not only at the end of a long run."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        terminal = self._config.pluginmanager.get_plugin("terminalreporter")
        if report.failed and terminal:
            terminal.ensure_newline()
            terminal.write_line(f"FAILED {report.nodeid}")


def pytest_configure(config: pytest.Config) -> None:
    if not hasattr(config, "workerinput"):  # with several processes, the first one hears of all tests
        config.pluginmanager.register(_Naming(config))
