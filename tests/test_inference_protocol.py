"""The server speaks the Open Inference Protocol as its clients do."""

from __future__ import annotations

import base64
import json

import numpy as np
import pytest

pytest.importorskip("fastapi", reason="fastapi is not installed")
pytest.importorskip("httpx", reason="httpx is not installed")


def same(answer: dict, other: dict) -> None:
    """Equal but for what depends on the pictures that happened to share a batch."""
    (ours, classes), (theirs, others) = answer["outputs"], other["outputs"]
    assert ours["data"] == pytest.approx(theirs["data"], rel=1e-5)
    assert ours | {"data": None} == theirs | {"data": None}
    assert classes == others


class TestInferenceProtocol:
    def test_tensors(self, server, files, expected, trained):
        from ception.data.images import decode, to_pixels

        contract = server.models.find(None).description.image
        pixels = np.stack([to_pixels(decode(data), contract) for data in files])
        given = {"name": "pictures", "shape": list(pixels.shape), "datatype": "UINT8"}
        told = server.ask("GET", "/v2/models/colours").json()
        assert told["inputs"] == [{"name": "pictures", "datatype": "UINT8", "shape": [-1, *contract.shape]}]
        plain = server.ask("POST", "/v2/models/colours/infer",
                           json={"id": "7", "inputs": [given | {"data": pixels.tolist()}]}).json()  # fmt: skip
        assert (plain["model_name"], plain["id"]) == ("colours", "7")
        probabilities, classes = plain["outputs"]
        assert classes["data"] == [prediction.top[0].class_name for prediction in expected]
        assert probabilities["shape"] == [len(files), 3]
        head = json.dumps({"inputs": [given | {"parameters": {"binary_data_size": pixels.nbytes}}]}).encode()
        binary = server.ask("POST", "/v2/models/colours/infer", content=head + pixels.tobytes(),
                            headers={"inference-header-content-length": str(len(head))}).json()  # fmt: skip
        same(binary, plain)
        texts = [base64.b64encode(data).decode() for data in files]
        encoded = {"name": "pictures", "shape": [len(files)], "datatype": "BYTES", "data": texts}
        answer = server.ask("POST", "/v2/models/colours/infer", json={"inputs": [encoded]}).json()
        same(answer, plain)

    @pytest.mark.parametrize(
        "given",
        [
            {}, {"shape": [1, 2]}, {"shape": "x"}, {"shape": [0]}, {"shape": [1, 16, 16, 3], "data": [1]},
            {"shape": [1, 16, 16, 3], "data": [256] * 768}, {"shape": [1, 16, 16, 3], "data": ["a"] * 768},
            {"shape": [2], "datatype": "BYTES", "data": ["AA=="]},
            {"shape": [1], "datatype": "BYTES", "data": ["AA=="]},
            {"shape": [1, 16, 16, 3], "parameters": {"binary_data_size": 3}}, {"datatype": "FP32", "shape": [1]},
            {"shape": [10**12, 16, 16, 3]},
        ],
    )  # fmt: skip
    def test_refusals(self, server, given):
        inputs = [{"name": "pictures", "datatype": "UINT8"} | given]
        answer = server.ask("POST", "/v2/models/colours/infer", json={"inputs": inputs})
        assert answer.status_code in (413, 422)
        assert answer.json()["error"]
