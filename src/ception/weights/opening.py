"""Weights that a name or path means, opened once: the checkpoint, its record, and what follows from both."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Unpack

from ception import downloads
from ception.errors import InputError, RunError
from ception.files import cache_folder
from ception.models.building import thin
from ception.models.catalog import MODELS
from ception.models.config import TO_ONE, NetworkConfig, NetworkOptions, Scaling
from ception.reporting import Reporter, silenced
from ception.weights.checkpoints import Checkpoint, read, require_finite
from ception.weights.checkpoints.state_dicts import best_prefix, under
from ception.weights.followed import FollowedNetwork
from ception.weights.graphs import UnfollowedError
from ception.weights.names import IN_TIMM, Scheme, pairs, scheme_of
from ception.weights.published import PublishedWeights, record_of, require_file


@dataclass(frozen=True)
class OpenedWeights:
    """Weights for a network; the one place that says what scaling and port they need.

    Attributes:
        network: The network they are for, a key of `MODELS`.
        checkpoint: Their tensors.
        record: Their record; None where they are not published ones.
    """

    network: str
    checkpoint: Checkpoint
    record: PublishedWeights | None = None

    @cached_property
    def scheme(self) -> Scheme:
        """Whose names the tensors have."""
        return scheme_of(self.checkpoint.layout, self.checkpoint.tensors)

    @property
    def licence(self) -> str:
        """Their licence, or `unknown`."""
        return self.record.licence if self.record else "unknown"

    @cached_property
    def followed(self) -> FollowedNetwork | None:
        """The network as the file's own configuration has it; None for a file of weights alone.

        Raises:
            InputError: it cannot be followed.
        """
        if not self.checkpoint.configuration:
            return None
        try:
            return FollowedNetwork(self.checkpoint.configuration, self.checkpoint.tensors)
        except UnfollowedError as error:
            raise self.unfollowed(error) from None

    def unfollowed(self, error: UnfollowedError, instead: str = "") -> InputError:
        """The error that the file's network cannot be followed, with a way out."""
        path = self.checkpoint.path
        body = f"ception train DATA --model {self.network} --weights {path} takes its body, with a fresh head"
        return InputError(f"{path} and {self.network} do not compute the same: its {error}: {instead}{body}")

    @property
    def scaling(self) -> Scaling:
        """What the pixels are scaled by: as the record says, or the file itself; else to -1..1."""
        if self.record:
            return self.record.mean, self.record.std
        own = self._own_config.get("scaling")
        if isinstance(own, list) and len(own) == 2:
            return own[0], own[1]
        try:
            return (self.followed and self.followed.scaling) or TO_ONE
        except (InputError, UnfollowedError):
            return TO_ONE

    @property
    def doubt(self) -> str:
        """Why the scaling may be another one than the file's; "" where it is known, or the file says nothing of it."""
        try:
            if not self.record and self.followed:
                self.followed.scaling  # noqa: B018 - whether it can be followed
        except (InputError, UnfollowedError) as error:
            mean, std = self.scaling
            return f"{self.checkpoint.path}: its {error}; pixels are taken as (pixel - {mean}) / {std}"
        return ""

    @property
    def port(self) -> str | None:
        """Whose rules a network has to follow to compute what the weights' original computes; None for its own."""
        if self.record:
            return self.record.port
        if self.scheme == "ception":
            port = self._own_config.get("port")
            return port if isinstance(port, str) else None
        theirs = IN_TIMM.get(self.network)
        return theirs.port if theirs and theirs.scheme == self.scheme else None

    def config(self, **options: Unpack[NetworkOptions]) -> NetworkConfig:
        """The config of a network for these weights: their scaling and port where the options say nothing else.

        Raises:
            InputError: as for `NetworkConfig.of`.
        """
        own: NetworkOptions = {"scaling": self.scaling, "port": self.port}
        given: Mapping[str, Any] = {option: value for option, value in options.items() if value is not None}
        return NetworkConfig.of(self.network, **{**own, **given})

    @property
    def _own_config(self) -> Mapping[str, Any]:
        """What a model file of this package says its network was built with; nothing for any other file."""
        config = self.checkpoint.described.get("network")
        return config if isinstance(config, dict) else {}


