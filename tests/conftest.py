"""What every test folder shares: tests without their reference data are skipped."""

import os
import signal

import pytest
from thresher.models.data import MissingData

# Runs are short: models that are compiled sooner are what counts.
os.environ.setdefault("THRESHER_OPTIMISE", "-O1")

# What a shell starts in its background ignores Ctrl-C, and so would tests of it.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_setup(item):
    return (yield from _skip_without_data())


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item):
    return (yield from _skip_without_data())


def _skip_without_data():
    try:
        return (yield)
    except MissingData as error:
        pytest.skip(str(error))
