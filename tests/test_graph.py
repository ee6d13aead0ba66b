from __future__ import annotations

import xml.etree.ElementTree as ET
from collections import Counter
from collections.abc import Iterator

import keras
import pytest
from PIL import Image

from ception import MODELS, build
from ception.classifier import Classifier
from ception.data.images import ImageContract
from ception.errors import InputError, RunError
from ception.inspection.drawing import draw
from ception.inspection.graph import Block, Cell, Fork, Series, blocks, cells
from ception.models import NetworkConfig
from ception.models.endpoints import features, truncate
from ception.models.networks import modules

X, DASH = "\N{MULTIPLICATION SIGN}", "\N{EN DASH}"


def thin(name: str, **options: object) -> keras.Model:
    size = 28 if name == "separable_cnn" else 75
    return build(name, **{"image_size": size, "depth_multiplier": 0.1, "auxiliary": MODELS[name].auxiliary} | options)


def by_name(network: keras.Model) -> dict[str, Block]:
    return {block.name: block for block in blocks(network)}


def forks(series: Series) -> Iterator[Fork]:
    for item in series:
        if isinstance(item, Fork):
            yield item
            for branch in item.branches:
                yield from forks(branch.content)


def names(series: Series) -> list[str]:
    return [item.name for item in series if isinstance(item, Cell)]


def full_names(entries: list[Block]) -> list[str]:
    """Every layer's name, of a group those of its first block."""
    return [cell.name if cell.name == block.name else f"{block.name}_{cell.name}"
            for block in entries for cell in cells(block.content)]  # fmt: skip


@pytest.fixture(scope="module")
def xception() -> keras.Model:
    return thin("xception")


@pytest.fixture(scope="module")
def inception() -> keras.Model:
    return thin("inception_v3")


class TestXception:
    def test_twelve_shortcuts_around_blocks_2_to_13(self, xception):
        entries = blocks(xception)
        around = {block.name: block.count for block in entries if block.shortcut}
        assert around == {"block2": 1, "block3": 1, "block4": 1, "block5": 8, "block13": 1}
        assert {block.shortcut for block in entries if block.count == 1} == {"", f"1{X}1 conv /2"}
        assert by_name(xception)["block5"].shortcut == "identity"

    def test_middle_flow_is_one_entry(self, xception):
        middle = by_name(xception)["block5"]
        assert (middle.last, middle.count) == ("block12", 8)
        assert middle.words == [f"3 {X} separable conv 3{X}3, 72"]
        assert by_name(xception)["block13"].inputs == ("block12",)

    def test_words_of_the_field(self, xception):
        named = by_name(xception)
        assert named["input"].words == ["scaled to -1..1"]
        assert named["block1"].words == [f"conv 3{X}3/2, 16 \N{MIDDLE DOT} conv 3{X}3, 16"]
        assert named["block4"].words == [f"2 {X} separable conv 3{X}3, 72 \N{MIDDLE DOT} max pool 3{X}3/2"]
        assert named["block4"].asides == "2 ReLU \N{MIDDLE DOT} 2 batch norm"
        assert named["logits"].words == ["dense 1000"]

    def test_costs_add_up(self, xception):
        assert sum(block.count * block.parameters for block in blocks(xception)) == xception.count_params()

    def test_depthwise_and_pointwise_are_one_separable_convolution(self):
        named = by_name(thin("xception_41"))
        assert named["block4"].words == [f"2 {X} separable conv 3{X}3, 72", f"separable conv 3{X}3/2, 72"]
        assert named["block14"].words[0] == f"2 {X} separable conv 3{X}3, 153 with ReLU inside"

    def test_ablations(self):
        assert not any(block.shortcut for block in blocks(thin("xception", every={"shortcut": None})))
        inner = by_name(thin("xception", every={"inner": "elu"}))["block5"]
        assert inner.words == [f"3 {X} separable conv 3{X}3, 72 with ELU inside"]
        assert inner.count == 8


class TestChainedShortcut:
    def test_shortcuts_of_the_entry_flow_begin_at_shortcuts(self):
        named = by_name(thin("xception_chained_shortcut"))
        sources = {name: block.residual[1].source for name, block in named.items() if block.residual}
        assert sources == {
            "block2": "", "block3": "block2_shortcut_bn", "block4": "block3_shortcut_bn", "block5": "", "block13": "",
        }  # fmt: skip
        assert set(named["block3"].inputs) == {"block2", "block2_shortcut_bn"}
        assert named["block5"].inputs == ("block4",)
        assert named["block5"].count == 8

    def test_no_group_where_every_shortcut_is_chained(self):
        entries = blocks(thin("xception", every={"shortcut": "chained"}))
        assert all(block.count == 1 for block in entries)


