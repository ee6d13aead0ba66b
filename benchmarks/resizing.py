"""How far the resizes that other runtimes have inside a network are from ours, which is Pillow's.

    python benchmarks/resizing.py                        # 40 photos of TrashNet beside the checkout, to 299 x 299
    python benchmarks/resizing.py DATA --runtimes torch  # where PyTorch is installed

Each is the nearest one that its runtime has: bilinear, widened where it shrinks, of uint8 pictures of any size. Rows
of results/resizing.csv say of how many photos the pixels are the same, how many of the values differ, and how far.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

import results
from ception.data.images import ImageContract, from_array, read, to_pixels

SHARED = Path(__file__).parents[2] / "shared" / "data"
Resized = Callable[[NDArray[np.uint8]], NDArray[np.uint8]]


def main() -> None:
    """Resize the same photos everywhere, and compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", nargs="?", default=str(SHARED / "trashnet"))
    parser.add_argument("--runtimes", nargs="+", choices=RUNTIMES, default=["onnxruntime", "openvino", "tensorflow"])
    parser.add_argument("--size", type=int, default=299)
    parser.add_argument("--photos", type=int, default=40)
    options = parser.parse_args()
    paths = sorted(Path(options.data).rglob("*.jpg"))
    chosen = [paths[at] for at in np.linspace(0, len(paths) - 1, options.photos).astype(int)]
    photos = [np.asarray(read(path).convert("RGB")) for path in chosen]
    shrunk = [np.asarray(Image.fromarray(photo).resize((200, 150), Image.Resampling.BICUBIC)) for photo in photos]
    contract = ImageContract(height=options.size, width=options.size, channels=3)
    for runtime in options.runtimes:
        resized = RUNTIMES[runtime](options.size)
        for what, pictures in (("as they are", photos), ("of 200 x 150", shrunk)):
            gaps = [
                np.abs(resized(one).astype(int) - to_pixels(from_array(one), contract)) for one in pictures
            ]  # fmt: skip
            row = {
                "runtime": runtime, "photos": what, "size": options.size, "count": len(gaps),
                "equal": sum(not gap.any() for gap in gaps),
                "values_differing": round(float(np.mean([(gap > 0).mean() for gap in gaps])), 5),
                "largest_difference": int(max(gap.max() for gap in gaps)),
            }  # fmt: skip
            print(row, flush=True)
            results.append("resizing", row)


def onnxruntime(size: int) -> Resized:
    """`Resize` of ONNX, linear with `antialias`."""
    import onnxruntime as ort
    from onnx import TensorProto, helper, numpy_helper

    given, result = (
        helper.make_tensor_value_info(name, TensorProto.UINT8, [1, *sides, 3])
        for name, sides in (("given", ("height", "width")), ("result", (size, size)))
    )
    nodes = [
        helper.make_node("Transpose", ["given"], ["first"], perm=[0, 3, 1, 2]),
        helper.make_node("Resize", ["first", "", "", "sizes"], ["resized"], mode="linear", antialias=1),
        helper.make_node("Transpose", ["resized"], ["result"], perm=[0, 2, 3, 1]),
    ]
    sizes = numpy_helper.from_array(np.array([1, 3, size, size]), "sizes")
    graph = helper.make_graph(nodes, "resize", [given], [result], [sizes])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return lambda picture: session.run(None, {"given": picture[None]})[0][0]


def openvino(size: int) -> Resized:
    """`Interpolate` of OpenVINO in its mode `BILINEAR_PILLOW`, as preprocessing."""
    import openvino as ov
    from openvino import opset13
    from openvino.preprocess import PrePostProcessor, ResizeAlgorithm

    taken = opset13.parameter([1, size, size, 3], ov.Type.u8)
    steps = PrePostProcessor(ov.Model([opset13.convert(taken, "f32")], [taken]))
    steps.input().tensor().set_element_type(ov.Type.u8).set_layout(ov.Layout("NHWC")).set_spatial_dynamic_shape()
    steps.input().model().set_layout(ov.Layout("NHWC"))
    steps.input().preprocess().resize(ResizeAlgorithm.RESIZE_BILINEAR_PILLOW)
    compiled = ov.Core().compile_model(steps.build(), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return lambda picture: np.rint(compiled([picture[None]])[0][0]).astype(np.uint8)


def tensorflow(size: int) -> Resized:
    """`tf.image.resize` with `antialias`, rounded."""
    import tensorflow as tf

    return lambda picture: np.rint(tf.image.resize(picture, (size, size), antialias=True).numpy()).astype(np.uint8)


def torch(size: int) -> Resized:
    """`interpolate` of PyTorch with `antialias`, of uint8."""
    from torch import from_numpy
    from torch.nn.functional import interpolate

    def resized(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
        given = from_numpy(picture.copy()).permute(2, 0, 1)[None]
        return interpolate(given, (size, size), mode="bilinear", antialias=True)[0].permute(1, 2, 0).numpy()

    return resized


RUNTIMES: dict[str, Callable[[int], Resized]] = {
    "onnxruntime": onnxruntime, "openvino": openvino, "tensorflow": tensorflow, "torch": torch,
}  # fmt: skip

if __name__ == "__main__":
    main()