def open_weights(network: str, weights: str | Path, *, reporter: Reporter | None = None) -> OpenedWeights:
    """The weights that a name or path means, downloaded if need be.

    Args:
        network: The network they are for.
        weights: `imagenet`, a key of `WEIGHTS`, or a path.
        reporter: Receives the progress of a download.

    Raises:
        InputError: there is no such record or file, or it cannot be read.
        RunError: it cannot be downloaded.
    """
    record = record_of(network, str(weights))
    if record is None:
        require_file(network, weights)
        return OpenedWeights(network, fitting(network, read(weights)))
    if record.url.startswith("hf:"):
        return OpenedWeights(network, read(_from_hub(record.url.removeprefix("hf:"), reporter=reporter)), record)
    if not record.digest:
        raise InputError(
            f"{record.url} has no published hash, so it is not downloaded: fetch and unpack it, then name its .ckpt"
        )
    path = downloads.fetch(record.url, record.digest, megabytes=record.megabytes, reporter=reporter)
    return OpenedWeights(network, read(path), record)


def fitting(network: str, checkpoint: Checkpoint) -> Checkpoint:
    """The checkpoint of PyTorch with the set of its tensors that fits a network, under the names of the network alone.

    Where none fits, it is returned as it is, for loading to say what is wrong with it.

    Args:
        network: A key of `MODELS`.
        checkpoint: What `read` gave.

    Raises:
        InputError: the tensors that fit are not finite.
    """
    if checkpoint.layout != "torch":
        return checkpoint
    scheme = IN_TIMM[network].scheme if network in IN_TIMM else "timm"
    auxiliary = MODELS[network].auxiliary
    wanted = {pair.theirs for pair in pairs(thin(network, auxiliary=auxiliary), scheme) if "?" not in pair.theirs}
    best, count, prefix = "", 0, ""
    sets = {checkpoint.found: checkpoint.tensors, **checkpoint.others}
    for where, tensors in sets.items():
        before, number = best_prefix(tensors, wanted)
        if number > count:
            best, count, prefix = where, number, before
    if 2 * count < len(wanted):
        return checkpoint
    kept, left = under(sets[best], prefix)
    said = [best] * bool(best) + [f"those under '{prefix}'"] * bool(prefix)
    said += [f"{len(left)} of the training left out ({', '.join(left[:3])}{' ...' if left[3:] else ''})"] * bool(left)
    fitted = replace(checkpoint, tensors=kept, found=", ".join(said), others={})
    require_finite(fitted)
    return fitted


def _from_hub(repository: str, *, reporter: Reporter | None = None) -> Path:
    """A repository's model.safetensors: put into our cache by hand, or from the hub and its own cache.

    Raises:
        RunError: the hub cannot be reached, or has no such file.
    """
    from huggingface_hub import hf_hub_download

    by_hand = cache_folder() / f"weights-{repository.rpartition('/')[2]}.safetensors"
    if by_hand.is_file():
        return by_hand
    (reporter or Reporter()).note(f"Looking for {repository} on the Hugging Face hub")
    try:
        with silenced("huggingface_hub"):  # our message says what its retries say
            return Path(hf_hub_download(repository, "model.safetensors"))
    except Exception as error:  # the library lets through whatever its transport raises
        address = f"https://huggingface.co/{repository}/resolve/main/model.safetensors"
        why = (str(error).splitlines() or [type(error).__name__])[0]
        raise RunError(
            f"{address} cannot be downloaded ({why}): check the connection and the proxy (https_proxy), or download it "
            f"by hand to {by_hand}"
        ) from None