class TestInception:
    def test_branches(self, inception):
        words = by_name(inception)["mixed4"].words
        assert words == [
            "1x1 | 1x1-1x7-7x1 | 1x1-7x1-1x7-7x1-1x7 | avg pool-1x1".replace("x", X).replace("-", DASH),
            "concatenates 19 + 19 + 19 + 19",
        ]

    def test_nested_splits(self, inception):
        outer, *inner = forks(by_name(inception)["mixed9"].content)
        assert [len(branch.content) for branch in outer.branches] == [3, 4, 7, 4]
        assert [fork.merge.name for fork in inner] == ["branch1_split2", "branch2_split3"]
        for fork in inner:
            assert [branch.content[0].size for branch in fork.branches] == [f"1{X}3", f"3{X}1"]
        split = outer.branches[1].content
        assert names(split) == ["branch1_conv1", "branch1_conv1_bn", "branch1_conv1_act"]
        assert split[-1] is inner[0]

    def test_auxiliary_head_hangs_on_mixed7(self, inception):
        named = by_name(inception)
        assert [name for name, block in named.items() if block.side] == ["auxiliary"]
        assert named["auxiliary"].inputs == named["mixed8"].inputs == ("mixed7",)

    def test_only_equal_modules_are_one_entry(self, inception):
        # Thin, mixed1 and mixed2 are alike; conv2a and conv2b only look so, their padding differs.
        groups = {block.name: (block.last, block.count) for block in blocks(inception) if block.count > 1}
        assert groups == {"mixed1": ("mixed2", 2), "mixed5": ("mixed6", 2)}

    def test_an_output_is_not_hidden_in_a_group(self, inception):
        entries = blocks(features(inception, ["mixed1", "mixed7"]))
        assert [block.name for block in entries if block.count > 1] == ["mixed5"]

    def test_truncated_inside_a_branch(self, inception):
        entries = blocks(truncate(inception, "mixed9_branch1_split2"))
        assert not entries[-1].side
        assert [fork.merge.name for fork in forks(entries[-1].content)] == ["branch1_split2"]


@pytest.mark.parametrize(
    "name", ["xception", "xception_chained_shortcut", "xception_71", "inception_v3", "separable_cnn"]
)
def test_every_layer_is_once_in_the_expanded_picture(name, tmp_path):
    network = thin(name)
    entries = blocks(network)
    order = list(dict.fromkeys(layer.name.split("_")[0] for layer in network.layers))
    hidden = {order[order.index(block.name) + number] for block in entries for number in range(1, block.count)}
    shown = [layer.name for layer in network.layers if layer.name.split("_")[0] not in hidden]
    assert sorted(full_names(entries)) == sorted(shown)
    draw(network, tmp_path / "network.svg", expand=True)
    ids = Counter(element.get("id") for element in ET.parse(tmp_path / "network.svg").iter())
    assert {layer: ids[layer] for layer in shown} == dict.fromkeys(shown, 1)


@pytest.mark.parametrize("name", modules.MODULES)
def test_modules(name, tmp_path):
    network = modules.build(name)
    assert sorted(full_names(blocks(network))) == sorted(layer.name for layer in network.layers)
    for expand in (False, True):
        draw(network, tmp_path / "module.svg", expand=expand)
        texts = [text.text for text in ET.parse(tmp_path / "module.svg").iter() if text.tag.endswith("text")]
        assert name in texts
        assert f"28 {X} 28 {X} 192" in texts


@pytest.mark.parametrize("expand", [False, True])
class TestFiles:
    def test_png(self, xception, tmp_path, expand):
        draw(xception, tmp_path / "network.PNG", expand=expand)
        with Image.open(tmp_path / "network.PNG") as picture:
            assert picture.format == "PNG"
            assert 1.2 < picture.width / picture.height < 1.9

    def test_svg_has_text_and_is_the_same_each_time(self, xception, tmp_path, expand):
        for name in ("one.svg", "two.svg"):
            draw(xception, str(tmp_path / name), expand=expand)
        one, two = ((tmp_path / name).read_bytes() for name in ("one.svg", "two.svg"))
        assert one == two
        texts = [text.text for text in ET.fromstring(one).iter() if text.tag.endswith("text")]
        assert texts.count("block5 \N{HORIZONTAL ELLIPSIS} block12") == texts.count(f"{X} 8") == 1
        assert texts.count("identity") == 1


def test_after_saving_and_loading_with_plain_keras(xception, tmp_path):
    classifier = Classifier(
        network=xception, config=NetworkConfig.of("xception"), class_names=("a",),
        image=ImageContract(height=75, width=75, channels=3, resize="pad"),
    )  # fmt: skip
    classifier.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    assert blocks(again) == blocks(xception)
    draw(again, tmp_path / "network.svg", expand=True)


class TestErrors:
    @pytest.mark.parametrize("name", ["network.jpg", "network", "network.svg.gz"])
    def test_other_suffix(self, xception, tmp_path, name):
        with pytest.raises(InputError, match=r"\.svg or \.png"):
            draw(xception, tmp_path / name)
        assert not list(tmp_path.iterdir())

    def test_folder_that_is_a_file(self, xception, tmp_path):
        (tmp_path / "file").touch()
        with pytest.raises(RunError, match="cannot be written"):
            draw(xception, tmp_path / "file" / "network.svg")
