"""Set-up of all tests: a clean environment, and no silent skips in CI."""

import os
from collections.abc import Generator

import hypothesis
import pytest
import structlog

# A developer's own settings must not affect the tests.
for variable in [name for name in os.environ if name.startswith("WAYPOST_")]:
    del os.environ[variable]

# A busy machine makes an example slow, not wrong. In CI the examples are the same for the same code; developers get
# new ones at each run.
hypothesis.settings.register_profile(
    "waypost", deadline=None, print_blob=True, derandomize=os.environ.get("CI") == "true"
)
hypothesis.settings.load_profile("waypost")

# By default, a logged traceback shows every local variable, which takes longer than most tests.
structlog.configure(
    processors=[
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.dev.ConsoleRenderer(colors=False, exception_formatter=structlog.dev.plain_traceback),
    ]
)


def forbid_skip(report: pytest.TestReport | pytest.CollectReport) -> None:
    """Turn a skip into a failure if CI=true: there, a missing service is an error of the set-up."""
    if report.skipped and not hasattr(report, "wasxfail") and os.environ.get("CI") == "true":
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr
        report.outcome = "failed"
        report.longrepr = f"may not be skipped in CI: {reason}"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    forbid_skip(report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    report = yield
    forbid_skip(report)
    return report
