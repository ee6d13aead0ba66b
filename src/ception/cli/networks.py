"""Commands about networks and their weights: models, summary and convert."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from ception.artefacts import FormatName
from ception.cli.app import AsJson, Flat, Quiet, Verbose, app, options_of
from ception.cli.terminal import (
    data_of,
    print_benchmark,
    print_certificate,
    print_export,
    print_json,
    print_models,
    print_next,
    print_next_prediction,
    print_summary,
    print_weights,
    quoted,
    terminal,
)
from ception.errors import InputError
from ception.settings import BenchSettings, ConvertSettings, ExportSettings, SummarySettings
from ception.validation import checked
from ception.values import flag


@app.command
def models(
    *, weights: Annotated[bool, Parameter(negative="", help="List the published weights instead.")] = False,
    json: AsJson = False,
) -> int:  # fmt: skip
    """List the networks with their parameters, multiply-accumulates, own size, published accuracy and source."""
    from ception import MODELS
    from ception.recommended import DEFAULT_FOR

    if weights:
        from ception.weights.published import WEIGHTS

        if json:
            print_json({name: vars(record) for name, record in WEIGHTS.items()})
            return 0
        print_weights(WEIGHTS)
        print_next("ception predict xception --weights imagenet PICTURES", silent=False)
        return 0
    columns = (
        "parameters",
        "trainable",
        "macs",
        "image_size",
        "channels",
        "classes",
        "accuracy",
        "accuracy_on",
        "source",
    )
    if json:
        listed = {name: {column: getattr(entry, column) for column in columns} for name, entry in MODELS.items()}
        print_json({name: entry | {"default_for": DEFAULT_FOR.get(name)} for name, entry in listed.items()})
        return 0
    print_models(MODELS, DEFAULT_FOR)
    print_next("ception summary xception", silent=False)
    return 0


@app.command
def bench(
    model: Annotated[str, Parameter(help="Network, as ception models lists them, model file, or run folder."
                                    )] = "xception",
    /, *, settings: Annotated[BenchSettings, Flat] = BenchSettings(), quiet: Quiet = False, verbose: Verbose = False,
    json: AsJson = False,
) -> int:  # fmt: skip
    """Measure how fast a network is trained and run on this machine, and with what it is fastest."""
    from ception.benchmarking import bench

    with terminal(quiet, verbose) as reporter:
        result = bench(model, reporter=reporter, **options_of(settings))
    if json:
        print_json(result)
    else:
        print_benchmark(result)
    training = result.recommended.get("training", "")
    data = "DATA" if model == result.model else data_of(model)
    print_next(f"ception train {data} --model {result.model}{' ' if training else ''}{training}", quiet or json)
    return 0


@app.command
def summary(
    model: Annotated[str, Parameter(help="Network, as ception models lists them, module of the walk from Inception to "
                                    "Xception, model file, or run folder.")],
    /, *, settings: Annotated[SummarySettings, Flat] = SummarySettings(), quiet: Quiet = False, json: AsJson = False,
) -> int:  # fmt: skip
    """Show what each layer of a network costs, and what training it takes; draw it with --graph."""
    from ception import backends
    from ception.inspection import config_of, network_of, summary
    from ception.models.config import columns_of

    options = checked(settings)
    if options.expand and not options.graph:
        raise InputError("--expand needs --graph FILE.svg or FILE.png")
    every = columns_of(options.every)
    config_of(model, image_size=options.image_size, every=every)  # what is wrong is told before Keras is imported
    with terminal(quiet) as reporter:
        backends.start(options.backend, reporter)
    network = network_of(model, image_size=options.image_size, every=every, dtype=options.dtype)
    result = summary(network, batch_size=options.batch_size)
    if options.graph:
        from ception.inspection.drawing import draw

        draw(network, options.graph, expand=options.expand)
    if json:
        print_json(result.as_dict() | ({"graph": str(options.graph)} if options.graph else {}))
        return 0
    print_summary(result)
    if not options.graph:
        print_next(f"ception summary {shlex.quote(model)} --graph {network.name}.svg", quiet)
        return 0
    print(f"Drawn in {options.graph}")
    if options.expand:
        print_next("ception models", quiet)
    else:
        opened = options.graph.with_stem(f"{options.graph.stem}-expanded")
        print_next(f"ception summary {shlex.quote(model)} --graph {quoted(opened)} --expand", quiet)
    return 0


def _require_one_direction(options: ConvertSettings) -> None:
    """Raise an InputError unless the options of `convert` belong to one direction."""
    if (options.model is None) == (options.to is None):
        raise InputError("convert needs either --model NAME or --to keras-applications|timm")
    if options.to and options.partial:
        raise InputError("--partial belongs to --model: what --to writes is always whole")
    for name in ("image_size", "scaling", "classes", "final_endpoint"):
        if options.to and getattr(options, name) is not None:
            raise InputError(f"{flag(name)} belongs to --model: what --to writes follows from the model file")


@app.command
def convert(
    source: Annotated[str, Parameter(help="Weight file of Keras, PyTorch, timm, torchvision or TF-Slim, name of "
                                     "published weights, or with --to a model file.")],
    /, *, settings: Annotated[ConvertSettings, Flat] = ConvertSettings(), quiet: Quiet = False, json: AsJson = False,
) -> int:  # fmt: skip
    """Turn weights of any origin into a model file, with a certificate of what it computes; or the other way."""
    from ception import backends
    from ception.conversion import convert
    from ception.conversion.targets import class_names_of, export_target, model_target
    from ception.model_file import describe, keras_file
    from ception.models.catalog import find
    from ception.models.config import scaling_of
    from ception.weights.published import require_file

    options = checked(settings)
    _require_one_direction(options)
    if options.to:
        export_target(keras_file(source), options.to, options.out)  # what is wrong is told before Keras is imported
        describe(source)
    else:
        find(str(options.model))
        require_file(str(options.model), source)
        model_target(source, str(options.model), options.out)
    class_names = class_names_of(options.classes) if options.classes is not None else None
    scaling = scaling_of(options.scaling) if options.scaling is not None else None
    with terminal(quiet) as reporter:
        backends.start(options.backend, reporter)
    if options.to:
        from ception.conversion.export import export_weights

        exported = export_weights(source, options.to, out=options.out)
        if json:
            print_json(exported.as_dict())
        else:
            print(f"{exported.tensors} tensors for {options.to} in {exported.out}")
            print(f"It takes pixels 0..255 times {exported.scaling.scale} plus {exported.scaling.offset}")
            print_next(exported.use, quiet)
        return 0
    with terminal(quiet) as reporter:
        result = convert(
            source, str(options.model), out=options.out, partial=options.partial, reporter=reporter, scaling=scaling,
            class_names=class_names, image_size=options.image_size, final_endpoint=options.final_endpoint,
        )  # fmt: skip
    if json:
        print_json(result.as_dict())
        return 0
    print_certificate(result)
    use = "summary" if result.missing else "predict"
    print_next(f"ception {use} {shlex.quote(result.out)}" + ("" if result.missing else " PICTURES"), quiet)
    return 0


@app.command
def export(
    model: Annotated[Path, Parameter(help="Model file or run folder, such as runs/001-...")],
    /, *, to: Annotated[Literal[FormatName, "huggingface"], Parameter(
        help="Format to write; huggingface is a folder to be pushed to the hub.")],
    settings: Annotated[ExportSettings, Flat] = ExportSettings(), quiet: Quiet = False, json: AsJson = False,
) -> int:  # fmt: skip
    """Write a model for another runtime, and prove that it says there what it says here."""
    from ception.exporting import export

    with terminal(quiet) as reporter:
        result = export(model, to, reporter=reporter, **options_of(settings))
    if json:
        print_json(result)
    else:
        print_export(result)
    if to == "huggingface":
        print_next(f"hf upload USER/NAME {quoted(Path(result.artefact))}", quiet or json)
        return 0
    print_next_prediction(Path(result.artefact), quiet or json, Path(result.model).parent, settings.data)
    return 0
