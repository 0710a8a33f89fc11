"""A pytest fixture that verifies a gradient in one line and shows the report when the test fails.

Put ``pytest_plugins = ["cnnjax.gradients.pytest_plugin"]`` into the top ``conftest.py``; then

    def test_loss(check_gradients):
        check_gradients(loss, (params, batch))
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from cnnjax.errors import GradientError
from cnnjax.gradients.check import check_grads
from cnnjax.gradients.report import GradientReport

__all__ = ["check_gradients"]


@pytest.fixture
def check_gradients(request: pytest.FixtureRequest) -> Callable[..., GradientReport]:
    """`cnnjax.check_grads`, whose report is added to what pytest shows for a failing test."""

    def check(f: Callable[..., Any], args: Any, *rest: Any, **options: Any) -> GradientReport:
        __tracebackhide__ = True
        try:
            report = check_grads(f, args, *rest, **options)
        except GradientError as error:
            request.node.add_report_section("call", "gradients", error.report.to_json())
            raise
        request.node.add_report_section("call", "gradients", str(report))
        return report

    return check
