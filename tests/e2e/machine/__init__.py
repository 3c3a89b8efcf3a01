"""A machine with real drives for tests: QEMU's emulated ones under Debian's kernel, driven from here."""

from machine.link import Finished, MachineError, Program
from machine.machine import Drive, Machine
from machine.media import Medium
from machine.terminal import Terminal

__all__ = ["Drive", "Finished", "Machine", "MachineError", "Medium", "Program", "Terminal"]
