"""Tests of bootc container images in VMs of bcvk.

The fixtures are in `pytest_bcvk.plugin`; what they give to a test is here.
"""

from .bcvk import Bcvk, BcvkError
from .network import Network
from .process import TimedOut
from .vm import CommandFailed, Result, Vm

__all__ = ["Bcvk", "BcvkError", "CommandFailed", "Network", "Result", "TimedOut", "Vm"]
