"""The command line: parse, call one library function, print. The only package that prints or exits."""

from __future__ import annotations

from ception.cli import (
    datasets,
    explaining,
    machine,
    networks,
    scoring,
    serving,
    training,
)  # each gives the application its commands
from ception.cli.app import main

__all__ = ["datasets", "explaining", "machine", "main", "networks", "scoring", "serving", "training"]
