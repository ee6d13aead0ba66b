"""Where a process stands among those that train together, as whatever started it says in its environment."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass

from ception.errors import InputError

_JOB_PORTS = 4096  # at the end of the range, of which the number of a job chooses one


@dataclass(frozen=True)
class Place:
    """Where a process stands among those that train together.

    Attributes:
        index: Its number, from 0 on.
        count: How many there are, two at least.
        host: Where the first one listens.
        port: On which port.
    """

    index: int
    count: int
    host: str
    port: int

    def __str__(self) -> str:
        return f"process {self.index + 1} of {self.count}"


def variables(place: str) -> dict[str, str]:
    """The variables of torchrun for a place that is typed: INDEX/COUNT@HOST:PORT, of the first process from 0 on.

    Raises:
        InputError: it is not of that form, or there is no such process or port.
    """
    found = re.fullmatch(r"(\d+)/(\d+)@(\S+):(\d+)", place)
    if found is None or int(found[1]) >= int(found[2]) or not 0 < int(found[4]) < 1 << 16:
        raise InputError(
            f"--process {place}: give INDEX/COUNT@HOST:PORT, such as 0/2@node0:29500 for the first of two, 1/2@... for "
            "the second"
        )
    return dict(zip(("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"), found.groups(), strict=True))


def place_of(environment: Mapping[str, str] = os.environ) -> Place | None:
    """Where this process stands; None where it is alone.

    torchrun, and whoever does as it does, sets RANK, WORLD_SIZE, MASTER_ADDR and MASTER_PORT; Open MPI and SLURM's srun
    have names of their own. What a shell or a batch script within a job of SLURM sees does not count.

    Args:
        environment: The variables.

    Raises:
        InputError: what they say makes no sense, or leaves out where the first process listens.
    """
    for index, count, address in (
        ("RANK", "WORLD_SIZE", _given),
        ("OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE", _of_open_mpi),
        ("SLURM_PROCID", "SLURM_STEP_NUM_TASKS", _of_slurm),
    ):
        if _are_several(environment, index, count):
            number, among = _number(environment, index), _number(environment, count)
            if among == 1:
                return None
            if not among:
                raise InputError(f"{count}=0 is no number of processes: whatever started this process sets it")
            if not 0 <= number < among:
                raise InputError(
                    f"{index}={number} is none of the numbers 0 to {among - 1} that {count}={among} allows"
                )
            return Place(number, among, *address(environment))
    return None


def _are_several(environment: Mapping[str, str], index: str, count: str) -> bool:
    """Whether both variables are set.

    Raises:
        InputError: torchrun's WORLD_SIZE counts several processes, and none of the variables says which this one is.
    """
    if count not in environment or index in environment:
        return count in environment
    told_otherwise = any(other in environment for other in ("OMPI_COMM_WORLD_RANK", "SLURM_PROCID"))
    if count == "WORLD_SIZE" and environment[count] not in ("", "1") and not told_otherwise:
        raise InputError(f"{count}={environment[count]}, but {index} does not say which of them this one is")
    return False


def _number(environment: Mapping[str, str], name: str) -> int:
    if not environment[name].isdecimal():
        raise InputError(f"{name}={environment[name]} is no number: whatever started this process sets it")
    return int(environment[name])


def _given(environment: Mapping[str, str]) -> tuple[str, int]:
    """What MASTER_ADDR and MASTER_PORT say."""
    if "MASTER_ADDR" not in environment or "MASTER_PORT" not in environment:
        raise InputError("several processes must know where the first one listens: set MASTER_ADDR and MASTER_PORT")
    port = _number(environment, "MASTER_PORT")
    if not 0 < port < 65536:
        raise InputError(f"MASTER_PORT={port} is none of the ports 1 to 65535")
    return environment["MASTER_ADDR"], port


def _of_open_mpi(environment: Mapping[str, str]) -> tuple[str, int]:
    """This machine where all processes run on it; else MASTER_ADDR must say."""
    alone = environment.get("OMPI_COMM_WORLD_LOCAL_SIZE") == environment["OMPI_COMM_WORLD_SIZE"]
    if alone and "MASTER_ADDR" not in environment:
        return "127.0.0.1", _port_of_job(environment.get("PMIX_NAMESPACE", "") or str(os.getppid()))
    return _given(environment)


def _of_slurm(environment: Mapping[str, str]) -> tuple[str, int]:
    """The first machine of the step, unless MASTER_ADDR and MASTER_PORT say else."""
    if "MASTER_ADDR" in environment:
        return _given(environment)
    first = re.match(r"([^,\[]+)(?:\[(\w+))?", environment.get("SLURM_STEP_NODELIST", ""))
    if first is None:
        return _given(environment)
    return "".join(part or "" for part in first.groups()), _port_of_job(environment.get("SLURM_JOB_ID", ""))


def _port_of_job(name: str) -> int:
    """A port that follows from the digits of a job's name, so that two jobs seldom meet there."""
    return 65536 - _JOB_PORTS + int("0" + "".join(re.findall(r"\d", name))[-9:]) % _JOB_PORTS
