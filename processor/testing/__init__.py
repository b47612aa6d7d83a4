"""Test a topology without a broker: `TestDriver`."""

from processor.testing.driver import Crash, TestDriver

__all__ = ["Crash", "TestDriver"]
